"""What a person said of items, kept as it is said, and the data sets that follow from it.

reviewed/judged.json                    every verdict, in the order in which they were given: what all else follows from
reviewed/<class>/<item>/<view>.png      crops, a folder for each class, one below it for each sign; `none` holds what is no sign
reviewed-frames/annotations.json        frames with their boxes, as COCO has them
reviewed-frames/images/<item>.jpg
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge.commands.review.items import Item, Named
from edge.datasets.classes import LONGEST_NAME, NONE, REVIEWED, folder_name
from edge.errors import InputError, one_line
from edge.files import alone_in, check_place, telling_refusal, write_json, written_beside
from edge.outputs.keep.store import NAME
from edge.outside.text import printable

FRAMES = "reviewed-frames"
SCHEMA = 1
MIXED = "mixed"
"""What is said of an item whose views show several signs: nothing follows from it."""
_JUDGED, _LOCK = "judged.json", ".review.lock"
_SURE = 0.9
"""Confidence of every other sign in a frame, from which on it stands with all its boxes: one that is left out, or wrong, would be taught."""


class Judged:
    """Verdicts, and the data sets of them; open, nobody else judges the same items."""

    def __init__(self, folder: Path, items: Mapping[str, Item]) -> None:
        """Judge `items`; data sets are made in `folder`."""
        self._photos, self._frames, self._items = folder / REVIEWED, folder / FRAMES, items
        self._said: dict[str, dict[str, Any]] = {}
        self._open = ExitStack()

    def __enter__(self) -> Judged:
        """Take up what was judged before, and make the data sets what they should be: a kill may have come between.

        Raises:
            OutputError: they cannot be written, or another review is open.
            InputError: what was judged before cannot be read.
        """
        check_place(self._photos / _JUDGED)
        self._open.enter_context(alone_in(self._photos / _LOCK, f"wanted to review in {self._photos.parent}, found another review of it open: go on there"))
        self._said = _read(self._photos / _JUDGED)
        with telling_refusal(self._photos):
            for path in self._photos.glob("*/*"):
                if NAME.fullmatch(path.name) and path.parent.name != self._class_folder(path.name):
                    shutil.rmtree(path)
            for name in self._said:
                if name in self._items:
                    self._lay_out(name)
            self._lay_out_frames()
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def __len__(self) -> int:
        return len(self._said)

    def __getitem__(self, name: str) -> str | None:
        """Return the label that an item was given, "" where it is no sign, `MIXED` where it is several; None where it is not judged."""
        return self._said[name]["label"] if name in self._said else None

    @property
    def labels(self) -> set[str]:
        """All labels that were given."""
        return {said["label"] for said in self._said.values()} - {"", MIXED}

    def counts(self) -> tuple[int, int, int]:
        """Return how many items are signs, how many none, and how many several signs."""
        none, mixed = (sum(said["label"] == label for said in self._said.values()) for label in ("", MIXED))
        return len(self._said) - none - mixed, none, mixed

    def judge(self, name: str, label: str) -> None:
        """Keep a verdict: the item's label, "" where it is no sign, or `MIXED` where its views show several.

        It is on the disk when this returns; what was said of the item before counts no more.

        Raises:
            InputError: no such item, or a label that no class can have.
            OutputError: it cannot be written.
        """
        label = printable(label.strip())
        if name not in self._items:
            raise InputError(f"wanted an item that is here, found {name[:80]!r}: open the review again")
        if len(label) > LONGEST_NAME or label.casefold() == NONE or (label != MIXED and label.casefold() == MIXED):
            raise InputError(f"wanted a name of 1 to {LONGEST_NAME} characters, and neither {NONE!r} nor {MIXED!r}, found {label[:20]!r}: give another")
        self._said.pop(name, None)
        self._said[name] = {
            "label": label,
            "at": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
            "frame": None if label == MIXED else _frame_of(self._items[name], label),
        }
        self._save(name)

    def undo(self) -> str | None:
        """Take the last verdict back, and return the item's name; None where there is none.

        Raises:
            OutputError: it cannot be written.
        """
        if not self._said:
            return None
        name, _ = self._said.popitem()
        self._save(name)
        return name

    def _save(self, name: str) -> None:
        write_json(self._photos / _JUDGED, {"schema": SCHEMA, "items": self._said})
        with telling_refusal(self._photos):
            for path in self._photos.glob(f"*/{name}"):
                if path.parent.name != self._class_folder(name):
                    shutil.rmtree(path)
                    _remove_empty(path.parent)
            self._lay_out(name)
            self._lay_out_frames()

    def _class_folder(self, name: str) -> str | None:
        label = self[name]
        return None if label in (None, MIXED) else folder_name(label) if label else NONE

    def _lay_out(self, name: str) -> None:
        """Put an item's crops, and its frame, where its verdict wants them."""
        folder, item = self._class_folder(name), self._items.get(name)
        if folder is None or item is None:
            return
        for number, view in enumerate(item.views, 1):
            _copy(view.crop, self._photos / folder / name / f"{number}.png")
        if self._said[name]["frame"]:
            _copy(item.views[0].picture, self._frames / "images" / f"{name}.jpg")

    def _lay_out_frames(self) -> None:
        """Write all frames' boxes anew, and remove frames that are not to stand there any more."""
        framed = {name: said["frame"] for name, said in self._said.items() if said["frame"]}
        images = self._frames / "images"
        for path in images.glob("*.jpg"):
            if NAME.fullmatch(path.stem) and path.stem not in framed:
                path.unlink()
        framed = {name: frame for name, frame in framed.items() if (images / f"{name}.jpg").is_file()}
        labels = sorted({label for frame in framed.values() for _, label in frame["boxes"]})
        boxes = [(place, box, label) for place, frame in enumerate(framed.values(), 1) for box, label in frame["boxes"]]
        told = {
            "images": [
                {"id": place, "file_name": f"{name}.jpg", "width": frame["size_wh"][0], "height": frame["size_wh"][1]}
                for place, (name, frame) in enumerate(framed.items(), 1)
            ],
            "annotations": [
                {"id": number, "image_id": place, "category_id": labels.index(label) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
                for number, (place, (x1, y1, x2, y2), label) in enumerate(boxes, 1)
            ],
            "categories": [{"id": place, "name": label} for place, label in enumerate(labels, 1)],
        }
        if framed or self._frames.is_dir():
            write_json(self._frames / "annotations.json", told)


def _frame_of(item: Item, label: str) -> dict[str, Any] | None:
    """Return an item's nearest frame with all its boxes, its own under the label that it was given; None where another sign in it may be named wrong."""
    view = item.views[0]
    if any(confidence < _SURE for _, _, confidence in view.others):
        return None
    own: list[Named] = [(view.named[0], label, 1.0)] if label else []
    return {"size_wh": list(view.size_wh), "boxes": [[list(box), name] for box, name, _ in (*own, *view.others)]}


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["schema"] != SCHEMA:
            raise ValueError(f"schema {told['schema']!r}")
        return {str(name): {"label": str(said["label"]), "at": str(said["at"]), "frame": said["frame"]} for name, said in told["items"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"wanted what was judged before in {path}, cannot read it ({one_line(error)}): put it right, or move it away") from error


def _copy(source: Path, target: Path) -> None:
    if not target.is_file():
        with written_beside(target) as beside:
            shutil.copyfile(source, beside)


def _remove_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
