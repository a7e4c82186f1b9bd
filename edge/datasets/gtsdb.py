"""GTSDB: frames of a road with the boxes of their signs, the split by neighbouring frames, and places where no sign stands.

Neighbouring frames can show the same road, so a split keeps them together. Frames of one's own have a `sides.csv` beside
`gt.txt`, which tells the side of each.
Source: S. Houben et al., "Detection of traffic signs in real-world images: the German Traffic Sign Detection Benchmark", IJCNN 2013.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.datasets.tables import read_rows
from edge.errors import DataError
from edge.geometry.boxes import iou_matrix
from edge.images import read_image
from edge.outside.reading import read_bounded
from edge.recognition.classifier import cut_out
from edge.recognition.spotter_colour import spot_by_colour

TABLE, SIDES_TABLE = "gt.txt", "sides.csv"
TRAIN, TUNING, HELD = "train", "tuning", "held-out"
_ROW = re.compile(r"([^;]+);" + ";".join([r"\s*(-?[0-9]{1,6})\s*"] * 5))
_MOST_BYTES = 64 << 20
GROUP = 10
"""Frames whose numbers share all but the last digit stay on one side of the split."""
HELD_OUT_EVERY = 4
TUNING_EVERY = 8
"""Of so many groups on the training side one is kept for choosing by: an epoch, a threshold, a calibration."""
CROPS_PER_FRAME = 16
"""Places without a sign that are cut out of a frame, at most."""
_SIDE_PX = (16.0, 80.0)
_TRIES = 8
_AWAY_PX = 4.0
_RIM, _INPAINT_PX = 0.2, 5.0
"""Share of its sides by which a sign is painted out beyond its box, whose edges the annotation may miss; how far around it the filling looks."""


@dataclass(frozen=True)
class RoadFrame:
    """One frame: its image file, its signs' boxes, (n, 4) float64 pixels, end-exclusive, with their class ids, (n,) int64, and its side where it is told."""

    path: Path
    boxes_xyxy: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    side: str | None = None


@dataclass(frozen=True)
class Sides:
    """Frames to train on, to choose by, and held out for the report."""

    train: list[RoadFrame]
    tuning: list[RoadFrame]
    held: list[RoadFrame]


