"""Frames of a recorded source: stills, which are independent images, and videos. None is lost."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edge.errors import InputError, SourceError
from edge.frame import Frame
from edge.images import SUFFIXES, read_image
from edge.picture_size import MOST_PIXELS
from edge.sources.capture import announced, open_file
from edge.text import printable

_LOG = logging.getLogger(__name__)
# A file that ends early still announces its frames: after so many failures in a row no more are expected.
_PATIENCE = 1000


def find_images(folder: Path) -> list[Path]:
    """Find the image files in a folder and below it, in the order that people count in (2 before 10).

    Raises:
        SourceError: there is none.
    """
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not found:
        raise SourceError(f"wanted images ({', '.join(sorted(SUFFIXES))}) in the folder {folder}, found none: choose another folder")
    return sorted(found, key=lambda path: _natural(str(path.relative_to(folder))))


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in re.split(r"([0-9]+)", name) if part]


class StillSource:
    """Independent images; one that cannot be read is passed over with a warning."""

    stills, live, feed = True, False, None
    fps: float | None = None
    dropped = 0

    def __init__(self, uri: str, folder: Path, paths: list[Path]) -> None:
        """Take `paths`, all of them below `folder`."""
        self.uri, self.unreadable = uri, 0
        self._folder, self._paths = folder, paths

    def __enter__(self) -> StillSource:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        """Read one image after the other."""
        for index, path in enumerate(self._paths):
            try:
                image = read_image(path)
            except InputError as error:
                self.unreadable += 1
                _LOG.warning("%s: passed over", error)
                continue
            yield Frame(index, image, time.monotonic_ns(), printable(path.relative_to(self._folder).as_posix()))


class VideoSource:
    """A video file; frames that cannot be decoded are counted and passed over with a warning, also those that a cut-off file announces and does not hold."""

    stills = live = False
    feed = None
    dropped = 0

    def __init__(self, uri: str, path: Path) -> None:
        """Open the file.

        Raises:
            SourceError: it is no video, a damaged one, or one of frames too large to work on.
        """
        self.uri, self.unreadable = uri, 0
        self._path = path
        self._capture = open_file(path)
        if not self._capture.isOpened():
            size = path.stat().st_size
            raise SourceError(f"wanted a video or an image in {path}, found {size} bytes that OpenCV cannot open: copy it again or convert it")
        width, height = (int(self._capture.get(each)) for each in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MOST_PIXELS:
            self._capture.release()
            raise SourceError(f"wanted frames of at most {MOST_PIXELS / 1e6:.0f} million pixels in {path}, found {width}x{height}: make it smaller")
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps: float | None = rate if math.isfinite(rate) and rate > 0 else None
        self._announced = announced(self._capture)

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        """Decode one frame after the other."""
        index = failed = 0
        while failed < _PATIENCE and not (failed and 0 < self._announced <= index + failed):
            good, image = self._capture.read()
            received_ns = time.monotonic_ns()
            if not good:
                failed += 1
                continue
            self._pass_over(index, failed)
            index, failed = index + failed, 0
            yield Frame(index, np.asarray(image, np.uint8), received_ns, None, media_s=self._media_s(index))
            index += 1
        if index and self._ends_early():
            self._pass_over(index, self._announced - index)

    def _media_s(self, index: int) -> float | None:
        """Tell a frame's time by the container's clock, which may run unevenly; by its index where there is none."""
        told_s = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if math.isfinite(told_s) and (told_s > 0 or not index):
            return told_s
        return index / self.fps if self.fps is not None else None

    def _ends_early(self) -> bool:
        """Tell by the clock of the last frame: some containers guess the number of frames, and a right guess may be off for a film of changing rate."""
        if self.fps is None or self._announced <= 0:
            return False
        return (float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000 * self.fps) + 1.5 < self._announced

    def _pass_over(self, index: int, count: int) -> None:
        if count > 0:
            self.unreadable += count
            _LOG.warning("%d of the frames of %s cannot be decoded, from frame %d on: passed over", count, self._path, index)


def count_frames(path: Path) -> int:
    """Return how many frames a video file announces; 0 if it is none."""
    capture = open_file(path)
    try:
        return max(announced(capture), 0) if capture.isOpened() else 0
    finally:
        capture.release()
