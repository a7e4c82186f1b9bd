"""The drawn flight as a source of frames, and the score of what was announced on it: everything can be tried without a camera or a data set."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from edge.drawn.scenes import SEEN_AHEAD, Flight, announced_after, score_passes
from edge.errors import SourceError
from edge.frame import FeedState, Frame
from edge.result import Result
from edge.sources.uri import Uri, parse_uri

SCHEME = "demo://"


def flight_of(uri: Uri) -> Flight:
    """Return the flight that a demo:// URI describes.

    Raises:
        SourceError: an option that is unknown or no number.
        InputError: a number that the flight does not allow.
    """
    if uri.path:
        raise SourceError(f"wanted {SCHEME} with nothing but options behind it, found {uri.text}: write {SCHEME}?frames=600")
    uri.check_keys("seed", "frames", "width", "height", "fps", "realtime", "signs")
    size_wh = uri.whole("width", 960, least=1, most=7680), uri.whole("height", 540, least=1, most=4320)
    seed, frames = uri.whole("seed", 0, least=0, most=2**32 - 1), uri.whole("frames", 600, least=1, most=10**6)
    return Flight(seed, size_wh, frames, uri.rate("fps", 30.0), signs=uri.whole("signs", 1, least=0, most=1) == 1)


class DemoSource:
    """Draws one frame after the other; none is ever lost."""

    stills = live = False
    feed = None
    dropped = 0
    unreadable = 0

    def __init__(self, uri: Uri) -> None:
        """Prepare the flight of a demo:// URI; raises as `flight_of` does."""
        self.uri, self._flight = uri.text, flight_of(uri)
        self.fps: float | None = self._flight.fps

    def __enter__(self) -> DemoSource:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        """Draw the flight."""
        for index in range(self._flight.frames):
            yield Frame(index, self._flight.frame(index).image, time.monotonic_ns(), None)


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
        """Return what `score_passes` does, for the part of the flight that was watched."""
        watched = score_passes(replace(self._flight, frames=self._last + 1), self._announced)
        # A flight that was cut short sees signs ahead that the shorter flight does not have; all of a long one would take minutes to look through.
        ahead = replace(self._flight, frames=min(self._flight.frames, self._last + 1 + SEEN_AHEAD))
        return watched | {"false": score_passes(ahead, self._announced)["false"]}
