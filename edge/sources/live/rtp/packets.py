"""RTP on arrival (RFC 3550): headers, what was lost or came twice, and numbers that go on. Pure: no socket, no clock."""

from __future__ import annotations

import struct
from typing import NamedTuple

from edge.sources.live.rtp.nal import codec_of

_HEADER = struct.Struct("!BBHII")
_NUMBERS = struct.Struct("!HII")
_EXTENSION = struct.Struct("!HH")
_RTCP_TYPES = range(64, 96)  # RFC 5761 section 4: what RTCP on the same port looks like
_LARGEST_GAP = 3000  # RFC 3550 A.1, MAX_DROPOUT: a wider one is a new start, not a loss
WINDOW = 128  # packets that may come late; RFC 3550 takes 100
_SURE = 3
_HALF, _WHOLE = 1 << 15, 1 << 16


class Packet(NamedTuple):
    """An RTP packet.

    Attributes:
        datagram: all of it, as it came.
        payload_type: 0 to 127.
        marker: for video, the last packet of a picture.
        sequence: 0 to 65535.
        timestamp: of the picture, in ticks of 90 kHz, modulo 2**32.
        ssrc: the number that the sender chose for itself.
        payload: without header, contributors, extension and padding.
    """

    datagram: bytes
    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse_packet(datagram: bytes) -> Packet | None:
    """Take an RTP packet apart; None for what is no RTP, and for RTCP."""
    if len(datagram) < _HEADER.size:
        return None
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(datagram)
    payload_type = second & 0x7F
    if first >> 6 != 2 or payload_type in _RTCP_TYPES:
        return None
    start, end = _HEADER.size + 4 * (first & 0x0F), len(datagram)
    if first & 0x10:
        if end < start + _EXTENSION.size:
            return None
        start += _EXTENSION.size + 4 * _EXTENSION.unpack_from(datagram, start)[1]
    if first & 0x20:
        end -= datagram[-1] or end
    if start > end:
        return None
    return Packet(datagram, payload_type, bool(second & 0x80), sequence, timestamp, ssrc, datagram[start:end])


def ahead(sequence: int, of: int) -> int:
    """Return how far a sequence number lies ahead of another, -32768 to 32767: numbers wrap at 65536."""
    return (sequence - of + _HALF) % _WHOLE - _HALF


class SequenceCount:
    """Counts what a sender's sequence numbers tell.

    Attributes:
        lost: numbers that never came; one that comes late is taken off again.
        reordered: packets that came late.
        duplicates: packets that came again, or too late to tell.
        jumps: new starts in the middle of a stream.
        stray: a number from far off, whose packet waits for the next to tell a new start from damage; None if there is none.
    """

    def __init__(self) -> None:
        self.lost = self.reordered = self.duplicates = self.jumps = 0
        self._highest: int | None = None
        self._seen = 0
        self.stray: int | None = None

    def restart(self) -> None:
        """Forget the position, as another sender begins; the counts stay."""
        self._highest = self.stray = None

    def note(self, sequence: int) -> bool:
        """Count a packet; False for one that is not wanted: it came before, or it is `stray` and wanted only if the next one makes a jump of it."""
        if self._highest is None:
            self._begin(sequence)
            return True
        step = ahead(sequence, self._highest)
        if 0 < step <= _LARGEST_GAP:
            self.lost += step - 1
            self._seen = (self._seen << step | 1) & ((1 << WINDOW) - 1)
            self._highest, self.stray = sequence, None
            return True
        if -WINDOW < step <= 0:
            return self._note_late(-step)
        # RFC 3550 A.1: two in a row from elsewhere are a sender that started anew, one is a stray.
        if self.stray is not None and ahead(sequence, self.stray) == 1:
            self.jumps += 1
            self._begin(sequence)
            return True
        self.stray = sequence
        return False

    def _begin(self, sequence: int) -> None:
        self._highest, self._seen, self.stray = sequence, (1 << WINDOW) - 1, None

    def _note_late(self, behind: int) -> bool:
        if self._seen >> behind & 1:
            self.duplicates += 1
            return False
        self._seen |= 1 << behind
        self.lost, self.reordered = self.lost - 1, self.reordered + 1
        return True


