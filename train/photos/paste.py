"""Pastes a patch into a frame so that its edge does not show."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.datasets.gtsrb_labels import Shape

_MARGIN = 0.1  # what GTSRB's photos have around a sign, where no table tells
_WHOLE_PATCH, _WHOLE_BOX = 0.3, 0.5
_ENLARGED = 1.06


def surroundings_of(patch: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the box of the sign in a photo that no table describes, (4,) float64: all but a margin as GTSRB has it."""
    height, width = patch.shape[:2]
    return np.array([width, height, width, height]) * np.array([_MARGIN, _MARGIN, 1 - _MARGIN, 1 - _MARGIN])


def paste(
    image: NDArray[np.uint8],
    patch: NDArray[np.uint8],
    corner: NDArray[np.int64],
    size_wh: NDArray[np.int64],
    box_xyxy: NDArray[np.float64],
    shape: Shape | NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Paste a patch in place, its light drawn towards that of the ground.

    Args:
        image: (height, width, 3) uint8 BGR; changed.
        patch: (h, w, 3) uint8 BGR.
        corner: x and y of its upper left corner in `image`.
        size_wh: to scale it to; it must lie inside `image`.
        box_xyxy: of the sign in the scaled patch.
        shape: outline of the sign; where it is unknown, round or all of its box. Or its corners, (n, 2), convex, in a box from -1 to 1.
        rng: source of chance.
    """
    width, height = size_wh.tolist()
    shrinks = patch.shape[1] > width
    scaled = cv2.resize(patch, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR).astype(np.float32)
    mask = np.zeros((height, width), np.float32)
    if rng.random() < _WHOLE_PATCH:
        edge = max(1, round(0.04 * min(width, height)))
        mask[edge : height - edge, edge : width - edge] = 1
    else:
        cv2.fillConvexPoly(mask, np.rint(_outline(shape, box_xyxy, rng) * 16).astype(np.int32), (1.0,), cv2.LINE_AA, 4)
    soft = float(rng.uniform(0.3, 0.03 * min(width, height) + 0.8))
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32)[:, :, None]
    x, y = corner.tolist()
    ground = image[y : y + height, x : x + width].astype(np.float32)
    towards = (float(ground.mean()) + 8) / (float(scaled.mean()) + 8)
    gain = np.clip(towards ** rng.uniform(0, 1), 0.4, 2.5)
    image[y : y + height, x : x + width] = np.clip(ground + (scaled * np.float32(gain) - ground) * mask, 0, 255).astype(np.uint8)


def _outline(shape: Shape | NDArray[np.float64], box: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the corners of a sign's outline, (n, 2), a little enlarged."""
    if not isinstance(shape, str):
        unit = shape
    elif shape == "upright":
        unit = np.array([(-1, 1), (-0.12, -1), (0.12, -1), (1, 1)])
    elif shape == "downward":
        unit = np.array([(-1, -1), (1, -1), (0.12, 1), (-0.12, 1)])
    elif shape == "diamond":
        unit = np.array([(-1, 0), (0, -1), (1, 0), (0, 1)])
    elif shape == "unknown" and rng.random() < _WHOLE_BOX:
        unit = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    else:
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        unit = np.column_stack([np.cos(turn), np.sin(turn)])
    return (box[:2] + box[2:]) / 2 + unit * (box[2:] - box[:2]) / 2 * _ENLARGED
