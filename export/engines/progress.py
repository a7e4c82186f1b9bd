"""How far a build is: the share that is done out of TensorRT's nested phases, and a line of progress with an estimate."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from types import TracebackType
from typing import IO

_ERASE = "\r\x1b[K"
_LEAST_SHARE = 0.02


class Phases:
    """The share of a build that is done, from nested phases that start, step and finish on several threads; it never falls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, tuple[str | None, int, int]] = {}
        self._share = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Open a phase of so many steps within another, or within none."""
        with self._lock:
            self._open[name] = (parent, max(steps, 1), 0)

    def step(self, name: str, step: int) -> float:
        """Count a step, numbered from 0, and return the share of the whole that is done, 0 to 1."""
        with self._lock:
            if name in self._open:
                parent, steps, _ = self._open[name]
                self._open[name] = (parent, steps, min(step + 1, steps))
            self._share = max([self._share, *(self._share_of(name) for name, (parent, _, _) in self._open.items() if parent not in self._open)])
            return self._share

    def finish(self, name: str) -> None:
        """Close a phase."""
        with self._lock:
            self._open.pop(name, None)

    def _share_of(self, name: str) -> float:
        _, steps, done = self._open[name]
        within = max((self._share_of(inner) for inner, (parent, _, _) in self._open.items() if parent == name), default=0.0)
        return min((done + within) / steps, 1.0)


class Bar:
    """A line of progress with an estimate, on a terminal alone."""

    def __init__(self, name: str, stream: IO[str] | None = None) -> None:
        self._name = name
        self._stream = stream or sys.stderr
        self._watched = self._stream.isatty()
        self._started = time.monotonic()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._watched:
            print(_ERASE, end="", file=self._stream, flush=True)

    def show(self, share: float, phase: str) -> None:
        """Show the share that is done, 0 to 1, and what is being done."""
        if not self._watched:
            return
        gone = time.monotonic() - self._started
        left = f", about {_clock(gone * (1 - share) / share)} left" if share >= _LEAST_SHARE else ""
        line = f"{self._name}: {share:4.0%} |{'#' * round(20 * share):<20}| {_clock(gone)} gone{left}, {phase}"
        print(_ERASE + line[: shutil.get_terminal_size().columns - 1], end="", file=self._stream, flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