def read_sides(data: Path) -> Sides:
    """Read the list of GTSDB's frames and split it by groups of neighbouring frames.

    Raises:
        DataError: no frames in or beside `data`, a damaged list, or too few frames for three sides.
    """
    folder = find_frames(data)
    if folder is None:
        raise DataError(
            f"wanted GTSDB's {TABLE} in {data}, in its gtsdb/, or beside it, found none: put the frames there, or give --data the folder above them"
        )
    train, held = split_by_group(read_frames(folder))
    tuning = [frame for frame in train if (frame.side == TUNING if frame.side else int(frame.path.stem) // GROUP % TUNING_EVERY == 0)]
    rest = [frame for frame in train if frame not in tuning]
    if not (rest and tuning and held):
        raise DataError(f"wanted frames of at least {TUNING_EVERY} groups of {GROUP} numbers in {folder}, found {len(train)} to train: add frames")
    return Sides(rest, tuning, held)


def find_frames(root: Path) -> Path | None:
    """Return the folder with `gt.txt` and its frames in `root`, in its `gtsdb/`, or beside `root` in `gtsdb/`; None where there is none."""
    for folder in (Path(root), Path(root) / "gtsdb", Path(root).parent / "gtsdb"):
        if (folder / TABLE).is_file():
            return folder
    return None


def read_frames(folder: Path, table: Path | None = None) -> list[RoadFrame]:
    """Read `gt.txt` in `folder`, or `table`: `file;x1;y1;x2;y2;class`; and list the frames in `folder/images`, or in `folder`, by name.

    A frame without a row has no sign.

    Raises:
        DataError: no `gt.txt`, a row that is not of its form, or one about a frame that is not there.
    """
    table = table or folder / TABLE
    if not table.is_file():
        raise DataError(f"wanted {table.name} in {table.parent}, found none: give the folder of GTSDB")
    images = folder / "images" if (folder / "images").is_dir() else folder
    paths = {path.name: path for path in sorted(images.iterdir()) if path.suffix.lower() in (".jpg", ".png", ".ppm")}
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for number, line in enumerate(_lines(table), 1):
        found = _ROW.fullmatch(line)
        if found is None:
            raise DataError(f"wanted file;x1;y1;x2;y2;class in line {number} of {table}, found {line[:60]!r}: get the file again")
        name, (x1, y1, x2, y2, class_id) = found[1], map(int, found.groups()[1:])
        if name not in paths:
            raise DataError(f"wanted every frame of {table} in {images}, found no {name}: get the frames again")
        rows[name].append([x1, y1, x2, y2, class_id])
    listed = {name: np.array(rows.get(name, []), np.float64).reshape(-1, 5) for name in paths}
    sides = _read_told_sides(table.with_name(SIDES_TABLE), paths)
    return [RoadFrame(path, listed[name][:, :4], listed[name][:, 4].astype(np.int64), sides.get(name)) for name, path in paths.items()]


def _read_told_sides(table: Path, names: Collection[str]) -> dict[str, str]:
    """Read the side of each frame where a table tells it, of all frames or of none."""
    if not table.is_file():
        return {}
    sides = {row.get("file", ""): row.get("side", "") for row, _ in read_rows(table, ("File", "Side"))}
    odd = [name for name in names if sides.get(name) not in (TRAIN, TUNING, HELD)]
    if odd:
        raise DataError(f"wanted {TRAIN}, {TUNING} or {HELD} for every frame in {table}, found {sides.get(odd[0])!r} for {odd[0]}: prepare the data again")
    return sides


def _lines(table: Path) -> list[str]:
    try:
        return read_bounded(table, _MOST_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"wanted rows of text in {table}, cannot read it ({error}): get the file again") from error


def split_by_group(frames: Sequence[RoadFrame]) -> tuple[list[RoadFrame], list[RoadFrame]]:
    """Split frames into (train, held out): as they tell, or of every four groups of ten numbers the last is held out.

    Raises:
        DataError: a frame that tells no side, and whose name is no number.
    """
    sides: tuple[list[RoadFrame], list[RoadFrame]] = ([], [])
    for frame in frames:
        if frame.side is not None:
            sides[frame.side == HELD].append(frame)
            continue
        if not frame.path.stem.isdecimal():
            raise DataError(f"wanted frames named by numbers, found {frame.path.name}: name them as GTSDB does")
        sides[int(frame.path.stem) // GROUP % HELD_OUT_EVERY == HELD_OUT_EVERY - 1].append(frame)
    return sides


def sign_free_crops(frame: RoadFrame, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Cut up to `CROPS_PER_FRAME` places without a sign out of a frame, with the margin that a sign would get: (height, width, 3) uint8 BGR each.

    Raises:
        InputError: the frame cannot be read.
    """
    image = read_image(frame.path)
    return [cut_out(image, box) for box in sign_free_boxes(image, frame.boxes_xyxy, CROPS_PER_FRAME, rng)]


def sign_free_boxes(image: NDArray[np.uint8], signs_xyxy: NDArray[np.float64], wanted: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Choose boxes of a sign's size and form where no sign stands: half of them what looks like one by its colour, as far as there is such.

    Args:
        image: the frame, (height, width, 3) uint8 BGR.
        signs_xyxy: (n, 4) pixels; no box comes nearer to one than 4 px.
        wanted: how many, at most.
        rng: the only source of chance.

    Returns:
        (m, 4) float64 pixels, end-exclusive, inside the frame.
    """
    height, width = image.shape[:2]
    around = signs_xyxy + np.array([-_AWAY_PX, -_AWAY_PX, _AWAY_PX, _AWAY_PX])
    seeming = spot_by_colour(image).boxes_xyxy.astype(np.float64)[: wanted // 2]
    sides = np.exp(rng.uniform(np.log(_SIDE_PX[0]), np.log(_SIDE_PX[1]), wanted * _TRIES))[:, None] * rng.uniform(0.85, 1.15, (wanted * _TRIES, 2))
    corners = rng.uniform(0, 1, sides.shape) * (np.array([width, height]) - sides)
    boxes = np.vstack([seeming, np.hstack([corners, corners + sides])])
    return boxes[~(iou_matrix(boxes, around) > 0).any(axis=1)][:wanted]


def paint_out(image: NDArray[np.uint8], boxes_xyxy: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a frame, (height, width, 3) uint8, whose signs are filled from what is around them.

    Source: A. Telea, "An image inpainting technique based on the fast marching method", 2004, as OpenCV has it.
    """
    mask = np.zeros(image.shape[:2], np.uint8)
    for box in boxes_xyxy:
        rim = _RIM * (box[2:] - box[:2])
        first, last = np.floor(box[:2] - rim).astype(int), np.ceil(box[2:] + rim).astype(int)
        cv2.rectangle(mask, first.tolist(), last.tolist(), 255, cv2.FILLED)
    return np.asarray(cv2.inpaint(image, mask, _INPAINT_PX, cv2.INPAINT_TELEA), np.uint8)
