"""OpenCV's VideoCapture, for files and for live feeds: the only place that opens one."""

from __future__ import annotations

import logging
import math
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import SourceError
from edge.outside.reading import named_for_libraries

_LOG = logging.getLogger(__name__)
_INSPECT_TIMEOUT_S = 20


class Reader:
    """An open live feed; `read` gives a frame, or None when none came in time or the feed has ended."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        """Take an open capture over."""
        self._capture = capture

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height that the device tells, in pixels; 0 where it does not."""
        return int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))

    @property
    def fps(self) -> float:
        """Frames a second that the device tells; 0 where it does not."""
        return float(self._capture.get(cv2.CAP_PROP_FPS))

    def read(self) -> NDArray[np.uint8] | None:
        """Return the next frame, (height, width, 3) uint8 BGR; None if there is none."""
        good, image = self._capture.read()
        return np.asarray(image, np.uint8) if good else None

    def close(self) -> None:
        """Close the feed."""
        self._capture.release()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_file(path: Path) -> cv2.VideoCapture:
    """Open a video file, or what claims to be one; it may not be open afterwards."""
    _quiet()
    with named_for_libraries(path.resolve()) as name:
        return cv2.VideoCapture(name)


def announced(capture: cv2.VideoCapture) -> int:
    """Return how many frames a file says that it holds; 0 or less where it does not say."""
    count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return int(count) if math.isfinite(count) else 0


def open_gstreamer(pipeline: str, what: str, size_wh: tuple[int, int] | None = None) -> Reader:
    """Open a GStreamer pipeline that ends in an appsink; frames of another size than `size_wh` are warned of.

    Raises:
        SourceError: it cannot be opened.
    """
    # Not every OpenCV knows time-outs here (4.6 refuses to open with them): who reads must be ready to be left behind.
    reader = _opened(cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER), what, "GStreamer")
    _compare_size(reader, what, size_wh)
    return reader


def open_v4l2(device: str, size_wh: tuple[int, int] | None, fps: float | None) -> Reader:
    """Open a USB camera as MJPEG, which USB 2 can carry at 720p; what the camera gives instead is warned of.

    Raises:
        SourceError: no camera there, or not ours to open.
    """
    capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
    reader = _opened(capture, device, "V4L2")
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    if size_wh is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size_wh[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size_wh[1])
    if fps is not None:
        capture.set(cv2.CAP_PROP_FPS, fps)
    _compare_size(reader, device, size_wh)
    if fps is not None and reader.fps and abs(reader.fps - fps) > 0.5:
        _LOG.warning("wanted %g frames a second of %s, the camera gives %g", fps, device, reader.fps)
    return reader


def _compare_size(reader: Reader, what: str, size_wh: tuple[int, int] | None) -> None:
    if size_wh is not None and reader.size_wh != size_wh:
        _LOG.warning("wanted %d x %d pixels of %s, the camera gives %d x %d", *size_wh, what, *reader.size_wh)


@cache
def has_gstreamer() -> bool:
    """Tell whether this OpenCV was built with GStreamer: the system's is, pip's is not."""
    return any(line.split()[:2] == ["GStreamer:", "YES"] for line in cv2.getBuildInformation().splitlines())


@cache
def gstreamer_elements(*wanted: str) -> frozenset[str]:
    """Return those of some elements that GStreamer has here."""
    tool = shutil.which("gst-inspect-1.0")
    if tool is None:
        return frozenset()
    return frozenset(name for name in wanted if _exists(tool, name))


def _exists(tool: str, element: str) -> bool:
    try:
        # A system tool by its full path, and an element's name of ours.
        return subprocess.run([tool, "--exists", element], capture_output=True, timeout=_INSPECT_TIMEOUT_S, check=False).returncode == 0  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False


def _opened(capture: cv2.VideoCapture, what: str, by: str) -> Reader:
    if not capture.isOpened():
        capture.release()
        raise SourceError(f"wanted video from {what}, {by} cannot open it: check that it is there and sends")
    return Reader(capture)


def _quiet() -> None:
    # FFmpeg's own words about damaged data would stand between our lines; -8 is its level "quiet".
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
