"""The self-test that travels with a bundle: drawn crops with the outputs to expect, never photos. `edge.check` runs it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.engine import open_engine
from edge.errors import VerificationError
from edge.files import sha256_of, written_beside
from edge.manifest import Bundle, Golden
from edge.signs import FLIGHT_CLASSES, draw_sign

FILE = "golden.npz"
SEED = 7
MARGIN = 0.1
FLOORS = {"fp32": 1e-4, "fp16": 2e-2, "int8": 5e-2, "int8-cpu": 5e-2}
"""Least tolerance by precision: a GPU rounds to float16 after each layer, and another processor may add int8 products otherwise than the one that measured."""
HEAD_ROOM = 4.0
MOST = 0.5


def draw_crops(size: int) -> NDArray[np.uint8]:
    """Draw every sign of a flight over plain, shaded and mottled grounds, (n, size, size, 3) uint8 BGR; the same each time."""
    rng = np.random.default_rng(SEED)
    return np.stack([_crop(class_id, size, place, rng) for place, class_id in enumerate(FLIGHT_CLASSES)])


def _crop(class_id: int, size: int, place: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    ground = np.full((size, size, 3), rng.uniform(40, 200, 3))
    if place % 3 == 1:
        ground *= np.linspace(0.6, 1.2, size)[:, None, None]
    elif place % 3 == 2:
        ground += cv2.resize(rng.normal(0, 40, (6, 6, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
    side = size - 2 * round(size * MARGIN)
    face = draw_sign(class_id, side).astype(np.float64)
    start = (size - side) // 2
    window = ground[start : start + side, start : start + side]
    alpha = face[:, :, 3:] / 255
    window[:] = window * (1 - alpha) + face[:, :, :3] * alpha
    light = rng.uniform(0.6, 1.1)
    return np.clip(np.rint(ground * light), 0, 255).astype(np.uint8)


def write_golden(bundle: Bundle, precisions: Sequence[str]) -> Golden:
    """Write `golden.npz` into a bundle's folder: `images` uint8 and the `probabilities` of fp32; tolerances are measured here, with head room.

    Raises:
        VerificationError: an artefact is so far from fp32 on drawn signs that a self-test could prove nothing.
    """
    images = draw_crops(bundle.model("classifier", "fp16").input.shape[1])
    expected = _infer(bundle, "fp32", images)
    tolerance = {}
    for precision in precisions:
        error = float(np.abs(_infer(bundle, precision, images) - expected).max())
        tolerance[precision] = _tolerance(error, FLOORS[precision])
        if not error * 2 <= tolerance[precision]:
            raise VerificationError(f"wanted {precision} near fp32 on drawn signs, found a probability {error:.2f} away: train longer")
    path = bundle.folder / FILE
    with written_beside(path) as beside:
        np.savez_compressed(beside, images=images, probabilities=expected)
    return Golden(FILE, sha256_of(path), tolerance)


def _tolerance(error: float, floor: float) -> float:
    return min(max(floor, math.ceil(error * HEAD_ROOM * 1000) / 1000), MOST)


def _infer(bundle: Bundle, precision: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    with open_engine(bundle, "classifier", engine="onnxruntime", precision=precision) as engine:
        return engine.infer(images)
