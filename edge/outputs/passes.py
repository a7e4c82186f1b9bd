"""The score of what was announced on the drawn flight, whose signs are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge.drawn.scenes import announced_after, score_passes
from edge.frame import FeedState
from edge.result import Result
from edge.sources.demo import flight_of
from edge.sources.uri import parse_uri


class PassSink:
    """Keeps what was announced on a flight, to compare it with the signs that were there."""

    def __init__(self, uri: str) -> None:
        """Score the flight of a demo:// URI."""
        self._flight = flight_of(parse_uri(uri))
        self._last = -1
        self._announced: list[tuple[int, int, int, Sequence[float]]] = []

    def __enter__(self) -> PassSink:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def write(self, result: Result) -> None:
        """Keep the sightings and updates of a frame."""
        self._last = result.frame.index
        self._announced += [(self._last, r.track, r.class_id, r.box_xyxy) for r in result.reports if r.event != "gone" and r.track is not None]

    def feed(self, state: FeedState) -> None:
        """Nothing: a drawn flight has no feed."""

    def delays(self) -> list[int]:
        """Return for each pass that was announced the frames from its first visible one to the first that told of it; negative where it came before."""
        return announced_after(self._flight, self._announced)

    def score(self) -> dict[str, int]:
        """Return what `score_passes` does, for the part of the flight that was watched; zeros where none was."""
        if self._last < 0:
            return dict.fromkeys(("all", "right", "wrong", "missed", "twice", "false"), 0)
        watched = score_passes(replace(self._flight, frames=self._last + 1), self._announced)
        # A flight that was cut short sees signs ahead that the shorter flight does not have; all of a long one would take minutes to look through.
        ahead = replace(self._flight, frames=min(self._flight.frames, self._last + 1 + self._flight.seen_ahead))
        return watched | {"false": score_passes(ahead, self._announced)["false"]}
