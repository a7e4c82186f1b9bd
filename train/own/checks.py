"""What is wrong with a folder of one's own, and what is worth a look: a line for each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.datasets.classes import FEWEST, LONGEST_NAME, MOST
from train.own.found import Found, Looked, Photo
from train.own.groups import ALIKE_BITS, alike

FEWEST_PHOTOS, GOOD_PHOTOS, FEWEST_FRAMES = 4, 20, 8
"""Of a class, to have any on either side; of a class, to be learnt well; frames, to train, to choose by and to judge by."""
NAMED = 5
_SAVED_ANEW = 0.1
"""Of a photo's contrast, by which it differs in the mean from itself in another format; of two signs that differ in a digit it is more."""


def check_classes(found: Found, looked: Looked) -> None:
    """Tell what is wrong with classes and frames before they are split; photos that are there twice are left once, and told."""
    names = sorted({photo.name for photo in looked.photos} | {name for scene, _ in looked.frames for name in scene.names})
    if empty := sorted(set(found.empty) - set(names)):
        looked.faults.append(f"wanted photos or boxes of every class, found none of {shown(empty)}: add some, or take the name away")
    if not FEWEST <= len(names) <= MOST:
        looked.faults.append(f"wanted {FEWEST} to {MOST} classes, found {len(names)} ({shown(names)}): add photos of another, in a folder of its name")
    for name in (name for name in names if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable()):
        looked.faults.append(f"wanted names of classes of 1 to {LONGEST_NAME} letters, found {name[:20]!r}: rename it")
    for (one, other), count in sorted(_in_two(looked.photos).items()):
        looked.faults.append(f"wanted each photo in one class, found {count} in both {one} and {other}: remove them from one")
    if 0 < len(looked.frames) < FEWEST_FRAMES:
        looked.faults.append(f"wanted at least {FEWEST_FRAMES} frames to train, to choose by and to judge by, found {len(looked.frames)}: add frames")
    _leave_once(looked)


def _in_two(photos: Sequence[Photo]) -> dict[tuple[str, str], int]:
    """Count the photos that stand in two classes, by their names: the same pictures, or ones that were saved anew in another size or format."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for places in alike([photo.hash for photo in photos], ALIKE_BITS):
        one, other = sorted((photos[place] for place in places), key=lambda photo: photo.name)
        if one.name != other.name and (one.digest == other.digest or _saved_anew(one.image, other.image)):
            found[one.name, other.name].add(one.digest)
    return {names: len(digests) for names, digests in found.items()}


def _saved_anew(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    small = [cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32) for image in (one, other)]
    return bool(np.abs(small[0] - small[1]).mean() < _SAVED_ANEW * min(float(image.std()) for image in small))


def _leave_once(looked: Looked) -> None:
    strictest = {"test": 0, "valid": 1}
    by_side = sorted(looked.photos, key=lambda photo: strictest.get(photo.side or "", 2))
    first: dict[str, Photo] = {}
    for photo in by_side:
        first.setdefault(photo.digest, photo)
    if len(first) < len(looked.photos):
        looked.doubts.append(f"{len(looked.photos) - len(first)} photos are there twice: one of each is kept, that to judge by where sides differ")
        kept = {id(photo) for photo in first.values()}
        looked.photos = [photo for photo in looked.photos if id(photo) in kept]


def check_sides(looked: Looked) -> None:
    """Tell what is wrong with the photos of each class once they are split, those that were cut from frames among them."""
    by_class: dict[str, Counter[str]] = defaultdict(Counter)
    for photo in looked.photos:
        by_class[photo.name][str(photo.side)] += 1
    few = []
    for name, sides in sorted(by_class.items()):
        usable = sides["train"] + sides["valid"]
        if not usable:
            looked.faults.append(f"wanted photos of {name} to train on, found all {sides['test']} of them in test: move some to train")
        elif usable < FEWEST_PHOTOS:
            looked.faults.append(f"wanted at least {FEWEST_PHOTOS} photos of {name}, found {usable}: add photos ({GOOD_PHOTOS} and more are better)")
        elif not sides["train"] or not sides["valid"]:
            side = "train" if not sides["train"] else "valid"
            looked.faults.append(f"wanted photos of {name} to train and to validate, found none in {side}: add photos of another sign of it")
        elif usable < GOOD_PHOTOS:
            few.append(f"{name} ({usable})")
    if few:
        looked.doubts.append(f"fewer than {GOOD_PHOTOS} photos, so that their figures are hints, of {shown(few)}: add photos of other places and days")
    for name in sorted({name for scene, _ in looked.frames for name in scene.names} - set(by_class)):
        looked.faults.append(f"wanted boxes of {name} of 12 pixels and more, found smaller ones alone: add nearer frames, or photos of it")
    if looked.frames and not any(len(scene.names) for scene, _ in looked.frames if scene.side == "train"):
        looked.faults.append("wanted frames with signs to train on, found none on that side: label more of them")


def shown(names: Sequence[str]) -> str:
    """Return the first few of some names, and how many more there are."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
