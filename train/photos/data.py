"""tf.data pipelines over `edge.datasets.gtsrb`: encoded photos stay in memory, their views are made in parallel ahead of the network (`train.photos.ahead`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from edge.datasets.aerial import mixed_crop
from edge.datasets.classes import GTSRB, NONE, Classes
from edge.datasets.faces import Face
from edge.datasets.gtsdb import find_frames, read_sides, sign_free_crops
from edge.datasets.gtsrb import Photo, read_photo
from edge.errors import DataError, InputError
from edge.images import SUFFIXES, fit_crop, read_image
from train.networks.precision import has_gpu
from train.photos.ahead import made_ahead, stack
from train.photos.augment import augment
from train.photos.drawn import draw_photo
from train.photos.views import DRAWN, REAL, SIGN_FREE, Crop, Views
from train.recipes import Recipe

if keras.backend.backend() != "tensorflow":
    tf.config.set_visible_devices([], "GPU")  # tf.data needs none, and TensorFlow would take all the memory of what the network trains on


def broken_photos(photos: Sequence[Photo]) -> dict[Photo, str]:
    """Read each photo once, and return those that cannot be read, each with what is wrong."""
    broken = {}
    for photo in tqdm(photos, "looking for broken photos", disable=None):
        try:
            read_photo(photo)
        except (InputError, DataError) as error:
            broken[photo] = str(error)
    return broken


def load_crops(photos: Sequence[Photo], size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read photos as the board would see them: ((n, size, size, 3) uint8 BGR, (n,) int64 class ids).

    Raises:
        InputError: a photo is missing or broken; the message names it.
    """
    crops = [fit_crop(read_photo(photo), size) for photo in tqdm(photos, "reading photos", disable=None)]
    return np.stack(crops), np.array([photo.class_id for photo in photos], np.int64)


