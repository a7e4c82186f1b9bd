"""The folder that `--keep` fills: items with their pictures, of a bounded size, the oldest and least telling thrown out first.

<name>.json           what is known of an item (schema 1), and the names of its pictures; an item is there when this file is
<name>-<view>.jpg     a whole frame
<name>-<view>.png     the sign in it, at the frame's own resolution, with the margin that the classifier sees

Each file stands whole or not at all, and a JSON file names only what stands: a kill leaves pictures of no item at most, which the next run removes.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import OutputError
from edge.files import alone_in, check_place, telling_refusal, write_json, written_beside
from edge.outside.text import printable

SCHEMA = 1
LOCK = ".keep.lock"
RESERVE_BYTES = 64 << 20
"""What is left on the disk for others."""
NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}-\d{4,}")
"""Of an item: when its run began, what tells it from a run of another board, and its number."""
_FILE = re.compile(rf"\.?({NAME.pattern})(?:-\d+)?(?:\.partial)?\.(?:json|jpg|png)")
_HALF_LIFE = 200
"""Items kept after one, for which it tells half as much."""

_LOG = logging.getLogger(__name__)


@dataclass
class _Kept:
    """An item on the disk: its place in the order of keeping, how telling it is, its bytes."""

    number: int
    telling: float
    size: int


class Store:
    """Keeps items in a folder, which no other run keeps in as long as this is open. One thread works with it.

    Attributes:
        written: items of this run that are there.
    """

    def __init__(self, folder: Path, most_bytes: int, free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free) -> None:
        """Keep in `folder`, `most_bytes` at most; `free` tells the bytes left on its disk."""
        self._folder, self._most_bytes, self._free = folder, most_bytes, free
        self._open = ExitStack()
        self._kept: dict[str, _Kept] = {}
        self._number = 0
        self._ours: set[str] = set()

    @property
    def written(self) -> int:
        """Items of this run that are kept."""
        return len(self._ours & self._kept.keys())

    def __enter__(self) -> Store:
        """Take the folder.

        Raises:
            OutputError: it cannot be made or written, it holds something else, or another run keeps there.
        """
        refuse_foreign(self._folder)
        check_place(self._folder / "kept.json")
        told = f"wanted to keep in {self._folder}, found another run that does: give each run a folder of its own"
        self._open.enter_context(alone_in(self._folder / LOCK, told))
        with telling_refusal(self._folder):
            self._look()
            self._tidy()
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def put(self, name: str, told: Mapping[str, Any], pictures: Mapping[str, bytes]) -> None:
        """Write an item's new pictures and what is known of it, and remove those of its pictures that it no longer names.

        Views whose pictures had to give way to others, or were taken away, are forgotten; an item of which there is none any more is not written.

        Raises:
            OutputError: no space, or the system refuses; the item is as it was before.
        """
        free = self._free(self._folder)
        if free < RESERVE_BYTES:
            raise OutputError(f"{free >> 20} MiB are free on the disk, {RESERVE_BYTES >> 20} are left for others")
        views = [view for view in told["views"] if view["picture"] in pictures or (self._folder / view["crop"]).is_file()]
        if not views:
            return
        for file, content in pictures.items():
            with written_beside(self._folder / file) as beside:
                beside.write_bytes(content)
        if name not in self._kept:
            self._number += 1
        number = self._kept[name].number if name in self._kept else self._number
        write_json(self._folder / f"{name}.json", {"schema": SCHEMA, "number": number, **told, "views": views})
        named = {view[kind] for view in views for kind in ("picture", "crop")}
        for path in self._files_of(name):
            if path.suffix != ".json" and path.name not in named:
                path.unlink(missing_ok=True)
        self._ours.add(name)
        self._kept[name] = _Kept(number, float(told["telling"]), sum(path.stat().st_size for path in self._files_of(name)))
        self._make_room()

    def drop(self, name: str) -> None:
        """Remove an item; one that is not there is none."""
        (self._folder / f"{name}.json").unlink(missing_ok=True)  # first, for it names the others
        for path in self._files_of(name):
            path.unlink(missing_ok=True)
        self._kept.pop(name, None)
        self._ours.discard(name)

    def _make_room(self) -> None:
        if sum(one.size for one in self._kept.values()) <= self._most_bytes:
            return
        self._look()  # what a person, or scripts/deploy, took away meanwhile is no longer there
        while len(self._kept) and sum(one.size for one in self._kept.values()) > self._most_bytes:
            order = sorted(self._kept, key=lambda name: -self._kept[name].number)
            self.drop(min(order, key=lambda name: self._kept[name].telling * 0.5 ** (order.index(name) / _HALF_LIFE)))

    def _files_of(self, name: str) -> list[Path]:
        return sorted(self._folder.glob(f"{name}[-.]*"))

    def _look(self) -> None:
        """Read what lies in the folder; an item that cannot be read tells nothing, and is thrown out first."""
        self._kept = {}
        sizes: dict[str, int] = {}
        for entry in os.scandir(self._folder):
            found = _FILE.fullmatch(entry.name)
            if found is not None and not entry.name.startswith("."):
                sizes[found[1]] = sizes.get(found[1], 0) + entry.stat().st_size
        for name, size in sizes.items():
            path = self._folder / f"{name}.json"
            if path.is_file():
                number, telling = _place_of(path)
                self._kept[name] = _Kept(number, telling, size)
        self._number = max([self._number, *(one.number for one in self._kept.values())])

    def _tidy(self) -> None:
        """Remove what a run that was killed left of no item."""
        for path in self._folder.iterdir():
            found = _FILE.fullmatch(path.name)
            if found is not None and (path.name.startswith(".") or found[1] not in self._kept):
                path.unlink(missing_ok=True)


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds something, and nothing that was kept: it would be mixed into what is there. Hidden files are nothing.

    Raises:
        OutputError: it is such a folder.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError:  # nothing is there yet, or what is there says so when it is opened
        return
    foreign = [name for name in names if not name.startswith(".")]
    if foreign and LOCK not in names and not any(map(_FILE.fullmatch, names)):
        told = f"wanted an empty folder to keep in, or one that --keep filled, found {printable(foreign[0])} in {folder}"
        raise OutputError(f"{told}: choose a folder of its own, such as {folder / 'kept'}")


def _place_of(path: Path) -> tuple[int, float]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return int(told["number"]), float(told["telling"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        _LOG.warning("%s cannot be read (%s): it is the first to be thrown out", path, type(error).__name__)
        return 0, 0.0
