"""How a recording is to be turned: phones keep the sensor's picture, and write down how it was held."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = tuple[int, int, int, int]
"""Where a picture's axes go, as MP4's display matrix has it: its x axis to the first two numbers (right, down), its y axis to the others. Only signs count."""

UPRIGHT: Matrix = (1, 0, 0, 1)


def turned(image: NDArray[np.uint8], matrix: Matrix) -> NDArray[np.uint8]:
    """Turn a picture, (height, width, 3) uint8, by quarters, and mirror it, as its display matrix says; an angle between is taken for the nearest quarter."""
    a, b, c, d = matrix
    lies = abs(a) < abs(b)
    mirrored, upside_down = (c < 0, b < 0) if lies else (a < 0, d < 0)
    if not (lies or mirrored or upside_down):
        return image
    picture = np.swapaxes(image, 0, 1) if lies else image
    return np.ascontiguousarray(picture[:: -1 if upside_down else 1, :: -1 if mirrored else 1])
