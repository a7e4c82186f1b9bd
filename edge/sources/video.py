"""A video file, whatever decodes it. None of its frames is lost without being counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from edge.errors import SourceError
from edge.frame import Frame
from edge.outside.text import printable
from edge.sources.capture import announced, open_file
from edge.sources.decoding.contract import Picture
from edge.sources.decoding.open import open_decoder
from edge.sources.decoding.reasons import undecoded

_LOG = logging.getLogger(__name__)


class VideoSource:
    """A video file; frames that cannot be decoded are counted and passed over with a warning, also those that a cut-off file announces and does not hold.

    A file of one frame is a still: a photo in a container of videos.
    """

    live, feed = False, None
    dropped = 0

    def __init__(self, uri: str, path: Path) -> None:
        """Open the file and decode its first two pictures.

        Raises:
            SourceError: it is no video, a damaged one, or one that nothing here can decode.
        """
        self.uri, self.unreadable = uri, 0
        self._path = path
        self._decoder = open_decoder(path)
        self.fps = self._decoder.fps
        self._coming = iter(self._decoder)
        self._first: list[Picture | int] = []
        while (came := next(self._coming, None)) is not None:
            self._first.append(came)
            if sum(isinstance(each, Picture) for each in self._first) == 2:
                break
        if not any(isinstance(each, Picture) for each in self._first):
            what = self._decoder.what
            self._decoder.close()
            raise SourceError(f"wanted a video in {path}, found {undecoded(path, what)}")
        self.stills = [type(each) for each in self._first] == [Picture]

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self._decoder.close()

    def __iter__(self) -> Iterator[Frame]:
        """Decode one frame after the other."""
        index = failed = 0
        for came in chain(self._first, self._coming):
            if isinstance(came, int):
                failed += came
                continue
            self._pass_over(index, failed)
            index, failed = index + failed, 0
            yield Frame(
                index, came.image, time.monotonic_ns(), printable(self._path.name) if self.stills else None, media_s=None if self.stills else came.media_s
            )
            index += 1
        self._pass_over(index, failed)

    def _pass_over(self, index: int, count: int) -> None:
        if count > 0:
            self.unreadable += count
            _LOG.warning("%d of the frames of %s cannot be decoded, from frame %d on: passed over", count, self._path, index)


def count_frames(path: Path) -> int:
    """Return how many frames a video file announces; 0 if it is none."""
    capture = open_file(path)
    try:
        return max(announced(capture), 0) if capture.isOpened() else 0
    finally:
        capture.release()
