"""Boxes from black frames up to a drawn flight and real photos."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.drawn.scenes import Flight
from edge.drawn.signs import FLIGHT_CLASSES, draw_sign
from edge.geometry.boxes import iou_matrix
from edge.images import read_image
from edge.recognition.proposals import MOST, Proposals, spot_whole
from edge.recognition.spotter_colour import MIN_SIDE_PX, spot_by_colour

SIZE_WH = (320, 240)
GREENS = (70, 105, 80)


def paste(image: np.ndarray, class_id: int, corner_xy: tuple[int, int], side_px: int) -> tuple[int, int, int, int]:
    """Draw a sign into a picture, cut by its edges, and return its whole box."""
    (x, y), face = corner_xy, draw_sign(class_id, side_px)
    height, width = image.shape[:2]
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + side_px, width), min(y + side_px, height)
    cut = face[y1 - y : y2 - y, x1 - x : x2 - x].astype(np.float64)
    alpha = cut[:, :, 3:] / 255
    image[y1:y2, x1:x2] = np.rint(cut[:, :, :3] * alpha + image[y1:y2, x1:x2] * (1 - alpha))
    return x, y, x + side_px, y + side_px


def plain(size_wh: tuple[int, int] = SIZE_WH, colour: Sequence[int] = GREENS) -> np.ndarray:
    return np.full((size_wh[1], size_wh[0], 3), colour, np.uint8)


def best(proposals: Proposals, box: Sequence[float]) -> float:
    return float(iou_matrix([box], proposals.boxes_xyxy).max(initial=0))


def check(proposals: Proposals, image: np.ndarray) -> None:
    """What holds for every frame's proposals."""
    boxes, scores = proposals.boxes_xyxy, proposals.scores
    height, width = image.shape[:2]
    assert boxes.shape == (len(scores), 4)
    assert boxes.dtype == scores.dtype == np.float32
    assert len(scores) == len(proposals) <= MOST
    assert ((boxes >= 0) & (boxes <= [width, height, width, height])).all()
    assert ((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE_PX - 1e-3).all()
    assert (np.diff(scores) <= 0).all()
    assert ((scores > 0) & (scores <= 1)).all()
    assert np.triu(iou_matrix(boxes, boxes), 1).max(initial=0) < 0.5


@pytest.mark.parametrize(("a", "b", "expected"), [
    ([0, 0, 2, 2], [0, 0, 2, 2], 1),
    ([0, 0, 2, 2], [1, 0, 3, 2], 1 / 3),
    ([0, 0, 2, 2], [2, 0, 4, 2], 0),
    ([0, 0, 4, 4], [1, 1, 3, 3], 0.25),
    ([1, 1, 1, 1], [1, 1, 1, 1], 0),
    ([3, 3, 1, 1], [0, 0, 4, 4], 0),
])  # fmt: skip
def test_iou_of_two_boxes(a, b, expected):
    assert iou_matrix([a], [b]) == pytest.approx(np.array([[expected]]))
    assert iou_matrix([b], [a]) == pytest.approx(np.array([[expected]]))


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (2, 0), (2, 3)])
def test_iou_matrix_has_a_row_for_each_box_of_a(n, m):
    assert iou_matrix(np.ones((n, 4)), np.ones((m, 4))).shape == (n, m)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (9, 300), (540, 960)])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (40, 30, 200), (200, 80, 20)])
def test_a_frame_of_one_colour_holds_nothing(shape, colour):
    proposals = spot_by_colour(np.full((*shape, 3), colour, np.uint8))
    assert proposals.boxes_xyxy.shape == (0, 4)
    assert proposals.scores.shape == (0,)


def test_grey_noise_holds_nothing():
    grey = np.random.default_rng(1).integers(0, 256, (240, 320, 1), np.uint8)
    assert len(spot_by_colour(np.repeat(grey, 3, axis=2))) == 0


@pytest.mark.parametrize("shape", [(1, 1), (12, 12), (40, 1000), (720, 1280)])
def test_coloured_noise_keeps_the_rules(shape):
    image = np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8)
    check(spot_by_colour(image), image)


@pytest.mark.parametrize("side_px", [16, 24, 60, 150])
@pytest.mark.parametrize("class_id", FLIGHT_CLASSES)
def test_each_drawn_sign_is_found(class_id, side_px):
    image = plain()
    box = paste(image, class_id, (90, 50), side_px)
    proposals = spot_by_colour(image)
    check(proposals, image)
    assert best(proposals, box) > (0.6 if side_px < 20 else 0.75)
    assert len(proposals) <= 3


