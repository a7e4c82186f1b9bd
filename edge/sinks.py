"""Where results go: event lines and the console here, an annotated video in `edge.video_sink`. A sink opens before work starts and is finished after it."""

from __future__ import annotations

import errno
import json
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

from edge.files import check_place, refused
from edge.sources import Frame
from edge.tracking import Detection, Report, Track

EVENT_SCHEMA = 1

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


class EventSink:
    """Writes events as JSON lines, each at once: what was announced can be read even if the run is killed."""

    def __init__(self, path: Path, labels: Sequence[str]) -> None:
        """Write to `path`; class ids become `labels`, in output order."""
        self._path, self._labels = path, labels
        self._file: FileIO | None = None
        self._whole = 0

    def __enter__(self) -> EventSink:
        check_place(self._path)
        try:
            self._file = self._path.open("wb", buffering=0)
        except OSError as error:
            raise refused(self._path, error) from error
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, result: Result) -> None:
        """Write a line for each report.

        Raises:
            OutputError: the disk is full or gone; the lines before stand whole.
        """
        assert self._file is not None
        lines = "".join(json.dumps(event_of(result, report, self._labels)) + "\n" for report in result.reports).encode()
        try:
            if self._file.write(lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with suppress(OSError):  # what is no plain file cannot be cut
                self._file.truncate(self._whole)
            raise refused(self._path, error) from error
        self._whole += len(lines)


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

    def _erase(self) -> None:
        if self._watched:
            print(_ERASE, end="", file=sys.stderr, flush=True)
