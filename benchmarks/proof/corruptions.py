"""Ten ways in which photos get worse, five strengths each, and what is still named right: by the model as it runs, and by the same weights in fp32.

The first four strengths have the parameters of the published study that is the anchor (Charith-Reddy-Pareddy, "Robustness and Quantized Inference for
Autonomous Traffic Sign Analytics", src/robustness/corruptions.py), which corrupts photos of 64 px as well; the fifth goes further. Chance differs from theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import BATCH
from benchmarks.detection import progress
from benchmarks.measuring.intervals import wilson
from edge.datasets.gtsrb import Photo, read_photo
from edge.engines.contract import Engine
from edge.images import decode_image, fit_crop

SIDE_PX = 64
"""Of the photos that are corrupted."""
PUBLISHED = 4
"""Strengths that the anchor has."""
SEED = 33
_GREY, _FOG, _RAIN = (128, 128, 128), (205, 200, 200), (235, 220, 210)
_RAIN_SHARE, _STREAK_XY = 140 / 255, (4, 13)

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Corruption:
    """One way in which photos get worse.

    Attributes:
        means: what a strength is, for people.
        strengths: from mild to strong.
        apply: from (photo of `SIDE_PX`, strength, source of chance) to the photo, made worse.
    """

    means: str
    strengths: tuple[float, float, float, float, float]
    apply: Callable[[Image, float, np.random.Generator], Image]


def _as_image(values: NDArray[Any]) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _blur(photo: Image, sigma: float, _: np.random.Generator) -> Image:
    return np.asarray(cv2.GaussianBlur(photo, (0, 0), sigma), np.uint8)


def _move(photo: Image, length: float, _: np.random.Generator) -> Image:
    return np.asarray(cv2.blur(photo, (int(length), 1)), np.uint8)


def _noise(photo: Image, deviation: float, rng: np.random.Generator) -> Image:
    return _as_image(photo + rng.normal(0, 255 * deviation, photo.shape))


def _rotate(photo: Image, degrees: float, _: np.random.Generator) -> Image:
    middle = (SIDE_PX - 1) / 2
    return _warp(photo, np.vstack([cv2.getRotationMatrix2D((middle, middle), degrees, 1), [0, 0, 1]]))


def _see_aslant(photo: Image, share: float, rng: np.random.Generator) -> Image:
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32) * (SIDE_PX - 1)
    inwards = rng.uniform(0, share * SIDE_PX, (4, 2)).astype(np.float32) * np.sign(SIDE_PX / 2 - corners)
    return _warp(photo, cv2.getPerspectiveTransform(corners, corners + inwards))


def _warp(photo: Image, matrix: Any) -> Image:
    return np.asarray(
        cv2.warpPerspective(photo, matrix, (SIDE_PX, SIDE_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=_GREY), np.uint8
    )


def _dim(photo: Image, factor: float, _: np.random.Generator) -> Image:
    """Darken, and then take contrast away as well, as far as the anchor takes it at this brightness."""
    dark = photo * np.float64(factor)
    contrast = float(np.interp(factor, (0.15, 0.25, 0.4, 0.6, 0.8), (0.3, 0.45, 0.6, 0.75, 0.9)))
    return _as_image(dark.mean() + contrast * (dark - dark.mean()))


def _compress(photo: Image, quality: float, _: np.random.Generator) -> Image:
    return decode_image(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1], "a photo compressed here")


def _fog(photo: Image, share: float, _: np.random.Generator) -> Image:
    return _as_image(photo * np.float64(1 - share) + np.array(_FOG) * share)


def _rain(photo: Image, streaks: float, rng: np.random.Generator) -> Image:
    wet = photo.copy()
    for x, y in rng.integers(0, SIDE_PX, (int(streaks), 2)).tolist():
        cv2.line(wet, (x, y), (x + _STREAK_XY[0], y + _STREAK_XY[1]), _RAIN)
    return _as_image(photo * np.float64(1 - _RAIN_SHARE) + wet * np.float64(_RAIN_SHARE))


def _shade(photo: Image, factor: float, rng: np.random.Generator) -> Image:
    """Darken what lies on one side of a line through somewhere."""
    (x, y), angle = rng.uniform(0, SIDE_PX, 2), rng.uniform(0, 2 * np.pi)
    down, across = np.mgrid[:SIDE_PX, :SIDE_PX]
    shaded = (across - x) * np.cos(angle) + (down - y) * np.sin(angle) > 0
    return _as_image(photo * np.where(shaded, factor, 1.0)[:, :, None])


CORRUPTIONS: dict[str, Corruption] = {
    "Gaussian blur": Corruption("sigma, px", (0.5, 1.0, 1.75, 2.75, 4.0), _blur),
    "motion blur": Corruption("length, px", (5, 9, 13, 19, 25), _move),
    "rotation": Corruption("degrees", (5, 10, 17, 25, 35), _rotate),
    "perspective": Corruption("corners moved in by up to, of the side", (0.06, 0.10, 0.15, 0.22, 0.30), _see_aslant),
    "brightness and contrast": Corruption("brightness times", (0.8, 0.6, 0.4, 0.25, 0.15), _dim),
    "JPEG": Corruption("quality", (70, 40, 20, 8, 4), _compress),
    "fog": Corruption("share of it", (0.15, 0.30, 0.45, 0.60, 0.75), _fog),
    "rain": Corruption("streaks", (15, 35, 60, 90, 130), _rain),
    "shadow": Corruption("brightness in it times", (0.75, 0.60, 0.45, 0.30, 0.15), _shade),
    "noise": Corruption("sigma, of the whole range", (0.05, 0.10, 0.16, 0.25, 0.35), _noise),
}


def corrupted(engines: dict[str, Engine], photos: Sequence[Photo]) -> dict[str, Any]:
    """Have engines name photos that got worse.

    Args:
        engines: by their precision.
        photos: as they are.

    Returns:
        `n` (photos), `kinds` (of each by its name `means`, `strengths`, and of each precision `top1` and `interval` at each strength), and of each precision
        `mean_published` and `mean_highest`: of the top-1 of all kinds at the anchor's highest strength, and at ours.

    Raises:
        InputError: a photo cannot be read.
        EngineError: an engine fails.
    """
    small = [fit_crop(read_photo(photo), SIDE_PX) for photo in progress(photos, "photos")]
    wanted = np.array([photo.class_id for photo in photos])
    kinds: dict[str, Any] = {}
    for name, kind in progress(list(CORRUPTIONS.items()), "kinds of corruption"):
        kinds[name] = {"means": kind.means, "strengths": list(kind.strengths), **{precision: {"top1": [], "interval": []} for precision in engines}}
        for strength in kind.strengths:
            worse = [kind.apply(image, strength, np.random.default_rng([SEED, place])) for place, image in enumerate(small)]
            for precision, engine in engines.items():
                hits = int((_named(engine, worse) == wanted).sum())
                kinds[name][precision]["top1"].append(round(hits / len(wanted), 4))
                kinds[name][precision]["interval"].append(wilson(hits, len(wanted)))
    means = {
        key: {precision: round(fmean(kind[precision]["top1"][place] for kind in kinds.values()), 4) for precision in engines}
        for key, place in (("mean_published", PUBLISHED - 1), ("mean_highest", -1))
    }
    return {"n": len(photos), "kinds": kinds, **means}


def _named(engine: Engine, images: Sequence[Image]) -> NDArray[np.int64]:
    size = engine.spec.input.shape[1]
    batches = (np.stack([fit_crop(image, size) for image in images[start : start + BATCH]]) for start in range(0, len(images), BATCH))
    return np.concatenate([engine.infer(batch).argmax(axis=1) for batch in batches])
