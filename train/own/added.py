"""Reviewed photos made a data set that a bundle learns on from: they, and enough of what it knows that nothing of that is forgotten.

What it knows is shown by photos of its own data set where they are given, else drawn (`train.photos.drawn`), which only GTSRB's signs can be.
"""

from __future__ import annotations

import csv
import io
import random
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.bundle.manifest import Manifest
from edge.datasets.classes import GTSRB, MOST, NONE, REVIEWED, Classes, classes_of_bundle, folder_name, read_classes
from edge.datasets.classes import TABLE as LABELS_TABLE
from edge.datasets.faces import Face, PaintedFace, write_faces
from edge.datasets.gtsdb import find_frames
from edge.datasets.gtsrb import Photo, Split, has_test, read_photo, read_split, read_test
from edge.datasets.gtsrb_sampling import pick
from edge.errors import InputError
from edge.files import telling_refusal, write_json, write_text
from edge.images import encode_image, read_image
from train.own.found import folders_below, named, pictures_in
from train.own.groups import dealt
from train.photos.drawn import draw_photo

ADDED = "added.json"
OLD = {"train": 12, "valid": 5, "test": 5}
"""Photos of each class that the bundle knows, on each side."""
SHARE = 0.4
"""Of the photos to train on, that the reviewed ones are to make, however few there are: each stands so often in the table."""
_MOST_TIMES = 40
_HELD_FROM, _HELD_SHARE = 3, 0.2
"""Signs of a class from which on some are held out, to judge by and to choose by, and which share on each side."""
_TABLES = {"train": "Train.csv", "valid": "Valid.csv", "test": "Test.csv"}
_SIDES = ("train", "test", "valid")


@dataclass(frozen=True)
class _Row:
    """A photo that is to stand in the data set: its class, the sign that it shows, and itself."""

    class_id: int
    track: str
    image: NDArray[np.uint8]


def write_added(reviewed: Path, out: Path, manifest: Manifest, data: Path | None, seed: int = 0, faces: Sequence[Face] = ()) -> str:
    """Make the data set, and return for people what is in it.

    Args:
        reviewed: what `signwing review` was given, or the folder of classes that it made there.
        out: where the data set goes; one of an earlier call is replaced.
        manifest: of the bundle that is to learn on; names that it does not know become new classes.
        data: photos of its classes; None: they are drawn.
        seed: of what is drawn, and of who is held out.
        faces: what draws the bundle's classes: those that it carries go into the data set.

    Raises:
        InputError: nothing was reviewed, too many classes, a photo cannot be read, `data` has other classes, or nothing can show what the bundle knows.
        DataError: `data` is in no known layout.
        OutputError: `out` cannot be written.
    """
    folder = reviewed / REVIEWED if (reviewed / REVIEWED).is_dir() else reviewed
    signs, none = _read(folder)
    classes = _classes(manifest, sorted(signs))
    rows = {side: list(old) for side, old in _known(manifest, data, seed).items()}
    old = len(rows["train"])
    photos = sum(len(images) for of_class in signs.values() for images in of_class.values())
    trained: list[_Row] = []
    places = {folder_name(label): place for place, label in enumerate(classes.names)}
    for name, of_class in sorted(signs.items()):
        class_id, order = places[name], sorted(of_class)
        shares = [_HELD_SHARE] * (0 if len(order) < _HELD_FROM else 1 if len(order) < _HELD_FROM + 2 else 2)
        for sign, side in zip(order, dealt(list(range(len(order))), shares, f"{seed}:{name}"), strict=True):
            some = [_Row(class_id, f"reviewed/{name}/{sign}", image) for image in of_class[sign]]
            (trained if side == 0 else rows[_SIDES[side]]).extend(some)
    times = min(_MOST_TIMES, max(1, round(SHARE / (1 - SHARE) * old / max(len(trained), 1))))
    told = {"signs": {name: len(of_class) for name, of_class in sorted(signs.items())}, "photos": photos, "none": len(none), "times": times}
    with telling_refusal(out):
        beside = out.with_name(f".{out.name}.partial")
        for stale in (beside, out):
            if stale.is_dir():
                shutil.rmtree(stale)
        _write(beside, rows, trained, times, classes, none)
        write_faces(beside, {class_id: face.png for class_id, face in enumerate(faces) if isinstance(face, PaintedFace)})
        if data is not None and (frames := find_frames(data)) is not None:
            (beside / "gtsdb").symlink_to(frames.resolve())
        write_json(beside / ADDED, {"schema": 1, **told})
        beside.rename(out)
    held = sum(len(of_side) for of_side in rows.values()) - old
    new = [name for name in classes.names if name not in manifest.labels]
    return (
        f"{photos} reviewed photos of {sum(map(len, signs.values()))} signs, {len(none)} without a sign; "
        f"{len(trained)} to train on, each {times} times, beside {old} {'of your data' if data else 'drawn ones'} of the {len(manifest.labels)} classes; "
        f"{held} held out, of all classes" + (f"; new: {', '.join(new)}" if new else "")
    )


