"""Views from the air in training: turned with their boxes, made worse within bounds, and unsure where an arrow may be another sign's."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from edge.datasets.gtsrb_labels import ARROWS
from train.photos import spotter_frames
from train.photos import views as made
from train.photos.aerial import AMBIGUOUS_FROM, ROLL, TILT, draw_turn, turn_around, turn_crop, warp_frame, weather
from train.photos.spotter_frames import Still
from train.photos.spotter_frames import Views as SpotterViews
from train.photos.views import REAL, Views
from train.recipes import FULL, SPOTTER

GREY = 114


def test_turns_stay_within_their_ranges_and_come_in_all_kinds():
    rng = np.random.default_rng(0)
    turns = np.array([draw_turn(rng, ambiguous=0.1) for _ in range(2000)])
    beyond = np.abs(turns[:, 0]) > AMBIGUOUS_FROM
    assert 0.05 < beyond.mean() < 0.2
    assert np.abs(turns[~beyond, 0]).max() <= ROLL
    assert np.abs(turns[:, 1:]).max() <= TILT
    assert (np.abs(turns[:, 1]) > 40).mean() > 0.05
    assert (np.abs(turns[:, 2]) > 40).mean() > 0.05


def test_a_frame_turns_about_the_point_that_is_asked_for():
    frame = np.full((480, 816, 3), 60, np.uint8)
    cv2.circle(frame, (600, 200), 20, (0, 0, 255), -1)
    box = np.array([[579.5, 179.5, 621.5, 221.5]])
    matrix = turn_around(np.array([600.0, 200.0]), np.array([150.0, 220.0]), 1.4, 816, (35.0, 40.0, 0.0))
    view, boxes = warp_frame(frame, box, matrix, 384, GREY, np.random.default_rng(1))
    rows, columns = np.nonzero(view[:, :, 2] > 150)
    np.testing.assert_allclose([(columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2], [150, 220], atol=1)
    np.testing.assert_allclose(boxes[0], [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=2)


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (45.0, 0.0, 0.0), (-30.0, 60.0, 0.0), (0.0, 0.0, 65.0)])
def test_a_turned_crop_is_filled_by_its_sign(turn: tuple[float, float, float]):
    linear = turn_crop((50, 40), 64, turn)
    angles = np.linspace(0, 2 * np.pi, 400)
    rim = linear @ np.stack([25 * np.cos(angles), 20 * np.sin(angles)])
    np.testing.assert_allclose(np.abs(rim).max(axis=1), 32, rtol=0.01)


def test_weather_is_the_same_for_a_seed_and_leaves_a_picture():
    crop = np.random.default_rng(0).integers(40, 220, (64, 64, 3)).astype(np.uint8)
    for seed in range(60):
        one, other = (weather(crop, np.random.default_rng(seed), crop=True) for _ in range(2))
        np.testing.assert_array_equal(one, other)
        assert one.shape == crop.shape
        assert one.dtype == np.uint8
        assert (one != crop).any()


def views_of(class_id: int, **changes: object) -> Views:
    photo = np.random.default_rng(3).integers(0, 256, (40, 40, 3), np.uint8)
    blob = cv2.imencode(".png", photo)[1]
    return Views([blob], ["photo"], [class_id], [], replace(FULL, size=48, **changes))


@pytest.mark.parametrize(("class_id", "unsure"), [(38, True), (33, True), (14, False)])
def test_an_arrow_that_is_turned_too_far_is_told_as_unsure(monkeypatch: pytest.MonkeyPatch, class_id: int, unsure: bool):
    assert (class_id in ARROWS) == unsure
    for roll, expected in ((70.0, unsure), (40.0, False)):
        monkeypatch.setattr(made, "draw_turn", lambda rng, ambiguous, roll=roll: (roll, 0.0, 0.0))
        _, target = views_of(class_id, turned_share=1.0).view(np.array([REAL, 0, 0, 1]))
        assert (target.max() < 0.1) == expected


def test_without_the_air_no_view_is_turned_or_made_worse(monkeypatch: pytest.MonkeyPatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(made, "draw_turn", never)
    for place in range(20):
        views_of(14, air=False).view(np.array([REAL, 0, 0, place]))
    turned = views_of(14, turned_share=1.0)
    with pytest.raises(AssertionError):
        turned.view(np.array([REAL, 0, 0, 0]))


def test_crops_of_frames_are_turned_with_the_boxes_of_their_signs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spotter_frames, "_seen", lambda image, rng: image)
    frame = np.full((480, 816, 3), 90, np.uint8)
    cv2.ellipse(frame, (420, 220), (24, 24), 0, 0, 360, (0, 0, 255), -1)
    recipe = replace(SPOTTER, turned_share=1.0, weather_share=0.0, drawn_share=0.0)
    views = SpotterViews([Still(frame, np.array([[395.5, 195.5, 445.5, 245.5]]))], [], [], recipe)
    greys, apart = [], []
    for place in range(30):
        image, boxes = views.cut((0, place))
        greys.append(float((image == GREY).all(axis=2).mean()))
        rows, columns = np.nonzero(image[:, :, 2] > 170)
        if len(rows) and boxes[0].min() > 4 and boxes[0].max() < recipe.crop - 4:
            apart.append(np.abs(boxes[0] - [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).max())
    assert max(greys) > 0.05  # outside a turned frame
    assert len(apart) > 10
    assert max(apart) < 4
