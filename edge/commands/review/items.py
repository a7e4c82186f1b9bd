"""What a run kept, as it is read to be judged. It comes from a board: nothing of it is believed that could lead out of its folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import InputError, one_line
from edge.outputs.keep.store import NAME, SCHEMA
from edge.outside.text import printable

MOST_VIEWS, _MOST_BYTES = 16, 4 << 20
_LOG = logging.getLogger(__name__)

Named = tuple[tuple[float, float, float, float], str, float]
"""A box, x1, y1, x2, y2 in pixels of its frame; its label, and how sure that was, 0 to 1."""


@dataclass(frozen=True)
class View:
    """One view of an item: its frame and crop, where it is in the frame and what it was named there, and what else was seen."""

    picture: Path
    crop: Path
    size_wh: tuple[int, int]
    named: Named
    others: tuple[Named, ...]
    told: Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """One thing that a run kept.

    Attributes:
        name: of its files.
        telling: how much it tells, 0 to 1.
        why: in words, the most telling first.
        votes: labels, how often each was named and how surely, best first.
        views: the largest first.
        labels: of the model that ran.
    """

    name: str
    telling: float
    why: tuple[str, ...]
    votes: tuple[tuple[str, int, float], ...]
    views: tuple[View, ...]
    labels: tuple[str, ...]


def read_items(folder: Path, left_out: Sequence[Path]) -> dict[str, Item]:
    """Read what lies in a folder and in folders within it, the most telling first; what is not whole is passed over, and counted aloud.

    Args:
        folder: that `edge run --keep` or scripts/deploy --collect filled, or one above several such.
        left_out: folders within it that are not looked into.

    Raises:
        InputError: no such folder, or nothing of the kind in it.
    """
    if not folder.is_dir():
        raise InputError(f"wanted a folder that signwing run --keep filled, found {'a file' if folder.exists() else 'nothing'} at {folder}: give its path")
    paths = [path for path in sorted(folder.rglob("*.json")) if NAME.fullmatch(path.stem) and not any(other in path.parents for other in left_out)]
    items, faults = {}, []
    for path in paths:
        try:
            items[path.stem] = _read(path)
        except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            faults.append(f"{path.name}: {one_line(error)}")
    if faults:
        _LOG.warning("%d of %d items are not whole and are passed over (the first: %s): collect them again", len(faults), len(paths), faults[0])
    if not items:
        raise InputError(
            f"wanted items that signwing run --keep kept in {folder}, found none: give the folder that it filled, or that --collect copied them to"
        )
    return dict(sorted(items.items(), key=lambda pair: (-pair[1].telling, pair[0])))


def _read(path: Path) -> Item:
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError("larger than an item is")
    told = json.loads(path.read_text(encoding="utf-8"))
    if told["schema"] != SCHEMA:
        raise ValueError(f"schema {told['schema']!r}, this version reads {SCHEMA}")
    views = tuple(_view(path.parent, view) for view in told["views"][:MOST_VIEWS])
    votes = tuple((_label(vote["label"]), int(vote["count"]), float(vote["confidence"])) for vote in told["votes"])
    if not views:
        raise ValueError("no view")
    return Item(path.stem, float(told["telling"]), tuple(map(printable, told["why"])), votes, views, tuple(map(_label, told["labels"])))


def _view(folder: Path, told: Mapping[str, Any]) -> View:
    width, height = map(int, told["size_wh"])
    kept = {key: told.get(key) for key in ("frame", "still", "time", "media_s", "pose", "score")}
    return View(_file(folder, told["picture"]), _file(folder, told["crop"]), (width, height), _named(told), tuple(map(_named, told["others"])), kept)


def _named(told: Mapping[str, Any]) -> Named:
    x1, y1, x2, y2 = map(float, told["box_xyxy"])
    return (x1, y1, x2, y2), _label(told["label"]), float(told["confidence"])


def _label(text: Any) -> str:
    return printable(str(text).strip())


def _file(folder: Path, name: str) -> Path:
    if Path(name).name != name or name.startswith("."):
        raise ValueError(f"{name!r} is no file's name")
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{name} is not there")
    return path