class Renumbering:
    """Makes one continuous stream, for a decoder, of senders that follow each other: FFmpeg takes a new one's packets for late ones, half of the times."""

    PAYLOAD_TYPE = 96
    """Whatever the senders use."""
    _SSRC = 0x53574E47

    def __init__(self) -> None:
        self._sequence = self._timestamp = 0
        self._last: tuple[int, int, int] | None = None

    def begin(self, packet: Packet, now_ns: int) -> None:
        """Let a sender's first packet follow the last one of the sender before; its time goes on by the clock, `now_ns`."""
        if self._last is not None:
            sequence, timestamp, then_ns = self._last
            self._sequence = sequence + 1 - packet.sequence
            self._timestamp = timestamp + max(3000, (now_ns - then_ns) * 9 // 100_000) - packet.timestamp

    def number(self, packet: Packet, now_ns: int) -> bytes:
        """Return the datagram with the numbers that the decoder shall see."""
        sequence, timestamp = (packet.sequence + self._sequence) % _WHOLE, (packet.timestamp + self._timestamp) & 0xFFFFFFFF
        if self._last is None or ahead(sequence, self._last[0]) > 0:
            self._last = sequence, timestamp, now_ns
        kind = packet.marker << 7 | self.PAYLOAD_TYPE
        return packet.datagram[:1] + kind.to_bytes(1, "big") + _NUMBERS.pack(sequence, timestamp, self._SSRC) + packet.datagram[_HEADER.size :]


class CodecGuess:
    """Tells the codec of a stream by what only one of the two can be: the first such packet decides, three more of the other change it.

    Attributes:
        codec: "h264", "h265", or None while nothing tells.
    """

    def __init__(self) -> None:
        self.codec: str | None = None
        self._lead = 0

    @property
    def sure(self) -> str | None:
        """The codec, where several packets more tell it than the other."""
        return self.codec if abs(self._lead) >= _SURE else None

    def note(self, payload: bytes) -> None:
        """Look at a packet's payload."""
        found = codec_of(payload)
        if found is None:
            return
        self._lead = max(-10, min(10, self._lead + (1 if found == "h264" else -1)))
        if self.codec is None or abs(self._lead) >= _SURE:
            self.codec = "h264" if self._lead > 0 else "h265"


class Reorder:
    """Puts packets that came late back in their places, for who needs them in order: a gap is waited for while few packets follow it."""

    def __init__(self, depth: int = 32) -> None:
        """Wait for a missing packet until `depth` later ones are there."""
        self._depth = depth
        self._waiting: dict[int, Packet] = {}
        self._next: int | None = None

    def push(self, packet: Packet) -> list[Packet]:
        """Take a packet and return those whose turn it is."""
        if self._next is None or abs(ahead(packet.sequence, self._next)) > WINDOW:
            rest = self.flush()
            self._next = (packet.sequence + 1) % _WHOLE
            return [*rest, packet]
        if ahead(packet.sequence, self._next) < 0:
            return []
        self._waiting[packet.sequence] = packet
        ready = self._in_a_row()
        if len(self._waiting) > self._depth:
            expected = self._next
            self._next = min(self._waiting, key=lambda sequence: ahead(sequence, expected))
            ready += self._in_a_row()
        return ready

    def flush(self) -> list[Packet]:
        """Give up what is waited for and return what is there, in order."""
        if self._next is None:
            return []
        expected = self._next
        rest = [self._waiting[sequence] for sequence in sorted(self._waiting, key=lambda sequence: ahead(sequence, expected))]
        self._waiting.clear()
        self._next = None
        return rest

    def _in_a_row(self) -> list[Packet]:
        ready = []
        while self._next is not None and self._next in self._waiting:
            ready.append(self._waiting.pop(self._next))
            self._next = (self._next + 1) % _WHOLE
        return ready
