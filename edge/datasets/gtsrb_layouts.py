"""GTSRB's photos in the three public layouts, told apart by looking.

Tables       Train.csv and Test.csv with columns ClassId and Path
Official     Final_Training/Images/<5 digits>/ with GT-<5 digits>.csv in each (the archive of 2011: Training/<5 digits>/), Final_Test/Images/, GT-final_test.csv
Folders      Train/<class>/ and Valid/<class>/, Test/, Test.csv

A data set lies in the folder that is given, or in gtsrb/ or GTSRB/ within it. Class ids come from a table or from a folder's *name*, never from its position:
folders sort as text, so "10" comes before "2".
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.datasets.gtsrb_labels import CLASSES
from edge.errors import DataError
from edge.images import SUFFIXES, read_image
from edge.reading import read_bounded

TRAIN = {"Train.csv": "Train.csv", "Final_Training/Images": "Final_Training/Images/<class>", "Training": "Training/<class>", "Train": "Train/<class>"}
TEST = {"Test.csv": "Test.csv", "Final_Test/Images": "Final_Test/Images"}
TEST_TABLE = "GT-final_test.csv"
WITHIN = (".", "gtsrb", "GTSRB", "gtsrb/GTSRB")
NAMES_SHOWN = 5
_CLASS_IDS = {str(class_id): class_id for class_id in range(CLASSES)}
_MOST_BYTES, _LONGEST_NAME, _LONGEST_PATH = 256 << 20, 255, 1024
_ROI = ("Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2")


@dataclass(frozen=True)
class Photo:
    """One photo of a sign.

    Attributes:
        path: the image file.
        class_id: 0 to 42.
        track: the physical sign it shows, as "class_track"; "" where the file's name does not tell, and for test photos, which are single.
        roi_xyxy: where the sign is, in pixels, end-exclusive; None where no table says. GTSRB's own numbers are end-exclusive: it promises a border of at
            least 5 px, and that is what stands right of Roi.X2 when it is not counted as part of the sign.
    """

    path: Path
    class_id: int
    track: str
    roi_xyxy: tuple[int, int, int, int] | None = None


def read_photo(photo: Photo) -> NDArray[np.uint8]:
    """Read a photo, whole: (height, width, 3) uint8 BGR.

    Raises:
        InputError: the file is missing or broken.
        DataError: the sign's box is empty or not inside the photo.
    """
    image = read_image(photo.path)
    if photo.roi_xyxy is not None:
        height, width = image.shape[:2]
        x1, y1, x2, y2 = photo.roi_xyxy
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise DataError(
                f"wanted the sign's box inside the photo {photo.path}, found {photo.roi_xyxy} in {width}x{height} pixels: correct its row in the csv"
            )
    return image


def read_train(root: Path) -> list[Photo]:
    """Read the list of training photos; where the layout has a folder Valid, without those.

    Raises:
        DataError: no known layout at `root`, a table that cannot be read or lists a file that is not there, a class id that is not 0 to 42, or a class folder
            without photos.
    """
    found = _find(root, TRAIN, "training")
    if found.suffix == ".csv":
        return _read_table(found, "Path", found.parent, _track_of)
    return _read_class_folders(found) if found.name == "Train" else _read_official(found)


def read_valid(root: Path) -> list[Photo] | None:
    """Read the list of the photos that the layout itself holds out, in Valid beside Train; None where it holds none out.

    Raises:
        DataError: as for `read_train`.
    """
    found = _find(root, TRAIN, "training")
    folder = found.with_name("Valid")
    return _read_class_folders(folder) if found.name == "Train" and folder.is_dir() else None


def has_test(root: Path) -> bool:
    """Tell whether `root` holds test photos in a known layout."""
    return _look(root, TEST) is not None


def read_test(root: Path) -> list[Photo]:
    """Read the list of test photos.

    Raises:
        DataError: as for `read_train`.
    """
    found = _find(root, TEST, "test")
    if found.suffix == ".csv":
        return _read_table(found, "Path", found.parent, _no_track)
    base = found.parent.parent
    for folder in (found, found.parent, base, base.parent):
        if (folder / TEST_TABLE).is_file():
            return _read_table(folder / TEST_TABLE, "Filename", found, _no_track)
    raise DataError(f"wanted {TEST_TABLE} in {found} or beside Final_Test, found none (GT-final_test.test.csv names no classes): add GTSRB_Final_Test_GT.zip")


def _look(root: Path, layouts: dict[str, str]) -> Path | None:
    return next((path for folder in WITHIN for name in layouts if (path := Path(root) / folder / name).exists()), None)


def _find(root: Path, layouts: dict[str, str], kind: str) -> Path:
    found = _look(root, layouts)
    if found is None:
        first, *others = layouts.values()
        raise DataError(
            f"wanted GTSRB's {kind} photos in a known layout, found no {first} in {root}, no {', no '.join(others)} (nor in gtsrb or GTSRB within); "
            f"there is {_shown(Path(root))}: give --data the folder that holds them, unpacked"
        )
    return found


def _shown(root: Path) -> str:
    if not root.is_dir():
        return "a file" if root.exists() else "no such folder"
    names = [path.name for path in _listed(root)]
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else "") or "an empty folder"


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))  # Colab and macOS add hidden ones
    except OSError as error:
        raise DataError(f"wanted to list the folder {folder}, the system refused ({error.strerror}): check its path and rights") from error


def _read_official(folder: Path) -> list[Photo]:
    photos: list[Photo] = []
    for class_folder, class_id in _class_folders(folder):
        table = class_folder / f"GT-{class_folder.name}.csv"
        listed = _read_table(table, "Filename", class_folder, partial(_official_track, class_id))
        other = {photo.class_id for photo in listed} - {class_id}
        if other:
            raise DataError(f"wanted ClassId {class_id}, as the folder is named, in {table}, found {other.pop()}: download the archive again")
        photos += listed
    return photos


def _read_class_folders(folder: Path) -> list[Photo]:
    photos: list[Photo] = []
    for class_folder, class_id in _class_folders(folder):
        paths = [path for path in _listed(class_folder) if path.suffix.lower() in SUFFIXES]
        if not paths:
            raise DataError(f"wanted photos of class {class_id} in {class_folder}, found none: add them, or remove the folder")
        photos += [Photo(path, class_id, _track_of(path)) for path in paths]
    return photos


def _class_folders(folder: Path) -> list[tuple[Path, int]]:
    """List the folders of classes with their ids, in the order of the ids."""
    folders = [path for path in _listed(folder) if path.is_dir()]
    if not folders:
        raise DataError(f"wanted a folder for each class in {folder}, found none: unpack the archive again")
    ids = {path: _CLASS_IDS.get(path.name.lstrip("0") or "0") for path in folders}
    odd = [path.name for path, class_id in ids.items() if class_id is None]
    if odd:
        raise DataError(f"wanted folders named by class id, 0 to {CLASSES - 1}, in {folder}, found {odd[0]!r}: rename or remove it")
    return sorted(((path, class_id) for path, class_id in ids.items() if class_id is not None), key=lambda pair: pair[1])


def _track_of(path: Path) -> str:
    return path.stem.rpartition("_")[0]


def _official_track(class_id: int, path: Path) -> str:
    """Name a track as the other layouts do, whose file names begin with the class."""
    return f"{class_id:05}_{track}" if (track := _track_of(path)) else ""


def _no_track(path: Path) -> str:
    return ""


def _read_table(table: Path, column: str, folder: Path, track_of: Callable[[Path], str]) -> list[Photo]:
    """Read a table's photos; `column` has their paths in `folder`. Official tables are separated by semicolons."""
    try:
        text = read_bounded(table, _MOST_BYTES).decode("utf-8")
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter="," if column == "Path" else ";")
        if rows.fieldnames is None or not {"ClassId", column} <= set(rows.fieldnames):
            raise DataError(f"wanted columns ClassId and {column} in {table}, found {str(rows.fieldnames)[:200]}: download the csv again")
        photos = [_photo(row, column, folder, track_of, table) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"wanted a csv in UTF-8 in {table}, cannot read it ({error}): download the csv again") from error
    if not photos:
        raise DataError(f"wanted photos listed in {table}, found only a header: download the csv again")
    _check_files(photos, table)
    return photos


