"""GTSRB's photos in the three public layouts, told apart by looking.

Tables       Train.csv and Test.csv with columns ClassId and Path
Official     Final_Training/Images/<5 digits>/ with GT-<5 digits>.csv in each (the archive of 2011: Training/<5 digits>/), Final_Test/Images/, GT-final_test.csv
Folders      Train/<class>/ and Valid/<class>/ (or Val, Validation, Dev), Test/, Test.csv

A data set lies in the folder that is given, or in gtsrb/ or GTSRB/ within it. One with a `labels.csv` has classes of its own
(`edge.datasets.classes`); its tables may have a column Track, and beside Train.csv there may be Valid.csv with what is held out. Class ids come from a table or
from a folder's *name*, never from its position: folders sort as text, so "10" comes before "2".
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.datasets.classes import WITHIN, read_classes
from edge.datasets.tables import Row, read_rows
from edge.errors import DataError
from edge.images import SUFFIXES, read_image

TRAIN = {"Train.csv": "Train.csv", "Final_Training/Images": "Final_Training/Images/<class>", "Training": "Training/<class>", "Train": "Train/<class>"}
TEST = {"Test.csv": "Test.csv", "Final_Test/Images": "Final_Test/Images"}
TEST_TABLE, VALID_TABLE = "GT-final_test.csv", "Valid.csv"
NAMES_SHOWN = 5
VALID = ("Valid", "Val", "Validation", "Dev")
_LOG = logging.getLogger(__name__)
_LONGEST_NAME, _LONGEST_PATH = 255, 1024
_ROI = ("roi.x1", "roi.y1", "roi.x2", "roi.y2")
_WHOLE = re.compile(r"(-?[0-9]{1,9})(?:\.0*)?")
_NAMED = re.compile(r"(?<![0-9])(?P<track>[0-9]{5}(?:_[0-9]{5})?)_[0-9]{5}(?![0-9])(?!_[0-9]{5}(?![0-9]))")
"""GTSRB's own names, [class_]track_frame, whatever augmentation or an exporting tool wrote before and behind."""


@dataclass(frozen=True)
class Photo:
    """One photo of a sign.

    Attributes:
        path: the image file.
        class_id: its place among the data set's classes.
        track: the physical sign it shows, as "class_track"; "" where the file's name does not tell, and for test photos, which are single.
        roi_xyxy: where the sign is, in pixels, end-exclusive; None where no table says. GTSRB's own numbers are end-exclusive: it promises a border of at
            least 5 px, and that is what stands right of Roi.X2 when it is not counted as part of the sign.
        size_wh: the photo's size by the table, which `roi_xyxy` belongs to; the file may have been resized since. None where no table says.
    """

    path: Path
    class_id: int
    track: str
    roi_xyxy: tuple[int, int, int, int] | None = None
    size_wh: tuple[int, int] | None = None

    def box_in(self, image: NDArray[np.uint8]) -> tuple[float, float, float, float] | None:
        """Return where the sign is in the photo as it was read, (height, width, 3), which may be of another size than the table tells."""
        if self.roi_xyxy is None or self.size_wh is None:
            return self.roi_xyxy
        across, down = image.shape[1] / self.size_wh[0], image.shape[0] / self.size_wh[1]
        x1, y1, x2, y2 = self.roi_xyxy
        return x1 * across, y1 * down, x2 * across, y2 * down


def read_photo(photo: Photo) -> NDArray[np.uint8]:
    """Read a photo, whole: (height, width, 3) uint8 BGR.

    Raises:
        InputError: the file is missing or broken.
        DataError: the sign's box is empty or not inside the photo.
    """
    image = read_image(photo.path)
    box = photo.box_in(image)
    if box is not None:
        height, width = image.shape[:2]
        x1, y1, x2, y2 = box
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise DataError(
                f"wanted the sign's box inside the photo {photo.path}, found {photo.roi_xyxy} in {width}x{height} pixels: correct its row in the csv"
            )
    return image


