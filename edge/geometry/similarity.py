"""Similarity transforms of the picture's plane: turned, scaled and moved. Plain floats, since there are few boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.geometry.boxes import Box

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]
"""Corners of a box that was turned: upper left, upper right, lower right, lower left before."""


@dataclass(frozen=True)
class Similarity:
    """Takes a point (x, y) to (a x - b y + right, b x + a y + down), in pixels, y downwards; corners of pixels are whole numbers.

    Attributes:
        a: scale times the cosine of the angle.
        b: scale times its sine; above 0 turns clockwise.
        right: moved so far to the right.
        down: moved so far down.
    """

    a: float = 1.0
    b: float = 0.0
    right: float = 0.0
    down: float = 0.0

    @staticmethod
    def turned(degrees: float, centre: Point) -> Similarity:
        """Return a turn, clockwise on the screen, about a point."""
        a, b = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        x, y = centre
        return Similarity(a, b, x - a * x + b * y, y - b * x - a * y)

    @property
    def scale(self) -> float:
        """How much larger things get."""
        return math.hypot(self.a, self.b)

    @property
    def degrees(self) -> float:
        """How far things turn clockwise."""
        return math.degrees(math.atan2(self.b, self.a))

    def point(self, x: float, y: float) -> Point:
        """Return where a point comes to lie."""
        return self.a * x - self.b * y + self.right, self.b * x + self.a * y + self.down

    def quad(self, box_xyxy: Box) -> Quad:
        """Return where a box's corners come to lie."""
        x1, y1, x2, y2 = box_xyxy
        return self.point(x1, y1), self.point(x2, y1), self.point(x2, y2), self.point(x1, y2)

    def upright(self, box_xyxy: Box) -> Box:
        """Return a box of the same shape, upright, where its middle comes to lie."""
        x1, y1, x2, y2 = box_xyxy
        x, y = self.point((x1 + x2) / 2, (y1 + y2) / 2)
        across, up = self.scale * (x2 - x1) / 2, self.scale * (y2 - y1) / 2
        return x - across, y - up, x + across, y + up

    def then(self, after: Similarity) -> Similarity:
        """Return what this one and then another one do together."""
        right, down = after.point(self.right, self.down)
        return Similarity(after.a * self.a - after.b * self.b, after.b * self.a + after.a * self.b, right, down)

    def inverse(self) -> Similarity:
        """Return what undoes it."""
        square = self.a**2 + self.b**2
        a, b = self.a / square, -self.b / square
        return Similarity(a, b, -a * self.right + b * self.down, -b * self.right - a * self.down)

    def matrix(self) -> NDArray[np.float64]:
        """Return it as OpenCV warps by it, (2, 3): there whole numbers are the centres of pixels."""
        right, down = self.point(0.5, 0.5)
        return np.array([[self.a, -self.b, right - 0.5], [self.b, self.a, down - 0.5]])


def around(quad_xy: Quad, size_wh: tuple[int, int]) -> Box:
    """Return the upright box around the ellipse that fills a parallelogram, clipped to a picture of this width and height.

    A box around its corners would exaggerate: of a round sign that is turned by 45 degrees, by 41% a side.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = quad_xy
    across, up = math.hypot(x1 - x0, x3 - x0) / 2, math.hypot(y1 - y0, y3 - y0) / 2
    x, y = (x0 + x2) / 2, (y0 + y2) / 2
    left, right = (min(max(side, 0.0), float(size_wh[0])) for side in (x - across, x + across))
    upper, lower = (min(max(side, 0.0), float(size_wh[1])) for side in (y - up, y + up))
    return left, upper, right, lower
