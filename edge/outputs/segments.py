"""Writes an annotated video of a live source, in a thread of its own, as Matroska segments that play after a power cut."""

from __future__ import annotations

import logging
import queue
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import OutputError, one_line
from edge.files import check_place
from edge.frame import FeedState
from edge.outputs.annotate import annotate
from edge.outside.reading import named_for_libraries
from edge.outside.text import printable
from edge.process.threads import Worker
from edge.result import Result

_LOG = logging.getLogger(__name__)
SEGMENT_BYTES, SEGMENT_S = 256 << 20, 300.0
_USUAL_FPS = 25.0
# Frames that wait for the encoder: a third of a second.
_QUEUED = 8
# No encoder tells of a full disk, so a rest is left: for the event lines too.
_RESERVE_BYTES, _ENOUGH_BYTES = 64 << 20, 96 << 20
_LOOK_S = 1.0
# A pause longer than this begins a new segment; a shorter one is filled with the frame after it.
_PAUSE_S = 2.0
_LEAD = 2
_TOLD = 64


def open_writer(path: Path, fps: float, size_wh: tuple[int, int]) -> tuple[cv2.VideoWriter, str]:
    """Open a Matroska file that is written as it grows, and return the writer and its encoder: H.264 where OpenCV has GStreamer with x264enc, else MJPG.

    Frames of an odd size are MJPG, since H.264 in 4:2:0 has even ones.

    Raises:
        OutputError: OpenCV can write neither.
    """
    with named_for_libraries(path) as name:
        return _open_writer(path, name, fps, size_wh)


def _open_writer(path: Path, name: str, fps: float, size_wh: tuple[int, int]) -> tuple[cv2.VideoWriter, str]:
    width, height = size_wh
    if width % 2 == height % 2 == 0:
        # Each buffer goes to the file at once (buffer-mode 2); an intra frame a second, so that players find their way in what a cut leaves.
        encoder = f"x264enc speed-preset=ultrafast tune=zerolatency key-int-max={max(1, round(fps))} ! h264parse ! matroskamux streamable=true"
        place = name.replace("\\", "\\\\").replace('"', '\\"')
        pipeline = f'appsrc ! videoconvert ! video/x-raw,format=I420 ! {encoder} ! filesink location="{place}" buffer-mode=2'
        writer = cv2.VideoWriter(pipeline, cv2.CAP_GSTREAMER, 0, fps, size_wh)
        if writer.isOpened():
            return writer, "H.264 (x264enc of GStreamer)"
        path.unlink(missing_ok=True)
    writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), fps, size_wh)
    if writer.isOpened():
        return writer, "MJPG (FFmpeg of OpenCV, which has no GStreamer with x264enc)"
    raise OutputError(f"wanted to write {path}, OpenCV has no encoder for {width}x{height} at {fps:g} fps in it: leave --video out")


