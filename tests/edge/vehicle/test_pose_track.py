"""Poses between poses: the short way round, and nothing where nothing is known."""

from __future__ import annotations

import pytest

from edge.geometry.pose import Pose
from edge.vehicle.pose_track import LONGEST_GAP_S, STALE_S, PoseTrack, wrapped


def track(*rolls: float, every_s: float = 0.1) -> PoseTrack:
    return PoseTrack((place * every_s, Pose(roll_deg=roll)) for place, roll in enumerate(rolls))


def roll(poses: PoseTrack, time_s: float) -> float | None:
    pose = poses.at(time_s)
    return None if pose is None else pose.roll_deg


def test_a_pose_between_two_is_both_in_part() -> None:
    poses = PoseTrack([(1.0, Pose(None, 50.0, 8.0, 100.0, 10.0, -5.0, 359.0)), (2.0, Pose(None, 50.1, 8.2, 110.0, 20.0, 5.0, 3.0))])
    pose = poses.at(1.25)
    assert pose == Pose(1.25, *(pytest.approx(value) for value in (50.025, 8.05, 102.5, 12.5, -2.5, 0.0)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("first", "second", "middle"), [(170, -170, 180), (-170, 170, 180), (10, 30, 20), (-10, 10, 0), (179, -177, -179)])
def test_angles_turn_the_short_way(first: float, second: float, middle: float) -> None:
    found = roll(track(first, second), 0.05)
    assert found is not None
    assert abs(wrapped(found - middle)) < 1e-9


def test_what_nobody_told_stays_unknown() -> None:
    pose = PoseTrack([(0.0, Pose(roll_deg=1.0, yaw_deg=2.0)), (1.0, Pose(roll_deg=3.0))]).at(0.5)
    assert pose == Pose(0.5, roll_deg=2.0)


def test_nothing_is_known_before_the_first_long_after_the_last_and_in_gaps() -> None:
    poses = track(0, 0, 0)
    assert [roll(poses, time_s) for time_s in (-0.01, 0.2 + STALE_S + 0.01)] == [None, None]
    assert roll(poses, 0.2 + STALE_S - 0.01) == 0
    gap = track(0, 0, every_s=LONGEST_GAP_S + 0.1)
    assert [roll(gap, time_s) for time_s in (0.0, LONGEST_GAP_S / 2, LONGEST_GAP_S + 0.1)] == [None, None, 0]
    assert PoseTrack().at(0) is None


def test_a_turning_camera_turns_on_for_a_little() -> None:
    poses = track(0, 10)
    assert roll(poses, 0.15) == pytest.approx(15)
    assert roll(poses, 0.1 + STALE_S) == pytest.approx(30)  # and no further than 0.2 s


def test_a_clock_that_is_set_back_begins_anew() -> None:
    poses = track(0, 10, 20, 30)
    poses.add(0.15, Pose(roll_deg=50))
    assert len(poses) == 3
    assert roll(poses, 0.15) == 50


def test_what_is_old_is_forgotten() -> None:
    poses = PoseTrack(keep_s=1.0)
    for place in range(1000):
        poses.add(place * 0.1, Pose(roll_deg=place))
    assert len(poses) <= 21
    assert roll(poses, 99.85) == pytest.approx(wrapped(998.5))
