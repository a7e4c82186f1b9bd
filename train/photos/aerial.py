"""What a drone does to a sign, drawn at random for training: turns, haste, dusk, fog, and what a thin radio link leaves of a picture.

The views that benchmarks judge by are `edge.datasets.aerial`'s; here are ranges around them, with WebP (intra frames of a video codec, in every OpenCV) for
H.265.
"""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.datasets.aerial import GAMMA, boxes_of_ellipses, darkened, fogged, moved, shaken, through_link, turned

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

ROLL, TILT = 55.0, 65.0
"""Largest roll, and pitch or yaw, degrees."""
AMBIGUOUS_FROM = 55.0
"""From this roll on an arrow may be another sign's."""
_AMBIGUOUS_TO = 85.0
_BLUR, _MOST_BLUR_OF_CROP = (2.5, 9.0), 0.3
"""Pixels of a frame; of a crop at most this share of its side."""
_DARK, _DARK_NOISE = (0.2, 0.9), (2.0, 12.0)
_FOG_SHARE, _FOG_LEVEL = (0.2, 0.75), (140.0, 235.0)
_NOISE = (8.0, 55.0)
_COVERED = (0.3, 0.65)
_LEAST_CONTRAST, _LEAST_LEVELS = 0.7, 5.0
_SMALLER = (0.3, 0.8)
_KINDS = ("cover", "haste", "dusk", "fog", "link", "noise", "distance", "focus")
_SHARES_OF_FRAMES = (0.0, 0.22, 0.26, 0.12, 0.26, 0.04, 0.06, 0.04)
_SHARES_OF_CROPS = (0.2, 0.18, 0.18, 0.06, 0.18, 0.16, 0.02, 0.02)


def draw_turn(rng: np.random.Generator, *, ambiguous: float = 0.0) -> tuple[float, float, float]:
    """Draw roll, pitch and yaw, degrees: mostly a roll, often seen from above or from the side, rarely from both.

    Args:
        rng: source of chance.
        ambiguous: share of the turns that roll beyond `AMBIGUOUS_FROM`.
    """
    if rng.random() < ambiguous:
        return float(rng.choice([-1, 1]) * rng.uniform(AMBIGUOUS_FROM, _AMBIGUOUS_TO)), 0.0, 0.0
    roll = rng.uniform(-ROLL, ROLL) if rng.random() < 0.7 else rng.normal(0, 5)
    pitch = rng.uniform(-20, TILT) if rng.random() < 0.4 else 0.0
    yaw = rng.uniform(-TILT, TILT) if rng.random() < (0.4 if pitch < 20 else 0.1) else 0.0
    return float(roll), float(pitch), float(yaw)


def turn_around(centre: Floats, to: Floats, scale: float, width: int, turn: tuple[float, float, float]) -> Floats:
    """Return the homography, (3, 3), that turns a frame about a point of it and shows that point elsewhere.

    Args:
        centre: the point, (2,) pixels of the frame.
        to: where it is shown, (2,) pixels of the view.
        scale: at which it is shown there.
        width: of the frame, pixels, the camera's focal length.
        turn: roll, pitch and yaw, degrees.
    """
    here = np.array([[1, 0, (width - 1) / 2 - centre[0]], [0, 1, (width - 1) / 2 - centre[1]], [0, 0, 1]])
    there = np.array([[scale, 0, to[0] - scale * (width - 1) / 2], [0, scale, to[1] - scale * (width - 1) / 2], [0, 0, 1]])
    return np.asarray(there @ turned((width, width), *turn) @ here, np.float64)


