"""Draws the faces of German traffic signs from their geometry: no data set, no photo and no font file is needed.

A face is a board (its shape and rim) with pictograms on it; `FACES` is the table. Everything is given in units of the sign's side, x to the right and
y down, so (0.5, 0.5) is the middle of the face. A master is drawn once, large, and every asked size is averaged down from it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.gtsrb import CLASSES, LABELS

Points = NDArray[np.float64]
Colour = tuple[int, int, int]

RED: Colour = (40, 30, 180)
BLUE: Colour = (150, 72, 22)
YELLOW: Colour = (30, 165, 235)
WHITE: Colour = (236, 238, 238)
BLACK: Colour = (28, 26, 26)
GREY: Colour = (120, 122, 122)

_MASTER_PX = 256
_SUPERSAMPLING = 3
_SUBPIXEL_BITS = 4


class Canvas:
    """A square BGRA picture addressed in units of its side; it starts transparent, in the colour of the rim so that edges never darken."""

    def __init__(self, side_px: int) -> None:
        """Make an empty canvas of `side_px` pixels a side."""
        self.image: NDArray[np.uint8] = np.tile(np.array([*WHITE, 0], np.uint8), (side_px, side_px, 1))

    def fill(self, points: Points, colour: Colour) -> None:
        """Fill a polygon, (n, 2) in units of the side."""
        fixed = np.rint((points * len(self.image) - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(self.image, [fixed], (*colour, 255), cv2.LINE_8, _SUBPIXEL_BITS)

    def stroke(self, path: Points, width: float, colour: Colour) -> None:
        """Draw a line of `width` along a path, (n, 2): square ends, round joints."""
        for start, end in itertools.pairwise(path):
            aside = _normal(start, end) * width / 2
            self.fill(np.stack([start + aside, end + aside, end - aside, start - aside]), colour)
        for joint in path[1:-1]:
            self.fill(_ellipse(joint[0], joint[1], width / 2, width / 2, 0, 360, steps=24), colour)

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


def _ellipse(x: float, y: float, rx: float, ry: float, start_deg: float, end_deg: float, *, steps: int = 28) -> Points:
    angle = np.deg2rad(np.linspace(start_deg, end_deg, steps))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def _path(*points: tuple[float, float]) -> Points:
    return np.array(points, dtype=np.float64)


def _rounded(corners: Sequence[tuple[float, float]], radius: float) -> Points:
    """Round the corners of a convex polygon that is given clockwise on the screen."""
    inner = _inset(np.array(corners, dtype=np.float64), radius)
    pieces = [_ellipse(x, y, radius, radius, 0, 360, steps=72) for x, y in inner]
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


_OCTAGON = [(0.5 + 0.5412 * float(np.cos(a)), 0.5 + 0.5412 * float(np.sin(a))) for a in np.deg2rad(np.arange(22.5, 360, 45))]
_TRIANGLE_DOWN = [(-0.035, 0.05), (1.035, 0.05), (0.5, 0.977)]
_DIAMOND = [(0.5, -0.03), (1.03, 0.5), (0.5, 1.03), (-0.03, 0.5)]


def _disc(radius: float) -> Points:
    return _ellipse(0.5, 0.5, radius, radius, 0, 360, steps=180)


def _round_board(rim: Colour, ground: Colour, border: float) -> Layer:
    """A disc with a thin white edge, a border of colour `rim` and a ground."""

    def paint(canvas: Canvas) -> None:
        canvas.fill(_disc(0.5), WHITE)
        canvas.fill(_disc(0.485), rim)
        canvas.fill(_disc(0.485 - border), ground)

    return paint


def _polygon_board(corners: Sequence[tuple[float, float]], radius: float, bands: Sequence[tuple[float, Colour]]) -> Layer:
    """A convex board with rounded corners, painted inwards: each band starts at its distance from the edge."""

    def paint(canvas: Canvas) -> None:
        for inset, colour in bands:
            inner = [(float(x), float(y)) for x, y in _inset(np.array(corners, dtype=np.float64), inset)]
            canvas.fill(_rounded(inner, max(radius - inset, 0.004)), colour)

    return paint


_STEM = _path((0.5, 0.0), (0.5, 1.0))
_ZERO = np.concatenate([_ellipse(0.5, 0.3, 0.5, 0.3, 180, 360), _ellipse(0.5, 0.7, 0.5, 0.3, 0, 180), _path((0, 0.3), (0, 0.25))])
_GLYPHS: dict[str, list[Points]] = {
    "0": [_ZERO],
    "1": [_path((0.72, -0.09), (0.72, 1.09)), _path((0.05, 0.27), (0.72, -0.03))],
    "2": [np.concatenate([_ellipse(0.48, 0.27, 0.48, 0.27, 188, 390), _path((0.06, 0.98))]), _path((-0.08, 1.0), (1.05, 1.0))],
    "3": [_ellipse(0.46, 0.25, 0.46, 0.25, 195, 450), _ellipse(0.47, 0.74, 0.53, 0.26, 270, 525)],
    "5": [_path((0.07, 0.0), (0.97, 0.0)), _path((0.17, -0.02), (0.12, 0.52)), _ellipse(0.46, 0.68, 0.54, 0.32, 218, 522)],
    "6": [_ellipse(0.5, 0.69, 0.5, 0.31, 0, 370), _path((0.72, -0.07), (0.22, 0.38), (0.03, 0.6))],
    "7": [_path((-0.05, 0.0), (1.08, 0.0)), _path((1.0, 0.0), (0.36, 1.08))],
    "8": [_ellipse(0.5, 0.24, 0.42, 0.24, 0, 370), _ellipse(0.5, 0.74, 0.5, 0.26, 0, 370)],
    "S": [np.concatenate([_ellipse(0.5, 0.25, 0.5, 0.25, 330, 90), _ellipse(0.5, 0.75, 0.5, 0.25, 270, 510)])],
    "T": [_path((-0.15, 0.0), (1.15, 0.0)), _STEM + _path((0.0, 0.09))],
    "O": [_ZERO],
    "P": [_path((0.0, -0.1), (0.0, 1.1)), np.concatenate([_path((0.0, 0.0)), _ellipse(0.5, 0.28, 0.5, 0.28, 270, 450), _path((0.0, 0.56))])],
}


def _text(text: str, *, height: float, glyph: float, gap: float, stroke: float, colour: Colour) -> Layer:
    """Centred text in the manner of DIN 1451: glyphs of width `glyph`, `gap` apart, with lines of width `stroke`."""

    def paint(canvas: Canvas) -> None:
        left = 0.5 - (len(text) * glyph + (len(text) - 1) * gap) / 2
        for place, letter in enumerate(text):
            corner = np.array([left + place * (glyph + gap) + stroke / 2, 0.5 - height / 2 + stroke / 2])
            for path in _GLYPHS[letter]:
                canvas.stroke(corner + path * np.array([glyph - stroke, height - stroke]), stroke, colour)

    return paint


def _number(text: str) -> Layer:
    if len(text) == 3:
        return _text(text, height=0.4, glyph=0.17, gap=0.035, stroke=0.061, colour=BLACK)
    return _text(text, height=0.42, glyph=0.245, gap=0.055, stroke=0.07, colour=BLACK)


def _bar(canvas: Canvas) -> None:
    canvas.stroke(_path((0.1, 0.5), (0.9, 0.5)), 0.175, WHITE)


def _arrow(*points: tuple[float, float], notch: float = 0.3, head: float = 0.3) -> Layer:
    return lambda canvas: canvas.arrow(_path(*points), WHITE, notch=notch, head=head)


def _turn(mirror: bool) -> Layer:
    """A stem from below that bends aside in a round corner (to the right, or mirrored)."""
    path = np.concatenate([_path((0.36, 0.84)), _ellipse(0.52, 0.53, 0.16, 0.16, 180, 270), _path((0.84, 0.37))])
    return lambda canvas: canvas.arrow(_mirrored(path, mirror), WHITE, head=0.28, notch=0.25)


def _ahead_or_turn(mirror: bool) -> Layer:
    """An arrow ahead from which a second one branches aside (to the right, or mirrored)."""
    ahead = _path((0.37, 0.87), (0.37, 0.12))
    branch = np.concatenate([_path((0.37, 0.8)), _ellipse(0.54, 0.74, 0.17, 0.17, 180, 270), _path((0.88, 0.57))])

    def paint(canvas: Canvas) -> None:
        for path in (ahead, branch):
            canvas.arrow(_mirrored(path, mirror), WHITE, width=0.1, head=0.24, notch=0.25)

    return paint


def _mirrored(path: Points, mirror: bool) -> Points:
    return np.array([1.0, 0.0]) + path * np.array([-1.0, 1.0]) if mirror else path


_PROHIBITION = _round_board(RED, WHITE, 0.118)
_MANDATORY = _round_board(BLUE, BLUE, 0.1)

FACES: dict[int, tuple[Layer, ...]] = {
    0: (_PROHIBITION, _number("20")),
    1: (_PROHIBITION, _number("30")),
    2: (_PROHIBITION, _number("50")),
    3: (_PROHIBITION, _number("60")),
    4: (_PROHIBITION, _number("70")),
    5: (_PROHIBITION, _number("80")),
    7: (_PROHIBITION, _number("100")),
    8: (_PROHIBITION, _number("120")),
    12: (_polygon_board(_DIAMOND, 0.06, [(0.0, GREY), (0.012, WHITE), (0.15, BLACK), (0.165, YELLOW)]),),
    13: (_polygon_board(_TRIANGLE_DOWN, 0.04, [(0.0, WHITE), (0.014, RED), (0.135, WHITE)]),),
    14: (
        _polygon_board(_OCTAGON, 0.02, [(0.0, WHITE), (0.028, RED)]),
        _text("STOP", height=0.35, glyph=0.155, gap=0.05, stroke=0.055, colour=WHITE),
    ),
    15: (_PROHIBITION,),
    17: (_round_board(RED, RED, 0.1), _bar),
    33: (_MANDATORY, _turn(mirror=False)),
    34: (_MANDATORY, _turn(mirror=True)),
    35: (_MANDATORY, _arrow((0.5, 0.88), (0.5, 0.12), head=0.33)),
    36: (_MANDATORY, _ahead_or_turn(mirror=False)),
    37: (_MANDATORY, _ahead_or_turn(mirror=True)),
    38: (_MANDATORY, _arrow((0.22, 0.24), (0.79, 0.78), notch=0.45, head=0.34)),
    39: (_MANDATORY, _arrow((0.78, 0.24), (0.21, 0.78), notch=0.45, head=0.34)),
}
DRAWN_CLASSES: tuple[int, ...] = tuple(FACES)


def draw_sign(class_id: int, side_px: int) -> NDArray[np.uint8]:
    """Draw one sign's face.

    Args:
        class_id: one of `DRAWN_CLASSES`.
        side_px: side of the picture, 1 and more.

    Returns:
        BGRA, uint8, (side_px, side_px, 4): antialiased, alpha 0 beside the face, colours not multiplied by alpha.

    Raises:
        InputError: the class cannot be drawn, or the side is less than 1.
    """
    if side_px < 1:
        raise InputError(f"wanted a sign of 1 px or more, found {side_px}: ask for a larger one")
    way = cv2.INTER_AREA if side_px < _MASTER_PX else cv2.INTER_LINEAR
    return _as_uint8(cv2.resize(_master(class_id), (side_px, side_px), interpolation=way))


def outline(class_id: int) -> NDArray[np.float64]:
    """Trace the edge of a sign's face: its convex hull, (n, 2), x and y in units of the side.

    Raises:
        InputError: the class cannot be drawn.
    """
    contours, _ = cv2.findContours((_master(class_id)[:, :, 3] > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(np.concatenate(contours))[:, 0, :].astype(np.float64)
    # A contour runs through pixel centres of the outermost pixels: half a pixel further out lies the edge.
    return (hull + 0.5 + np.sign(hull + 0.5 - _MASTER_PX / 2) * 0.5) / _MASTER_PX


@functools.lru_cache(maxsize=CLASSES)
def _master(class_id: int) -> NDArray[np.uint8]:
    if class_id not in FACES:
        name = LABELS[class_id] if 0 <= class_id < CLASSES else "no class of GTSRB"
        raise InputError(f"wanted a sign that can be drawn (classes {', '.join(map(str, DRAWN_CLASSES))}), found {class_id} ({name}): choose one of these")
    canvas = Canvas(_MASTER_PX * _SUPERSAMPLING)
    for layer in FACES[class_id]:
        layer(canvas)
    master = _as_uint8(cv2.resize(canvas.image, (_MASTER_PX, _MASTER_PX), interpolation=cv2.INTER_AREA))
    master.setflags(write=False)
    return master


def _as_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(image, dtype=np.uint8)
