"""Boxes, x1, y1, x2, y2 in pixels, end-exclusive: how much they overlap, and which of those that do is kept.

Arrays of them, and plain floats for the few that are followed from frame to frame, where an array would cost more.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Box = tuple[float, float, float, float]


def iou_matrix(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Return the overlap (area of intersection over area of union, 0 to 1) of every box of `a`, (n, 4), with every box of `b`, (m, 4), as (n, m).

    Boxes are x1, y1, x2, y2, end-exclusive; n and m may be 0; a box without area overlaps nothing.
    """
    first, second = np.asarray(a, np.float64).reshape(-1, 1, 4), np.asarray(b, np.float64).reshape(1, -1, 4)
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    shared = np.prod(np.clip(sides, 0, None), axis=-1)
    union = _areas(first) + _areas(second) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0), np.float64)


def suppress(boxes_xyxy: NDArray[np.float64], scores: NDArray[np.float64], *, iou: float, most: int, among: int = 0) -> NDArray[np.intp]:
    """Return the indices, best first, of boxes that no better one overlaps.

    Args:
        boxes_xyxy: (n, 4), end-exclusive; n may be 0.
        scores: (n,), above 0.
        iou: overlap (as of `iou_matrix`) beyond which the worse box goes.
        most: indices, at most.
        among: how many of the best boxes are looked at; 0: all.
    """
    sides = np.hstack([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]])
    kept = cv2.dnn.NMSBoxes(sides.tolist(), scores.tolist(), 0.0, iou, top_k=among)
    return np.asarray(kept, np.intp).reshape(-1)[:most]  # without boxes OpenCV gives an empty tuple


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = np.prod(np.clip(boxes[..., 2:] - boxes[..., :2], 0, None), axis=-1)
    return areas


def overlap(a: Box, b: Box) -> float:
    """Return IoU, 0 to 1; plain floats, for there are few boxes and an array would cost more."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (area(a) + area(b) - shared)


def distance(a: Box, b: Box) -> float:
    """Return the distance of two boxes' centres in mean sides of the two; infinite where one is more than twice as large."""
    side_a, side_b = ((box[2] - box[0] + box[3] - box[1]) / 2 for box in (a, b))
    if not 0 < max(side_a, side_b) <= 2 * min(side_a, side_b):
        return math.inf
    return math.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]) / (side_a + side_b)


def mean_side(box_xyxy: Box) -> float:
    """Return the mean of a box's width and height, in pixels."""
    return (box_xyxy[2] - box_xyxy[0] + box_xyxy[3] - box_xyxy[1]) / 2


def area(box: Box) -> float:
    """Return a box's area in square pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])


def holds_centre(a: Box, b: Box) -> bool:
    """Tell whether the centre of `b` lies within `a`."""
    x, y = (b[0] + b[2]) / 2, (b[1] + b[3]) / 2
    return a[0] <= x <= a[2] and a[1] <= y <= a[3]
