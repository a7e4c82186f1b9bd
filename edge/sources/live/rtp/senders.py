"""Which of all who send to a port is the camera. Pure: no socket, no clock.

A sender is an address and the number that it chose for itself (RFC 3550: SSRC); neither is believed alone. What it has shown decides, in this order: packets
in a row, then parameter sets with a picture that can be decoded alone behind them, then pictures that the decoder made of them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NamedTuple

from edge.sources.live.rtp.kinds import other_payload
from edge.sources.live.rtp.nal import ParameterSets, is_intra, is_parameters, is_recovery_point, is_sound, plausible, units
from edge.sources.live.rtp.packets import WINDOW, CodecGuess, Packet, ahead

SILENT_NS, GONE_NS = 400_000_000, 1_700_000_000
TRIAL_NS = 800_000_000
"""How long one that has the port may go without a picture while another waits; twice as long each time that it failed."""
HELD_BYTES, HELD_EACH, HELD_NS = 4 << 20, 1 << 20, 1_000_000_000
"""What is held of all who wait, of each, and for how long."""

FORMER_NS = 10_000_000_000
"""How long one that followed must have had the port until it keeps it, though the one before returns."""

_LOOK_BYTES = 256 << 10  # that may come until it is looked whether all is too much
_ENOUGH = 3  # pictures; the decoder may still hold some of the sender before
_UNPROVEN, _PROVEN, _CONFIRMED = range(3)
_ONCE, _OFTEN = 256, 128
_TOGETHER = 16  # packets between the first parameter set and the picture that they are for
_LONGEST_TRIAL = 5

Address = tuple[str, int]


class Sender(NamedTuple):
    """Who sends: an IPv4 address and port, an SSRC, and one of its payload types."""

    address: Address
    ssrc: int
    payload_type: int


class _Candidate:
    """What one sender has shown, and its last packets."""

    def __init__(self, codec: str | None, told: bool) -> None:
        self._told = told
        self.rank, self.failed, self.lately = _UNPROVEN, 0, 0
        self.heard_ns = self.confirmed_ns = 0
        self.held: deque[tuple[int, Packet]] = deque()
        self.bytes = 0
        self._given, self._last = codec, -1
        self._place = self._sets_at = 0
        self._guess = CodecGuess()
        self._sets: ParameterSets | None = None

    @property
    def merit(self) -> int:
        """Packets since the last change of senders; half as many for each time that it failed."""
        return self.lately >> self.failed

    def take(self, packet: Packet, now_ns: int) -> bool:
        """Hold a packet; False where it does not follow the one before."""
        step = ahead(packet.sequence, self._last) if self._last >= 0 else 0
        first, self.heard_ns = self._last < 0, now_ns
        if first or not -WINDOW < step <= WINDOW:
            self._last = packet.sequence
            self.let_go()
            if self.rank < _CONFIRMED:
                self._anew()
        elif step == 0:
            return False
        self.held.append((now_ns, packet))
        self.bytes += len(packet.datagram)
        self.forget(now_ns)
        if self.rank == _UNPROVEN:
            self.note(packet)
        if first or not 0 < step <= WINDOW:
            return False
        self._last, self.lately = packet.sequence, self.lately + 1
        return True

    def note(self, packet: Packet) -> None:
        """Look for parameter sets with an intra frame behind them."""
        self._guess.note(packet.payload)
        codec = self._given or self._guess.codec
        self._place += 1
        if codec is None:
            return
        if self._sets is None or self._sets.codec != codec or self._place - self._sets_at > _TOGETHER:
            self._sets = None
        for unit in units(packet.payload, codec):
            recovers = is_recovery_point(unit.kind, unit.data, codec)
            if not recovers and not is_sound(unit, codec):
                continue
            if is_parameters(unit.kind, codec):
                if self._sets is None:
                    self._sets, self._sets_at = ParameterSets(codec), self._place
                self._sets.note([unit])
            elif (recovers or is_intra(unit.kind, codec)) and (self._told or (self._sets is not None and self._sets.complete)):
                self.rank = _PROVEN

    def forget(self, now_ns: int, most: int = HELD_EACH) -> None:
        """Let go what is too old or too much."""
        while self.held and (self.bytes > most or now_ns - self.held[0][0] > HELD_NS):
            self.bytes -= len(self.held.popleft()[1].datagram)

    def let_go(self) -> list[Packet]:
        """Return what is held, and hold it no longer."""
        held = [packet for _, packet in self.held]
        self.held.clear()
        self.bytes = 0
        return held

    def _anew(self) -> None:
        self.rank, self._place, self._sets_at = _UNPROVEN, 0, 0
        self._guess, self._sets = CodecGuess(), None


class SenderLock:
    """Follows one sender; what others send is foreign to it.

    The first that sends packets of video in a row has the port until one comes that has shown more. One whose pictures the decoder has made keeps it until it
    falls silent, and gets it back when it returns within seconds. What others say is held for a second, so that the first intra frame of who follows is not
    lost.

    Attributes:
        changes: how often another sender took the place of one.
        sender: who has the port; None before the first.
        pictures: what the decoder has made so far, counted by whoever reads it.
        held_bytes: what is held of all who wait.
    """

    def __init__(self, codec: str | None, *, told: bool = False) -> None:
        """Take video of `codec` ("h264", "h265", or None for both); `told` if nobody need show parameter sets, since an SDP has them."""
        self.changes = self.pictures = 0
        self.sender: Sender | None = None
        self._codec, self._told = codec, told
        self._holder, self._former = _Candidate(codec, told), _Candidate(codec, told)
        self._former_sender: Sender | None = None
        self._since_ns = self._pictures_before = self._swept_ns = self._unbounded = 0
        self._once: OrderedDict[Sender, _Candidate] = OrderedDict()
        self._often: OrderedDict[Sender, _Candidate] = OrderedDict()

    @property
    def held_bytes(self) -> int:
        """Bytes of packets that are held."""
        return sum(each.bytes for each in self._waiting())

    @property
    def proven(self) -> bool:
        """Whether who has the port has shown what a camera shows."""
        return self._holder.rank != _UNPROVEN

    def admit(self, packet: Packet, address: Address, now_ns: int) -> list[Packet]:
        """Return what may pass now: the packet, nothing, or all that was held of a new sender. `now_ns` is monotonic."""
        sender = Sender(address, packet.ssrc, packet.payload_type)
        if sender == self.sender:
            self._follow(packet, now_ns)
            return [packet]
        if other_payload(packet) is not None or not plausible(packet.payload, self._codec):
            return []
        self.sweep(now_ns)
        candidate = self._candidate(sender)
        in_a_row = candidate.take(packet, now_ns)
        self._bound(packet, now_ns)
        if not in_a_row:
            return []
        if candidate is not self._former:
            self._once.pop(sender, None)
            self._keep(self._often, sender, candidate, _OFTEN)
        if not self._gives_way(candidate, now_ns):
            return []
        self._hand_over(sender, candidate, now_ns)
        return candidate.let_go()

    def sweep(self, now_ns: int) -> None:
        """Let go what was held too long of those who say nothing any more; to be called again and again."""
        if now_ns - self._swept_ns < HELD_NS // 2:
            return
        self._swept_ns = now_ns
        for each in self._waiting():
            each.forget(now_ns)

    def _follow(self, packet: Packet, now_ns: int) -> None:
        holder = self._holder
        holder.heard_ns, holder.lately = now_ns, holder.lately + 1
        if holder.rank == _UNPROVEN:
            holder.note(packet)
        if holder.rank != _CONFIRMED and self.pictures - self._pictures_before >= _ENOUGH:
            holder.rank, holder.confirmed_ns, holder.failed = _CONFIRMED, now_ns, 0

    def _candidate(self, sender: Sender) -> _Candidate:
        if sender == self._former_sender:
            return self._former
        found = self._often.get(sender) or self._once.get(sender)
        if found is None:
            found = _Candidate(self._codec, self._told)
            self._keep(self._once, sender, found, _ONCE)
        return found

    @staticmethod
    def _keep(place: OrderedDict[Sender, _Candidate], sender: Sender, candidate: _Candidate, most: int) -> None:
        place[sender] = candidate
        place.move_to_end(sender)
        if len(place) > most:
            place.popitem(last=False)

    def _gives_way(self, candidate: _Candidate, now_ns: int) -> bool:
        """Tell whether who has the port gives way to one that waits and sends."""
        holder, quiet_ns = self._holder, now_ns - self._holder.heard_ns
        if self.sender is None or candidate.rank > holder.rank or quiet_ns >= (SILENT_NS if candidate.rank >= min(holder.rank, _PROVEN) else GONE_NS):
            return True
        if holder.rank == _CONFIRMED:
            return candidate is self._former and candidate.confirmed_ns < holder.confirmed_ns and now_ns - holder.confirmed_ns < FORMER_NS
        if candidate.rank < holder.rank or (candidate.rank == _UNPROVEN and candidate.merit <= holder.merit):
            return False
        patience_ns = TRIAL_NS << (0 if candidate.failed < holder.failed else min(holder.failed, _LONGEST_TRIAL))
        return now_ns - self._since_ns >= patience_ns and candidate is self._likeliest(holder.rank, now_ns)

    def _likeliest(self, rank: int, now_ns: int) -> _Candidate | None:
        """Return who has most merit of those that send and may follow."""
        fit = [each for each in self._waiting() if each.rank >= rank and now_ns - each.heard_ns < SILENT_NS]
        return max(fit, key=lambda each: each.merit, default=None)

    def _hand_over(self, sender: Sender, candidate: _Candidate, now_ns: int) -> None:
        self._often.pop(sender, None)
        returns = candidate is self._former
        if returns:
            self._former, self._former_sender = _Candidate(self._codec, self._told), None
        if self.sender is not None:
            self.changes += 1
            self._holder.failed += self._holder.rank != _CONFIRMED
            if self._holder.rank == _CONFIRMED and not returns:
                self._former, self._former_sender = self._holder, self.sender
            else:
                self._keep(self._often, self.sender, self._holder, _OFTEN)
        for each in self._waiting():
            each.lately = 0
        self.sender, self._holder = sender, candidate
        candidate.heard_ns = self._since_ns = now_ns
        self._pictures_before = self.pictures

    def _waiting(self) -> list[_Candidate]:
        return [self._former, *self._often.values(), *self._once.values()]

    def _bound(self, packet: Packet, now_ns: int) -> None:
        self._unbounded += len(packet.datagram)
        if self._unbounded < _LOOK_BYTES:
            return
        self._unbounded, holding = 0, [each for each in self._waiting() if each.bytes]
        if sum(each.bytes for each in holding) > HELD_BYTES:
            for each in holding:
                each.forget(now_ns, HELD_BYTES // len(holding))
