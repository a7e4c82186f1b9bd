"""GTSRB for training, export and benchmarks: class ids, labels, the photos of a data set, their split by physical sign, and the score.

The 30 frames of a track show one physical sign while the car approaches, so a split never cuts through a track.
"""

from __future__ import annotations

import logging
import os
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.datasets.classes import read_classes
from edge.datasets.gtsrb_labels import CLASSES, LABELS
from edge.datasets.gtsrb_layouts import Photo, has_test, read_photo, read_test, read_train, read_valid
from edge.datasets.gtsrb_sampling import Tracks, divide, photos_in, pick
from edge.errors import DataError, InputError

__all__ = [
    "CLASSES",
    "LABELS",
    "Photo",
    "Split",
    "has_test",
    "held_out",
    "read_photo",
    "read_split",
    "read_test",
    "read_train",
    "read_valid",
    "sample_by_track",
    "score",
    "split_by_track",
]

_LOG = logging.getLogger(__name__)

Sides = tuple[list[Photo], list[Photo]]


@dataclass(frozen=True)
class Split:
    """Which training photos are trained on and which are held out. A layout with a folder Valid (or Val, Validation) holds out that one, whatever the share.

    Attributes:
        valid_share: share of each class's tracks held out, 0 to 1; at least one track of each class stands on either side.
        seed: of the draw.
        train_per_class: photos of each class to train on, or None for all. With `valid_per_class`, and instead of `valid_share`.
        valid_per_class: photos of each class to hold out, or None.

    Raises:
        InputError: a value out of range, or a number of photos for one side alone.
    """

    valid_share: float = 0.1
    seed: int = 0
    train_per_class: int | None = None
    valid_per_class: int | None = None

    def __post_init__(self) -> None:
        """Refuse what a recipe or a training's record may have wrong."""
        if not 0 <= self.valid_share <= 1:
            raise InputError(f"wanted valid_share from 0 to 1, found {self.valid_share}: give another")
        if self.seed < 0:
            raise InputError(f"wanted a seed of 0 or more, found {self.seed}: give another")
        numbers = (self.train_per_class, self.valid_per_class)
        if numbers != (None, None) and not all(number is not None and number > 0 for number in numbers):
            raise InputError(f"wanted a positive number of photos a class for both sides or for none, found {numbers[0]} to train and {numbers[1]} to validate")


def read_split(root: Path, split: Split) -> Sides:
    """Read a data set's training photos as (train, valid).

    By share, the classes are those that the data set has photos of. With numbers of photos a class, all of them are needed.

    Raises:
        DataError: no known layout at `root`, or a class with too few tracks or photos.
    """
    train, valid, names = read_train(root), read_valid(root), read_classes(root).names
    if split.train_per_class is None or split.valid_per_class is None:
        return split_by_track(train, split.valid_share, split.seed, names) if valid is None else (train, valid)
    if valid is None:
        return sample_by_track(train, split.train_per_class, split.valid_per_class, split.seed, names)
    return _sample(train, split.train_per_class, split.seed, "Train", names), _sample(valid, split.valid_per_class, split.seed, "Valid", names)


def held_out(root: Path, record: Mapping[str, Any]) -> Sides:
    """Read the photos that a training had, from its record, as (train, valid).

    Args:
        root: the data set that it was trained on.
        record: of the training, as a run or a bundle's lineage holds it: `recipe` with the values of its `Split`, `photos` with the number on each side, and
            in `left_out` the broken ones that it was told to leave out, if any, by their paths within `root`.

    Raises:
        InputError: the record lacks one of these.
        DataError: as for `read_split`, or another data set: it would be split elsewhere, and photos that were trained on would be scored.
    """
    try:
        recipe, wanted = record["recipe"], {side: record["photos"][side] for side in ("train", "valid")}
        left_out = {os.path.normpath(Path(root) / name) for name in record["photos"].get("left_out", ())}
        split = Split(recipe["valid_share"], recipe["seed"], recipe.get("train_per_class"), recipe.get("valid_per_class"))
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"wanted recipe and photos in the record of the training, found a fault ({error!r}): train or export again") from error
    train, valid = ([photo for photo in side if os.path.normpath(photo.path) not in left_out] for side in read_split(root, split))
    found = {"train": len(train), "valid": len(valid)}
    if found != wanted:
        raise DataError(f"wanted the photos of the training, {wanted}, found {found} in {root}: give --data the set that was trained on")
    return train, valid


