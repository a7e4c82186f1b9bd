"""A drone's flight: truth and pose are held against what is drawn, and the way against what a drone can fly."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge.drawn import scenery
from edge.drawn.backdrop import Light
from edge.drawn.drone import backdrop as drone_backdrop
from edge.drawn.drone.backdrop import render
from edge.drawn.drone.flight import MIN_SIDE_PX, DroneFlight
from edge.drawn.drone.path import ORIGIN, way
from edge.drawn.perspective import LENS, Board, DroneCamera, pyramid, unbent
from edge.drawn.scenes import Flight, score_passes
from edge.drawn.signposts import Signpost
from edge.drawn.signs import draw_sign
from edge.errors import InputError, SourceError
from edge.sources.demo import flight_of
from edge.sources.uri import parse_uri

PLAIN = Light(gain=1, gamma=1, tint=(1, 1, 1), defocus_px=0, motion_px=(1, 1), noise=0, sky=0)
SMALL = (320, 180)
WH = (960, 540)
SEEDS = (0, 3, 8)
CLASSES = (1, 12, 13, 14)
CAR = {
    0: [174, 172, 163, 165, 99, 110, 98, 97, 81, 82, 82, 67],
    25: [182, 187, 195, 99, 97, 123, 122, 99, 91, 95, 100, 79],
    59: [226, 227, 232, 229, 137, 161, 154, 132, 125, 123, 134, 119],
}


def shorter(truth):
    x1, y1, x2, y2 = truth.box_xyxy
    return min(x2 - x1, y2 - y1)


def whole(truth, size_wh=WH):
    x1, y1, x2, y2 = truth.box_xyxy
    return x1 >= 0 and y1 >= 0 and x2 <= size_wh[0] and y2 <= size_wh[1]


def tilt_deg(truth):
    """How far a sign is turned in the picture, clockwise."""
    upper, lower = np.array(truth.quad_xy[:2]).mean(axis=0), np.array(truth.quad_xy[2:]).mean(axis=0)
    return math.degrees(math.atan2(upper[0] - lower[0], lower[1] - upper[1]))


@pytest.fixture(scope="module")
def flights():
    return [DroneFlight(seed) for seed in SEEDS]


@pytest.mark.parametrize("size_wh", [WH, SMALL, (64, 64), (101, 77)])
@pytest.mark.parametrize("lens", [True, False])
def test_a_frame_has_the_size_that_was_asked(size_wh, lens):
    image = DroneFlight(1, size_wh, 30, lens=lens).frame(20).image
    assert (image.shape, image.dtype) == ((size_wh[1], size_wh[0], 3), np.uint8)


@pytest.mark.parametrize("seed", [15, 29])
def test_a_flight_may_see_what_stands_behind_the_roads_beginning(seed):
    assert DroneFlight(seed, (160, 96)).frame(0).image.shape == (96, 160, 3)


def test_a_frame_follows_from_seed_size_and_index_alone():
    forwards = {index: DroneFlight(5, SMALL, 300).frame(index) for index in (0, 140, 280)}
    for index in (280, 0, 140):
        again = DroneFlight(5, SMALL, 300).frame(index)
        assert np.array_equal(again.image, forwards[index].image)
        assert again.truths == forwards[index].truths
    assert not np.array_equal(forwards[0].image, forwards[140].image)
    assert not np.array_equal(DroneFlight(6, SMALL, 300).frame(0).image, forwards[0].image)


def test_a_frame_rate_is_the_flights_own():
    slow, fast = DroneFlight(2, SMALL, fps=10), DroneFlight(2, SMALL, fps=40)
    one, other = slow.camera(50), fast.camera(200)
    assert (one.x, one.y, one.z) == (other.x, other.y, other.z)
    assert slow.pose(50).time_s == fast.pose(200).time_s == 5


def sign_before(camera, rng):
    """Stand a sign somewhere whole in a camera's picture, 16 to 70 px."""
    while True:
        sign = Signpost(0, int(rng.choice(CLASSES)), rng.uniform(-14, 14), rng.uniform(2, 3), camera.z + rng.uniform(5, 30), 0.9, rng.uniform(-0.5, 0.5), 0)
        x1, y1, x2, y2 = sign.box_xyxy(camera)
        if min(x1, y1) >= 0 and x2 <= WH[0] and y2 <= WH[1] and MIN_SIDE_PX < min(x2 - x1, y2 - y1) < 70:
            return sign


