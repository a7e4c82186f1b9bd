"""Finds by their colour where signs may be. Nothing here names a sign or remembers a frame.

`spot_by_colour` looks for what rims, discs and diamonds have in common: more red, blue or yellow than their surroundings, in one piece, of a convex outline
that fills its box as an ellipse, a triangle, a diamond or an octagon does. Chroma is divided by brightness and compared with the neighbourhood's, so shadow,
haze and a colour cast change little. What has no colour (the ends of restrictions, black on white) it cannot find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.geometry.boxes import suppress
from edge.recognition.proposals import MOST, Proposals

Image = NDArray[np.uint8]
Contour = NDArray[Any]

MIN_SIDE_PX = 10

_MIN_COLOUR_PX = 6
_MIN_CONTOUR = 20
# A sign that turns away gets narrower, but never wider: height by width, and width by height.
_MAX_TALL, _MAX_WIDE = 1.6, 1.25
_ASPECT_POWER = 0.3
_MIN_SCORE = 0.78
_SAME_SIGN_IOU = 0.45
_SURROUNDINGS_PX, _STRIDE = 164, 4
_GRID = 24
_SUBPIXEL_BITS = 4


def spot_by_colour(image: Image) -> Proposals:
    """Propose red, blue and yellow shapes of a sign's outline, at most `MOST`.

    Args:
        image: (height, width, 3) uint8 BGR.
    """
    found = [(box, score) for contour, look in _contours(image) for part in _parts(contour) for box, score in _judge(part, look)]
    boxes = np.array([box for box, _ in found], np.float64).reshape(-1, 4)
    scores = np.array([score for _, score in found], np.float64)
    height, width = image.shape[:2]
    boxes = np.asarray(np.clip(boxes, 0, [width, height, width, height]), np.float64)
    large = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= MIN_SIDE_PX
    kept = suppress(boxes[large], scores[large], iou=_SAME_SIGN_IOU, most=MOST)
    return Proposals(boxes[large][kept].astype(np.float32), scores[large][kept].astype(np.float32))


@dataclass(frozen=True)
class _Look:
    """A colour that signs have.

    Attributes:
        levels: of local chroma to cut at, 170 being full: a low one finds pale signs, a high one parts a sign from what touches it.
        margin: what lies outside the colour, as a share of its box on each side: a white edge; the white band around the yellow of a priority road.
        outlines: which of `_OUTLINES` it comes in.
    """

    levels: tuple[int, ...]
    margin: float
    outlines: slice


_RED = _Look((16, 26, 42, 64), 0.03, slice(0, 4))
_BLUE = _Look((26, 46, 80), 0.03, slice(0, 1))
_YELLOW = _Look((12,), 0.4, slice(4, 5))


def _contours(image: Image) -> Iterator[tuple[Contour, _Look]]:
    """Yield outer contours, (n, 1, 2) int32, of what is coloured: holes within (the white, the digits) are thereby filled."""
    blue, green, red = cv2.split(cv2.blur(image, (3, 3)))
    # Never below a few units, lest the noise of black pixels count as colour.
    light = np.maximum(cv2.max(cv2.max(blue, green), red), np.uint8(8))
    # Red rims in shade turn purple, so red is told from green alone, and blue from red.
    excesses = ((cv2.subtract(red, green), _RED), (cv2.subtract(blue, red), _BLUE), (cv2.subtract(cv2.min(red, green), blue), _YELLOW))
    for excess, look in excesses:
        chroma = cv2.divide(excess, light, scale=170)
        local = cv2.subtract(chroma, _surroundings(np.asarray(chroma, np.uint8)))
        for level in look.levels:
            mask = cv2.threshold(local, level, 255, cv2.THRESH_BINARY)[1]
            mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
            for contour in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
                if len(contour) >= _MIN_CONTOUR:
                    yield contour, look


def _surroundings(plane: Image) -> Image:
    """Average a plane, (height, width), over the neighbourhood of each pixel; every fourth pixel of every fourth row will do."""
    side = _SURROUNDINGS_PX // _STRIDE
    mean = cv2.blur(np.ascontiguousarray(plane[::_STRIDE, ::_STRIDE]), (side, side))
    return np.asarray(cv2.resize(mean, (plane.shape[1], plane.shape[0]), interpolation=cv2.INTER_LINEAR), np.uint8)


def _parts(contour: Contour) -> list[Contour]:
    """Part what is long enough to be two signs on one pole."""
    x, y, width, height = cv2.boundingRect(contour)
    if _is_squarish(width, height):
        return [contour]
    if max(width, height) > 2 * _MAX_TALL * min(width, height):
        return []
    axis, middle = (1, y + height / 2) if height > width else (0, x + width / 2)
    before = contour[:, 0, axis] < middle
    return [half for half in (contour[before], contour[~before]) if len(half) >= _MIN_CONTOUR // 2]


def _is_squarish(width: int, height: int) -> bool:
    return min(width, height) >= _MIN_COLOUR_PX and height <= _MAX_TALL * width and width <= _MAX_WIDE * height


def _judge(contour: Contour, look: _Look) -> Iterator[tuple[tuple[float, float, float, float], float]]:
    """Yield the box and the score of a contour if it may be a sign's."""
    x, y, width, height = cv2.boundingRect(contour)
    if not _is_squarish(width, height):
        return
    hull = cv2.convexHull(contour)
    # A rim that is broken has little area of its own but a good hull: lightly punished.
    solid = cv2.contourArea(contour) / max(cv2.contourArea(hull), 1.0)
    score = (0.75 + 0.25 * solid) * (min(width, height) / max(width, height)) ** _ASPECT_POWER
    if score >= _MIN_SCORE:
        score *= _shape(hull, (x, y, width, height), look.outlines)
        if score >= _MIN_SCORE:
            aside, above = look.margin * width, look.margin * height
            yield (x - aside, y - above, x + width + aside, y + height + above), score


def _shape(hull: Contour, box_xywh: Sequence[int], outlines: slice) -> float:
    """Return how well a convex hull covers the best of some outlines within its own box: IoU, 0 to 1."""
    x, y, width, height = box_xywh
    one = 1 << _SUBPIXEL_BITS
    points = (hull[:, 0] - (x, y) + 0.5) * (_GRID * one / width, _GRID * one / height) - one / 2
    drawn = np.zeros((_GRID, _GRID), np.uint8)
    cv2.fillConvexPoly(drawn, np.rint(points).astype(np.int32), (1,), cv2.LINE_8, _SUBPIXEL_BITS)
    covered = drawn.reshape(-1).astype(np.float32)
    shared = _OUTLINES[outlines] @ covered
    return float((shared / (_OUTLINE_AREAS[outlines] + covered.sum() - shared)).max())


def _outlines() -> NDArray[np.float32]:
    """Draw ellipse, octagon, triangles (their corners rounded off) and diamond over a box, (5, grid * grid), 0 or 1."""
    centre = (np.arange(_GRID) + 0.5) / _GRID
    x, y = np.meshgrid(centre, centre)
    aside, above = abs(x - 0.5), abs(y - 0.5)
    triangle = aside <= 0.12 + 0.38 * y
    octagon = aside + above <= np.sqrt(0.5)
    return np.stack([aside**2 + above**2 <= 0.25, octagon, triangle, triangle[::-1], aside + above <= 0.53]).reshape(5, -1).astype(np.float32)


_OUTLINES = _outlines()
_OUTLINE_AREAS = _OUTLINES.sum(axis=1)