def load_views(photos: Sequence[Photo], size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read photos as `load_crops` does, and behind them each once more in a view of `edge.datasets.aerial.CROP_MIXTURE`.

    Raises:
        InputError: a photo is missing or broken; the message names it.
    """
    crops, class_ids = load_crops(photos, size)
    views = [fit_crop(mixed_crop(read_photo(photo), place), size) for place, photo in enumerate(photos)]
    return np.concatenate([crops, np.stack(views)]), np.concatenate([class_ids, class_ids])


def sample_epoch(class_ids: NDArray[np.int64], power: float, seed: int, epoch: int, classes: int = len(GTSRB), least: int = 0) -> NDArray[np.int64]:
    """Draw one epoch's photo indices, (n,) int64: classes in proportion to their size to the `power`, photos of a class as evenly as can be.

    A class's photos are dealt out whole rounds at a time before any repeats, so power 1 is a plain shuffle. There are as many as photos, or `least`.
    """
    rng = np.random.default_rng([seed, epoch])
    count = max(len(class_ids), least)
    sizes = np.bincount(class_ids, minlength=classes).astype(np.float64)
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


def plan_epoch(class_ids: NDArray[np.int64], recipe: Recipe, steps: int, epoch: int, classes: int = len(GTSRB), faces: int = len(GTSRB)) -> NDArray[np.int64]:
    """Order one epoch's views, (n, 2) int64 each: `REAL` and a photo's index, `DRAWN` and a class id below `faces`, or `SIGN_FREE` and a number up to 2^31."""
    rng = np.random.default_rng([recipe.seed, epoch, 1])
    views = steps * recipe.batch
    sign_free = round(views * recipe.sign_free_share)
    drawn = round(views * (recipe.drawn_share + recipe.sign_free_share)) - sign_free
    wanted = views - drawn - sign_free
    real = sample_epoch(class_ids, recipe.sampling_power, recipe.seed, epoch, classes, wanted)[:wanted] if len(class_ids) else np.zeros(0, np.int64)
    parts = [(REAL, real), (DRAWN, np.arange(drawn) % max(faces, 1)), (SIGN_FREE, rng.integers(0, 2**31, sign_free))]
    plan = np.concatenate([np.column_stack([np.full(len(numbers), kind), numbers]) for kind, numbers in parts])
    return plan if drawn + sign_free == 0 else rng.permutation(plan)


def train_stream(
    photos: Sequence[Photo],
    sign_free: Sequence[Crop],
    recipe: Recipe,
    steps: int,
    first_epoch: int,
    *,
    classes: Classes = GTSRB,
    processes: bool | None = None,
) -> tf.data.Dataset:
    """Endless-looking stream of augmented batches from `first_epoch` on: ((b, size, size, 3) uint8 BGR, (b, classes) float32 shares of the classes).

    The order and every view depend on (seed, epoch, place) alone, so a resumed run sees what an unbroken one would have seen.

    Args:
        photos: of the training side.
        sign_free: crops without a sign, (h, w, 3) uint8 BGR; most views without a sign come from them, if there are any.
        recipe: seed, sizes and shares.
        steps: batches an epoch.
        first_epoch: counted from 0; epochs before it are passed over.
        classes: of the data set.
        processes: make the views by processes, not threads; None: where a GPU trains. On a CPU the network takes far longer than its views.

    Raises:
        InputError: a photo is missing or broken; the message names it.
    """
    views = Views(_read_blobs(photos), [str(photo.path) for photo in photos], [photo.class_id for photo in photos], sign_free, recipe, classes)

    def places() -> Iterator[NDArray[np.int64]]:
        for epoch in range(first_epoch, recipe.epochs):
            plan = plan_epoch(np.array(views.class_ids, np.int64), recipe, steps, epoch, len(classes), classes.drawn)
            whole = np.column_stack([plan, np.full(len(plan), epoch), np.arange(len(plan))])
            yield from whole[: len(whole) // recipe.batch * recipe.batch].reshape(-1, recipe.batch, 4)

    shapes = tf.TensorSpec((recipe.batch, recipe.size, recipe.size, 3), tf.uint8), tf.TensorSpec((recipe.batch, len(classes)), tf.float32)
    by_processes = has_gpu() if processes is None else processes
    return tf.data.Dataset.from_generator(lambda: made_ahead(partial(stack, views.view), places(), processes=by_processes), output_signature=shapes).prefetch(2)


def feature_stream(
    features: NDArray[np.float32], class_ids: NDArray[np.int64], recipe: Recipe, steps: int, first_epoch: int, classes: int = len(GTSRB)
) -> tf.data.Dataset:
    """Stream what a frozen prefix made of each photo, in the order in which `train_stream` gives the photos: ((b, ...) float32, (b, classes) float32)."""

    def batches() -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        for epoch in range(first_epoch, recipe.epochs):
            for numbers in plan_epoch(class_ids, recipe, steps, epoch, classes)[:, 1].reshape(-1, recipe.batch):
                yield features[numbers], np.eye(classes, dtype=np.float32)[class_ids[numbers]]

    shapes = tf.TensorSpec((recipe.batch, *features.shape[1:]), tf.float32), tf.TensorSpec((recipe.batch, classes), tf.float32)
    return tf.data.Dataset.from_generator(batches, output_signature=shapes).prefetch(2)


def drawn_crops(size: int, a_class: int, seed: int, faces: Sequence[Face] = GTSRB.faces) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw photos to validate on: ((n, size, size, 3) uint8 BGR, (n,) int64 class ids), `a_class` of each class."""
    rng = np.random.default_rng([seed, 2])
    class_ids = np.repeat(np.arange(len(faces)), a_class)
    return np.stack([fit_crop(draw_photo(faces[class_id], rng), size) for class_id in class_ids.tolist()]), class_ids


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


def load_sign_free(data: Path, seed: int) -> list[Crop]:
    """Return photos in `data` that show no sign, and places without one, cut out of GTSDB's frames in or beside it: (h, w, 3) uint8 BGR each.

    Of the frames those that spotters are trained on. Photos that were given are as many as a third of all at least: each stands there so often.

    Raises:
        DataError: a damaged `gt.txt`, or too few frames.
        InputError: a frame or a photo that cannot be read.
    """
    given = [read_image(path) for path in sorted((Path(data) / NONE).glob("*")) if path.suffix.lower() in SUFFIXES]
    folder = find_frames(data)
    if folder is None:
        return given
    rng = np.random.default_rng(seed)
    frames = tqdm(read_sides(data).train, f"cutting places without a sign out of {folder}", disable=None)
    cut = [crop for frame in frames for crop in sign_free_crops(frame, rng)]
    return cut + given * max(1, len(cut) // (2 * max(len(given), 1)))


def _read_blobs(photos: Sequence[Photo]) -> list[NDArray[np.uint8]]:
    """Read encoded photos, each decoded once as proof: within the stream a broken one would stop a long training with TensorFlow's traceback."""
    blobs = []
    for photo in tqdm(photos, "reading photos", disable=None):
        read_photo(photo)
        blobs.append(np.fromfile(photo.path, np.uint8))
    return blobs
