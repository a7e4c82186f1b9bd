"""What decodes a recording: PyAV where it is installed, else OpenCV. Both give the same pictures of the same file; PyAV knows more about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge import pyav
from edge.errors import SourceError
from edge.outside.picture_size import MOST_PIXELS
from edge.sources.mp4 import is_unfinished


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright, whole: `image` (height, width, 3) uint8 BGR; `media_s` when it is to be shown, in seconds from the recording's start."""

    image: NDArray[np.uint8]
    media_s: float | None


class Decoder(Protocol):
    """An open recording, read once."""

    @property
    def fps(self) -> float | None:
        """Frames a second that the file tells; None where it does not."""
        ...

    @property
    def what(self) -> str:
        """Codec and container, for a message; "" where nothing is known."""
        ...

    def __iter__(self) -> Iterator[Picture | int]:
        """Give the pictures in the order in which they are shown, and where some are lost, how many."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def open_decoder(path: Path) -> Decoder:
    """Open a file by what is installed.

    Raises:
        SourceError: it holds no video, or one that cannot be opened.
    """
    if pyav.is_here():
        from edge.sources.decoding_pyav import PyavDecoder

        return PyavDecoder(path)
    from edge.sources.decoding_opencv import OpencvDecoder

    return OpencvDecoder(path)


def check_size(path: Path, width: int, height: int) -> None:
    """Refuse frames that take too much memory once they are decoded.

    Raises:
        SourceError: they have more than `MOST_PIXELS`.
    """
    if width * height > MOST_PIXELS:
        raise SourceError(f"wanted frames of at most {MOST_PIXELS / 1e6:.0f} million pixels in {path}, found {width}x{height}: make it smaller")


def unopened(path: Path) -> str:
    """Say what is found in a file that cannot be opened, and what cures it."""
    size = path.stat().st_size
    if is_unfinished(path):
        return f"{size} bytes of an MP4 without its index (moov), which is written last: its recording was cut off: copy it again, or repair it with untrunc"
    return f"{size} bytes that cannot be opened: copy it again or convert it by {conversion(path)}"


def conversion(path: Path) -> str:
    """Return the command that makes H.264 of a video."""
    return f"ffmpeg -i {quote(str(path))} -c:v libx264 -pix_fmt yuv420p {quote(str(path.with_name(path.stem + '_h264.mp4')))}"
