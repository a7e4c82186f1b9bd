"""Event lines: what was announced and how the feed fared, one JSON object a line, or one row of a table."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from io import FileIO
from pathlib import Path
from typing import Any

from edge.files import check_place, is_stream, open_stream, telling_refusal
from edge.frame import FeedState, Frame
from edge.geometry.pose import Place, Pose
from edge.outputs.events_csv import EventTable
from edge.outside.text import printable
from edge.process import signals
from edge.process.streams import DRAIN_S, HURRY_S, Outlet
from edge.result import LevelState, Report, Result

EVENT_SCHEMA = 2
EVENT_FILES = 4
LIVE_BYTES = 64 << 20
"""Size of a live source's file, whose events are kept across runs."""

_KEYS = (
    *("schema", "event", "frame", "still", "received_ns", "age_ms", "track", "class_id", "label", "confidence", "box_xyxy", "state"),
    *("time", "media_s", "quad_xy", "pose", "where", "time_unknown", "picture"),
)
"""Of every event, in this order; null where there is nothing to tell."""

Pictured = Callable[[Result, Report], "Path | None"]

_LOG = logging.getLogger(__name__)
_LONGEST_LINE = 1 << 16


class EventSink:
    """Writes events as JSON lines, or where the file is named *.csv as a table, each at once: what was announced can be read even if the run is killed.

    Neither a full disk nor a reader that stands still ends or delays the run: it is told once, lines that found no space are counted, and writing goes on
    when there is space again.
    """

    def __init__(
        self,
        path: Path,
        labels: Sequence[str],
        *,
        max_bytes: int | None = None,
        keep: int = EVENT_FILES,
        patience_s: float = 0.0,
        pictured: Pictured | None = None,
    ) -> None:
        """Write to `path`; class ids become `labels`, in output order.

        Args:
            path: the newest lines; older ones move to `path`.1, .2 and so on. What is no file (a FIFO, `-`) is written to as it is.
            labels: names of the classes.
            max_bytes: size that a file does not exceed, if lines are shorter; what an earlier run wrote is kept. None: no bound, and a new file each run.
            keep: files in all, the newest included.
            patience_s: what is waited, once, for who reads what is no file.
            pictured: tells which file shows a report's sign.
        """
        self._path, self._labels, self._max_bytes, self._keep = path, labels, max_bytes, keep
        self._patience_s, self._pictured = patience_s, pictured
        self._table = EventTable(_KEYS) if path.suffix.lower() == ".csv" else None
        self._header = b"" if self._table is None else self._table.header
        self._file: FileIO | None = None
        self._outlet: Outlet | None = None
        self._descriptor = -1
        self._whole = self._missed = 0
        self._full = self._opened = False

    @property
    def missed(self) -> int:
        """Lines that could not be written."""
        return self._missed + (self._outlet.lost if self._outlet is not None else 0)

    def __enter__(self) -> EventSink:
        if is_stream(self._path):
            self._descriptor = open_stream(self._path)
            self._outlet = Outlet(self._descriptor, patience_s=self._patience_s)
            if self._header:
                self._outlet.offer(self._header)
            self._opened = True
            return self
        check_place(self._path)
        with telling_refusal(self._path):
            self._open(anew=self._max_bytes is None)
        try:
            self._put(b"")
        except OSError:  # a full disk: the header comes before the first line that finds space
            self._cut()
        self._opened = True
        return self

    @property
    def product(self) -> str:
        """What was written, for people; empty where it was never opened."""
        return printable(self._path) if self._opened else ""

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._outlet is not None and self._outlet.close(HURRY_S if signals.came() else DRAIN_S):
            os.close(self._descriptor)

    def write(self, result: Result) -> None:
        """Write a line for each report, and one where levelling begins or ends."""
        events = events_of(result, self._labels)
        if self._pictured is not None:
            pictures = [self._pictured(result, report) for report in result.reports]
            for event, picture in zip(reversed(events), reversed(pictures), strict=False):  # the lines of reports are the last ones
                event["picture"] = None if picture is None else Path(os.path.relpath(picture, self._path.parent)).as_posix()
        self._write(events)

    def feed(self, state: FeedState) -> None:
        """Write a line for the change."""
        self._write([state_event(state)])

    def _write(self, events: Sequence[dict[str, Any]]) -> None:
        if not events:
            return
        each = [f"{json.dumps(event)}\n".encode() if self._table is None else self._table.row(event) for event in events]
        if self._outlet is not None:
            taken = [self._outlet.offer(line) for line in each]
            self._tell("" if all(taken) else self._outlet.fault or "nobody reads on")
            return
        lines = b"".join(each)
        try:
            self._look()
            if self._max_bytes is not None and 0 < self._whole > self._max_bytes - len(lines):
                self._rotate()
            if self._file is None:
                self._open(anew=False)
            self._put(lines)
        except OSError as error:
            self._missed += len(events)
            self._cut()
            self._tell(error.strerror or str(error))
            return
        self._tell("")

    def _put(self, lines: bytes) -> None:
        """Write whole lines, behind the header where they are the first."""
        assert self._file is not None
        lines = lines if self._whole else self._header + lines
        if self._file.write(lines) != len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._whole += len(lines)

    def _look(self) -> None:
        """Let go of a file that was removed or renamed by somebody: nobody would find what is written to it."""
        if self._file is not None:
            with suppress(OSError):
                if self._path.exists() and os.path.samestat(self._path.stat(), os.fstat(self._file.fileno())):
                    return
            self._file.close()
            self._file = None

    def _tell(self, trouble: str) -> None:
        """Say once that lines wait, and once that they go on."""
        if trouble and not self._full:
            _LOG.warning("events in %s wait for space: %s", self._path, trouble)
        elif self._full and not trouble:
            _LOG.warning("events go on in %s, after %d lines that found no space", self._path, self.missed)
        self._full = bool(trouble)

    def _cut(self) -> None:
        """Leave whole lines alone in the file."""
        if self._file is not None:
            with suppress(OSError):  # the disk is gone
                self._file.truncate(self._whole)
                self._file.seek(self._whole)

    def _open(self, *, anew: bool) -> None:
        self._file = self._path.open("wb" if anew or not self._path.is_file() else "r+b", buffering=0)
        self._whole = 0 if anew else _whole_lines(self._file)
        if self._whole and self._header:
            self._file.seek(0)
            is_ours = self._file.read(len(self._header)) == self._header
            self._file.seek(self._whole)
            if not is_ours:  # a table of other columns: another version's, or somebody else's
                self._rotate()

    def _rotate(self) -> None:
        """Make room: every file takes the next number, the last one goes."""
        if self._file is not None:
            self._file.close()
            self._file = None
        names = [self._path, *(numbered(self._path, number) for number in range(1, self._keep))]
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            if newer.exists():
                newer.replace(older)
        self._open(anew=True)


