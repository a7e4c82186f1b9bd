"""Frames of a recorded source: stills, which are independent images, and videos. None is lost."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path

from edge.errors import InputError, SourceError
from edge.frame import Frame
from edge.images import SUFFIXES, read_image

_LOG = logging.getLogger(__name__)
# A file that ends early still announces its frames: after so many failures in a row no more are expected.
_PATIENCE = 1000


def find_images(folder: Path) -> list[Path]:
    """Find the image files in a folder and below it, in the order that people count in (2 before 10).

    Raises:
        SourceError: there is none.
    """
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not found:
        raise SourceError(f"wanted images ({', '.join(sorted(SUFFIXES))}) in the folder {folder}, found none: choose another folder")
    return sorted(found, key=lambda path: _natural(str(path.relative_to(folder))))


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in re.split(r"([0-9]+)", name) if part]


class StillSource:
    """Independent images; one that cannot be read is passed over with a warning."""

    stills, live, feed = True, False, None
    fps: float | None = None
    dropped = 0

    def __init__(self, uri: str, folder: Path, paths: list[Path]) -> None:
        """Take `paths`, all of them below `folder`."""
        self.uri, self.unreadable = uri, 0
        self._folder, self._paths = folder, paths

    def __enter__(self) -> StillSource:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        """Read one image after the other."""
        for index, path in enumerate(self._paths):
            try:
                image = read_image(path)
            except InputError as error:
                self.unreadable += 1
                _LOG.warning("%s: passed over", error)
                continue
            yield Frame(index, image, time.monotonic_ns(), path.relative_to(self._folder).as_posix())
