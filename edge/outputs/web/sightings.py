"""What was sighted, for the page: the last signs, each by its best view so far, and the last event lines. Bounded, whatever a run sees."""

from __future__ import annotations

import json
import queue
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.geometry.boxes import Box
from edge.geometry.similarity import Quad
from edge.images import encode_image
from edge.outputs.events import events_of
from edge.result import Result

SIGHTINGS_KEPT = 60
EVENTS_KEPT = 5000
"""Lines, of about half a kilobyte each."""

_CROP_PX = 192
_MARGIN = 0.15
_FRAME_PX = 1280
_QUALITY = 75
# Frames that wait to be made JPEG: one that finds no place is not kept.
_WAITING = 4


@dataclass
class Sighting:
    """An announced sign as it was seen best.

    Attributes:
        number: from 1 up.
        changed: grows by one with each sighting and update of the run.
        event: the newest sighting or update, as `--events` writes it.
        seen_s: when it was announced, in seconds since 1970.
        size_wh: of its frame.
        crop: (height, width, 3) uint8 BGR.
        frame: the whole frame as JPEG; empty until it is made.
    """

    number: int
    changed: int
    event: dict[str, Any]
    seen_s: float
    size_wh: tuple[int, int]
    crop: NDArray[np.uint8]
    frame: bytes = b""


class Sightings:
    """Takes results from the loop, for any thread to read."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Name class ids as `labels`."""
        self._labels = labels
        self._lock = threading.Lock()
        self._kept: deque[Sighting] = deque(maxlen=SIGHTINGS_KEPT)
        self._lines: deque[str] = deque(maxlen=EVENTS_KEPT)
        self._sighted = self._changed = self._told = 0
        self.waiting: queue.Queue[tuple[Sighting, int, NDArray[np.uint8]]] = queue.Queue(_WAITING)
        """Frames that `keep` is to be given."""

    def note(self, result: Result, now_s: float) -> None:
        """Take a result; `now_s` is in seconds since 1970."""
        events = events_of(result, self._labels)
        self.tell(events)
        for event, report in zip(events[len(events) - len(result.reports) :], result.reports, strict=True):
            if report.event == "gone":
                continue
            image = result.frame.image
            crop = small_crop(image, report.box_xyxy, report.quad_xy)
            with self._lock:
                known = next((one for one in self._kept if one.event["track"] == report.track), None) if report.event == "update" else None
                if report.event == "update" and known is None:  # it is not kept any more
                    continue
                self._changed += 1
                if known is None:
                    self._sighted += 1
                    known = Sighting(self._sighted, self._changed, event, now_s, (image.shape[1], image.shape[0]), crop)
                    self._kept.append(known)
                known.changed, known.event, known.crop, known.frame = self._changed, event, crop, b""
            with suppress(queue.Full):
                self.waiting.put_nowait((known, known.changed, image))

    def tell(self, events: Iterable[dict[str, Any]]) -> None:
        """Keep event lines."""
        lines = [f"{json.dumps(event)}\n" for event in events]
        with self._lock:
            self._lines.extend(lines)
            self._told += len(lines)

    def keep(self, sighting: Sighting, changed: int, image: NDArray[np.uint8]) -> None:
        """Make a sighting's frame JPEG, unless a better view came meanwhile."""
        data = jpeg(shrunk(image, _FRAME_PX))
        with self._lock:
            if sighting.changed == changed:
                sighting.frame = data

    def counts(self) -> dict[str, int]:
        """Return how many changes and event lines there were: who knows of fewer has something to ask for."""
        with self._lock:
            return {"changed": self._changed, "events": self._told}

    def listed(self, after: int, changed: int) -> list[dict[str, Any]]:
        """Return those that are kept with a number above `after` and a change after `changed`, newest first, as `/api/sightings` answers."""
        with self._lock:
            return [
                {
                    "number": one.number,
                    "changed": one.changed,
                    "seen_s": round(one.seen_s, 2),
                    "size_wh": one.size_wh,
                    "crop": f"crops/{one.number}.jpg?{one.changed}",
                    "whole": f"frames/{one.number}.jpg?{one.changed}",
                    **one.event,
                }
                for one in reversed(self._kept)
                if one.number > after and one.changed > changed
            ]

    def lines(self, after: int) -> tuple[str, int]:
        """Return the event lines after so many, as far as they are kept, and how many there were in all."""
        with self._lock:
            new = min(max(self._told - after, 0), len(self._lines))
            return "".join(self._lines[place] for place in range(len(self._lines) - new, len(self._lines))), self._told

    def crop(self, number: int) -> bytes:
        """Return the crop of a sighting as JPEG; nothing if it is not kept."""
        found = self._find(number)
        return b"" if found is None else jpeg(found.crop)

    def frame(self, number: int) -> bytes:
        """Return the whole frame of a sighting as JPEG; nothing if it is not kept."""
        found = self._find(number)
        return b"" if found is None else found.frame

    def _find(self, number: int) -> Sighting | None:
        with self._lock:
            return next((sighting for sighting in self._kept if sighting.number == number), None)


def shrunk(image: NDArray[np.uint8], most_px: int) -> NDArray[np.uint8]:
    """Return (height, width, 3) uint8 with its longer side at most so long."""
    share = most_px / max(image.shape[:2])
    if share >= 1:
        return image
    size_wh = [max(round(side * share), 1) for side in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """Return (height, width, 3) uint8 BGR as JPEG."""
    return encode_image(image, ".jpg", _QUALITY)


def small_crop(image: NDArray[np.uint8], box_xyxy: Box, quad_xy: Quad | None = None) -> NDArray[np.uint8]:
    """Return a copy of a box with some of what is around it; a large one is thinned out, at hardly any cost, to 192 px a side at most.

    A box that was turned is turned upright.
    """
    if quad_xy is not None:
        return _upright_crop(image, quad_xy)
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box_xyxy
    pad_x, pad_y = (x2 - x1) * _MARGIN, (y2 - y1) * _MARGIN
    left, right = int(np.clip(x1 - pad_x, 0, width - 1)), int(np.clip(x2 + pad_x, 1, width))
    top, bottom = int(np.clip(y1 - pad_y, 0, height - 1)), int(np.clip(y2 + pad_y, 1, height))
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    step = -(-max(right - left, bottom - top) // _CROP_PX)
    return image[top:bottom:step, left:right:step].copy()


def _upright_crop(image: NDArray[np.uint8], quad_xy: Quad) -> NDArray[np.uint8]:
    left_top, right_top, _, left_bottom = (np.array(corner) for corner in quad_xy)
    along, down = right_top - left_top, left_bottom - left_top
    sides = np.array([np.hypot(*along), np.hypot(*down)])
    shown = np.maximum(np.rint(sides * (1 + 2 * _MARGIN) * min(1.0, _CROP_PX / (sides.max() * (1 + 2 * _MARGIN)))), 1).astype(int)
    corner = left_top - _MARGIN * (along + down)
    reach = (1 + 2 * _MARGIN) * np.array([along, down])
    source = np.array([corner, corner + reach[0], corner + reach[1]], np.float32)
    target = np.array([[0, 0], [shown[0], 0], [0, shown[1]]], np.float32)
    turn = cv2.getAffineTransform(source - np.float32(0.5), target - np.float32(0.5))
    return np.asarray(cv2.warpAffine(image, turn, shown.tolist(), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
