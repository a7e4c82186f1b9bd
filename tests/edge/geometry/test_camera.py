"""Lenses against OpenCV's own and the drawn drone's, mounts, and degrees against what pymap3d gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.drawn.drone.flight import DroneFlight
from edge.drawn.perspective import DroneCamera
from edge.errors import InputError
from edge.geometry.camera import Camera, Mount, angles_of, axes_of
from edge.geometry.geodesy import Plane
from edge.geometry.pose import Pose

POINTS = np.array([[0.1, -0.2, 1.0], [-0.6, 0.3, 1.0], [0.5, 0.35, 1.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, -20, 250), (-170, 60, 5), (12, -89, 90)])
def test_axes_and_angles_undo_each_other(angles):
    assert angles_of(axes_of(*map(float, angles))) == pytest.approx(angles, abs=1e-6)


@pytest.mark.parametrize("lens", [0.0, 0.35])
def test_the_drawn_drones_lens_is_straightened(lens):
    flight = DroneFlight(3, lens=lens > 0)
    camera = DroneCamera(0, 0, 0, 0, 0, 0, flight.size_wh, lens)
    seen = camera.project(POINTS * (1, -1, 1))
    assert flight.optics.straight(seen) == pytest.approx(POINTS[:, :2], abs=1e-9)


@pytest.mark.parametrize(("lens", "bends"), [("opencv", (-0.3, 0.1, 0.001, -0.002, 0.02)), ("fisheye", (0.05, -0.01, 0.002, 0.0)), ("opencv", ())])
def test_opencvs_lenses_are_straightened(lens, bends):
    matrix = np.array([[700.0, 0, 479.5], [0, 710.0, 269.5], [0, 0, 1]])
    if lens == "fisheye":
        seen, _ = cv2.fisheye.projectPoints(POINTS[:, None], np.zeros(3), np.zeros(3), matrix, np.array(bends))
    else:
        seen, _ = cv2.projectPoints(POINTS, np.zeros(3), np.zeros(3), matrix, np.array(bends or (0.0,) * 5))
    camera = Camera((960, 540), (700.0, 710.0), (480.0, 270.0), lens, bends)
    assert camera.straight(seen.reshape(-1, 2) + 0.5) == pytest.approx(POINTS[:, :2], abs=2e-4)


def test_a_camera_fits_pictures_of_its_shape_alone():
    camera = Camera.seeing(90, (1280, 720))
    assert camera.focal_xy == pytest.approx((640, 640))
    assert camera.scaled((640, 360)) == Camera.seeing(90, (640, 360))
    with pytest.raises(InputError, match="wanted frames of the shape that the camera was told for"):
        camera.scaled((640, 480))


def test_a_mount_turns_the_carriers_pose():
    level = Pose(0.0, 48.0, 11.0, 20.0, 0.0, 0.0, 90.0)
    down = Mount(pitch_deg=-30).turned(level)
    assert (down.roll_deg, down.pitch_deg, down.yaw_deg) == pytest.approx((0, -30, 90), abs=1e-9)
    aside = Mount(yaw_deg=90).turned(Pose(0.0, 48.0, 11.0, 20.0, 10.0, 0.0, 0.0))
    assert (aside.roll_deg, aside.pitch_deg, aside.yaw_deg) == pytest.approx((0, -10, 90), abs=1e-9)  # its right wing hangs down
    assert Mount(pitch_deg=-30).turned(Pose(lat=1.0, lon=2.0, roll_deg=3.0)) == Pose(lat=1.0, lon=2.0)


def test_degrees_are_those_of_pymap3d():
    told = {(300, 400): (48.00359736388939, 11.004020360954275), (-1500, 1200): (48.01079053662044, 10.979895400388445)}
    for (east, north), (lat, lon) in told.items():
        off = np.subtract(Plane(48, 11).metres(lat, lon), (east, north))
        assert np.hypot(*off) < 1.6e-7 * np.hypot(east, north) ** 2
    assert Plane(10, 179.9999).degrees(100, 0)[1] == pytest.approx(-179.99919, abs=1e-4)
    assert Plane(10, 179.9999).metres(10, -179.9999)[0] == pytest.approx(21.93, abs=0.05)