def read_train(root: Path) -> list[Photo]:
    """Read the list of training photos; where the layout has a folder Valid, without those.

    Raises:
        DataError: no known layout at `root`, a table that cannot be read or lists a file that is not there, a class id that no class has, or a class folder
            without photos.
    """
    found, classes = _find(root, TRAIN, "training"), len(read_classes(root))
    if found.suffix == ".csv":
        return _read_table(found, "Path", found.parent, _track_of, classes)
    return _read_class_folders(found, classes) if found.name.casefold() == "train" else _read_official(found, classes)


def read_valid(root: Path) -> list[Photo] | None:
    """Read the list of the photos that the layout itself holds out; None where it holds none out.

    They are listed in Valid.csv beside Train.csv, or lie in a folder of one of the names of `VALID` beside Train.

    Raises:
        DataError: as for `read_train`.
    """
    found, classes = _find(root, TRAIN, "training"), len(read_classes(root))
    table = found.with_name(VALID_TABLE)
    if found.suffix == ".csv" and table.is_file():
        return _read_table(table, "Path", found.parent, _track_of, classes)
    beside = {path.name.casefold(): path for path in _listed(found.parent) if path.is_dir()}
    folder = next((beside[name.casefold()] for name in VALID if name.casefold() in beside), None)
    if folder is None or found.name.casefold() == "train":
        return _read_class_folders(folder, classes) if folder else None
    _LOG.warning("%s is read by its tables, so the folder %s is left out: photos to validate are taken from the others by track", found, folder)
    return None


def has_test(root: Path) -> bool:
    """Tell whether `root` holds test photos in a known layout."""
    return _look(root, TEST) is not None


def read_test(root: Path) -> list[Photo]:
    """Read the list of test photos.

    Raises:
        DataError: as for `read_train`.
    """
    found, classes = _find(root, TEST, "test"), len(read_classes(root))
    if found.suffix == ".csv":
        return _read_table(found, "Path", found.parent, _no_track, classes)
    base = found.parent.parent
    for folder in (found, found.parent, base, base.parent):
        if (folder / TEST_TABLE).is_file():
            return _read_table(folder / TEST_TABLE, "Filename", found, _no_track, classes)
    raise DataError(f"wanted {TEST_TABLE} in {found} or beside Final_Test, found none (GT-final_test.test.csv names no classes): add GTSRB_Final_Test_GT.zip")


def _look(root: Path, layouts: dict[str, str]) -> Path | None:
    names = [spelled for name in layouts for spelled in (name, name.lower())]
    return next((path for folder in WITHIN for name in names if (path := Path(root) / folder / name).exists()), None)


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


def _read_official(folder: Path, classes: int) -> list[Photo]:
    photos: list[Photo] = []
    for class_folder, class_id in _class_folders(folder, classes):
        table = class_folder / f"GT-{class_folder.name}.csv"
        listed = _read_table(table, "Filename", class_folder, partial(_official_track, class_id), classes)
        other = {photo.class_id for photo in listed} - {class_id}
        if other:
            raise DataError(f"wanted ClassId {class_id}, as the folder is named, in {table}, found {other.pop()}: download the archive again")
        photos += listed
    return photos


def _read_class_folders(folder: Path, classes: int) -> list[Photo]:
    photos: list[Photo] = []
    for class_folder, class_id in _class_folders(folder, classes):
        paths = [path for path in _listed(class_folder) if path.suffix.lower() in SUFFIXES]
        if not paths:
            raise DataError(f"wanted photos of class {class_id} in {class_folder}, found none: add them, or remove the folder")
        photos += [Photo(path, class_id, _track_of(path)) for path in paths]
    return photos