def numbered(path: Path, number: int) -> Path:
    """Return the name that a file of events takes when so many newer ones have been begun."""
    return path.with_name(f"{path.name}.{number}")


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


def events_of(result: Result, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the event lines of a frame: one where levelling begins or ends, and one for each report."""
    told = [] if result.level is None else [level_event(result, result.level)]
    return told + [event_of(result, report, labels) for report in result.reports]


def event_of(result: Result, report: Report, labels: Sequence[str]) -> dict[str, Any]:
    """Return one event line; `events.schema.json` beside this file describes it."""
    return dict.fromkeys(_KEYS) | {
        **_of_frame(result),
        "event": report.event,
        "track": report.track,
        "class_id": report.class_id,
        "label": labels[report.class_id],
        "confidence": round(float(report.confidence), 4),
        "box_xyxy": [round(float(side), 2) for side in report.box_xyxy],
        "state": "live",
        "quad_xy": report.quad_xy and [[round(x, 2), round(y, 2)] for x, y in report.quad_xy],
        "where": _told(report.where, {"lat": 7, "lon": 7, "alt_m": 2, "sigma_m": 2, "facing_deg": 1}),
    }


def level_event(result: Result, level: LevelState) -> dict[str, Any]:
    """Return the event line of a frame from which on frames are levelled, or no longer: `level` says which, and why."""
    told = {"event": "state", "state": "live", "level": {"known": level.known, "detail": level.detail}}
    return dict.fromkeys(_KEYS) | _of_frame(result) | told


def state_event(state: FeedState) -> dict[str, Any]:
    """Return the event line of a feed's change: the keys of every event, null where there is no sign, and the feed's counters."""
    about = dict.fromkeys(_KEYS)
    counters = {key: getattr(state, key) for key in ("captured", "dropped", "damaged", "foreign", "reconnects", "detail")}
    told = {"schema": EVENT_SCHEMA, "event": "state", "received_ns": state.at_ns, "state": state.state, **_time_of(state), "feed": counters}
    return about | told


def _of_frame(result: Result) -> dict[str, Any]:
    frame = result.frame
    return {
        "schema": EVENT_SCHEMA,
        "frame": frame.index,
        "still": frame.still,
        "received_ns": frame.received_ns,
        "age_ms": round(result.age_ms, 3),
        **_time_of(frame),
        "media_s": None if frame.media_s is None else round(frame.media_s, 3),
        "pose": pose_told(frame.pose),
    }


def _time_of(came: Frame | FeedState) -> dict[str, str | None]:
    return time_keys(came.time_s, came.time_unknown)


def time_keys(time_s: float | None, time_unknown: str) -> dict[str, str | None]:
    """Return the keys that tell a time of day, seconds since 1970, or why it is not known."""
    if time_s is None:
        return {"time": None, "time_unknown": time_unknown}
    return {"time": datetime.fromtimestamp(time_s, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"), "time_unknown": None}


def pose_told(pose: Pose | None) -> dict[str, float | None] | None:
    """Return a pose as events tell it."""
    return _told(pose, {"lat": 7, "lon": 7, "alt_m": 2, "roll_deg": 2, "pitch_deg": 2, "yaw_deg": 2})


def _told(known: Pose | Place | None, digits: dict[str, int]) -> dict[str, float | None] | None:
    """Return fields of what is known, rounded to so many digits each."""
    if known is None:
        return None
    return {name: None if (value := getattr(known, name)) is None else round(value, places) for name, places in digits.items()}
