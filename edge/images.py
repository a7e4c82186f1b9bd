"""Images from files and between stages: always uint8 BGR, whatever the file held."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.outside.picture_size import MOST_PIXELS, size_of
from edge.outside.reading import read_bounded

_MOST_BYTES = 512 << 20
SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl"}
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".sr", ".tif", ".tiff", ".webp"}
)
"""What pictures are called. Not every OpenCV can decode each; what it cannot is told by name."""
_JPEG_START, _JPEG_END = b"\xff\xd8", 0xD9
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
"""Within a scan, FF stands for itself before 00, and restarts are no markers of a segment."""
_HEIF = b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read one image file as (height, width, 3) uint8 BGR; grey, alpha and 16 bit are converted.

    Raises:
        InputError: missing, unreadable, truncated or empty file, no plain file, or a picture too large to work on.
    """
    try:
        blob = np.frombuffer(read_bounded(path, _MOST_BYTES), np.uint8)
    except OSError as error:
        raise InputError(f"wanted an image file, cannot read {path}: {error.strerror or error}") from error
    return decode_image(blob, str(path))


def decode_image(blob: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Decode an encoded image (1-D uint8) to (height, width, 3) uint8 BGR; `name` is for the message.

    Raises:
        InputError: the bytes are not a whole image, or their header tells of more than `MOST_PIXELS`.
    """
    if blob.size == 0:
        raise InputError(f"wanted an image in {name}, found an empty file: copy it again")
    content = blob.tobytes()
    width, height = size_of(content)
    if width * height > MOST_PIXELS:
        raise InputError(f"wanted an image of at most {MOST_PIXELS / 1e6:.0f} million pixels in {name}, found {width}x{height}: make it smaller")
    if _lacks_its_end(content):
        raise InputError(f"wanted a whole image in {name}, found a JPEG without its end: copy it again")
    try:
        image = cv2.imdecode(blob, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"wanted an image in {name}, OpenCV refused it ({error.err}): copy it again") from error
    if image is None or image.size == 0:
        raise InputError(f"wanted an image in {name}, found {_why(content)}")
    return image.astype(np.uint8, copy=False)


def encode_image(image: NDArray[np.uint8], suffix: str = ".png", quality: int | None = None) -> bytes:
    """Return the bytes of a picture file, by its suffix, of (height, width, 3 or 4) uint8 BGR or BGRA; `quality` is that of JPEG, 1 to 100."""
    options = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(suffix, image, options)[1].tobytes()


def _lacks_its_end(blob: bytes) -> bool:
    """Tell a JPEG that is cut off, whose rest OpenCV 4 would paint grey: its segments are walked to its own end, whatever phones put within and behind it."""
    at = len(_JPEG_START)
    while blob.startswith(_JPEG_START):
        found = _JPEG_MARKER.search(blob, at)
        if found is None:
            return True
        if found[1][0] == _JPEG_END:
            return False
        at = found.end() + int.from_bytes(blob[found.end() : found.end() + 2], "big")
    return False


def _why(blob: bytes) -> str:
    if blob[4:8] == b"ftyp" and blob[8:12] in _HEIF:
        return "a HEIC picture, which OpenCV cannot decode: convert it by heif-convert"
    return f"{len(blob)} bytes that OpenCV cannot decode: copy it again or convert it to PNG"


def fit_crop(crop: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize a crop to the classifier's square input, (size, size, 3) uint8: area averaging down, bilinear up.

    Training, export and the board all come through here, so that they see the same pixels.
    """
    shrinks = max(crop.shape[:2]) > size
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR).astype(np.uint8, copy=False)
