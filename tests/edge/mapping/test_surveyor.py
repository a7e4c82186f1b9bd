"""Frames get their pose and reports their place: from a flight's own poses, from a vehicle as it talks; and nothing is made up where something is missing."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flown import FLIGHT, boxes, passes

from edge.api.placing import camera_of
from edge.datasets.gtsrb_labels import LABELS
from edge.datasets.gtsrb_sizes import sizes_of
from edge.drawn.drone.path import ORIGIN
from edge.errors import InputError
from edge.frame import Frame
from edge.geometry.geodesy import Plane
from edge.geometry.pose import Place, Pose
from edge.mapping.surveyor import Optics, Surveyor
from edge.result import Detection, Report, Sighted
from edge.vehicle.attitudes import LiveAttitude
from edge.vehicle.levelling import Attitudes

PLANE = Plane(*ORIGIN)
SIZES = sizes_of(LABELS)
BLANK = np.zeros((540, 960, 3), np.uint8)
START_S = 1000.0


def flown(surveyor: Surveyor, pose_of: Callable[[int], Pose | None], before: Callable[[int], None] = lambda index: None) -> dict[int, Place | None]:
    """Let a surveyor see the flight's true boxes, and return the places that it gives the signs of `passes` as they leave, by their numbers."""
    told: dict[int, Place | None] = {}
    classes = {post.number: post.class_id for post, _ in passes()}
    for index, seen in enumerate(boxes()):
        before(index)
        frame = surveyor.posed(Frame(index, BLANK, round((START_S + index / 30) * 1e9), None, media_s=index / 30, pose=pose_of(index)))
        gone = [Report("gone", post.number, post.class_id, 1.0, looks[-1][1]) for post, looks in passes() if looks[-1][0] == index]
        sighted = [Sighted(sign, sign, Detection(box, classes[sign], 1.0)) for sign, box in seen.items() if sign in classes]
        told |= {report.track or 0: report.where for report in surveyor.place(frame, gone, sighted)}
    return told


def off(places: dict[int, Place | None]) -> list[float]:
    found = []
    for post, _ in passes():
        place = places[post.number]
        assert place is not None
        east, north = PLANE.metres(place.lat, place.lon)
        found.append(math.hypot(east - post.x, north - post.z))
    return found


def own(optics: Optics | None = FLIGHT.optics.scaled, poses: Attitudes | None = None) -> Surveyor:
    return Surveyor(poses, optics, SIZES)


def test_a_flights_own_poses_place_its_signs() -> None:
    surveyor = own()
    assert max(off(flown(surveyor, FLIGHT.pose))) < 0.5
    assert surveyor.placed == len(passes())


def vehicle(live: LiveAttitude, *, fix: int = 3, yaw: bool = True, zero: bool = False) -> Callable[[int], None]:
    """A vehicle that tells where it is and how it is turned 10 times a second, and is heard 5 ms later."""
    common: Any = pytest.importorskip("pymavlink.dialects.v20.common", reason="the extra mavlink is not installed")

    def tell(index: int) -> None:
        if index % 3:
            return
        pose, boot_ms, arrived_s = FLIGHT.pose(index), round(index / 30 * 1000) + 5000, START_S + index / 30 + 0.005
        lat, lon, height = (
            ((0, 0, 0.0) if zero else (round(pose.lat * 1e7), round(pose.lon * 1e7), pose.alt_m)) if pose.lat and pose.lon and pose.alt_m else (0, 0, 0.0)
        )
        roll, pitch, turned = (math.radians(angle or 0.0) for angle in (pose.roll_deg, pose.pitch_deg, pose.yaw_deg))
        messages = [
            common.MAVLink_gps_raw_int_message(0, fix, 0, 0, 0, 0, 0, 0, 0, 9, h_acc=400),
            common.MAVLink_attitude_message(boot_ms, roll, pitch, turned if yaw else math.nan, 0, 0, 0),
            common.MAVLink_global_position_int_message(boot_ms, lat, lon, 0, round(height * 1000), 0, 0, 0, 0),
        ]
        for message in messages:
            message._header = common.MAVLink_header(message.get_msgId(), srcSystem=1, srcComponent=1)
            live.hear(message, arrived_s)

    return tell


def test_a_vehicle_that_talks_gives_the_same_map_as_the_recording() -> None:
    live = LiveAttitude(-0.005)
    told = flown(own(poses=live), lambda index: None, vehicle(live))
    assert max(off(told)) < 0.5
    recorded = flown(own(), FLIGHT.pose)
    for sign, place in told.items():
        other = recorded[sign]
        assert place is not None
        assert other is not None
        assert math.hypot(*PLANE.metres(PLANE.lat + place.lat - other.lat, PLANE.lon + place.lon - other.lon)) < 0.5
        assert 0.4 <= place.sigma_m < 1.0  # what the receiver told of itself