@pytest.mark.parametrize("lens", [0.0, LENS])
@pytest.mark.parametrize("seed", range(12))
def test_a_box_is_where_the_face_is_drawn(seed, lens):
    rng = np.random.default_rng(seed)
    camera = DroneCamera(0.5, rng.uniform(4, 16), 30.0, rng.uniform(-35, 35), rng.uniform(-45, -5), rng.uniform(-30, 30), WH, lens)
    sign = sign_before(camera, rng)
    painted = draw_sign(sign.class_id, 256)
    painted[:, :, :3] = 255, 0, 255
    flat = Board(pyramid(painted), sign.face().corners)
    with_face, without = (render(camera, 0.0, [], faces, PLAIN, (seed, 0)) for faces in ([flat], []))
    rows, columns = np.nonzero(np.abs(with_face.astype(int) - without).max(axis=2) > 40)
    drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(np.array(drawn) - sign.box_xyxy(camera)).max() <= 1.5
    square = np.rint(camera.project(flat.corners)).astype(np.int32)
    assert all(cv2.pointPolygonTest(square, (float(x), float(y)), True) > -2 for x, y in zip(columns, rows, strict=True))


@pytest.mark.parametrize("lens", [True, False])
def test_truths_are_where_signs_are_in_a_flight(lens):
    with_signs, without = DroneFlight(3, lens=lens), DroneFlight(3, signs=False, lens=lens)
    for index in (60, 150, 260):
        differs = np.abs(with_signs.frame(index).image.astype(int) - without.frame(index).image).max(axis=2) > 12
        explained = np.zeros_like(differs)
        camera = with_signs.camera(index)
        for sign in with_signs.signposts(index):
            foot = camera.project(np.array([[sign.x, 0.0, sign.z], [sign.x, sign.y, sign.z]]))
            mask = np.zeros(differs.shape, np.uint8)
            cv2.line(mask, *(tuple(point) for point in np.clip(np.rint(foot), -9999, 9999).astype(int).tolist()), 1, 7)
            explained |= mask > 0
        truths = with_signs.truths(index)
        for x1, y1, x2, y2 in (truth.box_xyxy for truth in with_signs.signs_in(index)):
            explained[max(int(y1) - 4, 0) : int(y2) + 5, max(int(x1) - 4, 0) : int(x2) + 5] = True
        assert len(truths) >= 3
        assert not (differs & ~explained).any()
        for x1, y1, x2, y2 in (truth.box_xyxy for truth in truths):
            assert differs[round(y1) : round(y2), round(x1) : round(x2)].mean() > 0.4
        assert with_signs.frame(index).truths == truths
    assert without.passes() == without.signs_in(150) == ()


def test_a_box_lies_within_its_quad(flights):
    for truth in (truth for index in range(0, 600, 60) for truth in flights[0].signs_in(index)):
        corners, box = np.array(truth.quad_xy), np.array(truth.box_xyxy)
        assert (corners.min(axis=0) <= box[:2] + 1).all()
        assert (corners.max(axis=0) >= box[2:] - 1).all()
        turns = np.roll(corners, -1, axis=0) - corners
        assert (np.cross(np.pad(turns, ((0, 0), (0, 1))), np.pad(np.roll(turns, -1, axis=0), ((0, 0), (0, 1))))[:, 2] > 0).all()


def test_a_sign_is_visible_from_16_px_and_while_it_is_whole(flights):
    small = cut = 0
    for index in range(0, 600, 5):
        truths = flights[1].truths(index)
        for truth in flights[1].signs_in(index):
            assert (truth in truths) == (whole(truth) and shorter(truth) >= MIN_SIDE_PX)
            small += shorter(truth) < MIN_SIDE_PX
            cut += not whole(truth)
    assert small
    assert cut


