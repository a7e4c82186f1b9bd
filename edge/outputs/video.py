"""Writes an annotated video: H.264 where PyAV is there, else what OpenCV's own wheels can encode."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import cv2

from edge import pyav
from edge.errors import OutputError
from edge.files import check_place, is_stream, partial, refused
from edge.frame import FeedState
from edge.outputs.annotate import annotate
from edge.outputs.h264 import H264Writer
from edge.result import Result
from edge.sources.video import count_frames

CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "MJPG"}

_STILLS_FPS = 1.0


class VideoSink:
    """Writes the frames with what was found drawn on them; the video gets its name when it is whole."""

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

    def __enter__(self) -> VideoSink:
        check_place(self._path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._writer is not None:
                with suppress(*([OutputError] if error else [])):  # the first error is the one to tell
                    self._writer.release()
            if error is None and self._frames:
                self._finish()
        finally:
            self._beside.unlink(missing_ok=True)

    def feed(self, state: FeedState) -> None:
        """Nothing: a video holds frames that came, and no others."""

    def write(self, result: Result) -> None:
        """Write one frame.

        Raises:
            OutputError: a frame of another size, or the encoder refuses it.
        """
        if result.final:
            return
        height, width = result.frame.image.shape[:2]
        if self._writer is None:
            self._open((width, height))
        assert self._writer is not None
        if (width, height) != self._size_wh:
            raise OutputError(
                f"wanted frames of {self._size_wh[0]}x{self._size_wh[1]} for {self._path}, frame {result.frame.index} has {width}x{height}: "
                "a video has one size, leave --video out"
            )
        self._writer.write(annotate(result, self._labels))
        self._frames += 1

    def _open(self, size_wh: tuple[int, int]) -> None:
        self._size_wh = size_wh
        if self._path.suffix.lower() == ".mp4" and pyav.is_here():
            self._writer = H264Writer(self._beside, self._fps, size_wh)
            return
        fourcc = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        self._writer = writer = cv2.VideoWriter(str(self._beside), fourcc, self._fps, size_wh)
        if not writer.isOpened():
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
