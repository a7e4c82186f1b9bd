"""Writes an annotated video: H.264 where PyAV is there, else what OpenCV's own wheels can encode."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import OutputError
from edge.files import check_place, is_stream, partial, refused
from edge.frame import FeedState
from edge.outputs.annotate import annotate
from edge.outputs.h264 import H264Writer
from edge.outside.reading import named_for_libraries
from edge.outside.text import printable
from edge.result import Result
from edge.sources.decoding import pyav
from edge.sources.video import count_frames

CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "MJPG"}

_LOG = logging.getLogger(__name__)
_STILLS_FPS = 1.0


class VideoSink:
    """Writes the frames with what was found drawn on them; the video gets its name when it is whole.

    Attributes:
        missed: frames that are in no video, for a failure.
        failure: why there is none; None where all is well.
        product: what was written, for people; empty where nothing was.
    """

    def __init__(self, path: Path, fps: float | None, labels: Sequence[str]) -> None:
        """Write to `path`, whose suffix chooses the format, at `fps` (stills: one a second).

        Raises:
            OutputError: a suffix without a codec, or what stands there is no file.
        """
        if path.suffix.lower() not in CODECS:
            raise OutputError(f"wanted a video named {', '.join('*' + suffix for suffix in CODECS)}, found {path}: choose one of these")
        self._path, self._fps, self._labels = path, fps or _STILLS_FPS, labels
        if is_stream(path):
            raise OutputError(f"wanted a file for the video, found something else at {path}: choose another name")
        self._beside = partial(path)
        self._writer: cv2.VideoWriter | H264Writer | None = None
        self._size_wh = (0, 0)
        self._frames = 0
        self.missed = 0
        self.failure: OutputError | None = None
        self.product = ""

    def __enter__(self) -> VideoSink:
        check_place(self._path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._writer is not None:
                with self._giving_up(0):
                    self._writer.release()
            if error is None and self._frames and self.failure is None:
                with self._giving_up(0):
                    self._finish()
            if self.failure is not None:
                self.missed += self._frames
        finally:
            self._beside.unlink(missing_ok=True)

    def feed(self, state: FeedState) -> None:
        """Nothing: a video holds frames that came, and no others."""

    def write(self, result: Result) -> None:
        """Write one frame; one of another size is fitted into the first one's. What the encoder refuses is told, and the run goes on without a video."""
        if result.final:
            return
        if self.failure is not None:
            self.missed += 1
            return
        with self._giving_up(1):
            image = annotate(result, self._labels)
            if self._writer is None:
                self._open((image.shape[1], image.shape[0]))
            assert self._writer is not None
            image = fitted(image, self._size_wh)
            if isinstance(self._writer, H264Writer):
                self._writer.write(image, result.frame.media_s)
            else:
                self._writer.write(image)
            self._frames += 1

    @contextmanager
    def _giving_up(self, frames: int) -> Iterator[None]:
        """Keep the first refusal, which would lose so many frames, for the end of the run: names are never lost for the sake of a video."""
        try:
            yield
        except OutputError as error:
            self.missed += frames
            if self.failure is None:
                self.failure = error
                _LOG.warning("%s; the run goes on without the video", error)

    def _open(self, size_wh: tuple[int, int]) -> None:
        self._size_wh = size_wh
        if self._path.suffix.lower() == ".mp4" and pyav.is_here():
            self._writer = H264Writer(self._beside, self._fps, size_wh)
            return
        fourcc = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        for fps in (self._fps, round(self._fps, 1)):  # MPEG-4 has no clock for 119.867
            with named_for_libraries(self._beside) as name:
                self._writer = cv2.VideoWriter(name, fourcc, fps, size_wh)
            if self._writer.isOpened():
                return
        size = f"{size_wh[0]}x{size_wh[1]}"
        raise OutputError(f"wanted to write {self._path}, OpenCV has no encoder for {size} at {self._fps:g} fps in it: choose another suffix")

    def _finish(self) -> None:
        # OpenCV's writer tells nobody of a full disk, so the file is asked; some containers guess, and may be off by one.
        found = count_frames(self._beside)
        if abs(found - self._frames) > 1:
            raise OutputError(f"wanted {self._frames} frames in {self._path}, found {found} after writing: the disk may be full, free it")
        try:
            self._beside.replace(Path(os.path.realpath(self._path)))  # a link stays
        except OSError as error:
            raise refused(self._path, error) from error
        self.product = printable(self._path)


def fitted(image: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture, (height, width, 3) uint8, as large as fits into a size, with black around it."""
    height, width = image.shape[:2]
    if (width, height) == size_wh:
        return image
    scale = min(size_wh[0] / width, size_wh[1] / height)
    inner = max(round(width * scale), 1), max(round(height * scale), 1)
    left, top = (size_wh[0] - inner[0]) // 2, (size_wh[1] - inner[1]) // 2
    canvas = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return canvas
