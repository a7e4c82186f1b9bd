"""One look at a sign, as geometry wants it: where the camera was, how it was turned, and where in a pinhole's picture the sign lay."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.geometry.boxes import Box
from edge.geometry.camera import Camera, axes_of
from edge.geometry.geodesy import Plane
from edge.geometry.pose import Pose
from edge.geometry.similarity import Quad

Floats = NDArray[np.float64]

USUAL_SIGMA_M = 1.5
"""How sure a GPS place is where nothing tells."""
USUAL_SIGMA_DEG = 1.0
"""How sure an attitude is: what autopilots reach in flight, the mount's own angles included."""


@dataclass(frozen=True, eq=False)
class Sight:
    """A look at a sign.

    Attributes:
        time_s: when.
        place: of the camera, (3,): metres to the east, up, and to the north in the flight's plane.
        axes: of the camera, (3, 3): right, down, ahead in that world; turned about the optical axis where the box was.
        box: middle x and y, width and height in the picture of a pinhole with focal length 1, (4,).
        pixel: width of a pixel there.
        sigma_m: how sure the place is, to each side.
        sigma_rad: how sure the attitude is, about each axis.
    """

    time_s: float
    place: Floats
    axes: Floats
    box: Floats
    pixel: float
    sigma_m: float
    sigma_rad: float


@dataclass(frozen=True, eq=False)
class Stand:
    """Where a camera was as it took a frame, once for all signs in it; attributes as of `Sight`."""

    time_s: float
    place: Floats
    axes: Floats
    sigma_m: float


def stand(plane: Plane, pose: Pose, time_s: float) -> Stand | None:
    """Return where a camera was; None where its pose is not wholly known."""
    if not pose.whole:
        return None
    axes = axes_of(float(pose.roll_deg or 0), float(pose.pitch_deg or 0), float(pose.yaw_deg or 0))
    east, north = plane.metres(float(pose.lat or 0), float(pose.lon or 0))
    return Stand(time_s, np.array([east, float(pose.alt_m or 0), north]), axes, USUAL_SIGMA_M if pose.sigma_m is None else pose.sigma_m)


def look(at: Stand, camera: Camera, box_xyxy: Box, quad_xy: Quad | None = None) -> Sight | None:
    """Return the look at a sign in a picture of `camera.size_wh`; None where the sign is cut by the picture's edge."""
    x1, y1, x2, y2 = box_xyxy
    corners = quad_xy or ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
    edges = [((ax + bx) / 2, (ay + by) / 2) for (ax, ay), (bx, by) in zip(corners, (*corners[1:], corners[0]), strict=True)]
    width, height = camera.size_wh
    if not all(1 <= x <= width - 1 and 1 <= y <= height - 1 for x, y in edges):
        return None
    upper, right, lower, left = camera.straight(edges)
    axes = at.axes
    if quad_xy is not None:
        (x0, y0), (x1, y1) = quad_xy[:2]
        turn = np.array([[x1 - x0, y1 - y0], [y0 - y1, x1 - x0]]) / np.hypot(x1 - x0, y1 - y0)
        upper, right, lower, left = (turn @ edge for edge in (upper, right, lower, left))
        axes = np.vstack([turn @ axes[:2], axes[2:]])
    across, up = np.hypot(*(right - left)), np.hypot(*(lower - upper))
    box = np.array([*(upper + right + lower + left) / 4, across, up])
    return Sight(at.time_s, at.place, axes, box, 1 / camera.focal_xy[0], at.sigma_m, math.radians(USUAL_SIGMA_DEG))
