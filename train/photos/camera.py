"""What a car's camera makes of a scene: lens, motion, exposure, a Bayer sensor with its noise and colour fringes, sharpening and compression."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_NOISE_PX = 512


def photograph(scene: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Photograph a scene.

    Args:
        scene: (height, width, 3) float32 BGR, light of which 255 saturates the sensor; brighter light blooms.
        rng: source of chance.

    Returns:
        The photo, of the same shape, uint8.
    """
    seen = _blurred(np.minimum(scene, 600.0), rng)
    # Per channel: white balance, colder the darker it is; and the sensor's black level, which is never quite zero.
    tint, black = rng.normal(0.03, 0.06), rng.uniform(6, 14)
    warm = np.array([1 + tint + rng.normal(0.02, 0.03), 1.0, 1 - tint + rng.normal(0.02, 0.03)], np.float32)
    seen = seen * warm + np.float32(black)
    # Lens and windscreen lay a veil over all: a thin one, or, dirty or with the sun on it, a dense one.
    share = rng.uniform(0.1, 0.5) if rng.random() < 0.08 else rng.uniform(0.01, 0.07)
    seen = seen * np.float32(1 - share) + np.float32(share * float(seen.mean()) * rng.uniform(0.8, 1.4))
    photo = _developed(seen, rng)
    if rng.random() < 0.1:
        _, code = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 92))])
        return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return photo


def _blurred(scene: Floats, rng: np.random.Generator) -> Floats:
    side = max(scene.shape[:2])
    if rng.random() < 0.3:
        length = min(side * rng.uniform(0.02, 0.1), 12.0)
        scene = np.asarray(cv2.filter2D(scene, -1, _motion(int(length * 2), int(rng.normal(0, 2.2)) % 12)), np.float32)
    # No lens is as sharp as its sensor: what is finer than a pixel would come out as confetti.
    sigma = float(np.hypot(0.38, 0.25 * np.exp(rng.normal(0, 0.5)) * (side / 50) ** 0.5))
    return np.asarray(cv2.GaussianBlur(scene, (0, 0), sigma), np.float32)


@functools.lru_cache(maxsize=400)
def _motion(half_px: int, turn: int) -> Floats:
    """A line's kernel: its length in half pixels, its direction in twelfths of a half turn."""
    length = half_px / 2
    side = 2 * int(np.ceil(length / 2 + 1)) + 1
    kernel = np.zeros((side, side), np.float32)
    for along in np.linspace(-length / 2, length / 2, 4 * half_px + 5):
        x, y = side // 2 + along * np.cos(turn * np.pi / 12), side // 2 + along * np.sin(turn * np.pi / 12)
        column, row = int(x), int(y)
        right, down = x - column, y - row
        kernel[row : row + 2, column : column + 2] += np.outer([1 - down, down], [1 - right, right])
    return kernel / kernel.sum()


def _developed(seen: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Read the sensor's mosaic with noise, interpolate the colours that each pixel lacks, and sharpen: edges get fringes as in real photos."""
    mosaic = seen[:, :, 1].copy()
    top, left = rng.integers(0, 2, 2).tolist()
    mosaic[top::2, left::2] = seen[top::2, left::2, 2]
    mosaic[1 - top :: 2, 1 - left :: 2] = seen[1 - top :: 2, 1 - left :: 2, 0]
    height, width = mosaic.shape
    x, y = rng.integers(0, _NOISE_PX - max(height, width), 2).tolist()
    grain = float(np.exp(rng.normal(-0.25, 0.5)))
    mosaic += _noise()[y : y + height, x : x + width] * np.float32(grain) * np.sqrt(0.6 + np.maximum(mosaic, 0) * np.float32(0.02))
    raw = np.clip(mosaic + 0.5, 0, 255).astype(np.uint8)
    photo = cv2.cvtColor(raw, _DEMOSAIC[top, left])
    # Sharpened is the brightness alone, as in a camera: colour fringes must not grow.
    bright = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
    detail = cv2.cvtColor(cv2.subtract(bright, cv2.blur(bright, (3, 3)), dtype=cv2.CV_32F), cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.addWeighted(photo, 1, detail, rng.uniform(0.3, 2.2), 0, dtype=cv2.CV_8U), np.uint8)


# OpenCV names a mosaic by the second and third pixel of its second row; the key is where the first red one lies.
_DEMOSAIC = {(0, 0): cv2.COLOR_BayerBG2BGR_EA, (0, 1): cv2.COLOR_BayerGB2BGR_EA, (1, 0): cv2.COLOR_BayerGR2BGR_EA, (1, 1): cv2.COLOR_BayerRG2BGR_EA}


@functools.lru_cache(maxsize=1)
def _noise() -> Floats:
    return np.random.default_rng(44).standard_normal((_NOISE_PX, _NOISE_PX), np.float32)
