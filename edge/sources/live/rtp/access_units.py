"""Access units of packets: all NAL units of one picture, for who records them and who decodes them."""

from __future__ import annotations

from typing import NamedTuple

from edge.sources.live.rtp.nal import Depacketizer, begins_picture, is_picture, is_start
from edge.sources.live.rtp.packets import Packet, Reorder, ahead

_LARGEST_PICTURE = 8 << 20


class AccessUnit(NamedTuple):
    """The NAL units of one picture.

    Attributes:
        units: (type, whole unit) in order.
        starts: whether decoding can begin with it.
    """

    units: list[tuple[int, bytes]]
    starts: bool


class AccessUnits:
    """Makes access units of packets; late packets get their places, units with a piece missing are left out.

    A picture ends with the packet that is marked so, before another timestamp, and before the first slice of another picture: some senders give neither.

    Attributes:
        given_up: pictures that were too large to be any.
    """

    def __init__(self, codec: str) -> None:
        """Read packets of `codec`."""
        self.given_up = 0
        self._codec = codec
        self._reorder, self._depacketizer = Reorder(), Depacketizer(codec)
        self._last: Packet | None = None
        self._units: list[tuple[int, bytes]] = []
        self._size, self._pictured = 0, False

    def push(self, packet: Packet) -> list[AccessUnit]:
        """Take a packet and return the pictures that are complete now."""
        done = []
        for each in self._reorder.push(packet):
            if self._last is not None and each.timestamp != self._last.timestamp:
                done += self._end()
            gap = self._last is not None and ahead(each.sequence, self._last.sequence) != 1
            for kind, unit in self._depacketizer.push(each.payload, gap=gap):
                if self._pictured and begins_picture(kind, unit, self._codec):
                    done += self._end()
                self._add(kind, unit)
            if each.marker:
                done += self._end()
            self._last = each
        return done

    def _add(self, kind: int, unit: bytes) -> None:
        self._pictured |= is_picture(kind, self._codec)
        self._size += len(unit)
        self._units.append((kind, unit))
        if self._size > _LARGEST_PICTURE:
            self.given_up += 1
            self._forget()

    def _forget(self) -> None:
        self._units, self._size, self._pictured = [], 0, False

    def flush(self) -> list[AccessUnit]:
        """Return what is there of the last picture."""
        return self._end()

    def _end(self) -> list[AccessUnit]:
        units = self._units
        if not units:
            return []
        self._forget()
        return [AccessUnit(units, any(is_start(kind, unit, self._codec) for kind, unit in units))]
