"""Photos of single signs: a folder for each class, or a table that names file and class."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from edge.datasets.classes import NONE
from edge.datasets.gtsrb_layouts import file_in
from edge.datasets.tables import read_rows
from edge.errors import DataError
from train.own.found import SIDES, Found, Shot, Side, folders_below, named, pictures_in

_LABELS = (".txt", ".xml", ".json")
"""A folder that holds these and no picture is one of frames' labels, and no class."""


@dataclass(frozen=True)
class Table:
    """A table of photos: its file, and what its columns of paths and of classes are called."""

    file: Path
    path: str = "path"
    name: str = "class"


def read_table(table: Table) -> Found:
    """Read photos from a table, whose paths are those from its own folder.

    Raises:
        DataError: it cannot be read, lacks a column, a class or a path, or names a file that is not there.
    """
    found = Found([f"table {table.file.name}"])
    for row, where in read_rows(table.file, (table.path, table.name)):
        text, name = row.get(table.path.casefold(), "").strip(), named(row.get(table.name.casefold(), ""))
        if not text or not name:
            raise DataError(f"wanted a {table.path} and a {table.name} in {where}, found a row without: correct it")
        path = file_in(table.file.parent, text, where)
        if not path.is_file():
            raise DataError(f"wanted the photo that {where} names, found no {path}: correct the row, or unpack the photos again")
        found.shots.append(Shot(path, name))
    return found


def find_photos(root: Path, left_out: Collection[Path]) -> Found:
    """Find photos in folders that are named by class, within `train`, `valid` and `test` or without; folders of frames are left out.

    A class's photos may lie in folders below its own: each is taken for one physical sign. A folder `none` holds what is no sign. A folder that only holds the
    others is looked into.
    """
    found = Found()
    base = _base(root, left_out)
    for folder in _children(base, left_out):
        inner = _children(folder, left_out)
        side = SIDES.get(folder.name.casefold())
        if side and inner and not pictures_in(folder):
            for each in inner:
                _take(each, side, found)
        else:
            _take(folder, None, found)
    if found.shots:
        found.layouts.append("image folders")
    return found


def _base(root: Path, left_out: Collection[Path]) -> Path:
    """Return the folder whose folders are the classes or the sides: `root`, or the only one within it that holds others."""
    while True:
        inner = [folder for folder in _children(root, left_out) if any(pictures_in(each) for each in folders_below(folder))]
        if len(inner) != 1 or pictures_in(inner[0]) or not _children(inner[0], left_out) or inner[0].name.casefold() in SIDES:
            return root
        root = inner[0]


def _children(folder: Path, left_out: Collection[Path]) -> list[Path]:
    names = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX")))
    return sorted(path for path in names if path.resolve() not in left_out)


def _take(folder: Path, side: Side | None, found: Found) -> None:
    name = named(folder.name)
    if name.casefold() == NONE:
        found.none += [path for each in folders_below(folder) for path in pictures_in(each)]
        return
    shots = [
        Shot(path, name, side, "" if each == folder else each.relative_to(folder).as_posix()) for each in folders_below(folder) for path in pictures_in(each)
    ]
    found.shots += shots
    if not any(path.suffix.lower() in _LABELS for each in folders_below(folder) for path in each.iterdir()) and not shots:
        found.empty.append(name)
