"""Frames from files of pictures: stills, which are independent, or a film of numbered ones. None is lost without being counted."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError, SourceError
from edge.frame import Frame
from edge.images import SUFFIXES, read_image
from edge.outside.text import printable
from edge.sources.decoding.contract import Picture
from edge.sources.decoding.open import open_decoder

_LOG = logging.getLogger(__name__)
_HIDDEN = ".", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "#recycle"
"""How names begin that systems and programs keep for themselves: macOS, Jupyter, Synology, Windows."""
_BY_FFMPEG = ".avif", ".heic", ".heif", ".jp2", ".jxl"
"""Pictures that PyAV may decode where OpenCV does not. Of others it would make the best of half a file."""


def find_images(folder: Path) -> list[Path]:
    """Find the image files in a folder and below it, in the order that people count in (2 before 10); hidden ones are passed over, others are told of.

    Raises:
        SourceError: there is none.
    """
    shown = [path for path in folder.rglob("*") if not any(part.startswith(_HIDDEN) for part in path.relative_to(folder).parts) and path.is_file()]
    return pictures_among(shown, f"the folder {folder}")


def pictures_among(paths: Sequence[Path], where: str) -> list[Path]:
    """Return those of some files that are pictures by their names, in the order that people count in; what is left out is told by kind.

    Raises:
        SourceError: there is none.
    """
    found = [path for path in paths if path.suffix.lower() in SUFFIXES]
    others = Counter(path.suffix.lower() or "without a suffix" for path in paths if path.suffix.lower() not in SUFFIXES)
    kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common())
    if not found:
        raise SourceError(f"wanted images ({', '.join(sorted(SUFFIXES))}) in {where}, found none{kinds and f' but {kinds}'}: choose another folder")
    if others:
        _LOG.warning("%d of the files in %s are no images and were left out: %s", others.total(), where, kinds)
    return sorted(found, key=lambda path: _natural(str(path)))


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in re.split(r"([0-9]+)", name) if part]


class StillSource:
    """Independent images, or the frames of a film; one that cannot be read is passed over with a warning."""

    live, feed = False, None
    dropped = 0

    def __init__(self, uri: str, folder: Path, paths: list[Path], fps: float | None = None) -> None:
        """Take `paths`, all of them below `folder`; with `fps` they are a film of so many frames a second."""
        self.uri, self.unreadable = uri, 0
        self.fps, self.stills = fps, fps is None
        self._folder, self._paths = folder, paths

    def __enter__(self) -> StillSource:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        """Read one image after the other."""
        for index, path in enumerate(self._paths):
            try:
                image = _read(path)
            except InputError as error:
                self.unreadable += 1
                _LOG.warning("%s: passed over", error)
                continue
            if self.fps is not None:
                yield Frame(index, image, time.monotonic_ns(), None, media_s=index / self.fps)
            else:
                yield Frame(index, image, time.monotonic_ns(), printable(path.relative_to(self._folder).as_posix()))


def _read(path: Path) -> NDArray[np.uint8]:
    """Read a picture by OpenCV, or by what decodes videos where that knows more.

    Raises:
        InputError: neither can.
    """
    try:
        return read_image(path)
    except InputError:
        if path.suffix.lower() not in _BY_FFMPEG:
            raise
        with suppress(SourceError, StopIteration), closing(open_decoder(path)) as decoder:
            return next(each.image for each in decoder if isinstance(each, Picture))
        raise
