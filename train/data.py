"""tf.data pipelines over `edge.gtsrb`: encoded photos stay in memory, decoding and augmentation run in parallel threads ahead of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from edge.gtsrb import CLASSES, Photo
from edge.images import decode_image, fit_crop, read_image
from train.augment import augment


def load_crops(photos: Sequence[Photo], size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read photos as the board would see them: ((n, size, size, 3) uint8 BGR, (n,) int64 class ids).

    Raises:
        InputError: a photo is missing or broken; the message names it.
    """
    crops = [fit_crop(read_image(photo.path), size) for photo in tqdm(photos, "reading photos", disable=None)]
    return np.stack(crops), np.array([photo.class_id for photo in photos], np.int64)


def sample_epoch(class_ids: NDArray[np.int64], power: float, seed: int, epoch: int) -> NDArray[np.int64]:
    """Draw one epoch's photo indices, (n,) int64: classes in proportion to their size to the `power`, photos of a class as evenly as can be.

    A class's photos are dealt out whole rounds at a time before any repeats, so power 1 is a plain shuffle.
    """
    rng = np.random.default_rng([seed, epoch])
    count = len(class_ids)
    sizes = np.bincount(class_ids, minlength=CLASSES).astype(np.float64)
    share = np.where(sizes > 0, sizes**power, 0.0)
    quota = share / share.sum() * count
    drawn = np.floor(quota).astype(int)
    rest = count - int(drawn.sum())
    drawn[np.argsort(drawn - quota)[:rest]] += 1
    picked = []
    for class_id in np.flatnonzero(drawn):
        members = np.flatnonzero(class_ids == class_id)
        rounds = [rng.permutation(members) for _ in range(-(-drawn[class_id] // len(members)))]
        picked.append(np.concatenate(rounds)[: drawn[class_id]])
    return rng.permutation(np.concatenate(picked))


def train_stream(photos: Sequence[Photo], *, size: int, batch: int, power: float, seed: int, first_epoch: int, epochs: int) -> tf.data.Dataset:
    """Endless-looking stream of augmented batches from `first_epoch` on: ((b, size, size, 3) uint8 BGR, (b, 43) float32 one-hot).

    The order and every view depend on (seed, epoch, place) alone, so a resumed run sees what an unbroken one would have seen.
    Each epoch has `len(photos) // batch` steps; the remainder is dropped.

    Raises:
        InputError: a photo is missing or broken; the message names it.
    """
    blobs = _read_blobs(photos)
    class_ids = np.array([photo.class_id for photo in photos], np.int64)
    steps = len(photos) // batch

    def places() -> Iterator[NDArray[np.int64]]:
        for epoch in range(first_epoch, epochs):
            for place, index in enumerate(sample_epoch(class_ids, power, seed, epoch)[: steps * batch]):
                yield np.array([index, epoch, place], np.int64)

    def view(at: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        index, epoch, place = (int(value) for value in at)
        crop = decode_image(blobs[index], str(photos[index].path))
        return augment(crop, size, np.random.default_rng([seed, epoch, place])), class_ids[index]

    def load(at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        crop, class_id = tf.numpy_function(view, [at], [tf.uint8, tf.int64], stateful=False)
        return tf.ensure_shape(crop, (size, size, 3)), tf.one_hot(tf.ensure_shape(class_id, ()), CLASSES)

    stream = tf.data.Dataset.from_generator(places, output_signature=tf.TensorSpec((3,), tf.int64))
    return stream.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).batch(batch, drop_remainder=True).prefetch(4)


def _read_blobs(photos: Sequence[Photo]) -> list[NDArray[np.uint8]]:
    """Read encoded photos, each decoded once as proof: within the stream a broken one would stop a long training with TensorFlow's traceback."""
    blobs = []
    for photo in tqdm(photos, "reading photos", disable=None):
        read_image(photo.path)
        blobs.append(np.fromfile(photo.path, np.uint8))
    return blobs
