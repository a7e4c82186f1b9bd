"""Projects a plain world to pictures: a car's camera and a drone's, and flat boards that are drawn where they see them.

The world is in metres: x to the right, y up, z along the road.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.geometry.camera import axes_of

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
Pyramid = tuple[Image, ...]

_FOCAL = 0.93
_HORIZON = 0.47
_ENLARGED = 1.06
_SMALLEST_PX = 8
_DRONE_FOCAL = 0.68
_NEAR_M = 0.1

LENS = 0.35
"""Barrel distortion of an FPV camera: what lies r from the middle of the picture would lie r (1 + 0.35 r^2) from it without the lens, in half widths."""


class View(Protocol):
    """A camera, wherever it is."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of its picture in pixels."""
        ...

    def project(self, points: Floats) -> Floats:
        """Project world points, (n, 3), to the picture, (n, 2)."""
        ...


@dataclass(frozen=True)
class Camera:
    """A camera that looks along the road.

    Attributes:
        x: metres to the right.
        y: metres above the ground.
        z: metres along the road.
        pan_px: how far the picture is shaken to the right.
        pitch_px: how far the picture is shaken down.
        roll_deg: how far the picture is shaken round.
        size_wh: width and height of the picture in pixels.
    """

    x: float
    y: float
    z: float
    pan_px: float
    pitch_px: float
    roll_deg: float
    size_wh: tuple[int, int]

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return _FOCAL * self.size_wh[0]

    @property
    def horizon(self) -> float:
        """Row of the horizon in the level picture."""
        return _HORIZON * self.size_wh[1]

    def level(self, points: Floats) -> Floats:
        """Project world points, (..., 3), to the picture of a camera that does not shake, (..., 2)."""
        scale = self.focal / np.maximum(points[..., 2:] - self.z, 0.1)
        flat: Floats = (points[..., :2] - (self.x, self.y)) * scale * (1, -1) + (self.size_wh[0] / 2, self.horizon)
        return flat

    def shake(self) -> Floats:
        """Return the (2, 3) matrix from the level picture to the shaken one; it enlarges a little, to hide most of the level picture's edges."""
        shake = np.asarray(cv2.getRotationMatrix2D((self.size_wh[0] / 2, self.size_wh[1] / 2), self.roll_deg, _ENLARGED), np.float64)
        shake[:, 2] += self.pan_px, self.pitch_px
        return shake

    def project(self, points: Floats) -> Floats:
        """Project world points, (n, 3), to the picture, (n, 2)."""
        shake = self.shake()
        moved: Floats = self.level(points) @ shake[:, :2].T + shake[:, 2]
        return moved


@dataclass(frozen=True)
class DroneCamera:
    """A camera that is turned in any way, with a lens that bends straight lines.

    Attributes:
        x: metres to the right.
        y: metres above the ground.
        z: metres along the road.
        roll_deg: positive with the right side down.
        pitch_deg: positive with the optical axis above the horizon.
        yaw_deg: of the optical axis, from the z axis to the right.
        size_wh: width and height of the picture in pixels.
        lens: strength of the barrel distortion, as `LENS` has it; 0 for a pinhole.
    """

    x: float
    y: float
    z: float
    roll_deg: float
    pitch_deg: float
    yaw_deg: float
    size_wh: tuple[int, int]
    lens: float = LENS

    @property
    def focal(self) -> float:
        """Focal length in pixels, in the middle of the picture."""
        return _DRONE_FOCAL * self.size_wh[0]

    @functools.cached_property
    def place(self) -> Floats:
        """Where it is, (3,)."""
        return np.array([self.x, self.y, self.z])

    @functools.cached_property
    def axes(self) -> Floats:
        """Directions of its right, its lower side and its optical axis in the world, the rows of (3, 3)."""
        return axes_of(self.roll_deg, self.pitch_deg, self.yaw_deg)

    def depths(self, points: Floats) -> Floats:
        """Return how far world points, (..., 3), lie before it along the optical axis, metres."""
        ahead: Floats = (points - self.place) @ self.axes[2]
        return ahead

    def project(self, points: Floats) -> Floats:
        """Project world points, (..., 3), to the picture, (..., 2); what lies behind the camera comes to lie far outside."""
        return project_by(self.axes, points - self.place, self.size_wh, self.lens)


def project_by(axes: Floats, points: Floats, size_wh: tuple[int, int], lens: float) -> Floats:
    """Project points relative to cameras, (..., 3), by the cameras' axes, (3, 3) or what broadcasts, to pictures, (..., 2)."""
    seen = points @ axes.T if axes.ndim == 2 else np.einsum("...ij,...j->...i", axes, points)
    half = size_wh[0] / 2
    flat = seen[..., :2] * (2 * _DRONE_FOCAL / np.maximum(seen[..., 2:], _NEAR_M))
    if lens > 0:
        # Where r (1 + lens r^2) is given, r is the one real root of the cubic.
        radius, unit = np.maximum(np.hypot(flat[..., 0], flat[..., 1]), 1e-9), math.sqrt(3 * lens)
        flat *= (2 / unit * np.sinh(np.arcsinh(1.5 * unit * radius) / 3) / radius)[..., None]
    moved: Floats = flat * half + (half, size_wh[1] / 2)
    return moved


