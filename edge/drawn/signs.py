"""Draws the faces of German traffic signs from their geometry: no data set, no photo and no font file is needed.

A face is a board (its shape and rim) with pictograms on it; `FACES` is the table. Everything is given in units of the sign's side, x to the right and
y down, so (0.5, 0.5) is the middle of the face. A master is drawn once, large, and every asked size is averaged down from it.
"""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.datasets.faces import FACE_PX, Face, PaintedFace
from edge.datasets.gtsrb import CLASSES
from edge.drawn import pictograms
from edge.drawn.canvas import BLACK, BLUE, DIAMOND, GREY, OCTAGON, RED, TRIANGLE_DOWN, TRIANGLE_UP, WHITE, YELLOW, Canvas, Layer, polygon_board, round_board
from edge.drawn.glyphs import text_layer
from edge.errors import InputError

_MASTER_PX = FACE_PX
_SUPERSAMPLING = 3
_KEPT = 256


def _number(text: str) -> Layer:
    if len(text) == 3:
        return text_layer(text, height=0.4, glyph=0.17, gap=0.035, stroke=0.061, colour=BLACK)
    return text_layer(text, height=0.42, glyph=0.245, gap=0.055, stroke=0.07, colour=BLACK)


_PROHIBITION = round_board(RED, WHITE, 0.118)
_MANDATORY = round_board(BLUE, BLUE, 0.1)
_END = round_board(BLACK, WHITE, 0.025)
_WARNING = polygon_board(TRIANGLE_UP, 0.04, [(0.0, WHITE), (0.014, RED), (0.11, WHITE)])

FACES: dict[int, tuple[Layer, ...]] = {
    0: (_PROHIBITION, _number("20")),
    1: (_PROHIBITION, _number("30")),
    2: (_PROHIBITION, _number("50")),
    3: (_PROHIBITION, _number("60")),
    4: (_PROHIBITION, _number("70")),
    5: (_PROHIBITION, _number("80")),
    6: (_END, text_layer("80", height=0.46, glyph=0.25, gap=0.085, stroke=0.07, colour=GREY), pictograms.end_bars),
    7: (_PROHIBITION, _number("100")),
    8: (_PROHIBITION, _number("120")),
    9: (_PROHIBITION, pictograms.cars(RED, BLACK, width=0.26, bottom=0.605, apart=0.31)),
    10: (_PROHIBITION, pictograms.lorry_and_car(RED, BLACK, width=0.26, bottom=0.645, apart=0.3)),
    11: (_WARNING, pictograms.priority),
    12: (polygon_board(DIAMOND, 0.06, [(0.0, GREY), (0.012, WHITE), (0.15, BLACK), (0.165, YELLOW)]),),
    13: (polygon_board(TRIANGLE_DOWN, 0.04, [(0.0, WHITE), (0.014, RED), (0.135, WHITE)]),),
    14: (
        polygon_board(OCTAGON, 0.02, [(0.0, WHITE), (0.028, RED)]),
        text_layer("STOP", height=0.35, glyph=0.155, gap=0.05, stroke=0.055, colour=WHITE),
    ),
    15: (_PROHIBITION,),
    16: (_PROHIBITION, pictograms.lorry),
    17: (round_board(RED, RED, 0.1), pictograms.bar),
    18: (_WARNING, pictograms.exclamation),
    19: (_WARNING, pictograms.bend(mirror=False)),
    20: (_WARNING, pictograms.bend(mirror=True)),
    21: (_WARNING, pictograms.double_bend),
    22: (_WARNING, pictograms.bumps),
    23: (_WARNING, pictograms.skidding),
    24: (_WARNING, pictograms.narrowing),
    25: (_WARNING, pictograms.digging),
    26: (_WARNING, pictograms.traffic_light),
    27: (_WARNING, pictograms.walking),
    28: (_WARNING, pictograms.children),
    29: (_WARNING, pictograms.bicycle),
    30: (_WARNING, pictograms.snowflake),
    31: (_WARNING, pictograms.deer),
    32: (_END, pictograms.end_bars),
    33: (_MANDATORY, pictograms.turn(mirror=False)),
    34: (_MANDATORY, pictograms.turn(mirror=True)),
    35: (_MANDATORY, pictograms.arrow((0.5, 0.88), (0.5, 0.12), head=0.33)),
    36: (_MANDATORY, pictograms.ahead_or_turn(mirror=False)),
    37: (_MANDATORY, pictograms.ahead_or_turn(mirror=True)),
    38: (_MANDATORY, pictograms.arrow((0.22, 0.24), (0.79, 0.78), notch=0.45, head=0.34)),
    39: (_MANDATORY, pictograms.arrow((0.78, 0.24), (0.21, 0.78), notch=0.45, head=0.34)),
    40: (_MANDATORY, pictograms.roundabout(-35)),
    41: (_END, pictograms.cars(GREY, GREY, width=0.31, bottom=0.615, apart=0.36), pictograms.end_bars),
    42: (_END, pictograms.lorry_and_car(GREY, GREY, width=0.28, bottom=0.68, apart=0.36), pictograms.end_bars),
}
OLDER_FACES: dict[int, tuple[Layer, ...]] = {
    9: (*FACES[9], pictograms.ground_line(0.605)),
    10: (*FACES[10], pictograms.ground_line(0.65)),
    16: (_PROHIBITION, pictograms.bonneted_lorry),
    24: (_WARNING, pictograms.narrowing_on_both_sides),
    40: (_MANDATORY, pictograms.roundabout(20)),
}
"""Other drawings of the same classes that stand beside German roads as well."""