def _read(folder: Path) -> tuple[dict[str, dict[str, list[NDArray[np.uint8]]]], list[NDArray[np.uint8]]]:
    """Read reviewed photos by class and sign, and those that show none."""
    signs: dict[str, dict[str, list[NDArray[np.uint8]]]] = defaultdict(lambda: defaultdict(list))
    none = []
    for of_class in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")) if folder.is_dir() else ():
        for below in folders_below(of_class):
            for path in pictures_in(below):
                if of_class.name.casefold() == NONE:
                    none.append(read_image(path))
                else:  # a photo that lies in the class's own folder is a sign of its own
                    signs[named(of_class.name)][path.stem if below == of_class else below.relative_to(of_class).as_posix()].append(read_image(path))
    if not signs and not none:
        raise InputError(f"wanted reviewed photos in {folder}, found none: signwing review DIR makes them")
    return signs, none


def _classes(manifest: Manifest, folders: Sequence[str]) -> Classes:
    """Return the bundle's classes, and behind them those of folders that it does not know."""
    known = classes_of_bundle(manifest)
    new = [name for name in folders if name not in {folder_name(label) for label in known.names}]
    if len(known) + len(new) > MOST:
        raise InputError(f"wanted {MOST} classes at most, found {len(known)} and {len(new)} new ones: review again")
    empty = ("",) * len(new)
    numbers = known.numbers + empty if known.numbers else ()
    sizes = known.sizes_mm + ((),) * len(new) if known.sizes_mm else ()
    return known if not new else Classes((*known.names, *new), numbers, sizes)


def _known(manifest: Manifest, data: Path | None, seed: int) -> dict[str, list[_Row]]:
    """Return what shows the bundle's classes, on each side."""
    if data is None:
        if manifest.labels != GTSRB.names:
            raise InputError("wanted --data with photos of the classes that the bundle knows, for only GTSRB's can be drawn, found none: give its data set")
        return {side: list(_drawn(side, count, seed)) for side, count in OLD.items()}
    if read_classes(data).names != manifest.labels:
        raise InputError(f"wanted photos of the bundle's {len(manifest.labels)} classes in --data {data}, found other classes: give the set it was trained on")
    train, valid = read_split(data, Split(0.2, seed))
    test = read_test(data) if has_test(data) else []
    return {side: list(_some(photos, OLD[side], seed)) for side, photos in (("train", train), ("valid", valid), ("test", test))}


def _drawn(side: str, count: int, seed: int) -> Iterator[_Row]:
    rng = np.random.default_rng([seed, list(OLD).index(side), 77])
    for class_id in tqdm(np.repeat(np.arange(len(GTSRB)), count).tolist(), f"drawing photos ({side})", disable=None):
        yield _Row(class_id, f"drawn/{class_id}/{rng.integers(2**62)}", draw_photo(class_id, rng))


def _some(photos: Sequence[Photo], count: int, seed: int) -> Iterator[_Row]:
    """Give up to `count` photos of each class, spread over its signs."""
    by_class: dict[int, dict[str, list[Photo]]] = defaultdict(lambda: defaultdict(list))
    for photo in photos:
        by_class[photo.class_id][photo.track or photo.path.name].append(photo)
    for class_id, tracks in sorted(by_class.items()):
        wanted = min(count, sum(map(len, tracks.values())))
        for photo in pick(tracks, wanted, random.Random(f"{seed}:{class_id}")):  # noqa: S311 - a choice, no secret
            yield _Row(class_id, f"data/{photo.track or photo.path.name}", read_photo(photo))


def _write(out: Path, rows: dict[str, list[_Row]], trained: Sequence[_Row], times: int, classes: Classes, none: Sequence[NDArray[np.uint8]]) -> None:
    (out / "photos").mkdir(parents=True)
    (out / NONE).mkdir()
    if classes.names != GTSRB.names:
        numbers, sizes = (given or [""] * len(classes) for given in (classes.numbers, ["/".join(f"{mm:g}" for mm in size) for size in classes.sizes_mm]))
        table = [(place, name, numbers[place], sizes[place]) for place, name in enumerate(classes.names)]
        write_text(out / LABELS_TABLE, _table(("ClassId", "Name", "Number", "WidthsMm"), table))
    number = 0
    for side, of_side in rows.items():
        lines = []
        for row in [*of_side, *(trained if side == "train" else ())]:
            file = f"photos/{number:06}.png"
            _save(out / file, row.image)
            lines += [(row.class_id, file, row.track)] * (times if number >= len(of_side) and side == "train" else 1)
            number += 1
        if lines:
            write_text(out / _TABLES[side], _table(("ClassId", "Path", "Track"), lines))
    for place, image in enumerate(none):
        _save(out / NONE / f"{place:06}.png", image)


def _save(path: Path, image: NDArray[np.uint8]) -> None:
    path.write_bytes(encode_image(image))


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()