@pytest.mark.parametrize(
    ("lacking", "says"),
    [({"fix": 1}, "no position"), ({"zero": True}, "no position"), ({"yaw": False}, "not how the camera is turned")],
)
def test_without_a_whole_pose_nothing_is_made_up(lacking: dict[str, Any], says: str, caplog: pytest.LogCaptureFixture) -> None:
    live = LiveAttitude(0.0)
    with caplog.at_level(logging.WARNING):
        told = flown(own(poses=live), lambda index: None, vehicle(live, **lacking))
    assert set(told.values()) == {None}
    assert [record.message for record in caplog.records if says in record.message]
    assert len(caplog.records) <= 2  # said once, not with each frame


def test_frames_without_pose_and_pictures_without_camera_give_no_place(caplog: pytest.LogCaptureFixture) -> None:
    assert set(flown(own(), lambda index: None).values()) == {None}
    with caplog.at_level(logging.WARNING):
        assert set(flown(own(None), FLIGHT.pose).values()) == {None}
    assert "add --camera hfov=DEGREES" in caplog.text


def test_a_pose_that_stops_and_comes_back_is_told_once_each(caplog: pytest.LogCaptureFixture) -> None:
    class Shaky:
        told, measured = "a link", True

        def at(self, frame: Frame) -> Pose | None:
            return None if 40 <= frame.index < 60 else FLIGHT.pose(frame.index)

    with caplog.at_level(logging.WARNING):
        flown(own(poses=Shaky()), lambda index: None)
    assert [record.message for record in caplog.records] == ["signs get no place: no position from a link", "signs get places again, by a link"]


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


MATRIX = "%YAML:1.0\n---\ncamera_matrix: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: [ 700., 0., 479.5, 0., 710., 269.5, 0., 0., 1. ]\n"
SIZE = "image_width: 960\nimage_height: 540\n"


def test_cameras_as_they_are_typed(tmp_path: Path) -> None:
    camera = camera_of("hfov=90,pitch=-20")((1280, 720))
    assert camera.focal_xy == pytest.approx((640, 640))
    assert camera.mount.pitch_deg == -20
    bends = "distortion_coefficients: !!opencv-matrix\n   rows: 1\n   cols: 5\n   dt: d\n   data: [ -0.3, 0.1, 0., 0., 0.02 ]\n"
    read = camera_of(write(tmp_path / "c.yml", MATRIX + bends + SIZE) + ",yaw=90")((480, 270))
    assert read.focal_xy == pytest.approx((350, 355))
    assert read.middle_xy == pytest.approx((240, 135))
    assert (read.lens, read.bends, read.mount.yaw_deg) == ("opencv", (-0.3, 0.1, 0.0, 0.0, 0.02), 90)
    fisheye = camera_of(write(tmp_path / "f.yml", MATRIX + bends.replace("cols: 5", "cols: 4").replace(", 0.02", "") + SIZE + "fisheye_model: 1\n"))
    assert fisheye((960, 540)).lens == "fisheye"


@pytest.mark.parametrize("text", ["hfov=0", "hfov=200", "hfov=x", "hfov=80,tilt=3", "hfov=80,pitch", "{none}", "{noise}", "{half}", "{half},pitch=nan"])
def test_what_is_no_camera_is_told(tmp_path: Path, text: str) -> None:
    typed = text.format(none=tmp_path / "no.yml", noise=write(tmp_path / "n.yml", "\x00ab: ]["), half=write(tmp_path / "h.yml", MATRIX))
    with pytest.raises(InputError, match=r"^wanted .*: (check the path|calibrate again, or give hfov=DEGREES|write hfov=82,pitch=-20)$"):
        camera_of(typed)


def test_a_picture_of_another_shape_is_refused(tmp_path: Path) -> None:
    surveyor = Surveyor(None, camera_of(write(tmp_path / "c.yml", MATRIX + SIZE)), SIZES)
    with pytest.raises(InputError, match="wanted frames of the shape that the camera was told for"):
        surveyor.posed(Frame(0, np.zeros((480, 640, 3), np.uint8), 0, None, pose=replace(FLIGHT.pose(0))))


@pytest.mark.parametrize(("lasts", "by_deg"), [(4, 30.0), (2, 0.001), (10_000, 30 / 111_200)])
def test_a_place_that_jumps_is_told_and_no_sign_is_placed_by_both_sides(caplog: pytest.LogCaptureFixture, lasts: int, by_deg: float) -> None:
    """For a moment to another continent, or by 111 m; and for good by 30 m: of a place that both sides of a jump made up there is none."""

    def pose(index: int) -> Pose:
        there = FLIGHT.pose(index)
        return replace(there, lat=float(there.lat or 0) + by_deg) if 0 <= index - FLIGHT.frames // 2 < lasts else there

    places = flown(own(), pose)
    assert sum("the pose jumps by" in record.getMessage() for record in caplog.records) == 1
    known = {post.number: post for post, _ in passes()}
    east_north = {number: PLANE.metres(place.lat, place.lon) for number, place in places.items() if place is not None}
    apart = [math.hypot(east - known[number].x, north - known[number].z) for number, (east, north) in east_north.items()]
    assert len(apart) >= 3
    assert all(each < 0.6 or (lasts > 100 and abs(each - 30) < 0.6) for each in apart)
