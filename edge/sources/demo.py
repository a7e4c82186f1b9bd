"""The drawn flight as a source of frames, and the score of what was announced on it: everything can be tried without a camera or a data set."""

from __future__ import annotations

import time
from collections.abc import Iterator

from edge.drawn.scenes import Flight
from edge.errors import SourceError
from edge.frame import Frame
from edge.sources.uri import Uri

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
            yield Frame(index, self._flight.frame(index).image, time.monotonic_ns(), None, media_s=index / self._flight.fps)
