"""Motion of the whole picture: as it is estimated, and what it does for tracks of a camera that pans, banks and shakes at 120 degrees a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest
from banked import FOCAL_PX, FPS, SIZE_WH, Window, film, ground, window

from edge.frame import Frame
from edge.geometry.similarity import Similarity
from edge.recognition.ego_motion import EgoMotion, PictureMotion, thumbnail
from edge.recognition.tracking import Tracker
from edge.result import Detection
from edge.vehicle.levelling import View, warp

FAST_DEG = 120 / FPS
"""Of a turn, a frame."""
FAST_PX = FOCAL_PX * np.tan(np.radians(FAST_DEG))
CENTRE = (SIZE_WH[0] / 2, SIZE_WH[1] / 2)
FRAMES = 24


def swing(step: float, most: float) -> Callable[[int], float]:
    """Go to and fro between -most and most by `step` a frame."""
    return lambda index: most - abs((index * step + most) % (4 * most) - 2 * most)


def shaking(spread_px: float, spread_deg: float) -> tuple[Callable[[int], float], Callable[[int], Sequence[float]]]:
    rng = np.random.default_rng(5)
    by = rng.normal(0, 1, (FRAMES, 3)) * (spread_px, spread_px, spread_deg)
    return lambda index: float(by[index, 2]), lambda index: (float(by[index, 0]), float(by[index, 1]))


def still(index: int) -> float:
    return 0.0


MOVES: dict[str, Callable[[], list[Window]]] = {
    "yaw of 120 degrees a second": lambda: film(still, lambda index: (swing(FAST_PX, 250)(index), 0), FRAMES, lambda _: 100),
    "roll of 120 degrees a second": lambda: film(swing(FAST_DEG, 20), lambda _: (-345, 0), FRAMES, lambda _: 80),
    "both, in flight": lambda: film(swing(FAST_DEG, 30), lambda index: (swing(FAST_PX, 200)(index), 0), FRAMES, lambda index: 100 + index // 4),
    "shaking": lambda: film(*shaking(25, 2), FRAMES, lambda _: 100),
}


def follow(windows: Sequence[Window], *, compensated: bool) -> tuple[dict[int, list[str]], dict[int, int]]:
    """Follow the signs of a film, each of a class of its own, by perfect detections; returns by class what was said, and the frames that showed it."""
    tracker, ego, said = Tracker(), EgoMotion(), []
    seen: dict[int, int] = {}
    for index, here in enumerate(windows):
        motion = ego.see(here.image, wanted=not tracker.idle)
        if compensated and motion is not None:
            tracker.move(motion)
        detections = []
        for sign in here.signs:
            box = here.box(sign)
            if box is not None and min(box[2] - box[0], box[3] - box[1]) >= 20:
                seen[sign.class_id] = seen.get(sign.class_id, 0) + 1
                if (index + sign.pass_id) % 4:  # every fourth frame misses it
                    detections.append(Detection(box, sign.class_id, 0.95))
        said += tracker.update(detections)
    told: dict[int, list[str]] = {class_id: [] for class_id in seen}
    for report in [*said, *tracker.finish()]:
        told[report.class_id].append(report.event)
    return told, seen


@pytest.mark.parametrize("name", MOVES)
def test_a_sign_keeps_its_one_track_however_the_camera_moves(name: str) -> None:
    windows = MOVES[name]()
    told, seen = follow(windows, compensated=True)
    long = [class_id for class_id, frames in seen.items() if frames >= FRAMES // 2]
    assert long
    assert all(told[class_id] == ["sighting", "gone"] for class_id in long)
    assert all(told[class_id].count("sighting") <= 1 for class_id in told)
    without, _ = follow(windows, compensated=False)
    assert any(without[class_id] != ["sighting", "gone"] for class_id in long), "this film shows nothing: it is followed without the picture's motion too"


@pytest.mark.parametrize(("roll_deg", "pan_px"), [(0, (0, 0)), (FAST_DEG, (0, 0)), (-FAST_DEG, (0, 0)), (0, (FAST_PX, 0)), (0, (-FAST_PX, 20)), (2, (-30, 30))])
def test_the_motion_is_what_it_was(roll_deg: float, pan_px: Sequence[float]) -> None:
    ego = EgoMotion()
    before, after = window(ground(100)), window(ground(100), roll_deg, pan_px)
    assert ego.see(before.image) is None
    found, wanted = ego.see(after.image), before.place.inverse().then(after.place)
    assert found is not None
    for point in ((240, 135), (480, 270), (720, 405)):
        assert np.hypot(*np.subtract(found.point(*point), wanted.point(*point))) < 3
    assert found.degrees == pytest.approx(-roll_deg, abs=0.3)


def test_nothing_is_told_of_pictures_that_have_nothing_in_common() -> None:
    rng = np.random.default_rng(0)
    ego = EgoMotion()
    flat = np.full((540, 960, 3), 90, np.uint8)
    noise = [cv2.resize(rng.integers(0, 255, (68, 120, 3), np.uint8), SIZE_WH) for _ in range(3)]
    for image in (flat, flat, window(ground(100)).image, *noise, flat, noise[0][:300]):
        assert ego.see(np.asarray(image, np.uint8)) is None


def test_a_frame_that_is_not_wanted_is_remembered() -> None:
    ego = EgoMotion()
    ego.see(window(ground(100)).image, wanted=False)
    assert ego.see(window(ground(100), 0, (30, 0)).image, wanted=False) is None
    found = ego.see(window(ground(100), 0, (60, 0)).image)
    assert found is not None
    assert found.right == pytest.approx(-30, abs=3)


def test_a_thumbnail_is_as_wide_whatever_the_frame_is() -> None:
    for size_wh in ((1280, 720), (640, 480), (200, 100), (96, 64), (1920, 1080)):
        image = np.full((size_wh[1], size_wh[0], 3), 77, np.uint8)
        small = thumbnail(image)
        assert small.shape == (round(160 * size_wh[1] / size_wh[0]), 160)
        assert (small == 77).all()


def levelled(seen: Window, roll_deg: float | None) -> View:
    frame = Frame(0, seen.image, 0, None)
    if roll_deg is None:
        return View(frame, frame.image)
    turn = Similarity.turned(roll_deg, CENTRE)
    return View(frame, warp(frame.image, turn), turn)


@pytest.mark.parametrize("rolls", [(20.0, 24.0), (20.0, None), (None, -15.0), (None, None)])
def test_places_go_from_view_to_view_levelled_or_not(rolls: tuple[float | None, float | None]) -> None:
    """Also in the frame in which telemetry comes or goes, and the picture jumps."""
    motion, scene = PictureMotion(), ground(100)
    taken = window(scene, rolls[0] or (rolls[1] or 5) - 2), window(scene, rolls[1] or (rolls[0] or 5) + 2, (20, 0))
    views = [levelled(seen, roll) for seen, roll in zip(taken, rolls, strict=True)]
    motion.see(views[0])
    found = motion.see(views[1])
    assert found is not None
    for place in ((800.0, 500.0), (960.0, 540.0), (1100.0, 620.0)):
        before, after = ((view.turn or Similarity()).point(*seen.place.point(*place)) for view, seen in zip(views, taken, strict=True))
        assert np.hypot(*np.subtract(found.point(*before), after)) < 3


def test_where_the_picture_tells_nothing_a_known_roll_does() -> None:
    flat = window(ground(100))
    blank = Window(np.full_like(flat.image, 90), flat.place, ())
    motion = PictureMotion()
    motion.see(levelled(blank, 20.0))
    assert motion.see(levelled(blank, 24.0)) is None  # both are level: what is expected stays where it is
    jump = motion.see(levelled(blank, None))
    assert jump is not None
    assert jump.degrees == pytest.approx(-24)