@pytest.mark.parametrize("class_id", [1, 12, 13, 14, 17, 35])
@pytest.mark.parametrize("spoil", ["dark", "bright", "reddish", "bluish", "blurred", "noisy"])
def test_light_blur_and_noise_hide_no_sign(class_id, spoil):
    image = plain()
    box = paste(image, class_id, (130, 80), 40)
    gain = {"dark": (0.35,) * 3, "bright": (1.5,) * 3, "reddish": (0.75, 0.9, 1.0), "bluish": (1.0, 0.95, 0.8)}.get(spoil, (1.0,) * 3)
    image = np.clip(image * np.array(gain), 0, 255).astype(np.uint8)
    if spoil == "blurred":
        image = cv2.GaussianBlur(image, (0, 0), 2)
    if spoil == "noisy":
        image = np.clip(image + np.random.default_rng(3).normal(0, 10, image.shape), 0, 255).astype(np.uint8)
    proposals = spot_by_colour(image)
    check(proposals, image)
    assert best(proposals, box) > 0.6


def test_a_sign_that_the_border_cuts_is_boxed_within_the_frame():
    image = plain()
    x1, y1, _, y2 = paste(image, 1, (SIZE_WH[0] - 56, 60), 60)
    proposals = spot_by_colour(image)
    check(proposals, image)
    assert best(proposals, (x1, y1, SIZE_WH[0], y2)) > 0.75


@pytest.mark.parametrize("aside_xy", [(0, 40), (40, 0)])
def test_two_signs_that_touch_are_parted(aside_xy):
    image = plain()
    first = paste(image, 1, (100, 80), 40)
    second = paste(image, 5, (100 + aside_xy[0], 80 + aside_xy[1]), 40)
    image = cv2.GaussianBlur(image, (0, 0), 1.5)
    proposals = spot_by_colour(image)
    check(proposals, image)
    assert min(best(proposals, first), best(proposals, second)) > 0.6


def test_a_sign_that_moves_takes_its_box_along():
    here, there = plain(), plain()
    paste(here, 3, (60, 60), 50)
    paste(there, 3, (148, 100), 50)
    moved = spot_by_colour(here).boxes_xyxy + np.array([88, 40, 88, 40], np.float32)
    assert best(spot_by_colour(there), moved[0]) > 0.95


def test_a_picture_is_not_changed():
    image = plain()
    paste(image, 1, (60, 60), 50)
    before = image.copy()
    assert np.array_equal(spot_by_colour(image).boxes_xyxy, spot_by_colour(image).boxes_xyxy)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("size_wh", [(1, 1), (48, 48), (640, 480)])
def test_the_whole_frame_is_one_box(size_wh):
    proposals = spot_whole(plain(size_wh))
    assert proposals.boxes_xyxy.tolist() == [[0, 0, *size_wh]]
    assert proposals.scores.tolist() == [1]


def test_a_drawn_flight_shows_its_signs():
    flight, seen, counts = Flight(seed=7, frames=240), [], []
    for index in range(0, 240, 8):
        drawn = flight.frame(index)
        proposals = spot_by_colour(drawn.image)
        check(proposals, drawn.image)
        counts.append(len(proposals))
        boxes = [truth.box_xyxy for truth in drawn.truths]
        seen += [best(proposals, box) >= 0.5 for box in boxes if min(box[2] - box[0], box[3] - box[1]) >= 16]
    assert len(seen) >= 20
    assert np.mean(seen) >= 0.95
    assert np.mean(counts) <= 15


def test_real_photos_show_what_colour_can_find(data_root: Path):
    with (data_root / "gtsdb" / "gt.txt").open(encoding="ascii") as file:
        rows = [(name, tuple(map(int, box))) for name, *box, _ in csv.reader(file, delimiter=";")]
    names = sorted({name for name, _ in rows})[::6]
    found = {name: spot_by_colour(read_image(data_root / "gtsdb" / "images" / name)) for name in names}
    seen = [best(found[name], box) >= 0.5 for name, box in rows if name in found and min(box[2] - box[0], box[3] - box[1]) >= 16]
    assert len(seen) >= 40
    assert np.mean(seen) >= 0.6
