"""The one owner of a UDP port that RTP video comes in on: packets go on to the decoder, to who else wants to watch, and to a recording."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edge.errors import SourceError
from edge.process.threads import Worker
from edge.sources.live.rtp import reasons
from edge.sources.live.rtp.hearing import Hearing
from edge.sources.live.rtp.kinds import NO_RTP, kind_of, other_payload
from edge.sources.live.rtp.nal import CODECS, ParameterSets, format_parameters, is_parameters, is_start, units
from edge.sources.live.rtp.packets import CodecGuess, Packet, Renumbering, SequenceCount, parse_packet
from edge.sources.live.rtp.recorder import Recorder, Recording
from edge.sources.live.rtp.senders import SenderLock
from edge.sources.live.rtp.sockets import free_ports, open_udp, resolve

_LOG = logging.getLogger(__name__)
_LARGEST_DATAGRAM = 1 << 16
_LOOK_UP_S = 0.1
_LOOPBACK = "127.0.0.1"
# What a decoder gets that joins between intra frames, a second of 8 Mbit/s; more would overflow its socket. Sent at 10 MB/s so that it can keep up.
_REPLAY_BYTES, _REPLAY_PIECE, _REPLAY_PAUSE_S = 1 << 20, 16, 0.002
_REPLAY_NS = 10_000_000_000  # what came before such a pause shows what no longer is


@dataclass(frozen=True)
class Counters:
    """What came in so far.

    Attributes:
        packets: RTP packets of the camera that were passed on.
        lost: its packets that never came.
        reordered: its packets that came late.
        duplicates: its packets that came again; not passed on.
        foreign: datagrams that are no RTP, no video, or of another sender (another address, or another SSRC of the same); not passed on.
        senders: how often another sender took the place of one.
        unheard: packets that the decoder was not there for.
        unsent: packets that a `forward` address did not take.
        codec: "h264", "h265", or None while nothing tells.
        last_ns: `time.monotonic_ns` of the last packet passed on; 0 before the first.
        intra_ns: the same of the last packet with which an intra frame begins.
    """

    packets: int
    lost: int
    reordered: int
    duplicates: int
    foreign: int
    senders: int
    unheard: int
    unsent: int
    codec: str | None
    last_ns: int
    intra_ns: int


class RtpGate:
    """Takes the packets of one UDP port, in a thread of its own, and passes those of the camera on.

    The `forward` addresses get them unchanged, and so does a decoder in this process, by `hear`. One of another library listens on `port` of 127.0.0.1 and
    gets them renumbered, so that a sender that starts anew is one stream to it. Either first gets what came since the last intra frame, so that it need not
    wait for the next.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        forward: Sequence[tuple[str, int]] = (),
        record: Path | None = None,
        codec: str | None = None,
        sender: tuple[str, int | None] | None = None,
        told: ParameterSets | None = None,
    ) -> None:
        """Listen on `port` of `host`: "" for all interfaces, an address of this machine, or a multicast group.

        Args:
            host: where.
            port: where, 1 to 65535.
            forward: hosts and ports that get every packet too.
            record: the file that a recording's names are made of; None for none.
            codec: "h264", "h265", or None to find out.
            sender: the host, and the port if it is not None, that the camera sends from; None believes nobody and finds out.
            told: parameter sets of an SDP, for a camera that does not send them; `codec` is theirs then.

        Raises:
            SourceError: an unknown codec or host, or a forward that would come back in.
        """
        if codec is not None and codec not in CODECS:
            raise SourceError(f"wanted codec {' or '.join(CODECS)}, found {codec!r}")
        self._host, self._udp_port, self._given = host, port, codec
        self._forward = [resolve(*address) for address in forward]
        for address in self._forward:
            if address[1] == port and (address[0].startswith("127.") or address[0] in ("0.0.0.0", host)):  # noqa: S104
                raise SourceError(f"wanted forward addresses other than the port that is listened on, found {address[0]}:{port}: choose another port")
        self._pinned = None if sender is None else (resolve(sender[0], port)[0], sender[1])
        self._recorder = Recorder(record, told) if record is not None else None
        self._lock, self._sequence, self._guess = SenderLock(codec, told=told is not None), SequenceCount(), CodecGuess()
        self._numbers = Renumbering()
        self._stray: Packet | None = None
        self._told, self._sets = told, _copied(told)
        self._packets = self._foreign = self._unheard = self._unsent = self._last_ns = self._intra_ns = 0
        self._listening = False
        self._begun_ns = self._heard_ns = self._sender_ns = 0
        self._kinds: dict[str, tuple[int, int]] = {}
        self._all = CodecGuess()
        self._counted = 0, 0
        self.port = 0  # until it is open
        self._replay: list[tuple[Packet, bytes]] = []
        self._hearing: Hearing | None = None
        self._handing = threading.Lock()
        self._replay_bytes, self._opening, self._replay_intra = 0, False, False
        self._thread = Worker(self._work, "rtp gate")
        self._stack = ExitStack()

    def __enter__(self) -> RtpGate:
        """Take the port and start.

        Raises:
            SourceError: the port is busy (the message names by whom), not ours to take, or the host is not this machine's.
            OutputError: the recording's folder cannot be written.
        """
        with ExitStack() as stack:
            if self._recorder is not None:
                stack.enter_context(self._recorder)
            self._incoming = stack.enter_context(open_udp(self._host, self._udp_port))
            self._incoming.settimeout(_LOOK_UP_S)
            self.port = free_ports()
            self._decoder = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            self._decoder.connect((_LOOPBACK, self.port))
            self._onward = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            self._onward.setblocking(False)
            self._stack = stack.pop_all()
        self._begun_ns = time.monotonic_ns()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._thread.stop()
        self._stack.close()

    port: int
    """Port of 127.0.0.1 on which the decoder listens; even, and its neighbour is free for RTCP. Known once the gate is open."""

    @property
    def codec(self) -> str | None:
        """The codec that was given or found out; None while nothing tells."""
        return self._given or self._guess.codec

    @property
    def parameters(self) -> dict[str, str]:
        """The newest parameter sets, as an SDP or GStreamer's caps take them (`sprop-...`); empty while they have not come."""
        return format_parameters(self._sets) if self._sets is not None else {}

    @property
    def sets(self) -> ParameterSets | None:
        """The newest parameter sets; None while there are none."""
        return self._sets

    @property
    def sequence_set(self) -> bytes | None:
        """The newest SPS, which tells the pictures' size; None while it has not come."""
        sets = self._sets
        return sets.sequence if sets is not None else None

    @property
    def recording(self) -> Recording | None:
        """What was recorded so far; None where nothing is to be."""
        return self._recorder.recording if self._recorder is not None else None

    @property
    def counters(self) -> Counters:
        """What came in so far."""
        counts = self._sequence
        return Counters(
            self._packets,
            counts.lost,
            counts.reordered,
            counts.duplicates,
            self._foreign,
            self._lock.changes,
            self._unheard,
            self._unsent,
            self.codec,
            self._last_ns,
            self._intra_ns,
        )

    @property
    def why(self) -> str:
        """Why no pictures can come of what came; empty where they can, or while it is too early to tell."""
        now_ns = time.monotonic_ns()
        lately = [(kind != NO_RTP, count, kind) for kind, (count, at_ns) in list(self._kinds.items()) if now_ns - at_ns < reasons.TOLD_NS]
        return reasons.why(
            reasons.Heard(
                port=self._udp_port,
                given=self._given,
                found=self._all.sure,
                codec=self.codec,
                other=max(lately)[2] if lately else None,
                pinned=None if self._pinned is None else self._pinned[0],
                quiet_ns=now_ns - max(self._heard_ns, self._begun_ns),
                passing_ns=now_ns - self._sender_ns if self._sender_ns and now_ns - self._last_ns < reasons.TOLD_NS else 0,
                foreign=now_ns - self._last_ns >= reasons.TOLD_NS and now_ns - self._heard_ns < reasons.TOLD_NS,
                sets=bool(self.parameters),
                starts=self._intra_ns > 0,
            )
        )

    def hear(self) -> Hearing:
        """Hand packets to a decoder in this process from now on, first those since the last intra frame; who heard before hears no more."""
        with self._handing:
            self._hearing = Hearing()
            for packet, _ in self._replay:
                self._hearing.put(packet, self.codec, starts=True)
            return self._hearing

    def expect_decoder(self) -> None:
        """Take whoever listens on `port` from now on for one that has heard nothing yet."""
        self._listening = False

    def note_picture(self) -> None:
        """Take note of a picture that a decoder has made of what it got: who sends such keeps the port."""
        self._lock.pictures += 1

    def _work(self) -> None:
        while not self._thread.stopping.is_set():
            try:
                datagram, address = self._incoming.recvfrom(_LARGEST_DATAGRAM)
            except TimeoutError:
                self._lock.sweep(time.monotonic_ns())
                continue
            except OSError as error:  # an interface that goes away says so once, and may come back
                _LOG.warning("UDP port %d: %s", self._udp_port, error.strerror or error)
                self._thread.stopping.wait(_LOOK_UP_S)
                continue
            self._heard_ns = time.monotonic_ns()
            if self._pinned is not None and (address[0] != self._pinned[0] or self._pinned[1] not in (None, address[1])):
                self._foreign += 1
                continue
            self._take(datagram, address, time.monotonic_ns())

    def _take(self, datagram: bytes, address: tuple[str, int], now_ns: int) -> None:
        packet = parse_packet(datagram)
        other = kind_of(datagram) if packet is None else other_payload(packet)
        if other is not None:
            name = other if packet is None else f"RTP of {other}"
            self._kinds[name] = self._kinds.get(name, (0, 0))[0] + 1, now_ns
        elif packet is not None:
            self._all.note(packet.payload)
        before, proven = self._lock.sender, self._lock.proven
        admitted = self._lock.admit(packet, address, now_ns) if packet is not None else []
        # What was held of a new sender was counted as foreign.
        self._foreign += 1 - len(admitted)
        if admitted and before != self._lock.sender:
            if before is not None and not proven:
                self._disown()
            self._counted = self._packets, self._sequence.lost
            self._sequence.restart()
            self._guess, self._sets, self._intra_ns = CodecGuess(), _copied(self._told), 0
            self._sender_ns = now_ns
            self._begin(admitted[0], now_ns)
        for each in admitted:
            jumps, stray = self._sequence.jumps, self._stray
            wanted = self._sequence.note(each.sequence)
            if stray is not None and self._sequence.stray != stray.sequence:
                self._stray = None
                if jumps != self._sequence.jumps:
                    self._begin(stray, now_ns)
                    self._pass_on(stray, now_ns)
                else:
                    self._foreign += 1
            if wanted:
                self._pass_on(each, now_ns)
            elif self._sequence.stray == each.sequence:
                self._stray = each

    def _disown(self) -> None:
        """Count the packets of one that never was the camera as foreign."""
        packets, lost = self._counted
        self._foreign += self._packets - packets
        self._packets, self._sequence.lost = packets, lost

    def _begin(self, packet: Packet, now_ns: int) -> None:
        self._forget()
        self._numbers.begin(packet, now_ns)

    def _pass_on(self, packet: Packet, now_ns: int) -> None:
        if now_ns - self._last_ns > _REPLAY_NS:
            self._forget()
        self._packets, self._last_ns = self._packets + 1, now_ns
        renumbered = self._numbers.number(packet, now_ns)
        with self._handing:
            starts = self._keep(packet, renumbered, now_ns)
            hearing = self._hearing
            if hearing is not None:
                self._unheard += not hearing.put(packet, self.codec, starts=starts)
        for address in self._forward:
            try:
                self._onward.sendto(packet.datagram, address)
            except OSError:  # nobody there, no route, or a full queue: theirs to miss
                self._unsent += 1
        if hearing is not None:
            return
        if not self._listening and len(self._replay) > 1:
            self._listening = self._catch_up()
        else:
            self._listening = self._send(renumbered)
        self._unheard += not self._listening

    def _keep(self, packet: Packet, renumbered: bytes, now_ns: int) -> bool:
        """Remember the parameter sets, and all since the last intra frame began; tell whether one begins, or what stands before it."""
        self._guess.note(packet.payload)
        codec = self.codec
        if codec is None:
            return False
        if self._recorder is not None:
            self._recorder.offer(packet, codec)
        if self._sets is None or self._sets.codec != codec:
            self._sets = ParameterSets(codec)
        found = units(packet.payload, codec)
        self._sets.note(found)
        opens = any(unit.begins and is_parameters(unit.kind, codec) for unit in found)
        intra = any(unit.begins and is_start(unit.kind, unit.data, codec) for unit in found)
        if opens or intra:
            # Parameter sets come before the intra frame they are for: the first of them begins anew, what follows belongs to it.
            if not self._opening:
                self._forget()
            self._opening, self._replay_intra = True, self._replay_intra or intra
        if intra:
            self._intra_ns = now_ns
        if self._replay or self._opening:
            self._replay.append((packet, renumbered))
            self._replay_bytes += len(renumbered)
        if packet.marker and self._replay_intra:
            self._opening = False
        if self._replay_bytes > _REPLAY_BYTES:
            self._forget()
        return opens or intra

    def _forget(self) -> None:
        self._replay, self._replay_bytes, self._opening, self._replay_intra = [], 0, False, False

    def _catch_up(self) -> bool:
        """Send what is remembered, the present packet last, if the decoder hears the first: one that got the last first would take the others for late."""
        if not self._send(self._replay[0][1]):
            return False
        for at, (_, datagram) in enumerate(self._replay[1:], 1):
            self._send(datagram)
            if at % _REPLAY_PIECE == 0:
                self._thread.stopping.wait(_REPLAY_PAUSE_S)
        return True

    def _send(self, datagram: bytes) -> bool:
        """Send to the decoder; False if nobody listens. On loopback the refusal is there as soon as the datagram is sent."""
        for _ in range(2):  # the first may report that an earlier one was refused, and send nothing
            try:
                self._decoder.send(datagram)
            except ConnectionRefusedError:
                continue
            except OSError as error:
                _LOG.debug("to the decoder: %s", error)
                return False
            return self._decoder.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        return False


def _copied(told: ParameterSets | None) -> ParameterSets | None:
    return None if told is None else ParameterSets(told.codec, told.units)
