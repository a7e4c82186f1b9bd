"""GTSRB as users have it: class ids, labels, the photos of a data set and their split by physical sign.

Class ids come from the csv files (or from a folder's *name*), never from a folder's position: folders sort as text, so "10" comes before "2".
The 30 frames of a track show one physical sign while the car approaches, so a split never cuts through a track.
Source of ids and labels: J. Stallkamp et al., "Man vs. computer", Neural Networks 2012.
"""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError

LABELS: tuple[str, ...] = (
    "Speed limit 20",
    "Speed limit 30",
    "Speed limit 50",
    "Speed limit 60",
    "Speed limit 70",
    "Speed limit 80",
    "End of speed limit 80",
    "Speed limit 100",
    "Speed limit 120",
    "No overtaking",
    "No overtaking by lorries",
    "Priority at next crossing",
    "Priority road",
    "Yield",
    "Stop",
    "No vehicles",
    "No lorries",
    "No entry",
    "Danger",
    "Bend left",
    "Bend right",
    "Double bend",
    "Bumpy road",
    "Slippery road",
    "Road narrows",
    "Road works",
    "Traffic signals",
    "Pedestrians",
    "Children",
    "Bicycles",
    "Snow or ice",
    "Wild animals",
    "End of restrictions",
    "Turn right ahead",
    "Turn left ahead",
    "Ahead only",
    "Ahead or right",
    "Ahead or left",
    "Keep right",
    "Keep left",
    "Roundabout",
    "End of no overtaking",
    "End of no overtaking by lorries",
)
CLASSES = len(LABELS)
_CLASS_IDS = {str(class_id): class_id for class_id in range(CLASSES)}


@dataclass(frozen=True)
class Photo:
    """One photo of a sign.

    Attributes:
        path: the image file.
        class_id: 0 to 42.
        track: the physical sign it shows, as "class_track" ("" for test photos, which are single).
    """

    path: Path
    class_id: int
    track: str


def read_train(root: Path) -> list[Photo]:
    """Read the training photos of the Train/Test csv layout: `root/Train.csv` with columns ClassId and Path.

    Raises:
        DataError: no such layout at `root`, a csv without its columns, or a class id that is not 0 to 42.
    """
    return [Photo(path, class_id, path.stem.rsplit("_", 1)[0]) for path, class_id in _read_csv(Path(root), "Train.csv")]


def read_test(root: Path) -> list[Photo]:
    """Read the test photos of the Train/Test csv layout: `root/Test.csv` with columns ClassId and Path.

    Raises:
        DataError: as for `read_train`.
    """
    return [Photo(path, class_id, "") for path, class_id in _read_csv(Path(root), "Test.csv")]


def _read_csv(root: Path, name: str) -> Iterable[tuple[Path, int]]:
    if not (root / name).is_file():
        root = root / "gtsrb"  # of a folder with several data sets
    table = root / name
    if not table.is_file():
        raise DataError(f"wanted a GTSRB folder with Train.csv and Test.csv, found no {name} in {root.parent} or {root}: give --data the folder that holds it")
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if rows.fieldnames is None or not {"ClassId", "Path"} <= set(rows.fieldnames):
                raise DataError(f"wanted columns ClassId and Path in {table}, found {rows.fieldnames}: download the csv again")
            found = [_entry(root, row, table) for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"wanted a csv in UTF-8 in {table}, cannot read it ({error}): download the csv again") from error
    if not found:
        raise DataError(f"wanted photos listed in {table}, found only a header: download the csv again")
    return found


def _entry(root: Path, row: dict[str, str | None], table: Path) -> tuple[Path, int]:
    path, text = row["Path"], row["ClassId"]
    if not path or text is None:  # csv gives None for what a short row lacks
        raise DataError(f"wanted a ClassId and a Path in every row of {table}, found a row without: download the csv again")
    if text not in _CLASS_IDS:
        raise DataError(f"wanted a ClassId from 0 to {CLASSES - 1} in {table}, found {text[:20]!r}: download the csv again")
    return root / path, _CLASS_IDS[text]


def split_by_track(photos: Sequence[Photo], valid_share: float, seed: int) -> tuple[list[Photo], list[Photo]]:
    """Split photos into train and valid so that no track stands on both sides and every class stands on each.

    Args:
        photos: photos with tracks.
        valid_share: share of each class's tracks that go to valid, 0 to 1; at least one of each class does.
        seed: of the draw; the result does not depend on the order of `photos`.

    Raises:
        DataError: a class has fewer than two tracks, so that it cannot stand on both sides.
    """
    tracks: dict[int, set[str]] = defaultdict(set)
    for photo in photos:
        tracks[photo.class_id].add(photo.track)
    valid: set[tuple[int, str]] = set()
    for class_id, names in sorted(tracks.items()):
        if len(names) < 2:
            raise DataError(
                f"wanted at least 2 tracks of class {class_id} ({LABELS[class_id]}) to split by track, found {len(names)}: add photos of another sign"
            )
        count = min(max(1, round(len(names) * valid_share)), len(names) - 1)
        valid |= {(class_id, name) for name in random.Random(f"{seed}:{class_id}").sample(sorted(names), count)}
    held = [(photo.class_id, photo.track) in valid for photo in photos]
    return [p for p, v in zip(photos, held, strict=True) if not v], [p for p, v in zip(photos, held, strict=True) if v]


def score(predicted: NDArray[np.integer[Any]], class_ids: NDArray[np.integer[Any]]) -> dict[str, Any]:
    """Compare predicted class ids with true ones, (n,) each.

    Returns:
        `n`, `top1` (a fraction) and `per_class`: for each class present, by its id as text, `label`, `n` and `top1`.

    Raises:
        DataError: no photos at all.
    """
    if len(class_ids) == 0:
        raise DataError("wanted at least one labelled photo to score, found none")
    right = predicted == class_ids
    per_class = {
        str(c): {"label": LABELS[c], "n": int((class_ids == c).sum()), "top1": float(right[class_ids == c].mean())} for c in np.unique(class_ids).tolist()
    }
    return {"n": len(class_ids), "top1": float(right.mean()), "per_class": per_class}
