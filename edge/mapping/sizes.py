"""How large signs are: what tells a distance where the drone did not move enough.

Widths of faces are those of Germany's catalogue (VzKat 2017, sizes 1, 2 and 3) for round signs, triangles, stop signs and the square on its corner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_OWN = 0.25
"""What makers, other countries and boxes add to it: standard deviation of the width's logarithm."""


@dataclass(frozen=True)
class Size:
    """What is known of a sign's size before it is seen.

    Attributes:
        log_width: mean of the natural logarithm of its width, metres.
        sigma: its standard deviation.
        aspect: height divided by width.
    """

    log_width: float
    sigma: float
    aspect: float = 1.0

    @staticmethod
    def among(widths_m: tuple[float, ...], aspect: float = 1.0) -> Size:
        """Return what a choice of widths tells, as one broad bell over all of them."""
        logs = [math.log(width) for width in widths_m]
        middle = sum(logs) / len(logs)
        return Size(middle, math.hypot(math.sqrt(sum((log - middle) ** 2 for log in logs) / len(logs)), _OWN), aspect)


ROUND, TRIANGLE = Size.among((0.42, 0.6, 0.75)), Size.among((0.63, 0.9, 1.26), math.sqrt(3) / 2)
STOP, ON_ITS_CORNER = Size.among((0.6, 0.9, 1.05)), Size.among((0.594, 0.849, 1.188))
UNKNOWN = Size.among((0.42, 0.6, 0.9, 1.26))
"""Of a class that is in no table."""

_UPRIGHT_TRIANGLES = (
    "Priority at next crossing, Danger, Bend left, Bend right, Double bend, Bumpy road, Slippery road, Road narrows, Road works, Traffic signals, "
    "Pedestrians, Children, Bicycles, Snow or ice, Wild animals"
)
_SHAPES = {**dict.fromkeys((*_UPRIGHT_TRIANGLES.split(", "), "Yield"), TRIANGLE), "Stop": STOP, "Priority road": ON_ITS_CORNER}


def size_of(label: str, known: frozenset[str]) -> Size:
    """Return what is known of the size of a class by its name; of `known` names, those that have no shape of their own are round."""
    return _SHAPES.get(label, ROUND if label in known else UNKNOWN)