@functools.lru_cache(maxsize=4)
def unbent(size_wh: tuple[int, int], lens: float) -> NDArray[np.float32]:
    """Return where each pixel's centre would lie without the lens: x and y in pixels from the middle, (2, height, width)."""
    half = size_wh[0] / 2
    places = np.stack(np.meshgrid(np.arange(size_wh[0]) + 0.5 - half, np.arange(size_wh[1]) + 0.5 - size_wh[1] / 2))
    straight: NDArray[np.float32] = (places * (1 + lens * np.square(places / half).sum(axis=0))).astype(np.float32)
    straight.setflags(write=False)
    return straight


@dataclass(frozen=True, eq=False)
class Board:
    """A flat picture that stands in the world.

    Attributes:
        pyramid: the picture as of `pyramid`.
        corners: its corners in the world, (4, 3), clockwise from the upper left one.
    """

    pyramid: Pyramid
    corners: Floats

    @property
    def z(self) -> float:
        """Where its nearest corner stands along the road."""
        return float(self.corners[:, 2].min())


def upright(picture: Pyramid, x: float, z: float, width: float, height: float, bottom: float = 0.0) -> Board:
    """Stand a picture across the road, its foot's middle at (x, bottom, z), `width` x `height` metres."""
    left, right, top = x - width / 2, x + width / 2, bottom + height
    return Board(picture, np.array([[left, top, z], [right, top, z], [right, bottom, z], [left, bottom, z]]))


def pyramid(picture: Image) -> Pyramid:
    """Halve a BGRA picture, uint8, by area averaging until it is tiny; colours are multiplied by alpha, so that nothing shines in from beside it."""
    alpha = picture[:, :, 3]
    level = np.asarray(cv2.multiply(picture, cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGRA), scale=1 / 255), np.uint8)
    levels = [level]
    while min(level.shape[:2]) >= 2 * _SMALLEST_PX:
        level = cv2.resize(level, (level.shape[1] // 2, level.shape[0] // 2), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        levels.append(level)
    for made in levels:
        made.setflags(write=False)
    return tuple(levels)


def draw(image: Image, picture: Pyramid, corners: Floats, *, finer: int = 1, haze: tuple[float, tuple[int, int, int]] = (0.0, (0, 0, 0))) -> None:
    """Draw a picture into an image, in place, antialiased.

    Args:
        image: (height, width, 4) uint8, BGR and a fourth channel that means nothing: OpenCV warps four much faster than three.
        picture: as of `pyramid`.
        corners: where the picture's corners come to lie, (4, 2) in pixels, clockwise from the upper left one.
        finer: warp at so many times the resolution and average it down.
        haze: share of haze, 0 to 1, before it, and the haze's colour.
    """
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    x1, y1 = max(math.floor(left - 1), 0), max(math.floor(top - 1), 0)
    width, height = min(math.ceil(right + 1), image.shape[1]) - x1, min(math.ceil(bottom + 1), image.shape[0]) - y1
    if width <= 0 or height <= 0:
        return
    level = _level(picture, corners, finer)
    rows, columns = level.shape[:2]
    # Corners are those of pixels, OpenCV counts from their centres.
    source = np.array([[-0.5, -0.5], [columns - 0.5, -0.5], [columns - 0.5, rows - 0.5], [-0.5, rows - 0.5]], np.float32)
    target = ((corners - (x1, y1)) * finer - 0.5).astype(np.float32)
    patch = cv2.warpPerspective(level, cv2.getPerspectiveTransform(source, target), (width * finer, height * finer), flags=cv2.INTER_LINEAR)
    if finer > 1:
        patch = cv2.resize(patch, (width, height), interpolation=cv2.INTER_AREA)
    lay(image[y1 : y1 + height, x1 : x1 + width], *veiled(np.asarray(patch, np.uint8), haze))


def _level(picture: Pyramid, corners: Floats, finer: int) -> Image:
    """Choose the level whose pixels are about as large as those to be drawn."""
    upper_left, upper_right, lower_right, lower_left = corners.tolist()
    across = max(math.dist(upper_left, upper_right), math.dist(lower_left, lower_right))
    down = max(math.dist(upper_left, lower_left), math.dist(upper_right, lower_right))
    shrink = min(picture[0].shape[1] / max(across, 1e-3), picture[0].shape[0] / max(down, 1e-3)) / finer
    return picture[min(round(math.log2(max(shrink, 1.0))), len(picture) - 1)]


def veiled(patch: Image, haze: tuple[float, tuple[int, int, int]]) -> tuple[Image, Image]:
    """Return a BGRA patch with multiplied colours behind haze, and how much of what is below it stays clear, times 255, in four channels."""
    share, colour = haze
    if share > 0:
        veil = np.diag([1 - share, 1 - share, 1 - share, 1.0])
        veil[:3, 3] = share * np.array(colour) / 255
        patch = np.asarray(cv2.transform(patch, veil), np.uint8)
    alpha = cv2.extractChannel(patch, 3)
    return patch, np.asarray(cv2.bitwise_not(cv2.merge([alpha, alpha, alpha, alpha])), np.uint8)


def lay(below: Image, patch: Image, clear: Image) -> None:
    """Lay what `veiled` returns over a part of an image, in place."""
    below[:] = cv2.add(cv2.multiply(below, clear, scale=1 / 255), patch)
