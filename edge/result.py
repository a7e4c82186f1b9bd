"""What goes out: detections, reports and tracks of a frame, and what a sink of them is. Words that all share; nothing here opens anything."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol

from edge.frame import FeedState, Frame
from edge.geometry.boxes import Box
from edge.geometry.pose import Place
from edge.geometry.similarity import Quad

AGE_ERROR = 0.005
"""Percentiles of ages are right to this share; the largest age is exact."""

_RATIO = math.log1p(2 * AGE_ERROR)
_LEAST_MS, _MOST_MS = 0.01, 1e7
_BINS = math.ceil(math.log(_MOST_MS / _LEAST_MS) / _RATIO)


@dataclass(frozen=True)
class Detection:
    """A sign in one frame.

    Attributes:
        box_xyxy: x1, y1, x2, y2 in pixels, end-exclusive.
        class_id: its class.
        confidence: the classifier's probability, 0 to 1.
        score: the spotter's, 0 to 1.
        fresh: named here, not by its track.
        quad_xy: its corners in the picture as it came, where that was levelled for the spotter; handed on, not looked at.
    """

    box_xyxy: Box
    class_id: int
    confidence: float
    score: float = 1.0
    fresh: bool = True
    quad_xy: Quad | None = None


@dataclass(frozen=True)
class Report:
    """What a tracker has to say: a sign is announced, known better, or gone.

    Attributes:
        event: "sighting" once for each track, "update" when its class changed or a much better view came, "gone" when it is over.
        track: the track's number, from 1 up; None where nothing is tracked.
        class_id: what the votes say.
        confidence: mean confidence, 0 to 1, of the votes for it.
        box_xyxy: where it was seen last.
        quad_xy: its corners there, as the detection had them.
        where: where the sign stands, as far as it was seen until then.
    """

    event: Literal["sighting", "update", "gone"]
    track: int | None
    class_id: int
    confidence: float
    box_xyxy: Box
    quad_xy: Quad | None = None
    where: Place | None = None


@dataclass(frozen=True)
class Sighted:
    """What a track took in a frame: the detection, the track's number where it was announced, and another one that it has from its first frame on."""

    follower: int
    track: int | None
    detection: Detection


@dataclass(frozen=True)
class Track:
    """An announced track that lives, for drawing: its number, class and confidence, and its box in this frame (predicted where it was not seen)."""

    track: int
    class_id: int
    confidence: float
    box_xyxy: Box
    quad_xy: Quad | None = None


@dataclass(frozen=True)
class Doubt:
    """A box about which a frame left a doubt.

    Attributes:
        detection: what it was named.
        why: "near" where little told a sign from none, either way; "refused" where votes made a sign of it and the second look did not.
        taken: it is among the frame's detections.
    """

    detection: Detection
    why: Literal["near", "refused"]
    taken: bool


@dataclass(frozen=True)
class LevelState:
    """A change: whether the camera's roll is known, when (`time.monotonic_ns`), and for people what that means."""

    known: bool
    at_ns: int
    detail: str


@dataclass(frozen=True)
class Result:
    """What the runtime found in a frame.

    Attributes:
        frame: the frame.
        reports: what is announced with it.
        detections: every sign accepted in it, announced or not.
        tracks: announced tracks that live, for drawing.
        done_ns: `time.monotonic_ns` when the result was ready for the sinks.
        final: the frame was given before; this one only takes leave of the last tracks.
        level: what changed about the levelling with this frame.
        doubts: what was left open in it.
        seen: what each track, announced or not, took in it; empty where frames are independent photos.
    """

    frame: Frame
    reports: Sequence[Report]
    detections: Sequence[Detection]
    tracks: Sequence[Track]
    done_ns: int
    final: bool = False
    level: LevelState | None = None
    doubts: Sequence[Doubt] = ()
    seen: Sequence[Sighted] = ()

    @property
    def age_ms(self) -> float:
        """Time from the frame's arrival to its result, in milliseconds."""
        return (self.done_ns - self.frame.received_ns) / 1e6


class Ages:
    """Ages of a run's frames, however long it runs: counted in bins of equal ratio, so that a month takes no more memory than a minute."""

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * (_BINS + 1)))
        self._least_ms, self._most_ms = math.inf, 0.0

    def add(self, age_ms: float) -> None:
        """Count an age in milliseconds."""
        place = math.ceil(math.log(age_ms / _LEAST_MS) / _RATIO) if age_ms > _LEAST_MS else 0
        self._counts[min(place, _BINS)] += 1
        self._least_ms, self._most_ms = min(self._least_ms, age_ms), max(self._most_ms, age_ms)

    def figures(self) -> dict[str, float]:
        """Return p50, p90, p99 and max in milliseconds; zeros where nothing was counted."""
        return {**{f"p{percent}": round(self._percentile(percent), 3) for percent in (50, 90, 99)}, "max": round(self._most_ms, 3)}

    def _percentile(self, percent: int) -> float:
        wanted, passed = sum(self._counts) * percent / 100, 0
        for place, count in enumerate(self._counts):
            passed += count
            if count and passed >= wanted:
                middle_ms = _LEAST_MS * math.exp((place - 0.5) * _RATIO)
                return min(max(middle_ms, self._least_ms), self._most_ms)
        return 0.0


class Sink(Protocol):
    """Takes results in the order of their frames; opened and finished as a context manager."""

    def __enter__(self) -> Sink: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def write(self, result: Result) -> None:
        """Take one result.

        Raises:
            OutputError: it cannot be written.
        """
        ...

    def feed(self, state: FeedState) -> None:
        """Take a change of the feed that the frames come from.

        Raises:
            OutputError: it cannot be written.
        """
        ...
