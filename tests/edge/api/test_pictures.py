"""What programs give: pictures in every form that is promised, and refusals that say what was wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.api.pictures import OwnFrames, as_bgr, is_one
from edge.errors import InputError
from edge.geometry.pose import Pose

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


class Pillow:
    """As much of a PIL image as is asked for: where Pillow itself is missing."""

    def getbands(self) -> tuple[str, ...]:
        return ("R", "G", "B", "A")

    def convert(self, mode: str) -> np.ndarray:
        assert mode == "RGB"
        return PICTURE[:, :, ::-1]


def test_every_form_gives_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), PICTURE)
    for given, color in ((PICTURE, "bgr"), (PICTURE[:, :, ::-1], "rgb"), (path, "bgr"), (str(path), "rgb"), (Pillow(), "bgr")):
        assert is_one(given)
        np.testing.assert_array_equal(as_bgr(given, color), PICTURE)  # type: ignore[arg-type]


def test_a_picture_of_pillow_itself() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    np.testing.assert_array_equal(as_bgr(image.fromarray(np.ascontiguousarray(PICTURE[:, :, ::-1]))), PICTURE)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (PICTURE / 255.0, "multiply by 255"),
        (PICTURE.astype(np.int64), "astype"),
        (PICTURE[:, :, 0], "COLOR_GRAY2BGR"),
        (PICTURE[:, :, :1], "COLOR_GRAY2BGR"),
        (np.zeros((24, 32, 4), np.uint8), "[:, :, :3]"),
        (PICTURE.transpose(2, 0, 1), "transpose(1, 2, 0)"),
        (np.zeros((0, 32, 3), np.uint8), "empty"),
        (np.zeros(0, np.uint8), "shape (0,)"),
        (None, "NoneType"),
        (7, "int"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_was_wanted(given: Any, told: str) -> None:
    with pytest.raises(InputError, match=r"^wanted a picture as \(height, width, 3\) uint8, a path, or a PIL image, found") as refusal:
        as_bgr(given)
    assert told in str(refusal.value)


def test_a_missing_file_and_an_unknown_order_of_colours_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        as_bgr(tmp_path / "none.png")
    with pytest.raises(InputError, match="color='rgb'"):
        as_bgr(PICTURE, "RGB")  # type: ignore[arg-type]


def test_frames_of_a_program_come_in_their_order_with_their_poses() -> None:
    pose = Pose(lat=48.0, lon=11.0)
    with OwnFrames([PICTURE, (PICTURE[:, :, ::-1], pose), (PICTURE, None)], "bgr") as source:
        frames = list(source)
    assert [(frame.index, frame.pose) for frame in frames] == [(0, None), (1, pose), (2, None)]
    with pytest.raises(InputError, match=r"edge\.Pose"):
        list(OwnFrames([(PICTURE, "north")], "bgr"))
