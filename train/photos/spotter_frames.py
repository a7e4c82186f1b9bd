"""What the spotter trains on: crops of GTSDB's frames with signs from GTSRB's photos pasted in, and of drawn scenes and flights.

A sign without a name may be mirrored. Patches without a sign are pasted in the same way, lest the network learn what pasting looks like.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from edge.bundle.manifest import STRIDE
from edge.datasets.classes import GTSRB, Classes
from edge.datasets.faces import PaintedFace
from edge.datasets.gtsdb import RoadFrame
from edge.datasets.gtsrb import Photo, Split, read_photo, read_split
from edge.datasets.gtsrb_labels import Shape
from edge.drawn.drone.flight import DroneFlight
from edge.drawn.scenes import Flight, scene
from edge.drawn.signs import outline
from edge.geometry.boxes import iou_matrix
from edge.images import decode_image, read_image
from edge.recognition.spotter_learned import GREY, shrink
from train.networks.spotter import FRAME_WH
from train.networks.spotter_loss import TARGETS, encode
from train.photos.aerial import draw_turn, turn_around, warp_frame, weather
from train.photos.ahead import made_ahead, stack
from train.photos.augment import blur, compress
from train.photos.paste import paste, surroundings_of
from train.recipes import SpotterRecipe

Image = NDArray[np.uint8]
Boxes = NDArray[np.float64]

_FLIGHT_SEEDS = 100_000  # far from those that are flown to judge
_FLIGHT_FRAMES = 8
_GAMMAS, _CONTRASTS, _BRIGHTNESS, _TINTS = (0.6, 1.7), (0.6, 1.4), 30.0, (0.9, 1.1)
_PATCHES = 0.35
_TRIES = 6


@dataclass(frozen=True)
class Still:
    """A frame, (height, width, 3) uint8 BGR, and the boxes of its signs, (n, 4) float64 pixels, end-exclusive."""

    image: Image
    boxes_xyxy: Boxes


def read_stills(frames: Sequence[RoadFrame], name: str) -> list[Still]:
    """Read frames into memory, each scaled to what the runtime sees.

    Raises:
        InputError: a frame cannot be read.
    """
    return [_fitted(read_image(frame.path), frame.boxes_xyxy) for frame in tqdm(frames, name, disable=None)]


def _fitted(image: Image, boxes: Boxes) -> Still:
    fitted, scale = shrink(image, FRAME_WH)
    return Still(fitted, boxes * scale)


def draw_stills(count: int, seed: int) -> list[Still]:
    """Draw scenes, and frames of flights, half of each; every other flight is a drone's. A flight's signs too small or cut off are among the boxes."""
    stills = []
    for number in tqdm(range(count // 2), "drawing scenes", disable=None):
        drawn = scene(_FLIGHT_SEEDS + seed * count + number, FRAME_WH)
        stills.append(Still(drawn.image, np.array([truth.box_xyxy for truth in drawn.truths], np.float64).reshape(-1, 4)))
    rng = np.random.default_rng([seed, 5])
    for number in tqdm(range(count - count // 2), "drawing flights", disable=None):
        place = number // _FLIGHT_FRAMES
        flight = (DroneFlight if place % 2 else Flight)(_FLIGHT_SEEDS + seed * count + place, FRAME_WH)
        index = int(rng.integers(flight.frames))
        boxes = [truth.box_xyxy for truth in flight.signs_in(index)]
        stills.append(Still(flight.frame(index).image, np.array(boxes, np.float64).reshape(-1, 4)))
    return stills


def read_photos(data: Path, recipe: SpotterRecipe) -> list[tuple[Photo, NDArray[np.uint8]]]:
    """Read encoded photos to paste, from the tracks that classifiers train on, each decoded once as proof.

    Raises:
        DataError: no GTSRB at `data`.
        InputError: a photo that cannot be read.
    """
    photos = read_split(data, Split(recipe.valid_share, recipe.seed))[0]
    chosen = np.random.default_rng([recipe.seed, 6]).permutation(len(photos))[: recipe.most_photos]
    found = []
    for place in tqdm(chosen.tolist(), "reading photos to paste", disable=None):
        read_photo(photos[place])
        found.append((photos[place], np.fromfile(photos[place].path, np.uint8)))
    return found


@dataclass(frozen=True)
class Views:
    """Makes the crop that belongs to a place in the training: the same each time."""

    real: Sequence[Still]
    drawn: Sequence[Still]
    photos: Sequence[tuple[Photo, NDArray[np.uint8]]]
    recipe: SpotterRecipe
    classes: Classes = GTSRB

    def view(self, at: NDArray[np.int64]) -> tuple[Image, NDArray[np.float32]]:
        """Make the view at (epoch, place): (crop, crop, 3) uint8 BGR and its target as `encode` has it."""
        image, boxes = self.cut([int(number) for number in at])
        return image, encode(boxes, image.shape[:2])

    def cut(self, at: Sequence[int]) -> tuple[Image, Boxes]:
        """Make the crop at (epoch, place) and the boxes of its signs."""
        rng = np.random.default_rng([self.recipe.seed, *at, 7])
        is_drawn = bool(self.drawn) and rng.random() < self.recipe.drawn_share
        stills = self.drawn if is_drawn else self.real
        still = stills[int(rng.integers(len(stills)))]
        if self.recipe.air and rng.random() < self.recipe.turned_share:
            image, boxes = self._turned(still, rng, pastes=not is_drawn)
        else:
            image, boxes = _cut(still, self.recipe, rng)
            if not is_drawn and self.photos:
                image, boxes = self._pasted(image, boxes, rng)
        if rng.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
            boxes = np.stack([image.shape[1] - boxes[:, 2], boxes[:, 1], image.shape[1] - boxes[:, 0], boxes[:, 3]], axis=1)
        if self.recipe.air and rng.random() < self.recipe.weather_share:
            return weather(image, rng), boxes
        return _seen(image, rng), boxes

    def _turned(self, still: Still, rng: np.random.Generator, *, pastes: bool) -> tuple[Image, Boxes]:
        """Turn a frame about a point of it, more often than not one near a sign, as a banking drone that looks down sees it."""
        crop, (height, width) = self.recipe.crop, still.image.shape[:2]
        scale = float(np.exp(rng.uniform(*np.log(self.recipe.scales))))
        centre = rng.uniform(0, 1, 2) * (width, height)
        if len(still.boxes_xyxy) and rng.random() < 0.6:
            box = still.boxes_xyxy[rng.integers(len(still.boxes_xyxy))]
            centre = (box[:2] + box[2:]) / 2
        image, boxes = still.image, still.boxes_xyxy
        if pastes and self.photos:
            reach = 0.6 * crop / scale
            x1, y1 = np.floor(np.clip(centre - reach, 0, None)).astype(int).tolist()
            x2, y2 = np.ceil(np.minimum(centre + reach, (width, height))).astype(int).tolist()
            part, near = self._pasted(image[y1:y2, x1:x2], boxes - np.tile([x1, y1], 2), rng, 1 / scale)
            image = image.copy()
            image[y1:y2, x1:x2] = part
            boxes = near + np.tile([x1, y1], 2)
        matrix = turn_around(centre, rng.uniform(0.15, 0.85, 2) * crop, scale, width, draw_turn(rng))
        return warp_frame(image, boxes, matrix, crop, GREY, rng)

    def _pasted(self, image: Image, boxes: Boxes, rng: np.random.Generator, factor: float = 1.0) -> tuple[Image, Boxes]:
        image = image.copy()
        kept = boxes
        for _ in range(int(rng.integers(self.recipe.most_pasted + 1))):
            side = float(np.exp(rng.uniform(*np.log(self.recipe.pasted_px)))) * factor
            without = rng.random() < _PATCHES
            photo, blob = self.photos[int(rng.integers(len(self.photos)))]
            if without:
                still = self.real[int(rng.integers(len(self.real)))]
                patch, roi = _patch_without(still, rng)
            else:
                patch = decode_image(blob, str(photo.path))
                told = photo.box_in(patch)
                roi = np.array(told, np.float64) if told else surroundings_of(patch)
            scale = side / float((roi[2:] - roi[:2]).min())
            size = np.maximum(np.rint(np.array(patch.shape[1::-1]) * scale), 4).astype(int)
            room = np.array(image.shape[1::-1]) - size
            if scale > 1.6 * max(factor, 1) or (room < 0).any():
                continue
            for _ in range(_TRIES):
                corner = rng.integers(0, room + 1)
                whole = np.concatenate([corner, corner + size]).astype(np.float64)
                if not (iou_matrix(whole, kept) > 0).any():
                    break
            else:
                continue
            factors = size / np.array(patch.shape[1::-1])
            box = np.concatenate([roi[:2] * factors, roi[2:] * factors])
            paste(image, patch, corner, size, box, _shape(self.classes, photo.class_id), rng)
            kept = np.vstack([kept, whole if without else box + np.tile(corner, 2)])
            boxes = boxes if without else np.vstack([boxes, box + np.tile(corner, 2)])
        return image, boxes


def _shape(classes: Classes, class_id: int) -> Shape | NDArray[np.float64]:
    """Return a sign's outline as `paste` takes it: that of its face where it has a picture of one."""
    face = classes.faces[class_id] if class_id < classes.drawn else None
    if not isinstance(face, PaintedFace):
        return classes.shape(class_id)
    hull = outline(face)
    low, high = hull.min(axis=0), hull.max(axis=0)
    return np.asarray((hull - low) / (high - low) * 2 - 1, np.float64)


