"""Which pictures belong together, so that a split does not part them: by their names, by their folders, and by what they look like.

Near duplicates are told by a perceptual hash (N. Krawetz, "Looks Like It", 2011, as imagehash has it): pictures whose hashes of 64 bits differ in a few.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TypeVar

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

ALIKE_BITS = 4
"""Of 64, that near duplicates differ in at most."""
_BLOCK = 1024
_ROBOFLOW = re.compile(r"_(?:jpe?g|png|bmp|webp)\.rf\.[0-9A-Za-z]+$", re.IGNORECASE)
"""What Roboflow writes behind the name of a file of which it makes several versions."""
_NUMBER = re.compile(r"[ _.-]*\(?\d+\)?$")
_FEWEST = 4
"""Groups that names must give at least to tell anything: one for all is a counter, and no sign."""

T = TypeVar("T")


def hash_of(image: NDArray[np.uint8]) -> int:
    """Return the perceptual hash of a picture, (height, width, 3) uint8 BGR: 64 bits."""
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (128, 128), interpolation=cv2.INTER_AREA)
    return int(str(imagehash.phash(Image.fromarray(grey))), 16)


def stem_of(name: str) -> tuple[str, str]:
    """Return what a file's stem tells: the photo of which it is a version, and that name without the number at its end."""
    photo = _ROBOFLOW.sub("", name)
    return photo, _NUMBER.sub("", photo)


def telling(keys: Sequence[str]) -> bool:
    """Say whether names' stems part pictures in groups that mean something: several of them, and none that holds most."""
    counts = [keys.count(key) for key in set(keys)]
    return len(counts) >= _FEWEST and 2 * max(counts) <= len(keys) and "" not in keys


def together(keys: Sequence[Sequence[Hashable]], hashes: Sequence[int], bits: int) -> list[int]:
    """Part pictures in groups: those that share a key, or whose hashes differ in `bits` at most, stand in one, also by way of others.

    Args:
        keys: of each picture.
        hashes: of each picture.
        bits: below 0 no likeness counts.

    Returns:
        The group of each picture, by the place of its first.
    """
    above = list(range(len(keys)))

    def first(place: int) -> int:
        while above[place] != place:
            above[place] = place = above[above[place]]
        return place

    def join(one: int, other: int) -> None:
        low, high = sorted((first(one), first(other)))
        above[high] = low

    seen: dict[Hashable, int] = {}
    for place, some in enumerate(keys):
        for key in some:
            join(place, seen.setdefault(key, place))
    for one, other in alike(hashes, bits):
        join(one, other)
    return [first(place) for place in range(len(keys))]


def alike(hashes: Sequence[int], bits: int) -> list[tuple[int, int]]:
    """List the pairs of places whose hashes differ in so many bits at most."""
    if bits < 0:
        return []
    unpacked = np.unpackbits(np.array(hashes, ">u8").view(np.uint8).reshape(-1, 8), axis=1).astype(np.float32)
    pairs = []
    for start in range(0, len(unpacked), _BLOCK):
        block = unpacked[start : start + _BLOCK]
        differing = block @ (1 - unpacked.T) + (1 - block) @ unpacked.T
        rows, columns = np.nonzero(differing <= bits + 0.5)
        pairs += [(start + row, column) for row, column in zip(rows.tolist(), columns.tolist(), strict=True) if start + row < column]
    return pairs


def dealt(groups: Sequence[int], shares: Sequence[float], seed: str) -> list[int]:
    """Deal pictures out to sides by whole groups: at least one group to each side, as long as there are any, the first side last.

    Args:
        groups: of each picture.
        shares: of the pictures that the sides behind the first one are to have, each 0 to 1.
        seed: of the order.

    Returns:
        The side of each picture: 0, or 1 and more for `shares`.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        members[group].append(place)
    order = sorted(members)
    random.Random(seed).shuffle(order)  # noqa: S311 - a split's chance, no secret
    sides = [0] * len(groups)
    for side, share in enumerate(shares, 1):
        wanted = share * len(groups)
        taken = 0
        while order[1:] and (taken == 0 or taken + len(members[order[-1]]) / 2 <= wanted):
            for place in members[order.pop()]:
                sides[place] = side
                taken += 1
    return sides
