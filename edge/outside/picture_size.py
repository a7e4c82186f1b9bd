"""The size of a picture by its header alone: OpenCV tells it only after it has taken the memory, which for 130 kB of PNG may be 6 GB."""

from __future__ import annotations

import re
import struct

Size = tuple[int, int]
UNKNOWN = (0, 0)
MOST_PIXELS = 1 << 27
"""Of a picture that is decoded: 134 million, 400 MB of memory. Cameras of drones have up to 100 million."""

_PNM = re.compile(rb"P[1-6fF]\s+(?:#[^\n]*\n\s*)*(\d{1,9})\s+(?:#[^\n]*\n\s*)*(\d{1,9})\s")
_PAM = re.compile(rb"P7\s.{0,200}?WIDTH\s+(\d{1,9})\s.{0,200}?HEIGHT\s+(\d{1,9})\s", re.DOTALL)
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_MOST_BOXES = 10_000


def size_of(content: bytes) -> Size:
    """Return width and height as the header of a picture tells them; (0, 0) where it tells none, or in a format that is not known here."""
    for start, read in _READERS:
        if content.startswith(start):
            try:
                return read(content)
            except (struct.error, IndexError):  # cut off within its header
                return UNKNOWN
    return UNKNOWN


def _png(content: bytes) -> Size:
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _jpeg(content: bytes) -> Size:
    """Walk the segments up to the frame header; what stands within them, such as a thumbnail, is passed over by their length."""
    at = 2
    while (at := content.find(b"\xff", at)) >= 0:  # libjpeg passes over what is no marker
        while content[at] == 0xFF:
            at += 1
        kind = content[at]
        if kind in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 4)
            return width, height
        if kind in (0xD9, 0xDA):
            return UNKNOWN
        at += 1 if kind in _JPEG_ALONE else 1 + struct.unpack_from(">H", content, at + 1)[0]
    return UNKNOWN


def _bmp(content: bytes) -> Size:
    if struct.unpack_from("<I", content, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", content, 18)
    else:
        width, height = struct.unpack_from("<ii", content, 18)
    return abs(width), abs(height)


def _webp(content: bytes) -> Size:
    kind = content[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", content, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF


def _gif(content: bytes) -> Size:
    width, height = struct.unpack_from("<HH", content, 6)
    return width, height


def _tiff(content: bytes) -> Size:
    order = "<" if content.startswith(b"II") else ">"
    at = struct.unpack_from(order + "I", content, 4)[0]
    found = {}
    for entry in range(struct.unpack_from(order + "H", content, at)[0]):
        tag, kind = struct.unpack_from(order + "HH", content, at + 2 + 12 * entry)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            found[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), content, at + 10 + 12 * entry)[0]
    return found.get(_TIFF_WIDTH, 0), found.get(_TIFF_HEIGHT, 0)


def _boxes(content: bytes) -> Size:
    """JPEG 2000 and HEIF: the largest size in a box "ihdr" or "ispe", wherever it stands."""
    found = [UNKNOWN]
    for place in re.finditer(b"ihdr|ispe", content[:_MOST_BOXES]):
        first, second = struct.unpack_from(">II", content, place.end() + (4 if place[0] == b"ispe" else 0))
        found.append((first, second) if place[0] == b"ispe" else (second, first))
    return max(found, key=lambda size: size[0] * size[1])


def _codestream(content: bytes) -> Size:
    right, bottom, left, top = struct.unpack_from(">IIII", content, 8)
    return max(right - left, 0), max(bottom - top, 0)


def _plain(content: bytes) -> Size:
    found = _PNM.match(content) or _PAM.match(content)
    return (int(found[1]), int(found[2])) if found else UNKNOWN


_READERS = (
    (b"\x89PNG", _png),
    (b"\xff\xd8", _jpeg),
    (b"BM", _bmp),
    (b"RIFF", _webp),
    (b"GIF8", _gif),
    (b"II", _tiff),
    (b"MM", _tiff),
    (b"\x00\x00\x00", _boxes),
    (b"\xff\x4f", _codestream),
    (b"P", _plain),
)
