"""Frames that are drawn before they are needed, as a source: what a benchmark times, or scores, without the drawing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
from edge.frame import Frame
from numpy.typing import NDArray


class KeptSource:
    """Gives frames in memory to the loop, as a video would."""

    stills = live = False
    feed = None
    fps: float | None = 30.0
    dropped = unreadable = 0

    def __init__(self, uri: str, frames: Sequence[NDArray[np.uint8]]) -> None:
        """Play frames, (height, width, 3) uint8 BGR each, under a name."""
        self.uri, self._frames = uri, frames

    def __enter__(self) -> KeptSource:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        """Give the frames, each received as it is asked for."""
        for index, image in enumerate(self._frames):
            yield Frame(index, image, time.monotonic_ns(), None)