DRAWN_CLASSES: tuple[int, ...] = tuple(FACES)
FLIGHT_CLASSES: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 7, 8, 12, 13, 14, 15, 17, 33, 34, 35, 36, 37, 38, 39)
"""The classes of flights and golden crops: fixed, so that both stay as they are whatever else can be drawn."""


def draw_sign(class_id: Face, side_px: int) -> NDArray[np.uint8]:
    """Draw one sign's face.

    Args:
        class_id: one of `DRAWN_CLASSES`, or a picture of a face.
        side_px: side of the picture, 1 and more.

    Returns:
        BGRA, uint8, (side_px, side_px, 4): antialiased, alpha 0 beside the face, colours not multiplied by alpha.

    Raises:
        InputError: no such class, or the side is less than 1.
    """
    if side_px < 1:
        raise InputError(f"wanted a sign of 1 px or more, found {side_px}: ask for a larger one")
    way = cv2.INTER_AREA if side_px < _MASTER_PX else cv2.INTER_LINEAR
    return _as_uint8(cv2.resize(_master(class_id), (side_px, side_px), interpolation=way))


def outline(class_id: Face) -> NDArray[np.float64]:
    """Trace the edge of a sign's face: its convex hull, (n, 2), x and y in units of the side.

    Raises:
        InputError: no such class.
    """
    contours, _ = cv2.findContours((_master(class_id)[:, :, 3] > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(np.concatenate(contours))[:, 0, :].astype(np.float64)
    # A contour runs through pixel centres of the outermost pixels: half a pixel further out lies the edge.
    return (hull + 0.5 + np.sign(hull + 0.5 - _MASTER_PX / 2) * 0.5) / _MASTER_PX


def vary_sign(class_id: Face, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a face as it varies from sign to sign: an older drawing, a pictogram a little larger or smaller, lines and rim a little broader or thinner.

    Args:
        class_id: one of `DRAWN_CLASSES`; a picture of a face stays as it is.
        rng: source of chance.

    Returns:
        As `draw_sign`, 256 px a side.

    Raises:
        InputError: no such class.
    """
    if isinstance(class_id, PaintedFace):
        return class_id.picture()
    board, *layers = OLDER_FACES[class_id] if class_id in OLDER_FACES and rng.random() < 0.4 else _layers(class_id)
    canvas = Canvas(_MASTER_PX * _SUPERSAMPLING)
    canvas.rim = rng.uniform(0.88, 1.12)
    board(canvas)
    canvas.zoom, canvas.weight = rng.uniform(0.93, 1.06), rng.uniform(0.9, 1.15)
    for layer in layers:
        layer(canvas)
    return _averaged(canvas)


def _layers(class_id: int) -> tuple[Layer, ...]:
    if class_id not in FACES:
        raise InputError(f"wanted a class from 0 to {CLASSES - 1}, found {class_id}, which is no class of GTSRB: choose one of these")
    return FACES[class_id]


@functools.lru_cache(maxsize=_KEPT)
def _master(class_id: Face) -> NDArray[np.uint8]:
    if isinstance(class_id, PaintedFace):
        master = class_id.picture()
    else:
        canvas = Canvas(_MASTER_PX * _SUPERSAMPLING)
        for layer in _layers(class_id):
            layer(canvas)
        master = _averaged(canvas)
    master.setflags(write=False)
    return master


def _averaged(canvas: Canvas) -> NDArray[np.uint8]:
    return _as_uint8(cv2.resize(canvas.image, (_MASTER_PX, _MASTER_PX), interpolation=cv2.INTER_AREA))


def _as_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(image, dtype=np.uint8)
