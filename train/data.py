"""tf.data pipelines over `edge.gtsrb`: encoded photos stay in memory, decoding, drawing and augmentation run in parallel threads ahead of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from edge.gtsdb import find_frames, read_frames, sign_free_crops, split_by_group
from edge.gtsrb import CLASSES, Photo, read_photo
from edge.images import decode_image, fit_crop
from train.augment import MIRRORED, augment, mirror
from train.config import Recipe
from train.drawn import draw_background, draw_photo

REAL, DRAWN, SIGN_FREE = range(3)
"""What a view shows, in an epoch's plan."""

Crop = NDArray[np.uint8]

if keras.backend.backend() != "tensorflow":
    tf.config.set_visible_devices([], "GPU")  # tf.data needs none, and TensorFlow would take all the memory of what the network trains on


def load_crops(photos: Sequence[Photo], size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read photos as the board would see them: ((n, size, size, 3) uint8 BGR, (n,) int64 class ids).

    Raises:
        InputError: a photo is missing or broken; the message names it.
    """
    crops = [fit_crop(read_photo(photo), size) for photo in tqdm(photos, "reading photos", disable=None)]
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


def steps_an_epoch(recipe: Recipe, photos: int) -> int:
    """Return the whole batches of one epoch: as many real views as there are photos, and the recipe's shares of others beside them."""
    return int(photos / (1 - recipe.drawn_share - recipe.sign_free_share)) // recipe.batch


def plan_epoch(class_ids: NDArray[np.int64], recipe: Recipe, steps: int, epoch: int) -> NDArray[np.int64]:
    """Order one epoch's views, (n, 2) int64 each: `REAL` and a photo's index, `DRAWN` and a class id, or `SIGN_FREE` and a number from 0 to 2^31."""
    rng = np.random.default_rng([recipe.seed, epoch, 1])
    views = steps * recipe.batch
    sign_free = round(views * recipe.sign_free_share)
    drawn = round(views * (recipe.drawn_share + recipe.sign_free_share)) - sign_free
    real = sample_epoch(class_ids, recipe.sampling_power, recipe.seed, epoch)[: views - drawn - sign_free] if len(class_ids) else np.zeros(0, np.int64)
    parts = [(REAL, real), (DRAWN, np.arange(drawn) % CLASSES), (SIGN_FREE, rng.integers(0, 2**31, sign_free))]
    plan = np.concatenate([np.column_stack([np.full(len(numbers), kind), numbers]) for kind, numbers in parts])
    return plan if drawn + sign_free == 0 else rng.permutation(plan)


def train_stream(photos: Sequence[Photo], sign_free: Sequence[Crop], recipe: Recipe, steps: int, first_epoch: int) -> tf.data.Dataset:
    """Endless-looking stream of augmented batches from `first_epoch` on: ((b, size, size, 3) uint8 BGR, (b, 43) float32 shares of the classes).

    The order and every view depend on (seed, epoch, place) alone, so a resumed run sees what an unbroken one would have seen.

    Args:
        photos: of the training side.
        sign_free: crops without a sign, (h, w, 3) uint8 BGR; half the views without a sign come from them, if there are any.
        recipe: seed, sizes and shares.
        steps: batches an epoch.
        first_epoch: counted from 0; epochs before it are passed over.

    Raises:
        InputError: a photo is missing or broken; the message names it.
    """
    views = _Views(_read_blobs(photos), [str(photo.path) for photo in photos], [photo.class_id for photo in photos], sign_free, recipe)

    def places() -> Iterator[NDArray[np.int64]]:
        for epoch in range(first_epoch, recipe.epochs):
            for place, (kind, number) in enumerate(plan_epoch(np.array(views.class_ids, np.int64), recipe, steps, epoch)):
                yield np.array([kind, number, epoch, place], np.int64)

    def load(at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        crop, target = tf.numpy_function(views.view, [at], [tf.uint8, tf.float32], stateful=False)
        return tf.ensure_shape(crop, (recipe.size, recipe.size, 3)), tf.ensure_shape(target, (CLASSES,))

    stream = tf.data.Dataset.from_generator(places, output_signature=tf.TensorSpec((4,), tf.int64))
    return stream.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).batch(recipe.batch, drop_remainder=True).prefetch(4)


def feature_stream(features: NDArray[np.float32], class_ids: NDArray[np.int64], recipe: Recipe, steps: int, first_epoch: int) -> tf.data.Dataset:
    """Stream what a frozen prefix made of each photo, in the order in which `train_stream` gives the photos: ((b, ...) float32, (b, 43) float32)."""

    def batches() -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        for epoch in range(first_epoch, recipe.epochs):
            for numbers in plan_epoch(class_ids, recipe, steps, epoch)[:, 1].reshape(-1, recipe.batch):
                yield features[numbers], np.eye(CLASSES, dtype=np.float32)[class_ids[numbers]]

    shapes = tf.TensorSpec((recipe.batch, *features.shape[1:]), tf.float32), tf.TensorSpec((recipe.batch, CLASSES), tf.float32)
    return tf.data.Dataset.from_generator(batches, output_signature=shapes).prefetch(4)


def drawn_crops(size: int, a_class: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw photos to validate on: ((n, size, size, 3) uint8 BGR, (n,) int64 class ids), `a_class` of each class."""
    rng = np.random.default_rng([seed, 2])
    class_ids = np.repeat(np.arange(CLASSES), a_class)
    return np.stack([fit_crop(draw_photo(int(class_id), rng), size) for class_id in class_ids]), class_ids


def view_examples(photos: Sequence[Photo], recipe: Recipe, count: int, views: int) -> list[tuple[int, Crop, list[Crop]]]:
    """Show what augmentation makes of photos: for `count` classes, evenly chosen, the class id, its brightest of a few photos and `views` views of it."""
    rng = np.random.default_rng([recipe.seed, 3])
    class_ids = sorted({photo.class_id for photo in photos})
    examples = []
    for class_id in class_ids[:: max(1, len(class_ids) // count)][:count]:
        members = [photo for photo in photos if photo.class_id == class_id]
        crop = max((read_photo(members[i]) for i in rng.integers(0, len(members), 5)), key=lambda image: float(image.mean()))
        seen = [augment(crop, recipe.size, rng) if recipe.augmented else fit_crop(crop, recipe.size) for _ in range(views)]
        examples.append((class_id, fit_crop(crop, recipe.size), seen))
    return examples


@dataclass(frozen=True)
class _Views:
    """Makes a view of what an epoch's plan asks for."""

    blobs: Sequence[NDArray[np.uint8]]
    names: Sequence[str]
    class_ids: Sequence[int]
    sign_free: Sequence[Crop]
    recipe: Recipe

    def view(self, at: NDArray[np.int64]) -> tuple[Crop, NDArray[np.float32]]:
        """Make the view at (kind, number, epoch, place)."""
        kind, number, epoch, place = (int(value) for value in at)
        rng = np.random.default_rng([self.recipe.seed, epoch, place])
        crop, class_id, photographed = self._original(kind, number, rng)
        if self.recipe.augmented and class_id in MIRRORED and rng.random() < 0.5:
            crop, class_id = mirror(crop, class_id)
        # What is drawn has been blurred and darkened by its own camera: half of it stays as it is.
        varied = self.recipe.augmented and (photographed or rng.random() < 0.5)
        seen = augment(crop, self.recipe.size, rng) if varied else fit_crop(crop, self.recipe.size)
        target = np.full(CLASSES, 1 / CLASSES, np.float32) if class_id is None else np.eye(CLASSES, dtype=np.float32)[class_id]
        return seen, target

    def _original(self, kind: int, number: int, rng: np.random.Generator) -> tuple[Crop, int | None, bool]:
        """Return a crop before augmentation, its class if it shows a sign, and whether it is of a real photo."""
        if kind == REAL:
            return decode_image(self.blobs[number], self.names[number]), self.class_ids[number], True
        if kind == DRAWN:
            return draw_photo(number, rng), number, False
        if self.sign_free and rng.random() < 0.5:
            return self.sign_free[number % len(self.sign_free)], None, True
        return draw_background(rng), None, False


def load_sign_free(data: Path, seed: int) -> list[Crop]:
    """Cut places without a sign out of the training side of GTSDB's frames, where they lie in or beside `data`: (h, w, 3) uint8 BGR each.

    Raises:
        DataError: a damaged `gt.txt`.
        InputError: a frame that cannot be read.
    """
    folder = find_frames(data)
    if folder is None:
        return []
    rng = np.random.default_rng(seed)
    frames = tqdm(split_by_group(read_frames(folder))[0], f"cutting places without a sign out of {folder}", disable=None)
    return [crop for frame in frames for crop in sign_free_crops(frame, rng)]


def _read_blobs(photos: Sequence[Photo]) -> list[NDArray[np.uint8]]:
    """Read encoded photos, each decoded once as proof: within the stream a broken one would stop a long training with TensorFlow's traceback."""
    blobs = []
    for photo in tqdm(photos, "reading photos", disable=None):
        read_photo(photo)
        blobs.append(np.fromfile(photo.path, np.uint8))
    return blobs
