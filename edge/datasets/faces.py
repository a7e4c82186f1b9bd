"""Faces of signs that can be drawn: GTSRB's by their class ids, or pictures that a data set brings (`faces/0000.png` and on, by class id)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Union

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError

FOLDER = "faces"
FACE_PX = 256


@dataclass(frozen=True)
class PaintedFace:
    """A face as a picture: PNG of `FACE_PX` a side, BGR and alpha, 0 beside the face."""

    png: bytes

    def picture(self) -> NDArray[np.uint8]:
        """Return it as (256, 256, 4) uint8 BGRA."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.png, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


Face = Union[int, PaintedFace]  # noqa: UP007 - evaluated where it is read, by Python 3.10 too
"""What draws a sign: the id of one of GTSRB's classes, or a picture."""


def face_file(class_id: int) -> str:
    """Return where a data set has the face of a class."""
    return f"{FOLDER}/{class_id:04}.png"


def read_faces(root: Path, first: int, count: int) -> tuple[PaintedFace, ...]:
    """Read the faces of a data set's classes from `first` on; none where it brings none.

    Raises:
        DataError: one is missing, or is no picture of this form.
    """
    if not (root / FOLDER).is_dir():
        return ()
    return tuple(_read(root / face_file(class_id)) for class_id in range(first, count))


def _read(path: Path) -> PaintedFace:
    try:
        face = PaintedFace(path.read_bytes())
        shape = face.picture().shape
    except (OSError, cv2.error):
        shape = ()
    if shape != (FACE_PX, FACE_PX, 4):
        raise DataError(f"wanted a face of {FACE_PX} x {FACE_PX} pixels with alpha at {path}, found none: prepare the data set again")
    return face
