"""Boxes from the spotter's map: its peaks, each with the box that the map tells there. Pure: arrays in, proposals out.

Source: X. Zhou et al., "Objects as Points", 2019: a peak is a cell that none of its eight neighbours exceeds.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import STRIDE
from edge.geometry.boxes import suppress
from edge.recognition.proposals import Proposals

UNIT_PX = 16.0
"""Sizes are told as logarithms of multiples of this."""
SAME_SIGN_IOU = 0.45

_LOG_SIDES = (-3.0, 5.0)  # beyond these no sign is: an untrained map must not overflow


def decode(maps: NDArray[np.float32], *, least_score: float, most: int) -> Proposals:
    """Decode the map of one frame.

    Args:
        maps: (height / 4, width / 4, 5) float32: heat, 0 to 1; x and y of the centre within its cell, in cells; log of width and of height in units of 16 px.
        least_score: heat from which a peak counts.
        most: proposals, at most, the best ones.

    Returns:
        Boxes in pixels of the spotter's frame, best first, clipped to it; of those that overlap by IoU 0.45 and more the best alone.
    """
    heat = np.ascontiguousarray(maps[:, :, 0])
    peaks = (heat >= cv2.dilate(heat, np.ones((3, 3), np.uint8))) & (heat >= least_score)
    rows, columns = np.divmod(np.flatnonzero(peaks), heat.shape[1])
    told = maps[rows, columns].astype(np.float64)
    centres = (np.column_stack([columns, rows]) + told[:, 1:3]) * STRIDE
    halves = np.exp(np.clip(told[:, 3:5], *_LOG_SIDES)) * UNIT_PX / 2
    whole = np.array([heat.shape[1], heat.shape[0]]) * STRIDE
    boxes = np.hstack([np.clip(centres - halves, 0, whole), np.clip(centres + halves, 0, whole)])
    kept = suppress(boxes, told[:, 0], iou=SAME_SIGN_IOU, most=most, among=2 * most)
    return Proposals(boxes[kept].astype(np.float32), told[kept, 0].astype(np.float32))
