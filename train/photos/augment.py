"""What a sign survives: shift, scale, rotation, shear, light, blur, compression, noise, distance, a covered patch.

Never a half turn, and a mirror only where that makes a sign, which is the data set's to tell (`edge.datasets.classes`).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.images import decode_image, fit_crop
from train.photos.aerial import turn_crop, weather

ROTATION_DEGREES = 15.0
SHIFT_SHARE = 0.08
SCALE_RANGE = (0.8, 1.2)
SHEAR = 0.12
GAMMA_RANGE = (0.6, 1.7)
CONTRAST_RANGE = (0.5, 1.5)
BRIGHTNESS = 45.0
TINT_RANGE = (0.9, 1.1)
NOISE_SHARE = 0.2
SMALLEST_SEEN_PX = 12
JPEG_QUALITY = (15, 80)
DUSK_RANGE = (0.15, 1.0)
OWN_SIZE_RANGE = (0.6, 1.1)
PATCH_SHARE = (0.12, 0.35)


def augment(
    crop: NDArray[np.uint8], size: int, rng: np.random.Generator, turn: tuple[float, float, float] | None = None, *, bad_weather: bool = False
) -> NDArray[np.uint8]:
    """Return a varied view of one sign.

    Args:
        crop: (height, width, 3) uint8 BGR, the sign with its margin.
        size: side of the result, pixels.
        rng: the only source of chance, so that a seed repeats the view.
        turn: roll, pitch and yaw, degrees, in which it is seen and cropped to the sign again; None: a little roll.
        bad_weather: it is made worse strongly (`train.photos.aerial.weather`), instead of mildly.

    Returns:
        (size, size, 3) uint8 BGR.
    """
    if bad_weather:
        # Noise, an encoder's blocks and haste are as coarse as the photo is: large ones are made worse large, small ones small.
        side = int(np.clip(max(crop.shape[:2]) * rng.uniform(*OWN_SIZE_RANGE), SMALLEST_SEEN_PX, 2 * size))
        seen = fit_crop(weather(_warp(crop, side, rng, turn), rng, crop=True), size)
        if rng.random() < 0.25:
            _cover(seen, rng)
        return seen
    view = _warp(crop, size, rng, turn)
    if rng.random() < 0.3:
        view = _farther(view, rng)
    if rng.random() < 0.3:
        view = blur(view, rng)
    lit = _light(view, rng)
    if rng.random() < 0.2:
        lit *= np.float32(rng.uniform(*DUSK_RANGE))
    if rng.random() < 0.4:
        strength = rng.uniform(0.5, 2.0 + NOISE_SHARE * float(lit.std()))
        lit = lit + rng.standard_normal(lit.shape, np.float32) * np.float32(strength)
    seen = np.clip(lit, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        seen = compress(seen, rng)
    if rng.random() < 0.25:
        _cover(seen, rng)
    return seen


def _warp(crop: NDArray[np.uint8], size: int, rng: np.random.Generator, turn: tuple[float, float, float] | None = None) -> NDArray[np.uint8]:
    limit = size * 3 // 2
    if max(crop.shape[:2]) > limit:  # the bilinear warp below would alias
        crop = cv2.resize(crop, (limit, limit), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    height, width = crop.shape[:2]
    angle = np.deg2rad(rng.uniform(-ROTATION_DEGREES, ROTATION_DEGREES))
    scales = rng.uniform(*SCALE_RANGE, 2)
    shear = np.array([[1.0, rng.uniform(-SHEAR, SHEAR)], [0.0, 1.0]])
    shift = rng.uniform(-SHIFT_SHARE, SHIFT_SHARE, 2) * size
    if turn is None:
        rolled = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = rolled @ shear @ np.diag([size / width, size / height] * scales)
    else:
        linear = np.diag(scales) @ shear @ turn_crop((width, height), size, turn)
    offset = np.full(2, (size - 1) / 2) + shift - linear @ np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.column_stack([linear, offset])
    return cv2.warpAffine(crop, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101).astype(np.uint8, copy=False)


def _farther(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    side = int(rng.integers(min(SMALLEST_SEEN_PX, view.shape[0]), view.shape[0] + 1))
    small = cv2.resize(view, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, view.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def blur(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur a view, (height, width, 3) uint8, as a lens out of focus or a moving camera does."""
    if rng.random() < 0.5:
        return cv2.GaussianBlur(view, (0, 0), rng.uniform(0.3, 1.5)).astype(np.uint8, copy=False)
    length = int(rng.choice([3, 5, 7]))
    direction = rng.uniform(0.0, np.pi)
    reach = np.array([np.cos(direction), np.sin(direction)]) * (length - 1) / 2
    kernel = np.zeros((length, length), np.float32)
    for step in np.linspace(-1.0, 1.0, 2 * length):
        x, y = np.rint((length - 1) / 2 + step * reach).astype(int)
        kernel[y, x] = 1.0
    return cv2.filter2D(view, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101).astype(np.uint8, copy=False)


def _light(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    gamma = np.exp(rng.uniform(*np.log(GAMMA_RANGE)))
    lit = cv2.LUT(view, (255.0 * (np.arange(256) / 255.0) ** gamma).astype(np.float32)).astype(np.float32, copy=False)
    mean = lit.mean()
    darker = min(BRIGHTNESS, 0.4 * float(mean))  # a photo taken at dusk has no more to lose
    tint = rng.uniform(*TINT_RANGE, 3).astype(np.float32)
    return ((lit - mean) * np.float32(rng.uniform(*CONTRAST_RANGE)) + mean) * tint + np.float32(rng.uniform(-darker, BRIGHTNESS))


def compress(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Give a view, (height, width, 3) uint8, what JPEG of a low quality leaves of it."""
    _, blob = cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*JPEG_QUALITY))])
    return decode_image(blob.astype(np.uint8, copy=False), "a compressed view")


def _cover(view: NDArray[np.uint8], rng: np.random.Generator) -> None:
    height, width = (np.array(view.shape[:2]) * rng.uniform(*PATCH_SHARE, 2)).astype(int)
    top, left = rng.integers(0, view.shape[0] - height + 1), rng.integers(0, view.shape[1] - width + 1)
    view[top : top + height, left : left + width] = rng.integers(0, 256, 3)
