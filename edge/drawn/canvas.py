"""A canvas for the faces of traffic signs: polygons, lines and arrows in units of the sign's side, and the boards that pictograms stand on.

x runs to the right and y down, so (0.5, 0.5) is the middle of the face.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Colour = tuple[int, int, int]

RED: Colour = (40, 30, 180)
BLUE: Colour = (150, 72, 22)
YELLOW: Colour = (30, 165, 235)
WHITE: Colour = (236, 238, 238)
BLACK: Colour = (28, 26, 26)
GREY: Colour = (120, 122, 122)
GREEN: Colour = (92, 104, 12)

_SUBPIXEL_BITS = 4


class Canvas:
    """A square BGRA picture addressed in units of its side; it starts transparent, in the colour of the rim so that edges never darken.

    Attributes:
        image: (side_px, side_px, 4), uint8.
        zoom: how many times larger than given everything is drawn, about the middle.
        weight: how many times wider than given lines are drawn.
        rim: how many times broader than given the borders of boards are drawn.
    """

    def __init__(self, side_px: int) -> None:
        """Make an empty canvas of `side_px` pixels a side."""
        self.image: NDArray[np.uint8] = np.tile(np.array([*WHITE, 0], np.uint8), (side_px, side_px, 1))
        self.zoom = self.weight = self.rim = 1.0

    def fill(self, points: Points, colour: Colour) -> None:
        """Fill a polygon, (n, 2) in units of the side."""
        points = (points - 0.5) * self.zoom + 0.5
        fixed = np.rint((points * len(self.image) - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(self.image, [fixed], (*colour, 255), cv2.LINE_8, _SUBPIXEL_BITS)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a disc."""
        self.fill(ellipse(x, y, radius, radius, 0, 360, steps=48), colour)

    def stroke(self, path: Points, width: float, colour: Colour, *, round_ends: bool = False) -> None:
        """Draw a line of `width` along a path, (n, 2): square or round ends, round joints."""
        width *= self.weight
        for start, end in itertools.pairwise(path):
            aside = _normal(start, end) * width / 2
            self.fill(np.stack([start + aside, end + aside, end - aside, start - aside]), colour)
        for joint in path if round_ends else path[1:-1]:
            self.fill(ellipse(joint[0], joint[1], width / 2, width / 2, 0, 360, steps=24), colour)

    def arrow(self, path: Points, colour: Colour, *, width: float = 0.115, head: float = 0.3, notch: float = 0.3) -> None:
        """Draw an arrow along a path, (n, 2), that ends at its tip; `head` is the length of the head, `notch` the share of it that is cut out behind."""
        tip, aside = path[-1], _normal(path[-2], path[-1])
        ahead = np.array([-aside[1], aside[0]])
        back, neck = tip - ahead * head, tip - ahead * head * (1 - notch)
        self.stroke(np.vstack([path[:-1], neck[None]]), width, colour)
        self.fill(np.stack([tip, back + aside * head * 0.66, neck, back - aside * head * 0.66]), colour)


Layer = Callable[[Canvas], None]


def _normal(start: Points, end: Points) -> Points:
    along = end - start
    unit: Points = np.array([along[1], -along[0]]) / max(float(np.hypot(*along)), 1e-9)
    return unit


def ellipse(x: float, y: float, rx: float, ry: float, start_deg: float, end_deg: float, *, steps: int = 28) -> Points:
    """Return points along a part of an ellipse, (steps, 2); degrees run clockwise on the screen, from the right."""
    angle = np.deg2rad(np.linspace(start_deg, end_deg, steps))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def path_of(*points: tuple[float, float]) -> Points:
    """Return the points as an array, (n, 2)."""
    return np.array(points, dtype=np.float64)


def _rounded(corners: Sequence[tuple[float, float]], radius: float) -> Points:
    """Round the corners of a convex polygon that is given clockwise on the screen."""
    inner = _inset(np.array(corners, dtype=np.float64), radius)
    pieces = [ellipse(x, y, radius, radius, 0, 360, steps=72) for x, y in inner]
    hull = cv2.convexHull(np.concatenate(pieces).astype(np.float32))
    return hull[:, 0, :].astype(np.float64)


def _inset(corners: Points, distance: float) -> Points:
    """Move every edge of a clockwise convex polygon inwards by `distance`."""
    before, after = np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0)
    moved = []
    for previous, corner, following in zip(before, corners, after, strict=True):
        first, second = -_normal(previous, corner), -_normal(corner, following)
        moved.append(corner + (first + second) * distance / (1 + float(first @ second)))
    return np.array(moved)


OCTAGON = [(0.5 + 0.5412 * float(np.cos(a)), 0.5 + 0.5412 * float(np.sin(a))) for a in np.deg2rad(np.arange(22.5, 360, 45))]
TRIANGLE_UP = [(-0.035, 0.95), (0.5, 0.023), (1.035, 0.95)]
TRIANGLE_DOWN = [(-0.035, 0.05), (1.035, 0.05), (0.5, 0.977)]
DIAMOND = [(0.5, -0.03), (1.03, 0.5), (0.5, 1.03), (-0.03, 0.5)]


def _disc(radius: float) -> Points:
    return ellipse(0.5, 0.5, radius, radius, 0, 360, steps=180)


def round_board(rim: Colour, ground: Colour, border: float) -> Layer:
    """Return a disc with a thin white edge, a border of colour `rim` and a ground."""

    def paint(canvas: Canvas) -> None:
        canvas.fill(_disc(0.5), WHITE)
        canvas.fill(_disc(0.485), rim)
        canvas.fill(_disc(0.485 - border * canvas.rim), ground)

    return paint


def polygon_board(corners: Sequence[tuple[float, float]], radius: float, bands: Sequence[tuple[float, Colour]]) -> Layer:
    """Return a convex board with rounded corners, painted inwards: each band starts at its distance from the edge."""

    def paint(canvas: Canvas) -> None:
        for inset, colour in bands:
            inner = [(float(x), float(y)) for x, y in _inset(np.array(corners, dtype=np.float64), inset * canvas.rim)]
            canvas.fill(_rounded(inner, max(radius - inset * canvas.rim, 0.004)), colour)

    return paint
