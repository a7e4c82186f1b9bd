"""Who of many clients gets what: places for connections, and bytes a second. Pure: the time is given, nothing is opened or closed here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

NEW, IDLE, BUSY = range(3)
"""Never asked anything; asks nothing now; is being answered."""

_SHARE_OF_ONE = 0.75
_ROOM_AT_ONCE, _ROOM_A_SECOND = 1000, 100.0
_REFUSALS_A_SECOND = 10.0
_KNOWN = 256


class Places:
    """Gives connections their places; where there is none left, one that never asked anything gives way, else one that asks nothing now.

    Of several the longest silent goes first: who holds a thousand connections and says nothing takes them from himself.
    """

    def __init__(self, most: int, worth: Callable[[Any], int], leave: Callable[[Any], None]) -> None:
        """Give `most` places; `worth` tells of a connection `NEW`, `IDLE` or `BUSY`, `leave` sends one away."""
        self._most, self._most_of_one = most, max(1, int(most * _SHARE_OF_ONE))
        self._worth, self._leave = worth, leave
        self._taken: OrderedDict[Hashable, str] = OrderedDict()
        self._of: dict[str, int] = {}
        self._room = Refusals(_ROOM_AT_ONCE, _ROOM_A_SECOND)

    def __len__(self) -> int:
        return len(self._taken)

    def admits(self, address: str, now_s: float) -> bool:
        """Tell whether a connection from `address` is worth taking: those for which another would have to leave are so many times a second, in all."""
        if not self._crowded(address) and len(self._taken) < self._most:
            return True
        free = self._room.answered("", now_s)
        if free:
            self._room.note("", now_s)
        return free

    def take(self, connection: Hashable, address: str) -> bool:
        """Give a connection from `address` a place; False where there is none for it."""
        crowded = self._crowded(address)
        if (crowded or len(self._taken) >= self._most) and not self._make_room(address if crowded else None):
            return False
        self._taken[connection] = address
        self._of[address] = self._of.get(address, 0) + 1
        return True

    def speak(self, connection: Hashable) -> None:
        """Note that a connection said something."""
        if connection in self._taken:
            self._taken.move_to_end(connection)

    def free(self, connection: Hashable) -> bool:
        """Take a place back; False where there was none."""
        address = self._taken.pop(connection, None)
        if address is None:
            return False
        self._of[address] -= 1
        if not self._of[address]:
            del self._of[address]
        return True

    def _crowded(self, address: str) -> bool:
        return self._of.get(address, 0) >= self._most_of_one

    def _make_room(self, of: str | None) -> bool:
        least, chosen = BUSY, None
        for connection, address in self._taken.items():
            worth = BUSY if of not in (None, address) else self._worth(connection)
            if worth < least:
                least, chosen = worth, connection
            if worth == NEW:  # the longest silent: thousands that come in a second are not to be compared with hundreds each
                break
        if chosen is None:
            return False
        self.free(chosen)
        self._leave(chosen)
        return True


class Refusals:
    """Counts how often each address was refused: beyond some it is not answered any more, for a while."""

    def __init__(self, at_once: int, a_second: float = _REFUSALS_A_SECOND) -> None:
        """Answer `at_once`, and so many more a second."""
        self._at_once, self._a_second = at_once, a_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def note(self, address: str, now_s: float) -> None:
        """Count one."""
        self._left[address] = max(self._of(address, now_s) - 1, -1.0), now_s
        self._left.move_to_end(address)
        if len(self._left) > _KNOWN:
            self._left.popitem(last=False)

    def answered(self, address: str, now_s: float) -> bool:
        """Tell whether an address is still answered."""
        return self._of(address, now_s) >= 0

    def _of(self, address: str, now_s: float) -> float:
        left, then_s = self._left.get(address, (float(self._at_once), now_s))
        return min(left + (now_s - then_s) * self._a_second, float(self._at_once))


class Budget:
    """So many bytes a second for all together, in turn."""

    def __init__(self, bytes_a_second: float) -> None:
        """Begin with a second's worth."""
        self._rate, self._free_s = bytes_a_second, float("-inf")

    def wait_s(self, size: int, now_s: float) -> float:
        """Take `size` bytes and return how long to wait before they are sent."""
        self._free_s = max(self._free_s, now_s - 1) + size / self._rate
        return max(0.0, self._free_s - now_s)
