"""Faces of own signs as a bundle carries them: packed small, read back, and refused with one line where they are damaged."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import cv2
import foreign_signs
import numpy as np
import pytest

from edge.datasets.faces import FACE_PX, PACKED_PX, PaintedFace, packed, read_packed, scaled
from edge.drawn.signs import draw_sign
from edge.errors import BundleError


def painted(class_id: int) -> PaintedFace:
    return PaintedFace(cv2.imencode(".png", draw_sign(class_id, FACE_PX))[1].tobytes())


def archive(names: tuple[str, ...], content: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, content)
    return held.getvalue()


def png(side: int, channels: int = 4) -> bytes:
    return cv2.imencode(".png", np.zeros((side, side, channels), np.uint8))[1].tobytes()


def test_they_come_back_as_they_were_but_for_what_is_small(tmp_path: Path) -> None:
    faces = {43 + place: painted(class_id) for place, class_id in enumerate((14, 1, 25))}
    content = packed(faces)
    assert content == packed(dict(reversed(faces.items())))
    (tmp_path / "faces.zip").write_bytes(content)
    found = read_packed(tmp_path / "faces.zip", 43, 46)
    for face, wanted in zip(found, faces.values(), strict=True):
        assert face.picture().shape == (FACE_PX, FACE_PX, 4)
        assert np.abs(foreign_signs.on_grey(face.picture()) - foreign_signs.on_grey(wanted.picture())).mean() < 2
    assert packed(dict(enumerate(found, 43))) == content  # they may go from bundle to bundle for ever
    read_packed(tmp_path / "faces.zip", 43, 50)  # the first classes may have faces, and others none


def test_nothing_of_what_is_transparent_bleeds_into_an_edge() -> None:
    small = scaled(foreign_signs.face(4), (PACKED_PX, PACKED_PX))  # red, and black beside it
    edge = (small[:, :, 3] > 60) & (small[:, :, 3] < 200)
    assert edge.sum() > 100
    assert (small[edge][:, :3] == foreign_signs.RED).all()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no archive", "cannot read them"),
        (packed({0: painted(1), 1: painted(2)})[:-40], "cannot read them"),
        (packed({0: painted(1), 2: painted(2)}), "its 2 files are not the faces of the classes from 0 on, of 2"),
        (packed({place: painted(place) for place in range(3)}), "its 3 files are not the faces of the classes from 0 on, of 2"),
        (archive(("0000.png",), bytes(1 << 20)), "its 1 files are not the faces"),
        (archive(("../0000.png",), png(PACKED_PX)), "its 1 files are not the faces"),
        (archive(("0000.png",), png(4096)), "one is no PNG of 128 x 128 pixels with alpha"),
        (archive(("0000.png",), png(PACKED_PX, 3)), "one is no PNG of 128 x 128 pixels with alpha"),
        (archive(("0000.png",), png(PACKED_PX)[:60]), "cannot read them"),
        (archive(("0000.png",), b"no picture"), "one is no PNG of 128 x 128 pixels with alpha"),
    ],
    ids=["no archive", "cut off", "a gap", "too many", "too long", "a path", "too large", "no alpha", "half a picture", "no picture"],
)
def test_what_is_damaged_is_told_in_a_line(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "faces.zip").write_bytes(content)
    with pytest.raises(BundleError, match=r"wanted faces of signs in .*faces\.zip, cannot read them \(.*\): export the bundle again") as raised:
        read_packed(tmp_path / "faces.zip", 0, 2)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
