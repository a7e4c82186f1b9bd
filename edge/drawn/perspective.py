"""Projects a plain world to pictures: a pinhole camera, and flat boards that are drawn where it sees them.

The world is in metres: x to the right, y up, z along the road.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
Pyramid = tuple[Image, ...]

_FOCAL = 0.93
_HORIZON = 0.47
_ENLARGED = 1.06
_SMALLEST_PX = 8


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
    _lay(image[y1 : y1 + height, x1 : x1 + width], np.asarray(patch, np.uint8), haze)


def _level(picture: Pyramid, corners: Floats, finer: int) -> Image:
    """Choose the level whose pixels are about as large as those to be drawn."""
    upper_left, upper_right, lower_right, lower_left = corners.tolist()
    across = max(math.dist(upper_left, upper_right), math.dist(lower_left, lower_right))
    down = max(math.dist(upper_left, lower_left), math.dist(upper_right, lower_right))
    shrink = min(picture[0].shape[1] / max(across, 1e-3), picture[0].shape[0] / max(down, 1e-3)) / finer
    return picture[min(round(math.log2(max(shrink, 1.0))), len(picture) - 1)]


def _lay(below: Image, patch: Image, haze: tuple[float, tuple[int, int, int]]) -> None:
    """Lay a BGRA patch with multiplied colours over a part of an image, in place."""
    share, colour = haze
    if share > 0:
        veil = np.diag([1 - share, 1 - share, 1 - share, 1.0])
        veil[:3, 3] = share * np.array(colour) / 255
        patch = np.asarray(cv2.transform(patch, veil), np.uint8)
    alpha = cv2.extractChannel(patch, 3)
    clear = cv2.bitwise_not(cv2.merge([alpha, alpha, alpha, alpha]))
    below[:] = cv2.add(cv2.multiply(below, clear, scale=1 / 255), patch)