def turn_crop(size_wh: tuple[int, int], size: int, turn: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return how the photo of a sign turns and fills a square crop of `size` again: (2, 2), about the middle of both."""
    matrix = turned((size_wh[0] * 8, size_wh[0] * 8), *turn)
    middle = (size_wh[0] * 8 - 1) / 2
    ends = moved(np.array([[middle, middle], [middle + 1, middle], [middle, middle + 1]]), matrix)
    linear = (ends[1:] - ends[0]).T
    reach = np.linalg.norm(linear * np.array(size_wh) / 2, axis=1)
    return np.asarray(np.diag(size / 2 / reach) @ linear, np.float64)


def warp_frame(image: Image, boxes_xyxy: Floats, matrix: Floats, size: int, grey: int, rng: np.random.Generator) -> tuple[Image, Floats]:
    """Show a frame, (h, w, 3) uint8 BGR, and its boxes, (n, 4), through a homography in a square of `size` pixels, grey outside the frame."""
    shrinks = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    if shrinks < 0.8 and rng.random() < 0.5:  # a camera averages; a warp of pixels, as benchmarks do it, does not
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.35 / shrinks), np.uint8)
    view = cv2.warpPerspective(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(grey,) * 3)
    return np.asarray(view, np.uint8), boxes_of_ellipses(boxes_xyxy, partial(moved, matrix=matrix))


def weather(image: Image, rng: np.random.Generator, *, crop: bool = False) -> Image:
    """Make one or two things worse, strongly: haste, focus, light, fog, distance, the radio link, noise. A picture, (h, w, 3) uint8 BGR, in and out.

    Args:
        image: the picture.
        rng: source of chance.
        crop: it shows one sign and nothing else.
    """
    chosen = rng.choice(_KINDS, 2 if rng.random() < 0.25 else 1, replace=False, p=_SHARES_OF_CROPS if crop else _SHARES_OF_FRAMES)
    for kind in sorted(chosen.tolist(), key=_KINDS.index):
        image = _worse(image, kind, rng, crop)
    return image


def _worse(image: Image, kind: str, rng: np.random.Generator, crop: bool) -> Image:
    if kind == "cover":
        return _covered(image, rng)
    if kind == "haste":
        least, most = _BLUR[0], max(_BLUR[0] + 1, _MOST_BLUR_OF_CROP * max(image.shape[:2])) if crop else _BLUR[1]
        return shaken(image, float(np.exp(rng.uniform(np.log(least), np.log(most)))), float(rng.uniform(0, np.pi)))
    if kind == "dusk":
        factor, sigma = float(rng.uniform(*_DARK)), float(rng.uniform(*_DARK_NOISE))
        # Many photos were taken at dusk: what nobody could see any more teaches nothing.
        left = float(((image / 255.0) ** GAMMA * 255).std()) if crop else np.inf
        return darkened(image, max(factor, min(2.0, _LEAST_CONTRAST * sigma / max(left, 1e-3))), sigma, rng)
    if kind == "fog":
        share = float(rng.uniform(*_FOG_SHARE))
        left = float(image.std()) if crop else np.inf
        return fogged(image, min(1.0, max(share, _LEAST_LEVELS / max(left, 1e-3))), float(rng.uniform(*_FOG_LEVEL)))
    if kind == "noise":
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(*_NOISE) * (1 if crop else 0.5))
        return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)
    if kind == "distance":
        shares = rng.uniform(*_SMALLER, 2) if crop else np.full(2, rng.uniform(*_SMALLER))
        small = cv2.resize(image, np.maximum(np.rint(np.array(image.shape[1::-1]) * shares), 2).astype(int).tolist(), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
    if kind == "focus":
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 2.2)), np.uint8)
    return through_link(image, rng, 0.5 if crop else 0.25)


def _covered(image: Image, rng: np.random.Generator) -> Image:
    """Cover a part of a picture by a patch of one colour, half of them grey."""
    covered = image.copy()
    height, width = (np.array(image.shape[:2]) * rng.uniform(*_COVERED, 2)).astype(int)
    top, left = rng.integers(0, image.shape[0] - height + 1), rng.integers(0, image.shape[1] - width + 1)
    covered[top : top + height, left : left + width] = rng.integers(0, 256, 1 if rng.random() < 0.5 else 3)
    return covered
