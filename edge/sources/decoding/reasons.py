"""Why a recording cannot be read, and what cures it."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from edge.board.extras import install
from edge.errors import SourceError
from edge.outside.picture_size import MOST_PIXELS
from edge.sources.decoding import pyav
from edge.sources.decoding.mp4 import is_unfinished


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


def undecoded(path: Path, what: str) -> str:
    """Say that nothing here decodes a codec, and what does."""
    other = "" if pyav.is_here() else f"install PyAV, which knows more codecs, by {install('video')}, or "
    return f"{what or 'a codec'}, of which no frame can be decoded: {other}convert it by {conversion(path)}"
