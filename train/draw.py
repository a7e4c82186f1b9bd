"""Writes what can be drawn as data sets: the faces of signs, photos of them as GTSRB has them, and scenes along a road as GTSDB has them."""

from __future__ import annotations

import csv
import shutil
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.datasets.gtsdb import TABLE
from edge.datasets.gtsrb import CLASSES, LABELS
from edge.drawn.scenes import scene
from edge.drawn.signs import DRAWN_CLASSES, draw_sign, vary_sign
from edge.errors import InputError
from edge.files import telling_refusal
from edge.images import encode_image
from train.photos.drawn import draw_track

N = {"signs": CLASSES, "photos": 100 * CLASSES, "scenes": 100}
"""What can be drawn, and how many of each unless told."""
FRAMES = 5
"""Photos of a track; fewer where a class would have a single track, which cannot be split."""
COLUMNS = ("Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId", "Path")

_FACE_PX = 256
_SHEET_COLUMNS, _SHEET_FACE_PX, _TILE_WH = 8, 112, (160, 160)


def draw(kind: str, out: Path, n: int | None = None, seed: int = 0) -> int:
    """Draw a data set into a new folder: it is there whole or not at all.

    Args:
        kind: one of `N`.
            signs: `<class>.png` with alpha, then varied ones, `<class>_<number>.png`, and `sheet.png`, which shows each class with its name.
            photos: `Train.csv` and `Train/<class>/<class>_<track>_<frame>.png`, for `train fit --data`.
            scenes: `gt.txt` and `images/<number>.jpg`, with signs of all classes.
        out: the folder, new or empty.
        n: pictures in all, the classes of signs and photos as evenly as can be; None for what `N` says.
        seed: 0 and more; it repeats every picture.

    Returns:
        How many pictures were drawn.

    Raises:
        InputError: `n` or `seed` out of range, or something lies in `out`.
        OutputError: `out` cannot be written.
    """
    n = N[kind] if n is None else n
    if n < 1:
        raise InputError(f"wanted 1 or more {kind} to draw, found {n}: give --n another number")
    if seed < 0:
        raise InputError(f"wanted a seed of 0 or more, found {seed}: give another")
    with _new_folder(out) as folder:
        {"signs": _draw_signs, "photos": _draw_photos, "scenes": _draw_scenes}[kind](folder, n, seed)
    return n


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Give a partial folder beside `out`, which becomes `out` on success and goes away on any failure."""
    out = out.resolve()
    beside = out.with_name(f".{out.name}.partial")
    try:
        with telling_refusal(out):
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                found = "something" if out.is_dir() else "a file"
                raise InputError(f"wanted a new or an empty folder, found {found} in the way at {out}: choose another --out")
            shutil.rmtree(beside, ignore_errors=True)  # of a call that was killed
            beside.mkdir(parents=True)
            yield beside
            beside.replace(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written by Python, since OpenCV does not tell a full disk.
    path.write_bytes(encode_image(image, path.suffix))


def _draw_signs(folder: Path, n: int, seed: int) -> None:
    for place in tqdm(range(n), "drawing signs", disable=None):
        number, class_id = divmod(place, CLASSES)
        if number == 0:
            _write(folder / f"{class_id:02}.png", draw_sign(class_id, _FACE_PX))
        else:
            _write(folder / f"{class_id:02}_{number}.png", vary_sign(class_id, np.random.default_rng((seed, class_id, number))))
    _write(folder / "sheet.png", _sheet(DRAWN_CLASSES[:n]))


def _sheet(classes: tuple[int, ...]) -> NDArray[np.uint8]:
    """Show faces with their names, on grey: (height, width, 3) BGR."""
    wide, high = _TILE_WH
    sheet = np.full((-(-len(classes) // _SHEET_COLUMNS) * high, _SHEET_COLUMNS * wide, 3), 160, np.uint8)
    for place, class_id in enumerate(classes):
        top, left = place // _SHEET_COLUMNS * high, place % _SHEET_COLUMNS * wide
        face = draw_sign(class_id, _SHEET_FACE_PX).astype(np.float32)
        middle = left + (wide - _SHEET_FACE_PX) // 2
        below = sheet[top + 6 : top + 6 + _SHEET_FACE_PX, middle : middle + _SHEET_FACE_PX]
        below[:] = np.rint(below + (face[:, :, :3] - below) * face[:, :, 3:] / 255)
        for line, text in enumerate(textwrap.wrap(f"{class_id} {LABELS[class_id]}", 22)):
            at = (left + 6, top + _SHEET_FACE_PX + 20 + 15 * line)
            cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return sheet


def _draw_photos(folder: Path, n: int, seed: int) -> None:
    with tqdm(total=n, desc="drawing photos", disable=None) as bar, (folder / "Train.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for class_id, track, frames in _tracks(n):
            for frame, (image, box) in enumerate(draw_track(class_id, frames, np.random.default_rng((seed, class_id, track)))):
                name = f"Train/{class_id}/{class_id:05}_{track:05}_{frame:05}.png"
                _write(folder / name, image)
                table.writerow([image.shape[1], image.shape[0], *box, class_id, name])
                bar.update()


def _tracks(n: int) -> Iterator[tuple[int, int, int]]:
    """Share `n` photos out evenly: class id, number of the track in its class, and how many photos it has."""
    for class_id in range(CLASSES):
        photos = n // CLASSES + (class_id < n % CLASSES)
        tracks = min(photos, max(2, -(-photos // FRAMES)))
        for track in range(tracks):
            yield class_id, track, photos // tracks + (track < photos % tracks)


def _draw_scenes(folder: Path, n: int, seed: int) -> None:
    seeds = np.random.default_rng(seed).integers(2**62, size=n).tolist()
    rows = []
    for number, scene_seed in enumerate(tqdm(seeds, "drawing scenes", disable=None)):
        drawn = scene(scene_seed, classes=DRAWN_CLASSES)
        name = f"{number:05}.jpg"
        _write(folder / "images" / name, drawn.image)
        for truth in drawn.truths:
            x1, y1, x2, y2 = np.rint(truth.box_xyxy).astype(int).tolist()
            rows.append(f"{name};{x1};{y1};{x2};{y2};{truth.class_id}\n")
    (folder / TABLE).write_text("".join(rows), encoding="utf-8")
