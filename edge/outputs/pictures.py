"""Writes pictures of what was found, in a thread of its own: photos with their signs marked, of a stream one picture and one crop of each sighting."""

from __future__ import annotations

import logging
import queue
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath

import cv2

from edge.errors import OutputError, one_line
from edge.files import check_place, telling_refusal, written_beside
from edge.frame import FeedState
from edge.images import encode_image
from edge.outputs.annotate import annotate
from edge.outside.text import printable
from edge.process import signals
from edge.process.threads import END_S, Worker
from edge.recognition.classifier import cut_out
from edge.result import Report, Result

_LOG = logging.getLogger(__name__)
_QUEUED = 8
"""Frames that wait for the encoder."""
_DRAIN_S = 30.0
_QUALITY = 90
_RESERVE_BYTES = 64 << 20
"""What is left on the disk for others."""


@dataclass(frozen=True)
class _Job:
    """A frame, the files that it is written to, and the crops of signs in it."""

    result: Result
    paths: Sequence[Path]
    crops: Sequence[tuple[Path, Report]] = ()


class PictureSink:
    """Writes JPEG files that stand whole or not at all, and replaces none that was there before; a sighting's are replaced when the sign is seen better.

    What the disk or the encoder has no time or space for is left out and counted.

    Attributes:
        written: pictures that were written, crops not counted.
    """

    def __init__(
        self,
        folder: Path,
        labels: Sequence[str],
        *,
        stills: bool,
        patience_s: float = 0.0,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        wall: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Write into `folder`.

        Args:
            folder: is made where it is not there.
            labels: names of the classes.
            stills: whether the frames are independent photos.
            patience_s: what is waited, once, for a thread that makes no progress; 0 never waits.
            free: tells the bytes left in a folder.
            wall: is asked for names alone.
        """
        self._folder, self._labels, self._stills, self._patience_s = folder, labels, stills, patience_s
        self._free, self._wall = free, wall
        self._queue: queue.Queue[_Job] = queue.Queue(_QUEUED)
        self._thread = Worker(self._work, "pictures")
        self._run = ""
        self._tracks: dict[int, Path] = {}
        self._still: tuple[int, Path] | None = None
        self._waiting: set[Path] = set()
        self.written = self._left = self._left_out = self._done = self._failed = 0
        self._stalled = self._told = self._opened = False

    def __enter__(self) -> PictureSink:
        with telling_refusal(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        check_place(self._folder / "picture.jpg")
        self._run, turn = f"{self._wall():%Y%m%dT%H%M%SZ}", 1
        taken = [path.name for path in self._folder.iterdir()]
        while any(name.startswith(f"{self._run}-") for name in taken):  # a clock that was set back, or never set, gives names again that are taken
            turn += 1
            self._run = f"{self._run.partition('.')[0]}.{turn}"
        self._opened = True
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._thread.stop(END_S if signals.came() or not self._patience_s else _DRAIN_S):
            _LOG.warning("pictures in %s are not all written: there was no time", self._folder)

    @property
    def missed(self) -> int:
        """Pictures that were left out."""
        unfinished = self._left - self._done if self._thread.stopping.is_set() else 0
        return self._left_out + self._failed + unfinished

    @property
    def product(self) -> str:
        """What was written, for people; empty where nothing was."""
        return f"{printable(self._folder)} ({self.written} picture{'s' * (self.written != 1)})" if self.written else ""

    def place(self, result: Result, report: Report) -> Path | None:
        """Return the file that shows a report's sign: of a stream the crop; None where there is none. It may not stand yet, or never where time is short."""
        if self._stills:
            return self._place_of_still(result)
        track = self._place_of_track(report)
        return None if track is None else _crop_of(track)

    def feed(self, state: FeedState) -> None:
        """Nothing: pictures show what came."""

    def write(self, result: Result) -> None:
        """Leave pictures of a result to be written."""
        if self._stills:
            if not result.final:
                self._leave(_Job(result, [self._place_of_still(result)]))
            return
        seen: dict[Path, Report] = {}
        for report in result.reports:
            path = self._place_of_track(report)
            if report.event == "gone" and report.track is not None:
                self._tracks.pop(report.track, None)
            elif path is not None:
                seen[path] = report
        if seen:
            self._leave(_Job(result, list(seen), [(_crop_of(path), report) for path, report in seen.items()]))

    def _place_of_still(self, result: Result) -> Path:
        """Return a place of the photo's own name that is free."""
        frame = result.frame
        if self._still is None or self._still[0] != frame.index:
            name = PurePosixPath(frame.still or f"{frame.index}")
            name = PurePosixPath(*(part for part in name.parts if part not in ("/", "..")))
            name = name if name.suffix.lower() in (".jpg", ".jpeg") else name.with_name(f"{name.name}.jpg")
            path, turn = self._folder / name, 1
            while path in self._waiting or path.exists():
                turn += 1
                path = self._folder / name.with_name(f"{name.stem}-{turn}{name.suffix}")
            self._still = frame.index, path
        return self._still[1]

    def _place_of_track(self, report: Report) -> Path | None:
        if report.track is None:
            return None
        if report.event != "gone" and report.track not in self._tracks:
            self._tracks[report.track] = self._folder / f"{self._run}-{report.track:04d}.jpg"
        return self._tracks.get(report.track)

    def _leave(self, job: _Job) -> None:
        self._waiting.update(job.paths)
        self._left += len(job.paths)
        try:
            self._queue.put(job, block=bool(self._patience_s) and not self._stalled, timeout=self._patience_s or None)
        except queue.Full:
            self._waiting.difference_update(job.paths)
            self._left -= len(job.paths)
            self._left_out += len(job.paths)
            self._stalled = True

    def _work(self) -> None:
        for job in self._thread.each(self._queue):
            try:
                self._take(job)
            except (OutputError, OSError, cv2.error) as error:
                self._failed += len(job.paths)
                self._tell(one_line(error))
            self._stalled = False
            self._done += len(job.paths)
            self._waiting.difference_update(job.paths)

    def _take(self, job: _Job) -> None:
        free = self._free(self._folder)
        if free < _RESERVE_BYTES:
            self._failed += len(job.paths)
            self._tell(f"{free >> 20} MiB are free on the disk, {_RESERVE_BYTES >> 20} are left for others")
            return
        new = sum(not path.exists() for path in job.paths)
        annotated = encode_image(annotate(job.result, self._labels), ".jpg", _QUALITY)
        for path in job.paths:
            _write(path, annotated)
        for path, report in job.crops:
            _write(path, encode_image(cut_out(job.result.frame.image, report.box_xyxy), ".jpg", _QUALITY))
        self.written += new
        if self._told:
            self._told = False
            _LOG.warning("pictures go on in %s, after %d that were left out", self._folder, self._left_out + self._failed)

    def _tell(self, why: str) -> None:
        if not self._told:
            self._told = True
            _LOG.warning("pictures in %s wait for space: %s", self._folder, why)


def _crop_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}-crop{path.suffix}")


def _write(path: Path, picture: bytes) -> None:
    with written_beside(path) as beside:
        beside.write_bytes(picture)