def test_signs_are_passed_near_enough_and_seldom_far_aslant(flights):
    sides, tilts = [], []
    for flight in flights:
        largest = {}
        for index in range(0, flight.frames, 2):
            for truth in flight.truths(index):
                if truth.pass_id not in largest or shorter(truth) > shorter(largest[truth.pass_id]):
                    largest[truth.pass_id] = truth
        assert 10 <= len(flight.passes()) <= 40
        assert all(p.last_frame - p.first_frame >= 10 for p in flight.passes())
        sides += [shorter(truth) for truth in largest.values()]
        tilts += [abs(tilt_deg(truth)) for truth in largest.values()]
    assert min(sides) >= MIN_SIDE_PX + 2
    assert np.mean([20 <= side <= 60 for side in sides]) > 0.8
    assert np.mean([tilt > 40 for tilt in tilts]) < 0.05
    assert max(tilts) > 15


def test_passes_are_scored_for_the_part_that_was_flown(flights):
    flight = flights[0]
    first = flight.passes()[0]
    index = (first.first_frame + first.last_frame) // 2
    truth = next(truth for truth in flight.truths(index) if truth.pass_id == first.pass_id)
    report = (index, 1, truth.class_id, truth.box_xyxy)
    assert score_passes(flight, [report])["right"] == 1
    shorter_flight = replace(flight, frames=300)
    assert 0 < len(shorter_flight.passes()) < len(flight.passes())
    assert {p.pass_id for p in shorter_flight.passes()} <= {p.pass_id for p in flight.passes()}
    seen_from = {p.pass_id: p.first_frame for p in flight.passes()}
    assert all(p.last_frame - seen_from[p.pass_id] <= flight.seen_ahead for p in flight.passes())


def test_a_lens_bends_what_a_pinhole_leaves_straight():
    points = np.stack([np.linspace(-9, 9, 15), np.full(15, 6.0), np.full(15, 12.0)], axis=1)
    seen = {lens: DroneCamera(0, 2, 0, 20, 0, 0, WH, lens).project(points) for lens in (0.0, LENS)}
    bends = {lens: np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False)[1] for lens, flat in seen.items()}
    assert bends[0.0] < 1e-6
    assert bends[LENS] > 10
    # The picture of a pinhole, taken back by what each pixel of the lens shows.
    radius = (seen[LENS] - (480, 270)) / 480
    taken_back = radius * (1 + LENS * np.square(radius).sum(axis=1, keepdims=True)) * 480 + (480, 270)
    np.testing.assert_allclose(taken_back, seen[0.0], atol=1e-6)
    np.testing.assert_allclose(unbent(WH, LENS)[:, 100, 200], np.array([-279.5, -169.5]) * (1 + LENS * (279.5**2 + 169.5**2) / 480**2), rtol=1e-5)


@pytest.mark.parametrize(("roll", "pitch"), [(0, -5), (25, -8), (-33, 3), (12, -14)])
def test_the_horizon_lies_as_the_pose_says(monkeypatch, roll, pitch):
    """Sky and land in one colour each: the line between them, fitted, must tell the roll and the pitch."""
    monkeypatch.setattr(scenery, "sky", lambda _, size_wh: np.full((size_wh[1], size_wh[0], 4), 255, np.uint8))
    monkeypatch.setattr(drone_backdrop, "ground", lambda *_: np.zeros((64, 64, 4), np.uint8))
    monkeypatch.setattr(drone_backdrop, "_HAZY_M", 1e9)
    monkeypatch.setattr(drone_backdrop, "_paint", lambda *_: None)
    camera = DroneCamera(1, 8, 50, roll, pitch, 17, WH, 0.0)
    bright = render(camera, 0.0, [], [], PLAIN, (0, 0))[:, :, 0] > 127
    columns = np.flatnonzero(bright.any(axis=0) & ~bright.all(axis=0))
    slope, offset = np.polyfit(columns + 0.5 - 480, bright[:, columns].sum(axis=0) - 270, 1)
    assert math.degrees(math.atan(-slope)) == pytest.approx(roll, abs=0.2)
    away_px = offset / math.hypot(1, slope)
    assert math.degrees(math.atan(away_px / camera.focal)) == pytest.approx(pitch, abs=0.2)


