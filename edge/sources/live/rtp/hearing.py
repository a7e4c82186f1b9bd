"""Packets on their way from the gate to a decoder in this process."""

from __future__ import annotations

import queue
from contextlib import suppress

from edge.sources.live.rtp.packets import Packet

MOST_BYTES = 2 << 20
"""Four seconds of 4 Mbit/s, and more than the gate remembers for who joins late."""


class Hearing:
    """A bounded queue: a decoder that falls behind loses all until decoding can begin again."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[Packet, str | None]] = queue.SimpleQueue()
        self._put = self._got = 0
        self._skipping = False

    def put(self, packet: Packet, codec: str | None, *, starts: bool) -> bool:
        """Leave a packet; False where it is lost. `starts` tells that decoding can begin with it."""
        waiting = self._put - self._got
        self._skipping = waiting > MOST_BYTES or (self._skipping and not (starts and waiting < MOST_BYTES // 2))
        if self._skipping:
            return False
        self._put += len(packet.datagram)
        self._waiting.put((packet, codec))
        return True

    def get(self, timeout_s: float) -> tuple[Packet, str | None] | None:
        """Wait for a packet and its codec; None if none came in time."""
        with suppress(queue.Empty):
            packet, codec = self._waiting.get(timeout=timeout_s)
            self._got += len(packet.datagram)
            return packet, codec
        return None
