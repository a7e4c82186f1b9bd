"""Keeps a run within its memory by giving up, in order, what it can do without: first the page's pictures, then the recording; names and events go on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edge.board.telemetry import Telemetry

_LOG = logging.getLogger(__name__)

WARN, FIRST, NEXT = 0.85, 0.92, 1.0
"""Shares of the limit: from the first on it is told, from the second on one thing is given up, from the third on one more each second."""
CALM, CALM_S = 0.80, 30.0
"""Below this share for so long, the last thing given up is taken up again."""
REMIND_S = 60.0


class Relief(NamedTuple):
    """Something that can be given up: what it is, and what turns that on and off."""

    name: str
    apply: Callable[[bool], None]


class MemoryGuard:
    """Watches samples of telemetry: the resident memory (RSS) of this process against a limit in MiB."""

    def __init__(self, limit_mib: int, reliefs: Sequence[Relief]) -> None:
        """Give up `reliefs` in their order."""
        self._limit_mib, self._reliefs = limit_mib, reliefs
        self._lock = threading.Lock()
        self._given_up = 0
        self._warned = False
        self._calm_since_s: float | None = None
        self._reminded_s = float("-inf")
        self._warning = ""

    @property
    def warning(self) -> str:
        """What is wrong now, for people; empty where nothing is."""
        with self._lock:
            return self._warning

    @property
    def given_up(self) -> int:
        """How many of the reliefs are in force."""
        return self._given_up

    def note(self, sample: Telemetry) -> None:
        """Take a sample, and act on it."""
        now_s, share = sample.at_ns / 1e9, sample.rss_mib / self._limit_mib
        self._rest(now_s, share)
        if share < WARN:
            return
        state = f"memory {sample.rss_mib:.0f} MiB (RSS) of --memory-limit {self._limit_mib}"
        if not self._warned:
            self._warned, self._reminded_s = True, now_s
            self._say(state)
        elif share >= (FIRST if self._given_up == 0 else NEXT):
            self._relieve(state, now_s)

    def _relieve(self, state: str, now_s: float) -> None:
        if self._given_up < len(self._reliefs):
            relief = self._reliefs[self._given_up]
            self._given_up += 1
            relief.apply(True)
            self._reminded_s = now_s
            self._say(f"{state}: given up {', '.join(each.name for each in self._reliefs[: self._given_up])}")
        elif now_s - self._reminded_s >= REMIND_S:
            self._reminded_s = now_s
            self._say(f"{state}: nothing more can be given up; the system may end this run, raise the limit or give the machine less to do")

    def _rest(self, now_s: float, share: float) -> None:
        if share >= CALM:
            self._calm_since_s = None
            return
        if self._calm_since_s is None:
            self._calm_since_s = now_s
        if not self._warned or now_s - self._calm_since_s < CALM_S:
            return
        self._calm_since_s = now_s
        if self._given_up:
            self._given_up -= 1
            self._reliefs[self._given_up].apply(False)
            _LOG.warning("memory is below %.0f%% of --memory-limit: %s again", CALM * 100, self._reliefs[self._given_up].name)
        if not self._given_up:
            self._warned = False
            with self._lock:
                self._warning = ""

    def _say(self, text: str) -> None:
        with self._lock:
            self._warning = text
        _LOG.warning("%s", text)