def split_by_track(photos: Sequence[Photo], valid_share: float, seed: int, names: Sequence[str] = LABELS) -> Sides:
    """Split photos into train and valid so that no track stands on both sides and every class stands on each.

    Args:
        photos: photos with tracks.
        valid_share: share of each class's tracks that go to valid, 0 to 1; at least one of each class does.
        seed: of the draw; the result does not depend on the order of `photos`.
        names: of the classes.

    Raises:
        DataError: a class has fewer than two tracks, so that it cannot stand on both sides, or a photo without one.
    """
    valid: set[tuple[int, str]] = set()
    by_class = _by_class(photos)
    _warn_of_single_photos(by_class)
    for class_id, tracks in sorted(by_class.items()):
        _check_tracks(tracks)
        if len(tracks) < 2:
            raise DataError(f"wanted at least 2 tracks of {_name(class_id, names)} to split by track, found {len(tracks)}: add photos of another sign")
        count = min(max(1, round(len(tracks) * valid_share)), len(tracks) - 1)
        valid |= {(class_id, name) for name in _chance(seed, class_id).sample(sorted(tracks), count)}
    held = [(photo.class_id, photo.track) in valid for photo in photos]
    return [p for p, v in zip(photos, held, strict=True) if not v], [p for p, v in zip(photos, held, strict=True) if v]


def sample_by_track(photos: Sequence[Photo], train_per_class: int, valid_per_class: int, seed: int, names: Sequence[str] = LABELS) -> Sides:
    """Sample so many photos of each class as (train, valid), spread evenly over tracks and along them, no track on both sides.

    Args:
        photos: photos with tracks.
        train_per_class: photos of each class to train on, 1 or more.
        valid_per_class: photos of each class to hold out, 1 or more.
        seed: of the draw; neither what is drawn nor its order depends on the order of `photos`.
        names: of the classes.

    Raises:
        DataError: a class has too few photos or tracks, or a photo without a track.
    """
    train: list[Photo] = []
    valid: list[Photo] = []
    by_class = _by_class(photos)
    _warn_of_single_photos(by_class)
    for class_id in range(len(names)):
        tracks, chance = by_class[class_id], _chance(seed, class_id)
        _check_tracks(tracks)
        divided = divide(tracks, train_per_class, valid_per_class, chance)
        if divided is None:
            raise DataError(
                f"wanted {train_per_class} photos to train and {valid_per_class} to validate of {_name(class_id, names)}, from different tracks, "
                f"found {photos_in(tracks)} in {len(tracks)} tracks: add photos, or choose a recipe that wants fewer"
            )
        train += pick(divided[0], train_per_class, chance)
        valid += pick(divided[1], valid_per_class, chance)
    return train, valid


def _sample(photos: Sequence[Photo], per_class: int, seed: int, side: str, names: Sequence[str]) -> list[Photo]:
    """Sample one side of a layout that has both."""
    picked: list[Photo] = []
    by_class = _by_class(photos)
    for class_id in range(len(names)):
        tracks = by_class[class_id]
        if photos_in(tracks) < per_class:
            raise DataError(
                f"wanted {per_class} photos of {_name(class_id, names)} in {side}, found {photos_in(tracks)}: add photos, or choose a recipe that wants fewer"
            )
        picked += pick(tracks, per_class, _chance(seed, class_id))
    return picked


def _by_class(photos: Sequence[Photo]) -> defaultdict[int, dict[str, list[Photo]]]:
    """Group photos by class and track; a class without photos has no tracks."""
    found: defaultdict[int, dict[str, list[Photo]]] = defaultdict(dict)
    for photo in photos:
        found[photo.class_id].setdefault(photo.track, []).append(photo)
    return found


def _warn_of_single_photos(by_class: Mapping[int, Tracks]) -> None:
    """Tell where most tracks hold one photo: names that do not tell the track would put photos of one sign on both sides, and the score too high."""
    sizes = [len(track) for tracks in by_class.values() for track in tracks.values()]
    single = sizes.count(1)
    if 2 * single > len(sizes):
        _LOG.warning(
            "%d of %d tracks hold one photo: where several photos show one sign, name them <class>_<track>_<frame>, or they stand on both sides of the split",
            single,
            len(sizes),
        )


def _check_tracks(tracks: Tracks) -> None:
    if "" in tracks:
        raise DataError(f"wanted photos named <track>_<frame> to split by track, found {tracks[''][0].path}: take the photos under their published names")


def _name(class_id: int, names: Sequence[str]) -> str:
    return f"class {class_id} ({names[class_id]})"


def _chance(seed: int, class_id: int) -> random.Random:
    return random.Random(f"{seed}:{class_id}")


def score(predicted: NDArray[np.integer[Any]], class_ids: NDArray[np.integer[Any]], names: Sequence[str] = LABELS) -> dict[str, Any]:
    """Compare predicted class ids of classes of these names with true ones, (n,) each.

    Returns:
        `n`, `top1` (a fraction) and `per_class`: for each class present, by its id as text, `label`, `n` and `top1`.

    Raises:
        DataError: no photos at all.
    """
    if len(class_ids) == 0:
        raise DataError("wanted at least one labelled photo to score, found none")
    right = predicted == class_ids
    per_class = {
        str(c): {"label": names[c], "n": int((class_ids == c).sum()), "top1": float(right[class_ids == c].mean())} for c in np.unique(class_ids).tolist()
    }
    return {"n": len(class_ids), "top1": float(right.mean()), "per_class": per_class}
