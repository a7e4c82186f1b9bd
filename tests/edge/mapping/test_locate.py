"""A sign's place by what was seen of it: held against the truth of a drawn flight, with poses that are right, wrong, and hardly there."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from flown import FLIGHT, passes

from edge.datasets.gtsrb_labels import LABELS
from edge.datasets.gtsrb_sizes import STOP, size_of, sizes_of
from edge.drawn.drone.path import ORIGIN
from edge.geometry.geodesy import Plane
from edge.geometry.pose import Pose
from edge.mapping.locate import R95, locate, radius_95
from edge.mapping.sight import look, stand
from edge.mapping.sizes import UNKNOWN, Size

PLANE = Plane(*ORIGIN)


def off_by(post, seen, size=None, change=lambda pose, index: pose, sigma_m=0.0):
    """How far a sign is placed from where it stands, metres in the plane, and the fix."""
    looks = []
    for index, box in seen:
        pose = change(replace(FLIGHT.pose(index), sigma_m=sigma_m), index)
        looks.append(look(stand(PLANE, pose, index / 30), FLIGHT.optics, box))
    fix = locate([one for one in looks if one], size or size_of(LABELS[post.class_id]))
    return math.hypot(fix.place[0] - post.x, fix.place[2] - post.z), fix


def test_true_poses_give_true_places():
    found = [off_by(post, seen) for post, seen in passes()]
    assert len(found) >= 4
    assert max(off for off, _ in found) < 0.5
    assert all(abs(math.log(fix.width_m / post.side)) < 0.1 for (_, fix), (post, _) in zip(found, passes(), strict=True))
    assert all(abs(fix.place[1] - post.y) < 0.5 for (_, fix), (post, _) in zip(found, passes(), strict=True))


def test_the_size_hardly_counts_where_the_drone_moved():
    post, seen = passes()[0]
    wrong = Size(math.log(post.side * 1.6), 0.3)
    assert off_by(post, seen, wrong)[0] < 0.5


def test_one_look_goes_by_the_size_and_says_how_little_that_is():
    post, seen = passes()[0]
    right = Size(math.log(post.side), 0.3)
    off, fix = off_by(post, seen[:1], right)
    distance = float(np.linalg.norm(FLIGHT.camera(seen[0][0]).place - post.middle))
    assert off < 0.15 * distance
    assert 0.2 * distance < fix.sigma_m * R95 / 1.96 < 0.5 * distance


def test_errors_that_all_poses_share_are_in_what_it_says():
    rng = np.random.default_rng(4)
    offs, within = [], []
    for post, seen in passes() * 5:
        east, north, up = rng.normal(0, 1.5, 3)
        turns = dict(zip(("roll_deg", "pitch_deg", "yaw_deg"), rng.normal(0, 1, 3), strict=True))

        def wrong(pose, index, shift=(east, north, up), turns=turns):
            x, z = PLANE.metres(pose.lat, pose.lon)
            lat, lon = PLANE.degrees(x + shift[0], z + shift[1])
            return replace(pose, lat=lat, lon=lon, alt_m=pose.alt_m + shift[2], **{name: getattr(pose, name) + turn for name, turn in turns.items()})

        off, fix = off_by(post, seen[::3], change=wrong, sigma_m=1.5)
        offs.append(off)
        within.append(off <= R95 * fix.sigma_m)
    assert np.median(offs) < 2.5
    assert 0.85 <= np.mean(within) <= 1


def test_errors_of_single_poses_neither_move_a_sign_nor_go_unsaid():
    rng = np.random.default_rng(5)

    def jumping(pose, index):
        x, z = PLANE.metres(pose.lat, pose.lon)
        lat, lon = PLANE.degrees(x + rng.normal(0, 1.5), z + rng.normal(0, 1.5))
        return replace(pose, lat=lat, lon=lon, alt_m=pose.alt_m + rng.normal(0, 1.5), yaw_deg=pose.yaw_deg + rng.normal(0, 1))

    found = [off_by(post, seen, change=jumping, sigma_m=1.5) for post, seen in passes() * 2]
    assert np.median([off for off, _ in found]) < 1.5
    assert np.mean([off <= R95 * fix.sigma_m for off, fix in found]) > 0.8


def test_a_late_pose_is_made_up_for():
    later = [off_by(post, seen[2:], change=lambda pose, index: replace(FLIGHT.pose(index - 1), sigma_m=0.0)) for post, seen in passes()]
    assert np.median([off for off, _ in later]) < 0.5


def test_a_box_cut_by_the_edge_and_half_a_pose_tell_nothing():
    pose = FLIGHT.pose(0)
    assert look(stand(PLANE, pose, 0.0), FLIGHT.optics, (0.0, 100.0, 30.0, 130.0)) is None
    for name in ("lat", "alt_m", "yaw_deg"):
        assert stand(PLANE, replace(pose, **{name: None}), 0.0) is None
    assert not Pose().whole


def test_a_levelled_box_looks_the_same_way():
    _, seen = passes()[0]
    index, (x1, y1, x2, y2) = seen[10]
    x, y, half, turn = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, math.radians(20)
    corner = [
        (x + half * (a * math.cos(turn) - b * math.sin(turn)), y + half * (a * math.sin(turn) + b * math.cos(turn)))
        for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    plain = look(stand(PLANE, FLIGHT.pose(index), 0.0), FLIGHT.optics, (x - half, y - half, x + half, y + half))
    turned = look(stand(PLANE, FLIGHT.pose(index), 0.0), FLIGHT.optics, (x1, y1, x2, y2), tuple(corner))
    sights = [np.array([*one.box[:2], 1]) @ one.axes for one in (plain, turned)]
    assert sights[0] == pytest.approx(sights[1], abs=5e-3)


@pytest.mark.parametrize(("sigmas", "wanted"), [((1, 1), 2.448), ((1, 0), 1.96), ((1, 0.5), 2.036), ((2, 0.5), 3.952)])
def test_the_radius_that_holds_95_percent(sigmas, wanted):
    assert radius_95(np.diag(np.square(np.array(sigmas, float)))) == pytest.approx(wanted, rel=0.005)


def test_sizes_are_those_of_the_class():
    assert size_of("Stop") == STOP
    assert size_of("Speed limit 50").aspect == 1
    assert size_of("Yield").aspect == pytest.approx(0.866, abs=1e-3)
    assert size_of("Kangaroo") == UNKNOWN


def test_a_bundle_that_tells_sizes_is_believed():
    told = sizes_of(("Stop", "Yield", "Kangaroo"), ((), (700.0,), (600.0, 800.0)))
    assert told[0] == STOP
    assert math.exp(told[1].log_width) == pytest.approx(0.7)
    assert told[1].aspect == pytest.approx(0.866, abs=1e-3)
    assert math.exp(told[2].log_width) == pytest.approx(math.sqrt(0.48))
    assert told[2].sigma > told[1].sigma
