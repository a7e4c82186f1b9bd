"""What the page shows, gathered by the loop for any thread to read: the newest result, the last sightings with their crops, and the last minutes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.board.telemetry import KEPT, Telemetry
from edge.frame import Source
from edge.geometry.boxes import Box
from edge.geometry.similarity import Quad
from edge.outputs.annotate import annotate
from edge.outputs.events import event_of
from edge.outputs.meter import Meter
from edge.result import Result

SCHEMA = 1
SIGHTINGS_KEPT = 60

_CROP_PX = 192
_MARGIN = 0.15
_PICTURE_PX = 960
_QUALITY = 75
_HEALTHY_S = 10.0
_HISTORY = ("t", "fps", "age_p50_ms", "age_p99_ms", "rss_mib", "available_mib", "temperature_c", "cpu_load", "gpu_load")


@dataclass(frozen=True)
class Sighting:
    """An announced sign: its number from 1 up, its event as `--events` writes it, its time (seconds since 1970) and (height, width, 3) uint8 BGR of it."""

    number: int
    event: dict[str, Any]
    seen_s: float
    crop: NDArray[np.uint8]


class PageState:
    """Takes results from the loop, at the cost of a few microseconds each, and a row of history for each sample of telemetry."""

    def __init__(
        self,
        source: Source,
        labels: Sequence[str],
        meter: Meter,
        facts: dict[str, Any],
        *,
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tell of a source's feed and losses; name class ids as `labels`; `facts` are told in the status as they are.

        What lasts is measured by `monotonic_s`: a board without a clock of its own has its time set while it runs.
        """
        self._source = source
        self.warnings: list[Callable[[], str]] = []
        """Each is asked for what is wrong now; the page shows what is not empty."""
        self._labels, self._facts, self._wall_s = labels, facts, wall_s
        self.meter = meter
        self._lock = threading.Lock()
        self._newest: Result | None = None
        self._sightings: deque[Sighting] = deque(maxlen=SIGHTINGS_KEPT)
        self._sighted = 0
        self._rows: deque[tuple[float | None, ...]] = deque(maxlen=KEPT)
        self._telemetry: Telemetry | None = None
        self._started_s, self._monotonic_s, self._begun_s = wall_s(), monotonic_s, monotonic_s()

    def note(self, result: Result) -> None:
        """Take a result."""
        if not result.final:
            self._newest = result
        for report in result.reports:
            if report.event == "sighting":
                event, crop = event_of(result, report, self._labels), small_crop(result.frame.image, report.box_xyxy, report.quad_xy)
                with self._lock:
                    self._sighted += 1
                    self._sightings.append(Sighting(self._sighted, event, self._wall_s(), crop))

    def note_telemetry(self, sample: Telemetry) -> None:
        """Take a sample of the machine, and keep a row of history."""
        rates = self.meter.rates
        row = (
            round(self._started_s + self._uptime_s, 2),
            rates.fps,
            rates.age_ms.get("p50"),
            rates.age_ms.get("p99"),
            round(sample.rss_mib, 1),
            sample.memory.available_mib if sample.memory else None,
            sample.hottest_c,
            None if sample.cpu_load is None else round(sample.cpu_load, 3),
            sample.gpu_load,
        )
        with self._lock:
            self._telemetry = sample
            self._rows.append(row)

    @property
    def _uptime_s(self) -> float:
        return self._monotonic_s() - self._begun_s

    @property
    def trouble(self) -> str:
        """Why no results come, of a live feed that is not live or a run that has been silent for long; empty where they do."""
        feed, silent_s = self._source.feed, self.meter.rates.silent_s
        if feed is not None:
            return "" if feed.state == "live" else f"feed {feed.state}"
        return "" if silent_s < _HEALTHY_S else f"no result for {silent_s:.0f} s"

    @property
    def newest(self) -> Result | None:
        """The newest result, None before the first."""
        return self._newest

    @property
    def telemetry(self) -> Telemetry | None:
        """The newest sample of the machine."""
        return self._telemetry

    def status(self, since_s: float = 0.0) -> dict[str, Any]:
        """Return what `/api/status` answers; `history` holds the rows after `since_s`, column by column.

        A row's time is that of the start, in seconds since 1970, and what has passed since, whatever was done to the clock.
        """
        rates, counts = self.meter.rates, self.meter.counts
        with self._lock:
            rows, sample = [row for row in self._rows if row[0] is not None and row[0] > since_s], self._telemetry
        newest, feed = self._newest, self._source.feed
        size = None if newest is None else [newest.frame.image.shape[1], newest.frame.image.shape[0]]
        return {
            "schema": SCHEMA,
            **self._facts,
            "state": "live" if feed is None else feed.state,
            "feed": None if feed is None else {key: value for key, value in asdict(feed).items() if key not in ("state", "at_ns")},
            "warning": "; ".join(filter(None, (warning() for warning in self.warnings))),
            "started_s": round(self._started_s, 3),
            "uptime_s": round(self._uptime_s, 1),
            "frames": counts.frames,
            "dropped": self._source.dropped,
            "unreadable": self._source.unreadable,
            "sightings": sum(counts.sightings.values()),
            "size_wh": size,
            **asdict(rates),
            "machine": None if sample is None else _machine(sample),
            "history": {name: [row[place] for row in rows] for place, name in enumerate(_HISTORY)},
        }

    def sightings(self, after: int = 0) -> list[dict[str, Any]]:
        """Return those that are kept with a number above `after`, newest first, as `/api/sightings` answers."""
        with self._lock:
            kept = [sighting for sighting in self._sightings if sighting.number > after]
        return [{"number": s.number, "seen_s": round(s.seen_s, 2), "crop": f"crops/{s.number}.jpg", **s.event} for s in reversed(kept)]

    def crop(self, number: int) -> NDArray[np.uint8] | None:
        """Return the crop of a sighting; None if it is not kept."""
        with self._lock:
            return next((sighting.crop for sighting in self._sightings if sighting.number == number), None)

    def picture(self, result: Result) -> bytes:
        """Return a result drawn on its frame, its longer side at most 960 px, as JPEG."""
        image = annotate(result, self._labels)
        share = _PICTURE_PX / max(image.shape[:2])
        if share < 1:
            size_wh = [max(round(side * share), 1) for side in image.shape[1::-1]]
            image = np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
        return jpeg(image)


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """Return (height, width, 3) uint8 BGR as JPEG."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()


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


def _machine(sample: Telemetry) -> dict[str, Any]:
    figures = asdict(sample)
    del figures["at_ns"]
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()}
    return rounded | {"hottest_c": sample.hottest_c}
