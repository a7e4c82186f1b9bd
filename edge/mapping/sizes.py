"""How large signs are: what tells a distance where the drone did not move enough."""

from __future__ import annotations

import math
from dataclasses import dataclass

_OWN, _TOLD = 0.25, 0.05
"""What makers, other countries and boxes add to it: standard deviation of the width's logarithm. Of a size that is told, boxes alone do."""


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


UNKNOWN = Size.among((0.42, 0.6, 0.9, 1.26))
"""Of a class of which nothing is told."""
