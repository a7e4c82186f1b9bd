"""What OpenCV does not tell of an MP4 or QuickTime file: how its picture is to be turned, and whether it was ever finished."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge.sources.decoding.orientation import UPRIGHT, Matrix

_Box = tuple[bytes, int, int]
"""A box's kind, and where in the file its content begins and should end."""


def matrix_of(path: Path) -> Matrix:
    """Read the display matrix of the first video track; `UPRIGHT` where there is none.

    OpenCV tells an angle, and what it means changed: of one file 4.6 and 4.11 tell opposite ones.
    """
    try:
        with path.open("rb") as file:
            for kind, start, end in _boxes(file, 0, path.stat().st_size):
                if kind == b"moov":
                    found = [_matrix(file, *box[1:]) for box in _boxes(file, start, end) if box[0] == b"trak"]
                    return next((matrix for matrix in found if matrix is not None), UPRIGHT)
    except (OSError, struct.error):
        pass
    return UPRIGHT


def is_unfinished(path: Path) -> bool:
    """Tell a file without its whole index, the box moov, which a recorder writes last."""
    size, boxes = _outline(path)
    return bool(boxes) and not any(kind == b"moov" and end <= size for kind, _, end in boxes)


def is_cut_off(path: Path) -> bool:
    """Tell a file whose last box should go on beyond its end."""
    size, boxes = _outline(path)
    return bool(boxes) and boxes[-1][2] > size


def _outline(path: Path) -> tuple[int, list[_Box]]:
    """Return a file's size and its outermost boxes; none where it cannot be read, or is another kind of file."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            boxes = list(_boxes(file, 0, size))
    except OSError:
        boxes = []
    return size, boxes if boxes and boxes[0][0] == b"ftyp" else []


def _matrix(file: BinaryIO, start: int, end: int) -> Matrix | None:
    """Read the matrix in the header of a track; None where it is of sound."""
    boxes = {kind: (begin, stop) for kind, begin, stop in _boxes(file, start, end)}
    inner = {kind: begin for kind, begin, _ in _boxes(file, *boxes.get(b"mdia", (0, 0)))}
    if b"tkhd" not in boxes or b"hdlr" not in inner:
        return None
    file.seek(inner[b"hdlr"])
    if file.read(12)[8:] != b"vide":
        return None
    file.seek(boxes[b"tkhd"][0])
    header = file.read(96)
    a, b, _, c, d = struct.unpack_from(">5i", header, 52 if header[0] else 40)  # times of 64 bits in version 1
    return a, b, c, d


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[_Box]:
    """List the boxes that lie between two places of a file; what is none ends the list."""
    while start + 8 <= end:
        file.seek(start)
        header = file.read(16)
        if len(header) < 8:
            return
        size, kind = struct.unpack_from(">I4s", header)
        begin = start + 8
        if size == 1 and len(header) == 16:
            begin, size = start + 16, int.from_bytes(header[8:], "big")
        stop = end if size == 0 else start + size
        if stop < begin:
            return
        yield kind, begin, stop
        start = stop
