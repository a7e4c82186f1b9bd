"""The self-test that travels with a bundle: drawn crops with the outputs to expect, never photos. `edge.engines.self_test` runs it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundle.golden import difference
from edge.bundle.manifest import Bundle, Golden, tolerance_key
from edge.datasets.aerial import mixed_crop
from edge.datasets.classes import classes_of_bundle
from edge.drawn.scenes import scene
from edge.drawn.signs import DRAWN_CLASSES, draw_sign
from edge.engines.open import open_engine
from edge.errors import VerificationError
from edge.files import sha256_of, written_beside
from edge.images import fit_crop
from edge.recognition.spotter_learned import pad
from export.artefacts import ROLE, SPOTTER

FILE = "golden.npz"
SEED = 7
MARGIN = 0.1
SIGN_FREE = 9
SCENE_SEED, SCENE_WH = 2, (288, 176)
FLOORS = {"fp32": 1e-4, "fp16": 2e-2, "int8": 5e-2, "int8-cpu": 5e-2}
"""Least tolerance by precision: a GPU rounds to float16 after each layer, and another processor may add int8 products otherwise than the one that measured."""
HEAD_ROOM = 4.0
MOST = 0.5

_DECIMALS = 3


def draw_crops(size: int) -> NDArray[np.uint8]:
    """Draw crops, (n, size, size, 3) uint8 BGR; the same each time.

    Every sign over plain, shaded and mottled grounds, then each again as a drone may see it (`edge.datasets.aerial.CROP_MIXTURE`: turned, blurred, dark,
    compressed), and grounds without a sign: a fault of an engine may show in some of these alone.
    """
    rng = np.random.default_rng(SEED)
    plain = [_crop(class_id, size, place, rng) for place, class_id in enumerate(DRAWN_CLASSES)]
    aloft = [fit_crop(mixed_crop(_crop(class_id, size, place + 1, rng), place), size) for place, class_id in enumerate(DRAWN_CLASSES)]
    bare = [np.clip(np.rint(_ground(size, place, rng)), 0, 255).astype(np.uint8) for place in range(SIGN_FREE)]
    return np.stack([*plain, *aloft, *bare])


def _ground(size: int, place: int, rng: np.random.Generator) -> NDArray[np.float64]:
    ground = np.full((size, size, 3), rng.uniform(40, 200, 3))
    if place % 3 == 1:
        ground *= np.linspace(0.6, 1.2, size)[:, None, None]
    elif place % 3 == 2:
        ground += cv2.resize(rng.normal(0, 40, (6, 6, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
    return ground


def _crop(class_id: int, size: int, place: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    ground = _ground(size, place, rng)
    side = size - 2 * round(size * MARGIN)
    face = draw_sign(class_id, side).astype(np.float64)
    start = (size - side) // 2
    window = ground[start : start + side, start : start + side]
    alpha = face[:, :, 3:] / 255
    window[:] = window * (1 - alpha) + face[:, :, :3] * alpha
    light = rng.uniform(0.6, 1.1)
    return np.clip(np.rint(ground * light), 0, 255).astype(np.uint8)


def draw_frame(size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw a scene with a few signs in the corner of a spotter's frame, (height, width, 3) uint8 BGR; the rest is padding, which packs well."""
    return pad(scene(SCENE_SEED, SCENE_WH).image, size_wh)


def write_golden(bundle: Bundle, precisions: Sequence[str]) -> Golden:
    """Write `golden.npz` into a bundle's folder: drawn inputs of each role, and what fp32 makes of them; tolerances are measured here, with head room.

    Raises:
        VerificationError: an artefact is so far from fp32 on drawn signs that a self-test could prove nothing.
    """
    images = draw_crops(bundle.model(ROLE, "fp16").input.shape[1])
    images = images[_steady(bundle, precisions, images)]
    probabilities = _infer(bundle, ROLE, "fp32", images)
    arrays: dict[str, NDArray[np.generic]] = {"images": images, "probabilities": probabilities}
    tolerance = _tolerances(bundle, ROLE, precisions, images, probabilities)
    if bundle.holds(SPOTTER):
        _, height, width, _ = bundle.model(SPOTTER, "fp16").input.shape
        frames = draw_frame((width, height))[None]
        # Three decimals are more than is compared, and pack.
        maps = _infer(bundle, SPOTTER, "fp32", frames).round(_DECIMALS)
        arrays |= {"frames": frames, "maps": maps.astype(np.float16)}
        tolerance |= _tolerances(bundle, SPOTTER, precisions, frames, maps)
    path = bundle.folder / FILE
    with written_beside(path) as beside:
        np.savez_compressed(beside, **arrays)  # type: ignore[arg-type]
    return Golden(FILE, sha256_of(path), tolerance)


def _steady(bundle: Bundle, precisions: Sequence[str], images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Choose drawn crops, (n,) places in order, on which a bundle's precisions agree, and the half on which they agree best at least.

    Some turn on a rounding, most where a bundle knows other signs and can only guess at those that are drawn: they would prove nothing of a file or an engine,
    and the tolerance that they ask for would hide faults that others show.
    """
    expected = _infer(bundle, ROLE, "fp32", images)
    errors = [np.abs(_infer(bundle, ROLE, precision, images) - expected).max(axis=1) * HEAD_ROOM / FLOORS[precision] for precision in precisions]
    worst = np.max(errors, axis=0)
    return np.sort(np.argsort(worst, kind="stable")[: max((len(images) + 1) // 2, int((worst <= 1).sum()))])


def _tolerances(bundle: Bundle, role: str, precisions: Sequence[str], inputs: NDArray[np.uint8], expected: NDArray[np.float32]) -> dict[str, float]:
    tolerance = {}
    for precision in precisions:
        error = difference(role, _infer(bundle, role, precision, inputs), expected)
        allowed = _tolerance(error, FLOORS[precision])
        if role == SPOTTER and classes_of_bundle(bundle.manifest).own and math.isfinite(error):
            allowed = max(allowed, math.ceil(error * 2000) / 1000)  # it guesses at signs that are drawn; frames of its own have judged it
        if not error * 2 <= allowed:
            raise VerificationError(f"wanted the {role}'s {precision} near fp32 on drawn signs, found an output {error:.2f} away: train longer")
        tolerance[tolerance_key(role, precision)] = allowed
    return tolerance


def _tolerance(error: float, floor: float) -> float:
    return min(max(floor, math.ceil(error * HEAD_ROOM * 1000) / 1000), MOST)


def _infer(bundle: Bundle, role: str, precision: str, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
    with open_engine(bundle, role, engine="onnxruntime", precision=precision) as engine:
        return engine.infer(inputs)