def _patch_without(still: Still, rng: np.random.Generator) -> tuple[Image, Boxes]:
    """Cut a square without a sign out of a frame, with the box that a sign would have in it."""
    height, width = still.image.shape[:2]
    for _ in range(_TRIES):
        side = int(rng.integers(12, 110))
        x, y = rng.integers(0, width - side), rng.integers(0, height - side)
        if not (iou_matrix([x, y, x + side, y + side], still.boxes_xyxy) > 0).any():
            break
    else:
        x = y = 0
    patch = still.image[y : y + side, x : x + side]
    return patch, surroundings_of(patch)


def _cut(still: Still, recipe: SpotterRecipe, rng: np.random.Generator) -> tuple[Image, Boxes]:
    """Cut a square out of a scaled frame, more often than not one with a sign."""
    height, width = still.image.shape[:2]
    side = round(recipe.crop / float(np.exp(rng.uniform(*np.log(recipe.scales)))))
    room = np.maximum(np.array([width, height]) - side, 0)
    corner = rng.integers(0, room + 1)
    if len(still.boxes_xyxy) and rng.random() < 0.6:
        box = still.boxes_xyxy[rng.integers(len(still.boxes_xyxy))]
        corner = np.clip((box[:2] + box[2:]) / 2 - rng.uniform(0.1, 0.9, 2) * side, 0, room).astype(int)
    x, y = corner.tolist()
    region = still.image[y : y + side, x : x + side]
    scale = recipe.crop / side
    size = round(region.shape[1] * scale), round(region.shape[0] * scale)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = np.full((recipe.crop, recipe.crop, 3), GREY, np.uint8)
    image[: size[1], : size[0]] = cv2.resize(region, size, interpolation=way)
    return image, (still.boxes_xyxy - np.tile(corner, 2)) * scale