def _class_folders(folder: Path, classes: int) -> list[tuple[Path, int]]:
    """List the folders of classes with their ids, in the order of the ids."""
    folders = [path for path in _listed(folder) if path.is_dir()]
    if not folders:
        raise DataError(f"wanted a folder for each class in {folder}, found none: unpack the archive again")
    known = {str(class_id): class_id for class_id in range(classes)}
    ids = {path: known.get(path.name.lstrip("0") or "0") for path in folders}
    odd = [path.name for path, class_id in ids.items() if class_id is None]
    if odd:
        cure = "rename or remove it, or give the folder to signwing train prepare"
        raise DataError(f"wanted folders named by class id, 0 to {classes - 1}, in {folder}, found {odd[0]!r}: {cure}")
    return sorted(((path, class_id) for path, class_id in ids.items() if class_id is not None), key=lambda pair: pair[1])


def _track_of(path: Path) -> str:
    named = _NAMED.search(path.stem)
    return named["track"] if named else path.stem.rpartition("_")[0]


def _official_track(class_id: int, path: Path) -> str:
    """Name a track as the other layouts do, whose file names begin with the class."""
    return f"{class_id:05}_{track}" if (track := _track_of(path)) else ""


def _no_track(path: Path) -> str:
    return ""


def _read_table(table: Path, column: str, folder: Path, track_of: Callable[[Path], str], classes: int) -> list[Photo]:
    """Read a table's photos; `column` has their paths in `folder`. Official tables are separated by semicolons, others by what spreadsheets choose."""
    photos = [_photo(row, column, folder, track_of, classes, where) for row, where in read_rows(table, ("ClassId", column))]
    if not photos:
        raise DataError(f"wanted photos listed in {table}, found only a header: take another table")
    _check_files(photos, table)
    return photos


def _photo(row: Row, column: str, folder: Path, track_of: Callable[[Path], str], classes: int, where: str) -> Photo:
    name, text = row.get(column.casefold(), "").strip(), row.get("classid", "").strip()
    if not name or not text:
        raise DataError(f"wanted a ClassId and a {column} in {where}, found a row without: correct it")
    class_id = _whole(text)
    if class_id is None or not 0 <= class_id < classes:
        raise DataError(f"wanted a ClassId from 0 to {classes - 1} in {where}, found {text[:20]!r}: correct it")
    path = file_in(folder, name, where)
    return Photo(path, class_id, row.get("track", "").strip() or track_of(path), _roi(row, where), _size(row))


def file_in(folder: Path, name: str, where: str) -> Path:
    """Return the path of a file that a table names; `where` says where.

    Raises:
        DataError: it is no name that a file can have.
    """
    name = name.replace("\\", "/")  # Windows writes them so
    if "\0" in name or len(name) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_NAME for part in name.split("/")):
        raise DataError(f"wanted the name of a file in {where}, found {name[:20]!r}: correct it")
    return folder / name


def _whole(text: str) -> int | None:
    """Read a whole number, also as spreadsheets write one whose column has gaps: 14.0."""
    found = _WHOLE.fullmatch(text.strip())
    return int(found[1]) if found else None


def _roi(row: Row, where: str) -> tuple[int, int, int, int] | None:
    told = [row.get(name, "").strip() for name in _ROI]
    if not any(told):
        return None
    x1, y1, x2, y2 = map(_whole, told)
    if x1 is None or y1 is None or x2 is None or y2 is None:
        raise DataError(f"wanted whole numbers in the Roi columns in {where}, found {', '.join(told)}: correct it, or leave all four empty")
    return x1, y1, x2, y2


def _size(row: Row) -> tuple[int, int] | None:
    width, height = (_whole(row.get(name, "")) for name in ("width", "height"))
    return (width, height) if width and height and min(width, height) > 0 else None


def _check_files(photos: Sequence[Photo], table: Path) -> None:
    # A folder at a time: on a network drive a look at each of 39,209 files takes minutes.
    there = {folder: {path.name for path in _listed(folder)} if folder.is_dir() else set() for folder in {photo.path.parent for photo in photos}}
    lost = [photo.path for photo in photos if photo.path.name not in there[photo.path.parent]]
    if lost:
        raise DataError(f"wanted the photos that {table} lists, found no {lost[0]} ({len(lost)} of {len(photos)} are missing): unpack the photos again")
