"""The drawn flight as a source of frames, and the score of what was announced on it: everything can be tried without a camera or a data set."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from edge.datasets.classes import GTSRB, Classes, with_faces
from edge.drawn.drone.flight import DroneFlight
from edge.drawn.scenes import Flight
from edge.errors import SourceError
from edge.frame import Frame
from edge.sources.uri import Uri

SCHEME = "demo://"
VIEWS = ("drone", "car")
"""Whose camera it is; the first is the one that is not asked for."""


def shown_by(uri: Uri) -> Classes:
    """Return the classes whose signs the flight of a demo:// URI shows: GTSRB's, or with `faces=DIR` those of a data set or a bundle that has faces.

    Raises:
        DataError, InputError: as `with_faces`.
    """
    folder = uri.query.get("faces")
    return GTSRB if folder is None else with_faces(Path(folder))


def flight_of(uri: Uri) -> DroneFlight | Flight:
    """Return the flight that a demo:// URI describes: a drone's, or with `view=car` the view of a car.

    Raises:
        SourceError: an option that is unknown or no number.
        DataError: damaged faces.
        InputError: a number that the flight does not allow, or no faces where they are to be.
    """
    if uri.path:
        raise SourceError(f"wanted {SCHEME} with nothing but options behind it, found {uri.text}: write {SCHEME}?frames=600")
    view = uri.query.get("view", VIEWS[0])
    if view not in VIEWS:
        raise SourceError(f"wanted view={' or view='.join(VIEWS)} in {uri.text}, found {view!r}: choose one of these")
    known = "seed", "frames", "width", "height", "fps", "realtime", "signs", "view", "faces"
    uri.check_keys(*known, *(["lens"] if view == "drone" else []))
    size_wh = uri.whole("width", 960, least=1, most=7680), uri.whole("height", 540, least=1, most=4320)
    seed, frames = uri.whole("seed", 0, least=0, most=2**32 - 1), uri.whole("frames", 600, least=1, most=10**6)
    flown = seed, size_wh, frames, uri.rate("fps", 30.0), uri.whole("signs", 1, least=0, most=1) == 1
    shown = shown_by(uri)
    faces = shown.faces if shown.own else ()
    return Flight(*flown, faces=faces) if view == "car" else DroneFlight(*flown, lens=uri.whole("lens", 1, least=0, most=1) == 1, faces=faces)


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
        """Draw the flight; a drone's frames have their pose."""
        flight = self._flight
        for index in range(flight.frames):
            pose = flight.pose(index) if isinstance(flight, DroneFlight) else None
            yield Frame(index, flight.frame(index).image, time.monotonic_ns(), None, media_s=index / flight.fps, pose=pose)
