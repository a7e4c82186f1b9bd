"""Where results go: event lines and the console here, an annotated video in `edge.outputs.video`. A sink opens before work starts and is finished after it."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from edge.files import check_place, telling_refusal
from edge.frame import FeedState, Frame
from edge.result import Detection, Report, Track

EVENT_SCHEMA = 1
EVENT_FILES = 4

_LOG = logging.getLogger(__name__)
_LONGEST_LINE = 1 << 16

_PROGRESS_S = 0.2
_ERASE = "\r\x1b[K"


@dataclass(frozen=True)
class Result:
    """What the runtime found in a frame.

    Attributes:
        frame: the frame.
        reports: what is announced with it.
        detections: every sign accepted in it, announced or not.
        tracks: announced tracks that live, for drawing.
        done_ns: `time.monotonic_ns` when the result was ready for the sinks.
        final: the frame was given before; this one only takes leave of the last tracks.
    """

    frame: Frame
    reports: Sequence[Report]
    detections: Sequence[Detection]
    tracks: Sequence[Track]
    done_ns: int
    final: bool = False

    @property
    def age_ms(self) -> float:
        """Time from the frame's arrival to its result, in milliseconds."""
        return (self.done_ns - self.frame.received_ns) / 1e6


class Sink(Protocol):
    """Takes results in the order of their frames; opened and finished as a context manager."""

    def __enter__(self) -> Sink: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def write(self, result: Result) -> None:
        """Take one result.

        Raises:
            OutputError: it cannot be written.
        """
        ...

    def feed(self, state: FeedState) -> None:
        """Take a change of the feed that the frames come from.

        Raises:
            OutputError: it cannot be written.
        """
        ...


class EventSink:
    """Writes events as JSON lines, each at once: what was announced can be read even if the run is killed.

    A full disk does not end the run: it is told once, lines that found no space are counted, and writing goes on when there is space again.

    Attributes:
        missed: lines that could not be written.
    """

    def __init__(self, path: Path, labels: Sequence[str], *, max_bytes: int | None = None, keep: int = EVENT_FILES) -> None:
        """Write to `path`; class ids become `labels`, in output order.

        Args:
            path: the newest lines; older ones move to `path`.1, .2 and so on.
            labels: names of the classes.
            max_bytes: size that a file does not exceed, if lines are shorter; what an earlier run wrote is kept. None: no bound, and a new file each run.
            keep: files in all, the newest included.
        """
        self._path, self._labels, self._max_bytes, self._keep = path, labels, max_bytes, keep
        self._file: FileIO | None = None
        self._whole = self.missed = 0
        self._full = False

    def __enter__(self) -> EventSink:
        check_place(self._path)
        with telling_refusal(self._path):
            self._open(anew=self._max_bytes is None)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, result: Result) -> None:
        """Write a line for each report."""
        self._write([event_of(result, report, self._labels) for report in result.reports])

    def feed(self, state: FeedState) -> None:
        """Write a line for the change."""
        self._write([state_event(state)])

    def _write(self, events: Sequence[dict[str, Any]]) -> None:
        if not events:
            return
        lines = "".join(json.dumps(event) + "\n" for event in events).encode()
        try:
            if self._max_bytes is not None and 0 < self._whole > self._max_bytes - len(lines):
                self._rotate()
            if self._file is None:
                self._open(anew=False)
            assert self._file is not None
            if self._file.write(lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._miss(len(events), error)
            return
        self._whole += len(lines)
        if self._full:
            self._full = False
            _LOG.warning("events go on in %s, after %d lines that found no space", self._path, self.missed)

    def _miss(self, lines: int, error: OSError) -> None:
        self.missed += lines
        if self._file is not None:
            with suppress(OSError):  # what is no plain file cannot be cut
                self._file.truncate(self._whole)
                self._file.seek(self._whole)
        if not self._full:
            self._full = True
            _LOG.warning("events in %s wait for space: %s", self._path, error.strerror or error)

    def _open(self, *, anew: bool) -> None:
        self._file = self._path.open("wb" if anew or not self._path.is_file() else "r+b", buffering=0)
        self._whole = 0 if anew else _whole_lines(self._file)

    def _rotate(self) -> None:
        """Make room: every file takes the next number, the last one goes."""
        if self._file is not None:
            self._file.close()
            self._file = None
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{number}") for number in range(1, self._keep))]
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            if newer.exists():
                newer.replace(older)
        self._open(anew=True)


def _whole_lines(file: FileIO) -> int:
    """Cut off what a killed run left of a line, stand at the end, and return the size."""
    if not file.seekable():
        return 0
    size = file.seek(0, os.SEEK_END)
    if size:
        tail = min(size, _LONGEST_LINE)
        file.seek(size - tail)
        size += file.read(tail).rfind(b"\n") + 1 - tail
        file.truncate(size)
        file.seek(size)
    return size


def event_of(result: Result, report: Report, labels: Sequence[str]) -> dict[str, Any]:
    """Return one event line as INTERFACES promises it."""
    return {
        "schema": EVENT_SCHEMA,
        "event": report.event,
        "frame": result.frame.index,
        "still": result.frame.still,
        "received_ns": result.frame.received_ns,
        "age_ms": round(result.age_ms, 3),
        "track": report.track,
        "class_id": report.class_id,
        "label": labels[report.class_id],
        "confidence": round(float(report.confidence), 4),
        "box_xyxy": [round(float(side), 2) for side in report.box_xyxy],
        "state": "live",
    }


def state_event(state: FeedState) -> dict[str, Any]:
    """Return the event line of a feed's change: the keys of every event, null where there is no sign, and the feed's counters."""
    about = dict.fromkeys(("frame", "still", "received_ns", "age_ms", "track", "class_id", "label", "confidence", "box_xyxy"))
    counters = {key: getattr(state, key) for key in ("captured", "dropped", "damaged", "reconnects", "detail")}
    return {"schema": EVENT_SCHEMA, "event": "state", **about, "received_ns": state.at_ns, "state": state.state, "feed": counters}


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
        """Print the sightings of a frame."""
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
        print(f"feed {state.state}{f': {state.detail}' if state.detail else ''}", flush=True)

    def _erase(self) -> None:
        if self._watched:
            print(_ERASE, end="", file=sys.stderr, flush=True)