class SegmentedVideoSink:
    """Writes the frames of a live source with what was found drawn on them; what the encoder has no time or the disk no space for is left out and counted.

    A segment is named by the UTC time of its beginning, and ends by size, by time, at a pause of the source, or where frames change their size.
    The pace is the clock's: a frame stands as long as it stood in the feed.

    Attributes:
        missed: frames that were left out.
        paused: whether frames are left out for the sake of memory.
        written: the last segments, in order.
    """

    def __init__(
        self,
        path: Path,
        fps: float | None,
        labels: Sequence[str],
        *,
        segment_bytes: int = SEGMENT_BYTES,
        segment_s: float = SEGMENT_S,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        wall: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Name segments after `path`; `free` tells the bytes left in a folder, `wall` is asked for names alone.

        Raises:
            OutputError: a suffix that does not stand for Matroska.
        """
        if path.suffix.lower() != ".mkv":
            raise OutputError(f"wanted a video of a live source named *.mkv, found {path}: other formats do not outlive a power cut, choose .mkv")
        self._path, self._fps, self._labels = path, fps or _USUAL_FPS, labels
        self._segment_bytes, self._segment_s, self._free, self._wall = segment_bytes, segment_s, free, wall
        self.missed, self.paused = 0, False
        self.written: deque[Path] = deque(maxlen=_TOLD)
        self._queue: queue.Queue[Result] = queue.Queue(_QUEUED)
        self._thread = Worker(self._work, "video")
        self._writer: cv2.VideoWriter | None = None
        self._first: Path | None = None
        self._segments = 0
        self._size_wh = (0, 0)
        self._begun_ns = self._last_ns = self._frames = 0
        self._looked_s = -_LOOK_S
        self._full = self._told = self._over = False

    def __enter__(self) -> SegmentedVideoSink:
        check_place(self._path)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._thread.ident is None:
            return
        if not self._thread.stop():
            _LOG.warning("the encoder of %s hangs: the video ends before the run", self._path)

    @property
    def product(self) -> str:
        """What was written, for people; empty where nothing was."""
        if self._first is None:
            return ""
        return printable(self._first if self._segments == 1 else f"{self._segments} segments from {self._first} to {self.written[-1].name}")

    def feed(self, state: FeedState) -> None:
        """Nothing: a video holds frames that came, and no others."""

    def write(self, result: Result) -> None:
        """Leave a frame to be written; never waits."""
        if result.final:
            return
        if self.paused:
            self.missed += 1
            return
        try:
            self._queue.put_nowait(result)
        except queue.Full:
            self.missed += 1

    def pause(self, on: bool) -> None:
        """Leave frames out from now on, or no longer; a pause ends the segment."""
        self.paused = on

    def _work(self) -> None:
        for result in self._thread.each(self._queue):
            try:
                self._take(result)
            except (OutputError, OSError, cv2.error) as error:
                self._close()
                self.missed += 1
                self._wait(one_line(error))
        self._close()

    def _take(self, result: Result) -> None:
        self._look()
        if self._full:
            self._close()
            self.missed += 1
            return
        received_ns, (height, width) = result.frame.received_ns, result.frame.image.shape[:2]
        if self._over or self._is_gone() or (width, height) != self._size_wh or received_ns - self._last_ns > _PAUSE_S * 1e9:
            self._close()
        if self._writer is None:
            self._open((width, height), received_ns)
        self._last_ns = received_ns
        self._keep_pace(annotate(result, self._labels), received_ns)

    def _keep_pace(self, image: NDArray[np.uint8], received_ns: int) -> None:
        assert self._writer is not None
        behind = int((received_ns - self._begun_ns) / 1e9 * self._fps) + 1 - self._frames
        if behind < -_LEAD:  # the feed has more frames a second than it says
            return
        # Frames that wait come before those that are shown again.
        for _ in range(behind if behind > _LEAD and self._queue.qsize() < _QUEUED // 2 else 1):
            self._writer.write(image)
            self._frames += 1
        if self._told:
            self._told = False
            _LOG.warning("the video goes on, after %d frames that were left out", self.missed)

    def _look(self) -> None:
        """Once a second, see how large the segment is, how old, and what space is left."""
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        free = self._free(self._path.parent)
        if free < (_ENOUGH_BYTES if self._full else _RESERVE_BYTES):
            self._wait(f"{free >> 20} MiB are free on the disk, {_RESERVE_BYTES >> 20} are left for others")
        else:
            self._full = False
        if self._writer is not None and not self._is_gone():
            self._over = self.written[-1].stat().st_size >= self._segment_bytes or self._last_ns - self._begun_ns >= self._segment_s * 1e9

    def _is_gone(self) -> bool:
        """Tell whether somebody removed the segment: what is written to it, nobody finds."""
        return self._writer is not None and not self.written[-1].exists()

    def _wait(self, why: str) -> None:
        self._full = True
        if not self._told:
            self._told = True
            _LOG.warning("the video %s waits: %s", self._path, why)

    def _open(self, size_wh: tuple[int, int], received_ns: int) -> None:
        name, turn = f"{self._path.stem}-{self._wall():%Y%m%dT%H%M%SZ}", 1
        place = self._path.with_name(f"{name}.mkv")
        while place.exists():  # a clock that was set back gives names again that are taken
            turn += 1
            place = self._path.with_name(f"{name}-{turn}.mkv")
        self._writer, encoder = open_writer(place, self._fps, size_wh)
        if not self.written:
            print(f"{'video':<14}{encoder}, in segments from {printable(place)}")
        self._first = self._first or place
        self._segments += 1
        self.written.append(place)
        self._size_wh, self._begun_ns, self._frames, self._over = size_wh, received_ns, 0, False

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None
