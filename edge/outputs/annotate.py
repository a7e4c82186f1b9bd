"""Draws onto a frame what the runtime found in it. `annotate` returns a copy; `mark` draws on what it gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.geometry.boxes import iou_matrix
from edge.geometry.similarity import Quad

if TYPE_CHECKING:
    from edge.result import Detection, Report, Result, Track

Box = Sequence[float]
Colour = tuple[int, int, int]

_ANNOUNCED: Colour = (80, 220, 60)
_UNSURE: Colour = (0, 200, 255)
_INK: Colour = (20, 20, 20)
_PAPER: Colour = (245, 245, 245)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WRITES_ALL = int(cv2.__version__.partition(".")[0]) >= 5
_SAME_IOU = 0.3
_STANDARD_HEIGHT = 540


def annotate(result: Result, labels: Sequence[str]) -> NDArray[np.uint8]:
    """Draw announced signs with label and confidence, other detections as thin boxes, and a status line.

    Args:
        result: a frame and what was found.
        labels: names by class id.

    Returns:
        (height, width, 3) uint8 BGR, of the frame's size.
    """
    known = announced(result)
    image = result.frame.image.copy()
    for detection in unsure(result, known):
        _outline(image, detection.box_xyxy, detection.quad_xy, _UNSURE, 1)
    mark(image, known, labels)
    _status(image, f"frame {result.frame.index}   {result.age_ms:.0f} ms   signs {len(known)}", _scale_of(image))
    return image


def announced(result: Result) -> list[Track | Report]:
    """Return what is shown with a name: tracks that were announced, and the signs of a still."""
    return [*result.tracks, *(one for one in result.reports if one.track is None and one.event == "sighting")]


def unsure(result: Result, known: Sequence[Track | Report]) -> list[Detection]:
    """Return the detections where nothing of `known` is shown: what may be a sign and is not announced yet."""
    boxes = np.array([one.box_xyxy for one in known], np.float64).reshape(-1, 4)
    return [one for one in result.detections if not (iou_matrix([one.box_xyxy], boxes) >= _SAME_IOU).any()]


def mark(image: NDArray[np.uint8], signs: Sequence[Track | Report], labels: Sequence[str]) -> None:
    """Outline signs in a picture, (height, width, 3) uint8 BGR, each with its label and confidence: the picture itself is drawn on."""
    scale = _scale_of(image)
    for one in signs:
        _outline(image, one.box_xyxy, one.quad_xy, _ANNOUNCED, max(round(2 * scale), 1))
    taken: list[Box] = [one.box_xyxy for one in signs]
    for one in signs:
        taken.append(_plate(image, one.box_xyxy, f"{_written(labels[one.class_id], one.class_id)} {one.confidence:.0%}", scale, taken))


def _written(label: str, class_id: int) -> str:
    """Return a label as OpenCV can write it: before OpenCV 5 its font has ASCII alone, and what is in another script is told by its class id."""
    return label if label.isascii() or _WRITES_ALL else f"sign {class_id}"


def _scale_of(image: NDArray[np.uint8]) -> float:
    """Return how large things are drawn: everything grows with the picture, within bounds in which text can be read."""
    return float(np.clip(image.shape[0] / _STANDARD_HEIGHT, 0.6, 3.0))


def _outline(image: NDArray[np.uint8], box: Box, quad: Quad | None, colour: Colour, width: int) -> None:
    """Draw around a box, or around the turned one where there is one."""
    if quad is not None:
        cv2.polylines(image, [np.rint(quad).astype(np.int32)], isClosed=True, color=colour, thickness=width, lineType=cv2.LINE_AA)
        return
    x1, y1, x2, y2 = (round(side) for side in box)
    cv2.rectangle(image, (x1 - width, y1 - width), (x2 + width - 1, y2 + width - 1), colour, width)


def _plate(image: NDArray[np.uint8], box: Box, text: str, scale: float, taken: Sequence[Box]) -> Box:
    """Write on a plate beside a box where nothing of `taken` lies, if there is such a place; returns the plate's box."""
    font, thickness, pad = 0.5 * scale, max(round(scale), 1), round(4 * scale)
    (width, height), base = cv2.getTextSize(text, _FONT, font, thickness)
    size_wh = width + 2 * pad, height + base + pad
    plates = [_within(image, place, size_wh) for place in _places(box, size_wh, pad)]
    free = [plate for plate in plates if not any(_meet(plate, other) for other in taken)]
    left, top, right, bottom = (free or plates)[0]
    cv2.rectangle(image, (left, top), (right - 1, bottom - 1), _ANNOUNCED, cv2.FILLED)
    cv2.putText(image, text, (left + pad, top + height + pad // 2 + 1), _FONT, font, _INK, thickness, cv2.LINE_AA)
    return left, top, right, bottom


def _places(box: Box, size_wh: tuple[int, int], pad: int) -> list[tuple[int, int]]:
    """Return the corners that a plate may have, best first: above the box, below, right, left, then further above and below."""
    (x1, y1, x2, y2), (wide, tall) = (round(side) for side in box), size_wh
    left = x1 - pad // 2
    beside = [(left, y1 - pad - tall), (left, y2 + pad), (x2 + pad, y1), (x1 - pad - wide, y1)]
    further = [place for n in (2, 3) for place in ((left, y1 - pad - n * (tall + 2)), (left, y2 + pad + (n - 1) * (tall + 2)))]
    return beside + further


def _within(image: NDArray[np.uint8], place: tuple[int, int], size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top = (max(min(at, full - size), 0) for at, full, size in zip(place, image.shape[1::-1], size_wh, strict=True))
    return left, top, left + size_wh[0], top + size_wh[1]


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _status(image: NDArray[np.uint8], text: str, scale: float) -> None:
    """Write a line on a darkened strip at the lower edge."""
    font, pad = 0.42 * scale, round(5 * scale)
    (_, height), base = cv2.getTextSize(text, _FONT, font, 1)
    strip = image[-(height + base + pad) :]
    np.floor_divide(strip, 3, out=strip)
    cv2.putText(image, text, (pad, image.shape[0] - base - pad // 2 + 1), _FONT, font, _PAPER, 1, cv2.LINE_AA)
