"""GTSDB as detectors are judged on it: average precision of its categories and of all classes jointly, signs of all sizes, by COCO's rules.

Source of the categories: S. Houben et al., "Detection of traffic signs in real-world images: the German Traffic Sign Detection Benchmark", IJCNN 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection import Runtime, progress
from edge.board.extras import install
from edge.datasets.gtsdb import RoadFrame
from edge.errors import MissingDependency
from edge.images import read_image

CATEGORIES = {
    "prohibitory": (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16),
    "mandatory": (33, 34, 35, 36, 37, 38, 39, 40),
    "danger": (11, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31),
    "others": (6, 12, 13, 14, 17, 32, 41, 42),
}


def detected(runtime: Runtime, frames: Sequence[RoadFrame]) -> dict[str, Any]:
    """Find and name signs in frames, every box with how sure it is, and judge them.

    A box is as sure as the runtime's own rule makes it: the margin of the second look, from the spotter's scores from both looks and the name's confidence.

    Args:
        runtime: whose spotter tells unlikely boxes, too: a curve wants those as well that would not be announced.
        frames: with their signs.

    Returns:
        of each category `n` (signs), `ap50` and `ap50_95`, of boxes of this category, whatever their class; `categories`: both averaged
        over the three that are judged; `classes`: the mean over all classes that occur, of boxes of the right class.

    Raises:
        MissingDependency: supervision is not installed.
        InputError: a frame cannot be read.
        EngineError: an engine fails.
    """
    try:
        from supervision import Detections
        from supervision.metrics import MeanAveragePrecision
    except ImportError as error:
        raise MissingDependency(f"wanted supervision to judge boxes by COCO's rules, found none: {install('train')}") from error
    category_of = np.array([next(place for place, ids in enumerate(CATEGORIES.values()) if class_id in ids) for class_id in range(43)])
    said = [_told(runtime, frame) for frame in progress(frames, "frames")]

    def judged(of: NDArray[np.int64] | None) -> Any:
        metric = MeanAveragePrecision()
        for (boxes, scores, class_ids), frame in zip(said, frames, strict=True):
            found, there = (class_ids, frame.class_ids) if of is None else (of[class_ids], of[frame.class_ids])
            metric.update(Detections(boxes, confidence=scores, class_id=found), Detections(frame.boxes_xyxy, class_id=np.asarray(there, np.int64)))
        return metric.compute()

    by_category, counts = judged(category_of), np.bincount(category_of[np.concatenate([frame.class_ids for frame in frames])], minlength=len(CATEGORIES))
    rows = dict(zip(by_category.matched_classes.tolist(), by_category.ap_per_class.tolist(), strict=True))
    told: dict[str, Any] = {}
    for place, name in enumerate(CATEGORIES):
        precisions = rows.get(place)
        told[name] = {"n": int(counts[place]), "ap50": _rounded(precisions and precisions[0]), "ap50_95": _rounded(precisions and float(np.mean(precisions)))}
    three = [told[name] for name in list(CATEGORIES)[:3] if told[name]["ap50"] is not None]
    jointly = judged(None)
    told["categories"] = {key: _rounded(float(np.mean([row[key] for row in three])) if three else None) for key in ("ap50", "ap50_95")}
    told["classes"] = {"n": int(counts.sum()), "ap50": _rounded(float(jointly.map50)), "ap50_95": _rounded(float(jointly.map50_95))}
    return told


def _told(runtime: Runtime, frame: RoadFrame) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Return boxes, (n, 4) pixels, how sure they are, (n,) 0 to 1, and their classes, (n,)."""
    image = read_image(frame.path)
    proposals = runtime.spotter(image)
    boxes = [tuple(map(float, box)) for box in proposals.boxes_xyxy]
    named = runtime.classifier.name_in(image, boxes)
    confidences = np.array([one.confidence for one in named], np.float64)
    scores, second = np.asarray(proposals.scores, np.float64), proposals.second
    if boxes and second is not None and proposals.closer is not None:
        scores = 1 / (1 + np.exp(-second.margin(scores, proposals.closer(proposals.boxes_xyxy, scores), confidences)))
    return np.asarray(proposals.boxes_xyxy, np.float32).reshape(-1, 4), scores.astype(np.float32), np.array([one.class_id for one in named], np.int64)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
