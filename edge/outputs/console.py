"""Sightings on the standard output, and how far a run is on the standard error of a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from edge.frame import FeedState
from edge.outside.text import shown
from edge.result import Result

_PROGRESS_S = 0.2
_ERASE = "\r\x1b[K"


class ConsoleSink:
    """Prints each sighting to the standard output; a progress line goes to the standard error, and only to a terminal."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Print class ids as `labels`, in output order."""
        self._labels = labels
        self._watched = sys.stderr.isatty()
        self._frames = 0
        self._started = self._shown = time.monotonic()

    def __enter__(self) -> ConsoleSink:
        return self

    def __exit__(self, *exc: object) -> None:
        self._erase()

    def write(self, result: Result) -> None:
        """Print the sightings of a frame, and where levelling begins or ends."""
        if result.level is not None:
            self._erase()
            print(f"level {'known' if result.level.known else 'unknown'}: {result.level.detail}", flush=True)
        for report in result.reports:
            if report.event == "sighting":
                self._erase()
                print(f"{result.frame.still or f'frame {result.frame.index}'}: {self._labels[report.class_id]} {report.confidence:.2f}")
        self._frames += not result.final
        if self._watched and time.monotonic() - self._shown >= _PROGRESS_S:
            self._shown = time.monotonic()
            rate = self._frames / (self._shown - self._started)
            print(f"{_ERASE}{self._frames} frames, {rate:.1f} FPS", end="", file=sys.stderr, flush=True)

    def feed(self, state: FeedState) -> None:
        """Print the change."""
        self._erase()
        print(f"feed {state.state}{f': {shown(state.detail)}' if state.detail else ''}", flush=True)

    def _erase(self) -> None:
        if self._watched:
            print(_ERASE, end="", file=sys.stderr, flush=True)