def test_a_pose_is_the_cameras(flights):
    for index in (0, 333):
        camera, pose = flights[0].camera(index), flights[0].pose(index)
        assert (pose.alt_m, pose.roll_deg, pose.pitch_deg) == (camera.y, camera.roll_deg, camera.pitch_deg)
        assert pose.yaw_deg == pytest.approx(camera.yaw_deg % 360)
        assert pose.time_s == pytest.approx(index / 30)
        # A degree of latitude at 48 degrees is 111.2 km, one of longitude 74.63 km.
        assert (pose.lat - ORIGIN[0]) * 111_200 == pytest.approx(camera.z, rel=1e-3)
        assert (pose.lon - ORIGIN[1]) * 74_628 == pytest.approx(camera.x, rel=1e-3, abs=1e-3)


def test_it_flies_as_a_drone_can():
    times = np.arange(0, 90, 1 / 30)
    heights, banks = [], []
    for seed in range(12):
        at = way(seed, times)
        speed = np.hypot(np.gradient(at.x, times), np.gradient(at.z, times))
        assert speed.min() > 5
        assert speed.max() < 13
        assert np.abs(np.gradient(at.y, times)).max() < 9
        turning = np.gradient(np.radians(at.yaw_deg), times)
        lift = np.gradient(np.gradient(at.y, times), times)
        # A turn without slipping: the bank leans lift and weight against the turn.
        needed = np.degrees(np.arctan2(speed * turning, 9.81 + lift))
        assert np.abs(needed - at.roll_deg)[5:-5].max() < 1.5
        assert np.abs(np.gradient(at.roll_deg, times)).max() < 90
        heights += [at.y.min(), at.y.max()]
        banks.append(np.abs(at.roll_deg).max())
    assert 3 <= min(heights) < 5
    assert 33 < max(heights) <= 40
    assert 25 < max(banks) < 40


def test_it_looks_down_the_more_the_higher_it_is():
    at = way(1, np.arange(0, 60, 0.1))
    low, high = at.pitch_deg[at.y < 6], at.pitch_deg[at.y > 25]
    assert -18 < low.mean() < -5
    assert high.mean() < -30


@pytest.mark.parametrize("index", [-1, 600, 10_000])
def test_frames_outside_the_flight_are_refused(flights, index):
    for ask in (flights[0].frame, flights[0].truths, flights[0].signs_in, flights[0].pose, flights[0].signposts):
        with pytest.raises(InputError, match="from 0 to 599"):
            ask(index)


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"size_wh": (63, 540)}, {"frames": 0}, {"fps": float("nan")}])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(InputError, match="wanted"):
        DroneFlight(**arguments)


def test_the_demo_is_a_drones_and_may_be_a_cars():
    assert flight_of(parse_uri("demo://")) == DroneFlight()
    assert flight_of(parse_uri("demo://?seed=2&lens=0&signs=0&fps=20&width=640&height=360")) == DroneFlight(2, (640, 360), 600, 20.0, signs=False, lens=False)
    assert flight_of(parse_uri("demo://?view=car&seed=2&frames=9")) == Flight(2, frames=9)
    for refused, word in (("demo://?view=plane", "plane"), ("demo://?view=car&lens=0", "lens"), ("demo://?lens=2", "lens")):
        with pytest.raises(SourceError, match=word):
            flight_of(parse_uri(refused))


def test_the_view_of_a_car_is_what_it_was():
    """Means of 4 x 3 blocks of three frames, as they were drawn before drones flew."""
    for index, means in CAR.items():
        image = cv2.resize(Flight(3, SMALL, 60).frame(index).image, (4, 3), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(image.mean(axis=2).ravel(), means, atol=1.5)
