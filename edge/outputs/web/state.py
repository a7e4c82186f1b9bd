"""What the page shows, gathered by the loop for any thread to read: the newest result, the last sightings, and the last minutes."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from edge.board.telemetry import KEPT, Telemetry
from edge.datasets.faces import Face
from edge.drawn.signs import draw_sign
from edge.frame import FeedState, Source
from edge.geometry.boxes import Box
from edge.geometry.similarity import Quad
from edge.images import encode_image
from edge.outputs.annotate import annotate, announced, unsure
from edge.outputs.events import pose_told, state_event
from edge.outputs.meter import Meter
from edge.outputs.web.sightings import Sightings, jpeg, shrunk
from edge.result import Result

SCHEMA = 1

_PICTURE_PX = 960
_FACE_PX = 80
# Of signs, and of what may be one: they travel in a header.
_MOST_DRAWN = 24
_HEALTHY_S = 10.0
_OF_EVENTS = "state", "at_ns", "time_s", "time_unknown"
_HISTORY = ("t", "fps", "age_p50_ms", "age_p99_ms", "rss_mib", "available_mib", "temperature_c", "cpu_load", "gpu_load")


class PageState:
    """Takes results from the loop, at the cost of a few microseconds each, and a row of history for each sample of telemetry."""

    def __init__(
        self,
        source: Source,
        labels: Sequence[str],
        meter: Meter,
        facts: dict[str, Any],
        *,
        faces: Sequence[Face] = (),
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tell of a source's feed and losses; name class ids as `labels`; `facts` are told in the status as they are; `faces` draw the first classes.

        What lasts is measured by `monotonic_s`: a board without a clock of its own has its time set while it runs.
        """
        self._source = source
        self.warnings: list[Callable[[], str]] = []
        """Each is asked for what is wrong now; the page shows what is not empty."""
        self._labels, self._facts, self._wall_s = labels, {**facts, "faces": len(faces)}, wall_s
        self._faces, self._drawn = faces, dict[int, bytes]()
        self.meter = meter
        self._lock = threading.Lock()
        self._newest: Result | None = None
        self.sightings = Sightings(labels)
        self._rows: deque[tuple[float | None, ...]] = deque(maxlen=KEPT)
        self._telemetry: Telemetry | None = None
        self._started_s, self._monotonic_s, self._begun_s = wall_s(), monotonic_s, monotonic_s()

    def note(self, result: Result) -> None:
        """Take a result."""
        if not result.final:
            self._newest = result
        self.sightings.note(result, self._wall_s())

    def note_feed(self, state: FeedState) -> None:
        """Take a change of the feed."""
        self.sightings.tell([state_event(state)])

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

    def face(self, class_id: int) -> bytes:
        """Return what signs of a class look like, as PNG; nothing where nobody can draw it."""
        if class_id >= len(self._faces):
            return b""
        if class_id not in self._drawn:
            self._drawn[class_id] = encode_image(draw_sign(self._faces[class_id], _FACE_PX))
        return self._drawn[class_id]

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
            "feed": None if feed is None else {key: value for key, value in asdict(feed).items() if key not in _OF_EVENTS},
            "warning": "; ".join(filter(None, (warning() for warning in self.warnings))),
            "started_s": round(self._started_s, 3),
            "uptime_s": round(self._uptime_s, 1),
            "frames": counts.frames,
            "dropped": self._source.dropped,
            "unreadable": self._source.unreadable,
            "sightings": sum(counts.sightings.values()),
            **self.sightings.counts(),
            "size_wh": size,
            "pose": None if newest is None else pose_told(newest.frame.pose),
            **asdict(rates),
            "machine": None if sample is None else _machine(sample),
            "history": {name: [row[place] for row in rows] for place, name in enumerate(_HISTORY)},
        }

    def picture(self, result: Result) -> bytes:
        """Return a result drawn on its frame, its longer side at most 960 px, as JPEG."""
        return jpeg(shrunk(annotate(result, self._labels), _PICTURE_PX))

    def plain(self, result: Result) -> tuple[bytes, str]:
        """Return a result's frame, its longer side at most 960 px, as JPEG, and as JSON what is to be drawn on it by who shows it.

        That is `size_wh` of the frame, `signs` as label, confidence in percent and four corners in turn, and `unsure` as corners alone; the first of each.
        """
        known = announced(result)
        told = {
            "size_wh": result.frame.image.shape[1::-1],
            "frame": result.frame.index,
            "age_ms": round(result.age_ms),
            "signs": [[self._labels[one.class_id], round(one.confidence * 100), _corners(one.box_xyxy, one.quad_xy)] for one in known[:_MOST_DRAWN]],
            "unsure": [_corners(one.box_xyxy, one.quad_xy) for one in unsure(result, known)[:_MOST_DRAWN]],
        }
        return jpeg(shrunk(result.frame.image, _PICTURE_PX)), json.dumps(told, separators=(",", ":"))

    def farewell(self, failed: bool) -> dict[str, Any]:
        """Return what the page is told when the run ends."""
        sightings = sum(self.meter.counts.sightings.values())
        kind = "run" if self._source.live else "photos" if self._source.stills else "flight"
        return {"failed": failed, "said": f"{kind} {'failed' if failed else 'ended'}: {sightings} {'sign' if sightings == 1 else 'signs'}"}


def _corners(box_xyxy: Box, quad_xy: Quad | None) -> list[int]:
    x1, y1, x2, y2 = box_xyxy
    return [round(side) for corner in quad_xy or ((x1, y1), (x2, y1), (x2, y2), (x1, y2)) for side in corner]


def _machine(sample: Telemetry) -> dict[str, Any]:
    figures = asdict(sample)
    del figures["at_ns"]
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()}
    return rounded | {"hottest_c": sample.hottest_c}
