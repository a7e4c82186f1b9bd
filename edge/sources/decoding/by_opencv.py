"""Recordings by OpenCV's VideoCapture, where PyAV is not installed. It tells neither interlaced frames nor a codec that it has no decoder for."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edge.errors import SourceError
from edge.sources.capture import announced, open_file
from edge.sources.decoding.contract import Picture
from edge.sources.decoding.mp4 import is_cut_off, matrix_of
from edge.sources.decoding.orientation import turned
from edge.sources.decoding.reasons import check_size, unopened

_LOG = logging.getLogger(__name__)
# A file that ends early still announces its frames: after so many failures in a row no more are expected.
_PATIENCE = 1000
_COUNTS_TRULY = b"RIFF"
"""AVI's header tells how many frames there are. Other containers guess it by their duration, or count frames that an edit list leaves out."""


class OpencvDecoder:
    """An open file."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            SourceError: OpenCV cannot.
        """
        self._capture = open_file(path)
        if not self._capture.isOpened():
            raise SourceError(f"wanted a video or an image in {path}, found {unopened(path)}")
        check_size(path, *(int(self._capture.get(each)) for each in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)))
        # What OpenCV turns by itself depends on its version.
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        self._path, self._matrix = path, matrix_of(path)
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps: float | None = rate if math.isfinite(rate) and rate > 0 else None
        with path.open("rb") as file:
            self._announced = announced(self._capture) if file.read(4) == _COUNTS_TRULY else 0

    @property
    def what(self) -> str:
        """Codec, by its four characters."""
        code = int(self._capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        return code.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ").upper()

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def __iter__(self) -> Iterator[Picture | int]:
        """Decode one picture after the other."""
        index = failed = 0
        while failed < _PATIENCE and not (failed and 0 < self._announced <= index + failed):
            good, image = self._capture.read()
            if not good:
                failed += 1
                continue
            if failed:
                yield failed
            index, failed = index + failed, 0
            yield Picture(turned(np.asarray(image, np.uint8), self._matrix), self._media_s(index))
            index += 1
        if is_cut_off(self._path):
            _LOG.warning("%s ends before what its header tells: it was cut off, and some of its frames are missing", self._path)
        if index and index < self._announced:
            yield self._announced - index

    def _media_s(self, index: int) -> float | None:
        """Tell a frame's time by the container's clock, which may run unevenly; by its index where there is none."""
        told_s = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if math.isfinite(told_s) and (told_s > 0 or not index):
            return told_s
        return index / self.fps if self.fps is not None else None
