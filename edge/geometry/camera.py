"""Cameras: how they are turned, and which way each point of their picture looks. Knows no files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.geometry.pose import Pose

Floats = NDArray[np.float64]
Lens = Literal["opencv", "fisheye", "barrel"]

_SAME_SHAPE = 0.01


def axes_of(roll_deg: float | Floats, pitch_deg: float | Floats, yaw_deg: float | Floats) -> Floats:
    """Return the axes of cameras that are turned so, (..., 3, 3): right, down and ahead in the world, whose x is east, y is up and z is north."""
    angles = np.radians(np.array([roll_deg, pitch_deg, yaw_deg], np.float64))
    (sr, sp, sy), (cr, cp, cy) = np.sin(angles), np.cos(angles)
    rows = [
        [cy * cr + sy * sp * sr, -cp * sr, cy * sp * sr - sy * cr],
        [sy * sp * cr - cy * sr, -cp * cr, cy * sp * cr + sy * sr],
        [sy * cp, sp, cy * cp],
    ]
    return np.moveaxis(np.array(rows, np.float64), (0, 1), (-2, -1))


def angles_of(axes: Floats) -> tuple[float, float, float]:
    """Return roll, pitch and yaw, degrees, of a camera with these axes, (3, 3): what `axes_of` undoes."""
    right, down, ahead = axes
    return (
        math.degrees(math.atan2(-right[1], -down[1])),
        math.degrees(math.asin(max(-1.0, min(1.0, ahead[1])))),
        math.degrees(math.atan2(ahead[0], ahead[2])) % 360,
    )


@dataclass(frozen=True)
class Mount:
    """How a camera is turned against what tells the attitude: first by its yaw to the right, then by its pitch up, then by its roll, right side down."""

    roll_deg: float = 0.0
    pitch_deg: float = 0.0
    yaw_deg: float = 0.0

    def turned(self, pose: Pose) -> Pose:
        """Return a carrier's pose as that of its camera; what is not wholly known of how it is turned is not known of the camera either."""
        if self == Mount():
            return pose
        if pose.roll_deg is None or pose.pitch_deg is None or pose.yaw_deg is None:
            return replace(pose, roll_deg=None, pitch_deg=None, yaw_deg=None)
        right, down, ahead = axes_of(pose.roll_deg, pose.pitch_deg, pose.yaw_deg)
        # In the carrier's own world its right is east, its lower side is down and its nose points north.
        own = axes_of(self.roll_deg, self.pitch_deg, self.yaw_deg)
        roll, pitch, yaw = angles_of(own @ np.stack([right, -down, ahead]))
        return replace(pose, roll_deg=roll, pitch_deg=pitch, yaw_deg=yaw)


@dataclass(frozen=True)
class Camera:
    """A camera and its lens.

    Attributes:
        size_wh: width and height in pixels of the picture that the rest is told for.
        focal_xy: focal lengths in pixels.
        middle_xy: where the optical axis meets the picture, pixels from its upper left corner (OpenCV counts half a pixel less).
        lens: what the bends are told by: OpenCV's own model, its fisheye model, or a barrel, whose straight radius is r (1 + k r^2) in half widths.
        bends: the model's coefficients; none for a pinhole.
        mount: how it is turned against what tells the attitude.
    """

    size_wh: tuple[int, int]
    focal_xy: tuple[float, float]
    middle_xy: tuple[float, float]
    lens: Lens = "opencv"
    bends: tuple[float, ...] = ()
    mount: Mount = Mount()

    @staticmethod
    def seeing(hfov_deg: float, size_wh: tuple[int, int], *, mount: Mount | None = None) -> Camera:
        """Return a pinhole that sees so many degrees from left to right."""
        focal = size_wh[0] / 2 / math.tan(math.radians(hfov_deg) / 2)
        return Camera(size_wh, (focal, focal), (size_wh[0] / 2, size_wh[1] / 2), mount=mount or Mount())

    def scaled(self, size_wh: tuple[int, int]) -> Camera:
        """Return the same camera for pictures of another size.

        Raises:
            InputError: their shape is another one.
        """
        if size_wh == self.size_wh:
            return self
        across, up = size_wh[0] / self.size_wh[0], size_wh[1] / self.size_wh[1]
        if abs(across / up - 1) > _SAME_SHAPE:
            wanted, found = (f"{width}x{height}" for width, height in (self.size_wh, size_wh))
            raise InputError(f"wanted frames of the shape that the camera was told for ({wanted}), found {found}: calibrate it at that size")
        focal, middle = ((x * across, y * up) for x, y in (self.focal_xy, self.middle_xy))
        return replace(self, size_wh=size_wh, focal_xy=focal, middle_xy=middle)

    def straight(self, points_xy: Sequence[tuple[float, float]] | Floats) -> Floats:
        """Return where points of the picture, (n, 2) in pixels, would lie in that of a pinhole of focal length 1, x and y from its middle, (n, 2)."""
        points = np.asarray(points_xy, np.float64)
        flat: Floats = (points - self.middle_xy) / self.focal_xy
        if not self.bends:
            return flat
        if self.lens == "barrel":
            radii = (points - self.middle_xy) / (self.size_wh[0] / 2)
            straight: Floats = flat * (1 + self.bends[0] * np.square(radii).sum(axis=1, keepdims=True))
            return straight
        undo = cv2.fisheye.undistortPoints if self.lens == "fisheye" else cv2.undistortPoints
        return np.asarray(undo(flat[:, None], np.eye(3), np.array(self.bends)), np.float64).reshape(-1, 2)
