"""The time of day of what happens here: as a vehicle's GPS tells it, else by this machine's clock, and by neither where that clock was never set."""

from __future__ import annotations

import calendar
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from edge.vehicle.attitude_messages import AUTOPILOT, ArrivalClock

EARLIEST_S, LATEST_S = (float(calendar.timegm((year, 1, 1, 0, 0, 0))) for year in (2026, 2100))
"""A clock that says less, or more, was never set: a board without a battery begins in 1970, or when its system was built."""


class UtcClock:
    """Tells UTC for moments of the monotonic clock; never touches the system's clock. Safe between the link's thread and the loop's."""

    def __init__(self, wall_s: Callable[[], float] = time.time, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        """Ask `wall_s` for seconds since 1970 (UTC), and `monotonic_s` for the clock that moments are told by."""
        self._wall_s, self._monotonic_s = wall_s, monotonic_s
        self._lock = threading.Lock()
        self._gps, self._apart_s = ArrivalClock(), 0.0
        self._told = False

    def hear(self, message: Any, arrived_s: float) -> None:
        """Take a vehicle's message that arrived at a time of `monotonic_s`: from the first SYSTEM_TIME of its autopilot on that knows UTC, that time counts."""
        if message.get_type() != "SYSTEM_TIME" or message.get_srcComponent() != AUTOPILOT:
            return
        utc_s = message.time_unix_usec / 1e6
        if not EARLIEST_S <= utc_s < LATEST_S:  # 0, or since its start: no GPS has told it yet
            return
        with self._lock:
            self._apart_s = utc_s - self._gps.time_s(utc_s, arrived_s)
            self._told = True

    def at(self, moment_ns: int) -> tuple[float | None, str]:
        """Return the UTC of a moment in seconds since 1970, or None and why it is not known."""
        with self._lock:
            if self._told:
                return moment_ns / 1e9 + self._apart_s, ""
        wall_s = self._wall_s()
        if EARLIEST_S <= wall_s < LATEST_S:
            return wall_s - self._monotonic_s() + moment_ns / 1e9, ""
        return None, f"this machine's clock is not set, it says {_date(wall_s)}: set it, or let the GPS of a vehicle tell the time (--mavlink)"


def _date(wall_s: float) -> str:
    try:
        return f"{datetime.fromtimestamp(wall_s, timezone.utc):%Y-%m-%d}"
    except (OverflowError, ValueError, OSError):  # beyond what a date can be
        return f"{wall_s:.0f} s"
