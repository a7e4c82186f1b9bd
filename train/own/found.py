"""What was found in a folder of one's own: photos of single signs, and frames with boxes."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.images import SUFFIXES

Side = Literal["train", "valid", "test"]
SIDES: dict[str, Side] = {
    **dict.fromkeys(("train", "training", "train2017", "trainval"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev", "val2017"), "valid"),
    **dict.fromkeys(("test", "testing", "test2017"), "test"),
}
"""What people call the sides of a split."""


@dataclass(frozen=True)
class Shot:
    """A photo of one sign: its file, the class's name, its side where the layout tells one, and its folder below the class's, "" where it lies in that."""

    path: Path
    name: str
    side: Side | None = None
    folder: str = ""


@dataclass(frozen=True)
class Scene:
    """A frame: its file, its boxes, (n, 4) float64 pixels, end-exclusive, their classes' names, and its side where the layout tells one."""

    path: Path
    boxes_xyxy: NDArray[np.float64]
    names: tuple[str, ...]
    side: Side | None = None


@dataclass
class Found:
    """All of it.

    Attributes:
        layouts: what they are called, for people.
        shots: photos.
        scenes: frames.
        empty: names of classes without a photo or a box.
        none: photos that show no sign.
    """

    layouts: list[str] = field(default_factory=list)
    shots: list[Shot] = field(default_factory=list)
    scenes: list[Scene] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    none: list[Path] = field(default_factory=list)


def named(text: object) -> str:
    """Return a class's name as all layouts spell it: composed letters, for macOS parts them in names of files, and no blanks around."""
    return unicodedata.normalize("NFC", str(text)).strip()


def side_of(folder: Path, root: Path) -> Side | None:
    """Return the side that a folder is called by, or one on the way to it from `root`; None where none is."""
    return next((SIDES[part.casefold()] for part in folder.relative_to(root).parts if part.casefold() in SIDES), None)


def pictures_in(folder: Path) -> list[Path]:
    """List the picture files of a folder by name, hidden ones left out."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file())


def folders_below(root: Path) -> Iterator[Path]:
    """Yield a folder and all below it, hidden ones and what macOS adds to a zip left out."""
    for name, folders, _ in os.walk(root, followlinks=True):
        folders[:] = sorted(folder for folder in folders if not folder.startswith((".", "__MACOSX")))
        yield Path(name)


@dataclass
class Photo:
    """A photo as it was read: its class, its side where one is told, what its folder and its file are called, the picture, a digest and a hash of it.

    Where it was cut from a frame, `box` tells where the sign is in it, pixels, and `frame` the place of that frame.
    """

    name: str
    side: Side | None
    folder: str
    stem: str
    image: NDArray[np.uint8]
    digest: str
    hash: int
    box: tuple[int, int, int, int] | None = None


@dataclass
class Looked:
    """What was read.

    Attributes:
        photos: of single signs.
        frames: with their boxes in whole pixels inside them, (n, 4) int64 each.
        hashes: of the frames.
        faults: what is wrong, a line each.
        doubts: what is worth a look, likewise.
        none: pictures that show no sign.
        faces: of classes, by name: PNG, where a folder of them was given.
    """

    photos: list[Photo] = field(default_factory=list)
    frames: list[tuple[Scene, NDArray[np.int64]]] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    none: list[NDArray[np.uint8]] = field(default_factory=list)
    faces: dict[str, bytes] = field(default_factory=dict)
