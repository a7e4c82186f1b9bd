"""The photos that a bundle is calibrated and verified on, as the board would see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.datasets.gtsrb import Photo, read_photo
from edge.images import fit_crop

BATCH = 16
"""Photos that are read and run at a time: at 224 px each takes 13 MB in every layer of VGG-16's first block."""


def read_batches(photos: Sequence[Photo], size: int, name: str) -> Iterator[NDArray[np.uint8]]:
    """Read photos as crops, (up to `BATCH`, size, size, 3) uint8 BGR at a time, so that memory does not grow with their number; `name` is of the bar."""
    for start in tqdm(range(0, len(photos), BATCH), name, unit="batch"):
        yield np.stack([fit_crop(read_photo(photo), size) for photo in photos[start : start + BATCH]])


def class_ids_of(photos: Sequence[Photo]) -> NDArray[np.int64]:
    """Return the photos' class ids, (n,) int64."""
    return np.array([photo.class_id for photo in photos], np.int64)