def _photo(row: dict[str, str | None], column: str, folder: Path, track_of: Callable[[Path], str], table: Path) -> Photo:
    name, text = row[column], row["ClassId"]
    if not name or text is None:  # csv gives None for what a short row lacks
        raise DataError(f"wanted a ClassId and a {column} in every row of {table}, found a row without: download the csv again")
    if "\0" in name or len(name) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_NAME for part in name.split("/")):
        raise DataError(f"wanted the name of a file in every row of {table}, found {name[:20]!r}: download the csv again")
    if text not in _CLASS_IDS:
        raise DataError(f"wanted a ClassId from 0 to {CLASSES - 1} in {table}, found {text[:20]!r}: download the csv again")
    path = folder / name
    return Photo(path, _CLASS_IDS[text], track_of(path), _roi(row, name, table) if row.keys() >= set(_ROI) else None)


def _roi(row: dict[str, str | None], name: str, table: Path) -> tuple[int, int, int, int]:
    try:
        x1, y1, x2, y2 = (int(row[column] or "") for column in _ROI)
    except ValueError as error:
        raise DataError(f"wanted whole numbers in the Roi columns of {name} in {table}, found {[row[c] for c in _ROI]}: download the csv again") from error
    return x1, y1, x2, y2


def _check_files(photos: Sequence[Photo], table: Path) -> None:
    # A folder at a time: on a network drive a look at each of 39,209 files takes minutes.
    there = {folder: {path.name for path in _listed(folder)} if folder.is_dir() else set() for folder in {photo.path.parent for photo in photos}}
    lost = [photo.path for photo in photos if photo.path.name not in there[photo.path.parent]]
    if lost:
        raise DataError(f"wanted the photos that {table} lists, found no {lost[0]} ({len(lost)} of {len(photos)} are missing): unpack the photos again")
