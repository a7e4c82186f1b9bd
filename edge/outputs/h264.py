"""Writes H.264, which every browser and phone plays, through PyAV; without it a video is MPEG-4 Part 2, which players play and browsers do not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import OutputError, one_line
from edge.sources.decoding import pyav

_PRESET, _CRF = "veryfast", "23"
"""As libx264 names them: beside a loop that runs on the same cores, speed counts more than size."""
_CLOCK_HZ = 90_000


class H264Writer:
    """Encodes frames, (height, width, 3) uint8 BGR, as `cv2.VideoWriter` does; an odd side is made even by doubling its last pixels."""

    def __init__(self, path: Path, fps: float, size_wh: tuple[int, int]) -> None:
        """Write to `path`, an .mp4.

        Raises:
            OutputError: the encoder refuses the size or the rate, or the file cannot be written.
        """
        self._av = av = pyav.load()
        self._fps = fps
        self._first_s: float | None = None
        self._last_pts: int | None = None
        self._path, self._odd = path, (size_wh[1] % 2, size_wh[0] % 2)
        try:
            self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
            self._stream: Any = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"preset": _PRESET, "crf": _CRF})
            self._stream.width, self._stream.height = size_wh[0] + self._odd[1], size_wh[1] + self._odd[0]
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, _CLOCK_HZ)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._refused(error) from error

    def write(self, image: NDArray[np.uint8], at_s: float | None = None) -> None:
        """Encode a frame, to be shown at its time in seconds where that is known, else when its turn is.

        Raises:
            OutputError: the encoder refuses it, or the disk is full.
        """
        if any(self._odd):
            image = np.asarray(cv2.copyMakeBorder(image, 0, self._odd[0], 0, self._odd[1], cv2.BORDER_REPLICATE), np.uint8)
        try:
            frame = self._av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = self._due(at_s), Fraction(1, _CLOCK_HZ)
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (self._av.FFmpegError, OSError) as error:
            raise self._refused(error) from error

    def _due(self, at_s: float | None) -> int:
        step = max(round(_CLOCK_HZ / self._fps), 1)
        last = self._last_pts
        if at_s is None:
            due = 0 if last is None else last + step
        else:
            self._first_s = at_s if self._first_s is None else self._first_s
            due = round((at_s - self._first_s) * _CLOCK_HZ)
        self._last_pts = due = due if last is None else max(due, last + 1)
        return due

    def release(self) -> None:
        """Write what the encoder still holds, and close the file, whatever comes of it.

        Raises:
            OutputError: the disk is full.
        """
        try:
            try:
                for packet in self._stream.encode(None):
                    self._container.mux(packet)
            finally:
                self._container.close()
        except (self._av.FFmpegError, OSError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> OutputError:
        return OutputError(f"wanted to write {self._path}, the encoder of H.264 refused: {one_line(error)}: the disk may be full, free it, or choose .avi")
