"""Faces of one's own signs: an SVG or a PNG for each class, in a folder, named as the class is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import resvg_py
from numpy.typing import NDArray

from edge.datasets.faces import FACE_PX, scaled
from edge.errors import DataError, InputError, one_line
from edge.images import decode_image, encode_image
from train.own.checks import shown
from train.own.found import named

_KINDS = (".svg", ".png")
_BLANK = 128
"""Alpha below which a pixel shows what stands behind the sign."""


def read_own_faces(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Read the faces of classes; returns a PNG each, `FACE_PX` a side with alpha, the face as large as fits.

    A PNG without transparency is a sign that fills its picture.

    Raises:
        InputError: no such folder.
        DataError: a face is missing or nobody's, or cannot be read, or shows nothing.
    """
    if not folder.is_dir():
        raise InputError(f"wanted a folder of faces, an SVG or a PNG named as each class is, found none at {folder}: give its path to --faces")
    files = {named(path.stem): path for path in sorted(folder.iterdir()) if path.suffix.lower() in _KINDS and not path.name.startswith(".")}
    lacking, strangers = [name for name in names if name not in files], sorted(set(files) - set(names))
    if lacking:
        raise DataError(
            f"wanted a face of every class in {folder}, found none of {shown(lacking)}"
            + (f", and others of {shown(strangers)}" if strangers else "")
            + ": add an SVG or a PNG of that name"
        )
    return {name: _png(_fitted(_read(files[name]), files[name])) for name in names}


def _read(path: Path) -> NDArray[np.uint8]:
    """Read a picture, (height, width, 4) uint8 BGRA."""
    try:
        data = path.read_bytes() if path.suffix.lower() == ".png" else resvg_py.svg_to_bytes(svg_path=str(path), width=4 * FACE_PX)
    except (OSError, ValueError) as error:
        raise DataError(f"wanted a drawing that can be read at {path}, found a fault ({one_line(error)}): save it again as plain SVG, or as PNG") from error
    decode_image(np.frombuffer(data, np.uint8), str(path))  # tells what is no picture, and one that would fill the memory
    image: NDArray[Any] = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    if image.dtype == np.uint16:
        image = (image // 256).astype(np.uint8)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return np.asarray(image if image.shape[2] == 4 else cv2.cvtColor(image, cv2.COLOR_BGR2BGRA), np.uint8)


def _fitted(image: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """Cut a face out and bring it into a square, its sides as they are to each other: (256, 256, 4)."""
    rows, columns = np.nonzero(image[:, :, 3] >= _BLANK)
    if not len(rows):
        raise DataError(f"wanted a drawing that shows something at {path}, found it transparent: save it again")
    face = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    width, height = (max(1, round(side * FACE_PX / max(face.shape[:2]))) for side in face.shape[1::-1])
    square = np.zeros((FACE_PX, FACE_PX, 4), np.uint8)
    x, y = (FACE_PX - width) // 2, (FACE_PX - height) // 2
    square[y : y + height, x : x + width] = scaled(face, (width, height))
    return square


def _png(image: NDArray[np.uint8]) -> bytes:
    return encode_image(image)
