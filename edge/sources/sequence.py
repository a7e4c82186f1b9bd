"""Recordings one after another, as one film: what a recorder that begins a new file every few minutes made of a flight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edge.frame import Frame
from edge.sources.video import VideoSource

_USUAL_FPS = 30.0


class Recordings:
    """Video files whose frames are numbered, and whose time goes on, from one to the next; each is opened when it is its turn."""

    live, feed, stills = False, None, False
    dropped = 0

    def __init__(self, uri: str, paths: Sequence[Path]) -> None:
        """Open the first.

        Raises:
            SourceError: it cannot be read.
        """
        self.uri, self._paths = uri, paths
        self._open = VideoSource(uri, paths[0])
        self.fps = self._open.fps
        self._unreadable = 0

    @property
    def unreadable(self) -> int:
        """Frames that could not be decoded so far."""
        return self._unreadable + self._open.unreadable

    def __enter__(self) -> Recordings:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.__exit__(None, None, None)

    def __iter__(self) -> Iterator[Frame]:
        """Decode one after the other.

        Raises:
            SourceError: one cannot be read.
        """
        index, begins_s, step_s = 0, 0.0, 1 / (self.fps or _USUAL_FPS)
        for place, path in enumerate(self._paths):
            if place:
                self._unreadable += self._open.unreadable
                self._open.__exit__(None, None, None)
                self._open = VideoSource(self.uri, path)
            first, ends_s = index, begins_s
            for frame in self._open:
                index = first + frame.index
                ends_s = begins_s + frame.media_s if frame.media_s is not None else ends_s + step_s
                yield replace(frame, index=index, still=None, media_s=round(ends_s, 6))
                index += 1
            begins_s = ends_s + step_s
