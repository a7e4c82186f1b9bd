"""How well signs that are known are told from what is none of them, and whether confidences are what they say.

Measures: the area under the ROC curve, and how much of the unknown passes where 95 of 100 known signs do (D. Hendrycks and K. Gimpel, "A baseline for
detecting misclassified and out-of-distribution examples in neural networks", ICLR 2017); the expected calibration error in 15 bins (C. Guo et al., "On
calibration of modern neural networks", ICML 2017).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection import Runtime, progress
from benchmarks.measuring.intervals import wilson
from edge.datasets.gtsdb import RoadFrame, sign_free_crops
from edge.geometry.boxes import iou_matrix
from edge.images import fit_crop, read_image
from edge.recognition.classifier import cut_out

BINS = 15
PASSING = 0.95
"""Share of the known signs that must pass."""
SEED = 33
_SCORE, _AWAY_IOU = 0.1, 0.05

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]


def calibration_error(confidences: Floats, right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error: how far confidence is from accuracy, on average over photos. Both are (n,)."""
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    apart = [abs(float(confidences[bins == place].mean() - right[bins == place].mean())) * float((bins == place).mean()) for place in np.unique(bins)]
    return float(sum(apart))


def separation(known: Floats, unknown: Floats) -> dict[str, Any]:
    """Return how well confidences tell the known, (n,), from the unknown, (m,).

    Returns:
        `n` (unknown), `auroc`, and `passing` (of the unknown, where `PASSING` of the known do) with its `interval`.
    """
    order = np.sort(unknown)
    below, not_above = np.searchsorted(order, known, "left"), np.searchsorted(order, known, "right")
    auroc = float((below + not_above).mean() / 2 / len(unknown))
    passing = int((unknown >= np.quantile(known, 1 - PASSING)).sum())
    return {"n": len(unknown), "auroc": round(auroc, 5), "passing": round(passing / len(unknown), 4), "interval": wilson(passing, len(unknown))}


def far_crops(frames: Sequence[RoadFrame]) -> list[Image]:
    """Cut places out of frames at which no sign stands."""
    rng = np.random.default_rng(SEED)
    return [crop for frame in progress(frames, "frames") for crop in sign_free_crops(frame, rng)]


def near_crops(runtime: Runtime, frames: Sequence[RoadFrame]) -> list[Image]:
    """Cut out of frames what the spotter takes for a sign and nobody annotated: other plates, lamps, advertising. Wants a spotter that tells unlikely boxes."""
    found: list[Image] = []
    for frame in progress(frames, "frames"):
        image = read_image(frame.path)
        proposals = runtime.spotter(image)
        boxes = np.asarray(proposals.boxes_xyxy, np.float64).reshape(-1, 4)
        away = (iou_matrix(boxes, frame.boxes_xyxy) < _AWAY_IOU).all(axis=1) & (np.asarray(proposals.scores) >= _SCORE)
        found += [cut_out(image, tuple(map(float, box))) for box in boxes[away]]
    return found


def confidences_of(runtime: Runtime, crops: Iterable[Image], size: int) -> Floats:
    """Return how sure the classifier is of its first choice for each crop, (n,)."""
    fitted = [fit_crop(crop, size) for crop in crops]
    return np.array([float(runtime.engine.infer(crop[None])[0].max()) for crop in fitted])
