"""What the spotter is to say about a frame, and what it costs to say something else.

Source: X. Zhou et al., "Objects as Points", 2019 (heat at centres, the penalty-reduced focal loss of H. Law, J. Deng, "CornerNet", ECCV 2018, L1 on offset
and size); Z. Liu et al., "Training-Time-Friendly Network for Real-Time Object Detection", AAAI 2020 (a Gaussian in the form of the box, and boxes learned
around the centre as well, so that a peak one cell beside it still has a box).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import STRIDE
from edge.recognition.heatmap import UNIT_PX

LEAST_PX = 8.0
"""Shorter side below which a sign is neither to be found nor to be passed over."""
LEAST_SHOWN = 0.7
"""The same for a sign of which less than this share lies in the picture."""
ALPHA, BETA = 2.0, 4.0
BOX_WEIGHT = 1.0

_SPREAD = 0.54 / 6  # standard deviations of the Gaussian as a share of the box's sides
_LEAST_SPREAD = 0.5
_LEAST_HEAT = 0.2  # from which a cell learns a box
_EDGE = 1e-4

TARGETS = 7
"""Planes of a target: heat, offset x and y, log width and height, weight of the heat, weight of the box."""


def encode(boxes_xyxy: NDArray[np.float64], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Say what the map of a picture with these signs is.

    Args:
        boxes_xyxy: (n, 4), pixels, end-exclusive; may reach beyond the picture.
        size_hw: of the picture, multiples of 4.

    Returns:
        (height / 4, width / 4, 7) float32, planes as in `TARGETS`.
    """
    height, width = size_hw[0] // STRIDE, size_hw[1] // STRIDE
    target = np.zeros((height, width, TARGETS), np.float32)
    target[:, :, 5] = 1
    rows, columns = np.mgrid[:height, :width]
    for box in boxes_xyxy / STRIDE:
        shown = np.clip(box, 0, [width, height, width, height])
        (wide, high), (seen_wide, seen_high) = box[2:] - box[:2], shown[2:] - shown[:2]
        if min(seen_wide, seen_high) <= 0:
            continue
        if min(wide, high) * STRIDE < LEAST_PX or seen_wide * seen_high < LEAST_SHOWN * wide * high:
            (x1, y1), (x2, y2) = np.floor(shown[:2]).astype(int), np.ceil(shown[2:]).astype(int)
            target[y1:y2, x1:x2, 5] = 0
            continue
        x, y = np.clip((box[:2] + box[2:]) / 2, 0, [width - 1e-3, height - 1e-3])
        column, row = int(x), int(y)
        spread = np.maximum(np.array([wide, high]) * _SPREAD, _LEAST_SPREAD)
        heat = np.exp(-(((columns - column) / spread[0]) ** 2) / 2 - ((rows - row) / spread[1]) ** 2 / 2)
        heat[heat < 1e-3] = 0
        nearest = heat > target[:, :, 0]
        target[:, :, 0][nearest] = heat[nearest]
        told = nearest & (heat >= _LEAST_HEAT)
        target[told, 1:3] = np.stack([x - columns, y - rows], axis=-1)[told]
        target[told, 3:5] = np.log(np.array([wide, high]) * STRIDE / UNIT_PX)
        target[told, 6] = heat[told]
        target[row, column, 5] = 1
    return target


@keras.saving.register_keras_serializable("signwing")
def spotter_loss(target: Any, maps: Any) -> Any:
    """Return the loss of each picture, (batch,), given `encode`'s targets, (batch, h, w, 7), and the network's maps, (batch, h, w, 5)."""
    ops = keras.ops
    heat, told = ops.clip(maps[..., 0], _EDGE, 1 - _EDGE), target[..., 0]
    centre = ops.cast(told > 1 - 1e-6, "float32")
    found = centre * (1 - heat) ** ALPHA * ops.log(heat)
    quiet = (1 - centre) * (1 - told) ** BETA * heat**ALPHA * ops.log(1 - heat)
    signs = ops.maximum(ops.sum(centre) / ops.shape(centre)[0], 1.0)  # of the batch: a picture without signs must not weigh more
    heat_loss = -ops.sum(target[..., 5] * (found + quiet), axis=(1, 2)) / signs
    weight = target[..., 6]
    apart = ops.sum(ops.abs(maps[..., 1:] - target[..., 1:5]), axis=-1)
    box_loss = ops.sum(weight * apart, axis=(1, 2)) / ops.maximum(ops.sum(weight) / ops.shape(weight)[0], 1.0)
    return heat_loss + BOX_WEIGHT * box_loss