def _seen(image: Image, rng: np.random.Generator) -> Image:
    """Vary light and lens."""
    levels = np.arange(256, dtype=np.float32) / 255
    curves = levels ** np.float32(np.exp(rng.uniform(*np.log(_GAMMAS))))
    mean = float(image.mean()) / 255
    curves = (curves - mean) * np.float32(rng.uniform(*_CONTRASTS)) + mean + np.float32(rng.uniform(-_BRIGHTNESS, _BRIGHTNESS) / 255)
    if rng.random() < 0.15:
        curves = curves * np.float32(rng.uniform(0.25, 1))
    tinted = curves[:, None] * rng.uniform(*_TINTS, 3).astype(np.float32)
    image = cv2.LUT(image, np.clip(tinted * 255, 0, 255).astype(np.uint8)[None]).astype(np.uint8, copy=False)
    if rng.random() < 0.2:
        image = blur(image, rng)
    if rng.random() < 0.25:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 9))
        image = cv2.add(image, noise, dtype=cv2.CV_8U).astype(np.uint8, copy=False)
    if rng.random() < 0.2:
        image = compress(image, rng)
    return image


def stream(views: Views, first_epoch: int) -> tf.data.Dataset:
    """Stream batches from an epoch on: ((b, crop, crop, 3) uint8 BGR, (b, crop / 4, crop / 4, 7) float32 targets)."""
    recipe = views.recipe

    def places() -> Iterator[NDArray[np.int64]]:
        for epoch in range(first_epoch, recipe.epochs):
            for step in range(recipe.steps):
                places = np.arange(step * recipe.batch, (step + 1) * recipe.batch)
                yield np.column_stack([np.full(recipe.batch, epoch), places])

    shapes = (
        tf.TensorSpec((recipe.batch, recipe.crop, recipe.crop, 3), tf.uint8),
        tf.TensorSpec((recipe.batch, recipe.crop // STRIDE, recipe.crop // STRIDE, TARGETS), tf.float32),
    )
    # Threads, for each process would need a copy of all frames.
    return tf.data.Dataset.from_generator(lambda: made_ahead(partial(stack, views.view), places(), processes=False), output_signature=shapes).prefetch(2)
