"""Counts what a run has done so far, for outputs that tell of it while it goes on. Written by the loop, read by any thread."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge.frame import FeedState
from edge.result import Result

WINDOW_S = 5.0
AGE_BOUNDS_MS = (5.0, 10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1000.0, 2500.0)

_MOST_IN_WINDOW = 4096


@dataclass(frozen=True)
class Rates:
    """The last seconds in figures.

    Attributes:
        fps: frames a second over the last `WINDOW_S`, or since the start if that is shorter; it falls while no frame comes.
        age_ms: p50, p99 and max of the ages of those frames; empty if there is none.
        silent_s: seconds since the last result, or since the start.
    """

    fps: float
    age_ms: dict[str, float]
    silent_s: float


@dataclass(frozen=True)
class Counts:
    """The run so far in figures.

    Attributes:
        frames: worked on.
        sightings: announced, by class.
        ages: frames whose age is at most each of `AGE_BOUNDS_MS`, and after these all.
        age_sum_ms: of all frames.
    """

    frames: int
    sightings: dict[int, int]
    ages: tuple[int, ...]
    age_sum_ms: float


class Meter:
    """Takes each result of a run."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Measure by a monotonic clock, the one that `Result.done_ns` goes by."""
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._started_ns = self._last_ns = clock_ns()
        self._frames, self._age_sum_ms = 0, 0.0
        self._sightings: Counter[int] = Counter()
        self._ages = [0] * len(AGE_BOUNDS_MS)
        self._recent: deque[tuple[int, float]] = deque(maxlen=_MOST_IN_WINDOW)

    def note(self, result: Result) -> None:
        """Count a result."""
        sighted = [report.class_id for report in result.reports if report.event == "sighting"]
        with self._lock:
            self._sightings.update(sighted)
            if result.final:
                return
            self._frames += 1
            self._last_ns = result.done_ns
            self._age_sum_ms += result.age_ms
            self._recent.append((result.done_ns, result.age_ms))
            for place, bound in enumerate(AGE_BOUNDS_MS):
                self._ages[place] += result.age_ms <= bound

    @property
    def rates(self) -> Rates:
        """What the last seconds were like."""
        now = self._clock_ns()
        with self._lock:
            recent, started_ns, last_ns = list(self._recent), self._started_ns, self._last_ns
        since = max(now - int(WINDOW_S * 1e9), started_ns)
        ages = [age for done_ns, age in recent if done_ns > since]
        figures = {}
        if ages:
            p50, p99 = np.percentile(ages, (50, 99))
            figures = {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(max(ages), 2)}
        # More frames than are kept came in a shorter time.
        since = max(since, recent[0][0]) if len(recent) == _MOST_IN_WINDOW else since
        return Rates(round(len(ages) / max((now - since) / 1e9, 1e-3), 2), figures, round((now - last_ns) / 1e9, 2))

    @property
    def counts(self) -> Counts:
        """What the run has come to."""
        with self._lock:
            return Counts(self._frames, dict(self._sightings), (*self._ages, self._frames), self._age_sum_ms)


class MeterSink:
    """Lets a meter take each result before the outputs that read it."""

    def __init__(self, meter: Meter) -> None:
        """Feed `meter`."""
        self._meter = meter

    def __enter__(self) -> MeterSink:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def write(self, result: Result) -> None:
        """Count a result."""
        self._meter.note(result)

    def feed(self, state: FeedState) -> None:
        """Nothing: only frames are counted."""
