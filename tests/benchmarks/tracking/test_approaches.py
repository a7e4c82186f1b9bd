"""Approaches: a photo's sign is where its box says, comes nearer, and what is said of it is scored."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.measuring.kept import KeptSource
from benchmarks.tracking.approaches import FRAMES, SWING_DEG, Approach, ApproachSink, approaches
from edge.bundle.manifest import read_bundle
from edge.datasets.gtsrb import Photo
from edge.frame import Frame
from edge.result import Report, Result


@pytest.fixture
def approach(tmp_path: Path) -> Approach:
    """A white sign with a grey border, in photos of 30, 40 and 60 px, before a black ground."""
    photos = []
    for place, side in enumerate((30, 40, 60)):
        picture = np.full((side, side, 3), 90, np.uint8)
        picture[5:-5, 5:-5] = 255
        cv2.imwrite(str(tmp_path / f"{place}.png"), picture)
        photos.append(Photo(tmp_path / f"{place}.png", 14, "14_0", (5, 5, side - 5, side - 5)))
    return Approach(photos, np.zeros((240, 320, 3), np.uint8), seed=3)


def test_the_sign_is_in_its_box_and_comes_nearer(approach: Approach) -> None:
    frames = list(approach.frames())
    assert len(frames) == FRAMES
    for image, (x1, y1, x2, y2) in frames:
        assert image.shape == (240, 320, 3)
        assert 0 <= x1 < x2 <= 320
        assert 0 <= y1 < y2 <= 240
        inside = image[round(y1) + 2 : round(y2) - 2, round(x1) + 2 : round(x2) - 2]
        assert inside.min() > 200
        assert abs(int((image[:, :, 0] > 170).sum()) - (x2 - x1) * (y2 - y1)) < 0.25 * (x2 - x1) * (y2 - y1)
    sides = np.array([box[2] - box[0] for _, box in frames])
    assert (np.diff(sides) >= -1).all()
    assert sides[0] < 24 < 45 < sides[-1]
    again = list(approach.frames())
    assert all(np.array_equal(one[0], other[0]) for one, other in zip(frames, again, strict=True))


def test_a_rolling_camera_turns_the_picture_from_one_side_to_the_other_and_the_box_with_it(approach: Approach) -> None:
    level, rolling = list(approach.frames()), list(replace(approach, rolling=True).frames())
    middle = np.array([319, 239]) / 2
    turns = []
    for (_, box), (image, turned) in zip(level, rolling, strict=True):
        before, after = (np.array([one[:2] + one[2:]]).ravel() / 2 - 0.5 - middle for one in (box, turned))
        turns.append(np.degrees(np.arctan2(after[1], after[0]) - np.arctan2(before[1], before[0])))
        x, y = np.rint(after + middle).astype(int)
        assert image[y, x].min() > 200
    turns = (np.array(turns) + 180) % 360 - 180
    assert np.abs(turns) == pytest.approx(np.abs(np.linspace(-SWING_DEG, SWING_DEG, FRAMES)), abs=0.5)
    assert turns[0] == pytest.approx(-turns[-1], abs=0.5)


Said = tuple[int, str, int, int, bool]


@pytest.mark.parametrize(
    ("said", "wanted", "delay"),
    [
        ([(4, "sighting", 1, 14, True)], {"right": 1}, 4),
        ([(4, "sighting", 1, 13, True), (9, "update", 1, 14, True)], {"right": 1}, 9),
        ([(4, "sighting", 1, 13, True)], {"wrong": 1}, None),
        ([], {"missed": 1}, None),
        ([(4, "sighting", 1, 14, True), (20, "sighting", 2, 14, True)], {"right": 1, "twice": 1}, 4),
        ([(4, "sighting", 1, 14, False), (5, "update", 1, 14, False)], {"missed": 1, "false": 1}, None),
        ([(4, "sighting", 1, 14, True), (29, "gone", 1, 14, True)], {"right": 1}, 4),
    ],
)
def test_what_is_said_is_scored(approach: Approach, said: list[Said], wanted: dict[str, int], delay: int | None) -> None:
    images, boxes = zip(*approach.frames(), strict=True)
    sink = ApproachSink(boxes, 14)
    with KeptSource("approach", images) as source, sink:
        for frame in source:
            there = tuple(boxes[frame.index].tolist())
            reports = [Report(event, track, name, 0.9, there if on else (0, 0, 5, 5)) for at, event, track, name, on in said if at == frame.index]  # type: ignore[arg-type]
            sink.write(Result(Frame(frame.index, frame.image, time.monotonic_ns(), None), reports, (), (), time.monotonic_ns()))
    assert sink.score() == {"all": 1, "right": 0, "wrong": 0, "missed": 0, "twice": 0, "false": 0} | wanted
    assert sink.delay() == delay


def test_real_tracks_that_training_held_out_come_nearer(shipped_bundle: Path, data_root: Path) -> None:
    found = approaches(read_bundle(shipped_bundle), data_root)
    assert len({one.photos[0].track for one in found}) == len(found) > 100
    assert {one.class_id for one in found} == set(range(43))
    image, box = next(iter(found[0].frames()))
    assert image.shape == (480, 816, 3)
    assert (box[2:] > box[:2]).all()
