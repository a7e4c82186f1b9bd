"""A drone's views: boxes against signs that are drawn and then changed, blur and light by their definitions, the same picture twice."""

from __future__ import annotations

import shutil
from functools import partial

import cv2
import numpy as np
import pytest

from edge.datasets import aerial
from edge.datasets.aerial import (
    CROP_VIEWS,
    FRAME_VIEWS,
    GREY,
    JUDGED,
    SEED,
    barrelled,
    boxes_of_ellipses,
    darkened,
    fogged,
    moved,
    shaken,
    through_h265,
    turned_crop,
)
from edge.errors import InputError, MissingDependency

WH = (816, 480)
BOXES = np.array([[300.0, 150.0, 360.0, 210.0], [430.0, 260.0, 470.0, 320.0], [520.5, 120.25, 561.5, 161.25]])
GEOMETRIES = [name for name, view in FRAME_VIEWS.items() if view.cause in ("none", "roll", "pitch", "yaw", "lens", "size")]
needs_h265 = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg with libx265")


def drawn(box: np.ndarray) -> np.ndarray:
    """A white ellipse that fills a box, on black, its rim as smooth as a camera's."""
    x, y = np.meshgrid(np.arange(WH[0]) + 0.5, np.arange(WH[1]) + 0.5)
    (cx, cy), (rx, ry) = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    inside = 0.5 + (1 - np.hypot((x - cx) / rx, (y - cy) / ry)) * min(rx, ry)
    return np.repeat((np.clip(inside, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def extent(image: np.ndarray) -> np.ndarray:
    """The box of what is white, to a fraction of a pixel: its rows' and columns' brightest pixel says how much of it is covered."""
    bright = image[..., 0].astype(float) / 255
    found = []
    for axis in (0, 1):
        line = bright.max(axis=axis)
        first, last = np.flatnonzero(line > 0.5)[[0, -1]]
        found.append((first - line[first - 1], last + 1 + line[last + 1]))
    (x1, x2), (y1, y2) = found
    return np.array([x1, y1, x2, y2])


def noise(shape: tuple[int, ...] = (96, 160, 3)) -> np.ndarray:
    return cv2.GaussianBlur(np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8), (0, 0), 1.5)


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("place", [0, 1])
def test_the_box_is_that_of_the_turned_sign(name: str, place: int) -> None:
    for box in BOXES:
        view, boxes = FRAME_VIEWS[name].apply(drawn(box), box[None], place)
        view[(view == GREY).all(axis=2)] = 0  # what lies outside the source
        np.testing.assert_allclose(extent(view), boxes[0], atol=1.2)


def test_a_circle_that_rolls_keeps_its_size() -> None:
    """The corners of its box would make it 1.41 times as large at 45 degrees."""
    _, boxes = FRAME_VIEWS["roll 45"].apply(np.zeros((480, 816, 3), np.uint8), BOXES[:1], 0)
    np.testing.assert_allclose(boxes[0, 2:] - boxes[0, :2], [60, 60], atol=0.2)


def test_turns_go_as_the_definitions_say() -> None:
    image = np.zeros((480, 816, 3), np.uint8)
    above, below, left = np.array([[398.0, 30, 418, 50]]), np.array([[398.0, 430, 418, 450]]), np.array([[40.0, 230, 60, 250]])

    def box(name: str, of: np.ndarray, place: int = 0) -> np.ndarray:
        return FRAME_VIEWS[name].apply(image, of, place)[1][0]

    def area(box: np.ndarray) -> float:
        return float((box[2] - box[0]) * (box[3] - box[1]))

    assert area(box("pitch 45", above)) > area(box("pitch 45", below))  # seen from above, what is high is near
    assert area(box("yaw 45", left, 0)) != pytest.approx(area(box("yaw 45", left, 1)), rel=0.1)  # from one side, then from the other
    up, down = box("roll 30", left, 0), box("roll 30", left, 1)
    assert (up[1] < 230) != (down[1] < 230)
    np.testing.assert_allclose(up[1] + down[3], 480, atol=0.1)  # by the same angle


def test_no_boxes_stay_none() -> None:
    for name in GEOMETRIES:
        assert FRAME_VIEWS[name].apply(noise(), np.zeros((0, 4)), 0)[1].shape == (0, 4)


def test_outside_the_source_a_view_is_grey() -> None:
    view, _ = FRAME_VIEWS["roll 45"].apply(np.zeros((480, 816, 3), np.uint8), np.zeros((0, 4)), 0)
    assert (view[0, 0] == GREY).all()
    assert (view[240, 408] == 0).all()


def test_the_lens_shows_at_r_what_was_at_r_plus_a_third_of_its_cube() -> None:
    image = np.repeat(np.arange(800, dtype=np.float32)[None], 400, axis=0)
    view, boxes = barrelled(np.repeat((image / 4).astype(np.uint8)[..., None], 3, axis=2), BOXES)
    r = np.array([0.0, 0.2, 0.5, 0.7])
    source = 399.5 + 400 * r * (1 + 0.35 * r**2)
    np.testing.assert_allclose(view[200, np.rint(399.5 + 400 * r).astype(int), 0] * 4.0, source, atol=6)
    assert ((boxes[:, 2:] - boxes[:, :2]) < BOXES[:, 2:] - BOXES[:, :2]).all()


def test_the_lens_moves_a_box_back_to_where_it_came_from() -> None:
    """A box of two points only: what the view shows at the moved point is what stood at the point."""
    image = np.zeros((480, 816, 3), np.uint8)
    for x, y in ((30, 40), (408, 240), (770, 60), (500, 430)):
        image[:] = 0
        cv2.circle(image, (x, y), 6, (255,) * 3, cv2.FILLED)
        view, boxes = barrelled(image, np.array([[x - 6, y - 6, x + 7, y + 7]], np.float64))
        rows, columns = np.nonzero(view[..., 0] > 127)
        np.testing.assert_allclose((boxes[0, :2] + boxes[0, 2:]) / 2 - 0.5, [columns.mean(), rows.mean()], atol=0.5)


@pytest.mark.parametrize("length", [3, 5, 7, 11, 15])
@pytest.mark.parametrize("direction", [0.0, 0.6, np.pi / 2, 2.4])
def test_shaking_spreads_a_point_over_its_length_and_keeps_the_light(length: int, direction: float) -> None:
    point = np.zeros((61, 61, 3), np.uint8)
    point[30, 30] = 255
    spread = shaken(point, length, direction)[..., 0].astype(float)
    assert spread.sum() == pytest.approx(255, abs=8)  # each pixel is rounded
    rows, columns = np.indices(spread.shape) - 30
    along = columns * np.cos(direction) + rows * np.sin(direction)
    across = columns * -np.sin(direction) + rows * np.cos(direction)
    weights = spread / spread.sum()
    assert abs((weights * along).sum()) < 0.15
    # An even line of length L has the variance L^2 / 12.
    assert np.sqrt(12 * (weights * along**2).sum()) == pytest.approx(length, abs=0.5)
    assert np.sqrt(12 * (weights * across**2).sum()) < 1.7


def test_a_plain_picture_does_not_change_by_shaking_and_none_by_a_length_of_one() -> None:
    plain = np.full((40, 40, 3), 200, np.uint8)
    np.testing.assert_array_equal(shaken(plain, 9, 1.0), plain)
    np.testing.assert_array_equal(shaken(noise(), 1.0, 1.0), noise())


def test_dusk_follows_the_power_the_factor_and_the_noise() -> None:
    grey = np.full((200, 200, 3), 180, np.uint8)
    dark = darkened(grey, 0.6, 8, np.random.default_rng(0)).astype(float)
    assert dark.mean() == pytest.approx((180 / 255) ** 2.2 * 0.6 * 255, abs=0.2)
    assert dark.std() == pytest.approx(8, abs=0.1)
    dim, night = (FRAME_VIEWS[name].apply(grey, BOXES, 3)[0].astype(float) for name in ("dim", "night"))
    assert dim.mean() == pytest.approx((180 / 255) ** 2.2 * 0.6 * 255, abs=0.2)
    assert night.mean() == pytest.approx((180 / 255) ** 2.2 * 0.25 * 255, abs=0.2)


def test_fog_mixes_the_picture_with_level_200() -> None:
    assert (fogged(np.full((4, 4, 3), 50, np.uint8), 0.4) == 140).all()
    assert (FRAME_VIEWS["fog"].apply(np.full((4, 4, 3), 50, np.uint8), BOXES, 0)[0] == 140).all()


@needs_h265
@pytest.mark.parametrize("shape", [(96, 160, 3), (95, 161, 3), (9, 12, 3)])
def test_a_thin_link_keeps_size_and_look_and_a_thinner_one_less(shape: tuple[int, int, int]) -> None:
    image = noise(shape)
    losses = [np.abs(through_h265(image, quantiser).astype(int) - image).mean() for quantiser in (20, 36)]
    assert through_h265(image, 20).shape == shape
    assert losses[0] < losses[1] < 25


def test_without_ffmpeg_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert not aerial.has_ffmpeg()
    for name, view in FRAME_VIEWS.items():
        if view.needs_ffmpeg:
            with pytest.raises(MissingDependency, match="wanted ffmpeg"):
                view.apply(noise(), BOXES, 0)
        else:
            assert view.apply(noise(), BOXES, 0)[0].dtype == np.uint8, name


def test_an_ffmpeg_that_cannot_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\necho 'Unknown encoder libx265' >&2\nexit 1\n", encoding="utf-8")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="it said: Unknown encoder libx265"):
        through_h265(noise(), 30)


@pytest.mark.parametrize("name", FRAME_VIEWS)
def test_a_frame_gets_the_same_view_twice_and_stays_as_it_was(name: str) -> None:
    if FRAME_VIEWS[name].needs_ffmpeg and not aerial.has_ffmpeg():
        pytest.skip("needs ffmpeg with libx265")
    image = noise()
    first, second = (FRAME_VIEWS[name].apply(image, BOXES, 4) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(image, noise())
    assert first[0].flags.c_contiguous


@pytest.mark.parametrize("name", ["shake 7", "dim"])
def test_chance_differs_from_frame_to_frame(name: str) -> None:
    assert not np.array_equal(FRAME_VIEWS[name].apply(noise(), BOXES, 0)[0], FRAME_VIEWS[name].apply(noise(), BOXES, 1)[0])


def test_what_is_judged_is_there_and_strengths_grow() -> None:
    assert set(JUDGED) <= set(FRAME_VIEWS)
    assert len(JUDGED) == len(set(JUDGED)) == 12
    assert FRAME_VIEWS["dim"].strength < FRAME_VIEWS["night"].strength  # by their cause, from none at 0 on
    assert all(view.strength > 0 for name, view in FRAME_VIEWS.items() if name != "as they are")


@pytest.mark.parametrize("name", CROP_VIEWS)
@pytest.mark.parametrize("shape", [(43, 40, 3), (16, 15, 3), (120, 131, 3)])
def test_a_photo_gets_the_same_view_twice(name: str, shape: tuple[int, int, int]) -> None:
    image = noise(shape)
    first, second = (CROP_VIEWS[name].apply(image, np.random.default_rng([SEED, 7])) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(image, noise(shape))
    assert first.dtype == np.uint8
    assert first.shape[2] == 3


@pytest.mark.parametrize(("roll", "pitch", "yaw"), [(0, 0, 0), (15, 0, 0), (-45, 0, 0), (0, 45, 0), (0, 70, 0), (0, 0, 60), (0, 0, -70), (30, 50, 0)])
def test_a_turned_photo_keeps_its_sign_in_the_middle_and_filled_by_it(roll: float, pitch: float, yaw: float) -> None:
    side = 80
    photo = cv2.circle(np.zeros((side, side, 3), np.uint8), (side // 2, side // 2), 30, (255,) * 3, cv2.FILLED, cv2.LINE_AA)
    view = turned_crop(photo, roll, pitch, yaw)
    height, width = view.shape[:2]
    rows, columns = np.nonzero(view[..., 0] > 127)
    assert abs((columns.min() + columns.max() + 1) / 2 - width / 2) <= 1.5
    assert abs((rows.min() + rows.max() + 1) / 2 - height / 2) <= 1.5
    # The sign takes the same share of the photo, along both sides.
    assert (columns.max() - columns.min() + 1) / width == pytest.approx(61 / 80, abs=0.06)
    assert (rows.max() - rows.min() + 1) / height == pytest.approx(61 / 80, abs=0.06)


def test_an_untouched_photo_comes_back() -> None:
    np.testing.assert_array_equal(turned_crop(noise((43, 40, 3))), noise((43, 40, 3)))


def test_foreshortening_makes_a_photo_narrower_by_the_cosine() -> None:
    photo = np.zeros((100, 100, 3), np.uint8)
    assert turned_crop(photo, pitch=60).shape[:2] == pytest.approx((50, 100), abs=2)
    assert turned_crop(photo, yaw=60).shape[:2] == pytest.approx((100, 50), abs=2)


def test_sizes_and_covers_are_those_of_the_names() -> None:
    rng = np.random.default_rng(0)
    photo = np.full((50, 60, 3), 255, np.uint8)
    assert CROP_VIEWS["px 16"].apply(photo, rng).shape == (16, 16, 3)
    assert CROP_VIEWS["motion 9"].apply(photo, rng).shape == (32, 32, 3)
    assert CROP_VIEWS["aerial"].apply(photo, rng).shape == (28, 28, 3)
    covered = CROP_VIEWS["occluded"].apply(photo, rng)
    assert (covered == GREY).mean() == pytest.approx(0.3, abs=0.02)
    assert (CROP_VIEWS["fog"].apply(photo, rng) == round(255 * 0.25 + 200 * 0.75)).all()


def test_boxes_are_moved_by_pixels_edges_not_by_their_centres() -> None:
    half = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])  # of pixel centres, when a picture is halved
    np.testing.assert_allclose(boxes_of_ellipses(np.array([[10.0, 20, 30, 60]]), partial(moved, matrix=half)), [[5, 10, 15, 30]], atol=1e-9)
