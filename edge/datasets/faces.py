"""Faces of signs that can be drawn: GTSRB's by their class ids, or pictures that a data set brings (`faces/0000.png` and on, by class id).

A bundle carries them smaller, as `faces.zip`: PNGs of `PACKED_PX` a side, called as in a data set, `0000.png` and on.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Union

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError, DataError, one_line
from edge.files import telling_refusal
from edge.images import encode_image
from edge.outside.picture_size import size_of

FOLDER = "faces"
FACE_PX = 256
PACKED, PACKED_PX = "faces.zip", 128
_MOST_BYTES = 1 << 18
"""Of a packed face: more than its pixels have."""


@dataclass(frozen=True)
class PaintedFace:
    """A face as a picture: PNG of `FACE_PX` a side, BGR and alpha, 0 beside the face."""

    png: bytes

    def picture(self) -> NDArray[np.uint8]:
        """Return it as (256, 256, 4) uint8 BGRA."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.png, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


Face = Union[int, PaintedFace]  # noqa: UP007 - evaluated where it is read, by Python 3.10 too
"""What draws a sign: the id of one of GTSRB's classes, or a picture."""


def _name(class_id: int) -> str:
    return f"{class_id:04}.png"


def face_file(class_id: int) -> str:
    """Return where a data set has the face of a class."""
    return f"{FOLDER}/{_name(class_id)}"


def write_faces(root: Path, faces: Mapping[int, bytes]) -> None:
    """Write faces by class id into a data set.

    Raises:
        OutputError: they cannot be written.
    """
    for class_id, png in faces.items():
        with telling_refusal(path := root / face_file(class_id)):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(png)


def scaled(face: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a face, (height, width, 4) uint8 BGRA, to (width, height) pixels; the colour of what is transparent does not bleed into its edge."""
    work = face.astype(np.float32)
    work[:, :, :3] *= work[:, :, 3:] / 255
    way = cv2.INTER_AREA if max(size_wh) < max(face.shape[:2]) else cv2.INTER_LINEAR
    resized = np.asarray(cv2.resize(work, size_wh, interpolation=way), np.float32)
    resized[:, :, :3] /= np.maximum(resized[:, :, 3:], 1) / 255
    return np.clip(np.rint(resized), 0, 255).astype(np.uint8)


def packed(faces: Mapping[int, PaintedFace]) -> bytes:
    """Return faces by class id as a bundle carries them; the same faces are the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for class_id, face in sorted(faces.items()):
            archive.writestr(zipfile.ZipInfo(_name(class_id)), _png(scaled(face.picture(), (PACKED_PX, PACKED_PX))))
    return content.getvalue()


def read_packed(path: Path, first: int, count: int) -> tuple[PaintedFace, ...]:
    """Read the faces that a bundle of `count` classes carries: that of class `first`, and on.

    Raises:
        BundleError: no such archive, faces of other classes, or no pictures of this form.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            held = archive.infolist()
            wanted = [_name(class_id) for class_id in range(first, min(first + len(held), count))]
            if sorted(info.filename for info in held) != wanted or any(info.file_size > _MOST_BYTES for info in held):
                raise ValueError(f"its {len(held)} files are not the faces of the classes from {first} on, of {count}")
            return tuple(_enlarged(archive.read(name)) for name in wanted)
    except Exception as error:  # zipfile, zlib and OpenCV raise many things for a damaged archive
        raise BundleError(f"wanted faces of signs in {path}, cannot read them ({one_line(error)}): export the bundle again") from error


def _enlarged(png: bytes) -> PaintedFace:
    small = PaintedFace(png).picture() if size_of(png) == (PACKED_PX, PACKED_PX) else np.empty(0, np.uint8)
    if small.shape != (PACKED_PX, PACKED_PX, 4):
        raise ValueError(f"one is no PNG of {PACKED_PX} x {PACKED_PX} pixels with alpha")
    return PaintedFace(_png(small.repeat(FACE_PX // PACKED_PX, axis=0).repeat(FACE_PX // PACKED_PX, axis=1)))  # packed again it is what it was


def _png(face: NDArray[np.uint8]) -> bytes:
    return encode_image(face)


def read_faces(root: Path, first: int, count: int) -> tuple[PaintedFace, ...]:
    """Read the faces of a data set's classes from `first` on, of as many of the `count` classes as have one; none where it brings none.

    Raises:
        DataError: one is missing, or is no picture of this form.
    """
    if not (root / FOLDER).is_dir():
        return ()
    held = len(list((root / FOLDER).glob("*.png")))
    return tuple(_read(root / face_file(class_id)) for class_id in range(first, min(first + held, count)))


def _read(path: Path) -> PaintedFace:
    try:
        face = PaintedFace(path.read_bytes())
        shape = face.picture().shape
    except (OSError, cv2.error):
        shape = ()
    if shape != (FACE_PX, FACE_PX, 4):
        raise DataError(f"wanted a face of {FACE_PX} x {FACE_PX} pixels with alpha at {path}, found none: prepare the data set again")
    return face
