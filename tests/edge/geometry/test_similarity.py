"""Turns of the picture's plane: they undo each other, and OpenCV warps by them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.geometry.similarity import Similarity, around

TURN = Similarity.turned(30, (64, 48))


def test_a_turn_is_clockwise_and_leaves_its_centre() -> None:
    assert TURN.point(64, 48) == pytest.approx((64, 48))
    assert Similarity.turned(90, (0, 0)).point(1, 0) == pytest.approx((0, 1))
    assert (TURN.degrees, TURN.scale) == pytest.approx((30, 1))


def test_what_is_undone_is_as_it_was() -> None:
    moved = TURN.then(Similarity(1.2, 0.3, 5, -7))
    back = moved.then(moved.inverse())
    assert (back.a, back.b, back.right, back.down) == pytest.approx((1, 0, 0, 0), abs=1e-12)
    assert moved.point(3, 4) == pytest.approx(Similarity(1.2, 0.3, 5, -7).point(*TURN.point(3, 4)))


@pytest.mark.parametrize("turn", [TURN, Similarity(right=10, down=-6), Similarity(2.0, 0.0, -30, -30), Similarity.turned(-137, (70, 30))])
def test_opencv_warps_by_it(turn: Similarity) -> None:
    """A filled box comes to lie where its corners do, to the fraction of a pixel."""
    image = np.zeros((96, 128), np.float32)
    box = (56.0, 40.0, 76.0, 60.0)
    image[40:60, 56:76] = 1
    warped = cv2.warpAffine(image, turn.matrix(), (128, 96), flags=cv2.INTER_LINEAR)
    ys, xs = np.mgrid[:96, :128] + 0.5
    middle = (warped * xs).sum() / warped.sum(), (warped * ys).sum() / warped.sum()
    assert middle == pytest.approx(np.mean(turn.quad(box), axis=0), abs=0.05)


def test_a_box_keeps_its_shape_where_it_goes() -> None:
    assert Similarity.turned(90, (0, 0)).upright((10, 0, 20, 6)) == pytest.approx((-8, 12, 2, 18))
    assert Similarity(2.0).upright((10, 0, 20, 6)) == pytest.approx((20, 0, 40, 12))


def test_the_box_of_a_turned_box_is_that_of_the_ellipse_that_fills_it() -> None:
    box = (54.0, 38.0, 84.0, 58.0)
    rim = np.linspace(0, 2 * np.pi, 3600)
    ellipse = np.array([TURN.point(69 + 15 * np.cos(at), 48 + 10 * np.sin(at)) for at in rim])
    assert around(TURN.quad(box), (128, 96)) == pytest.approx((*ellipse.min(axis=0), *ellipse.max(axis=0)), abs=1e-3)
    assert around(Similarity.turned(45, (64, 48)).quad((54, 38, 74, 58)), (128, 96)) == pytest.approx((54, 38, 74, 58))


def test_the_box_around_corners_stays_in_the_picture() -> None:
    assert around(TURN.quad((-80, -80, 208, 176)), (128, 96)) == (0, 0, 128, 96)
