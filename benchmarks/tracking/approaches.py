"""Approaches of real signs: the photos of one of GTSRB's tracks, taken from a car that nears it, pasted into a road frame that moves.

The tracks are those that the classifier's training held out, the frames those that the spotter's did, with their own signs painted out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import Bundle
from edge.datasets.aerial import turned, warp
from edge.datasets.classes import check_known
from edge.datasets.gtsdb import paint_out, read_sides
from edge.datasets.gtsrb import Photo, held_out, read_photo
from edge.frame import FeedState
from edge.geometry.boxes import iou_matrix
from edge.images import read_image
from edge.result import Result

FRAMES = 30
"""Of a track, as GTSRB took them: each photo stands for the same share of them, where a data set holds fewer."""
_ZOOM = 0.12
_SOFT_PX = 3.0
_MARGIN = 0.1
SWING_DEG = 30.0
"""How far a rolling camera turns to either side within an approach, which at 30 frames a second lasts one."""

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Approach:
    """A sign that comes nearer.

    Attributes:
        photos: of one sign, the farthest first.
        ground: the frame that they are pasted into, (height, width, 3) uint8 BGR.
        seed: of where the sign stands.
        rolling: whether the camera rolls from one side to the other meanwhile, by `SWING_DEG` each; beside the ground it sees grey.
    """

    photos: Sequence[Photo]
    ground: Image
    seed: int
    rolling: bool = False

    @property
    def class_id(self) -> int:
        """What the sign is."""
        return self.photos[0].class_id

    def frames(self) -> Iterator[tuple[Image, NDArray[np.float64]]]:
        """Draw the frames, each with the box of its sign, (4,) float64 pixels."""
        rolls = np.linspace(-SWING_DEG, SWING_DEG, FRAMES) * (-1) ** self.seed if self.rolling else np.zeros(FRAMES)
        for (image, box), roll in zip(self._level(), rolls.tolist(), strict=True):
            seen, boxes = warp(image, box[None], turned((image.shape[1], image.shape[0]), roll)) if self.rolling else (image, box[None])
            yield seen, boxes[0]

    def _level(self) -> Iterator[tuple[Image, NDArray[np.float64]]]:
        rng = np.random.default_rng([self.seed, 11])
        height, width = self.ground.shape[:2]
        vanishing = np.array([width, height]) * rng.uniform((0.45, 0.42), (0.55, 0.5))
        patches = [_patch(photo) for photo in self.photos]
        places = np.linspace(0, len(patches) - 1e-6, FRAMES)
        sides = np.interp(places, np.arange(len(patches)) + 0.5, [float((box[2:] - box[:2]).min()) for _, box in patches])
        last = np.array([width, height]) * rng.uniform((0.12, -0.25), (0.3, -0.02)) * np.array([rng.choice([-1, 1]), 1])
        for place, side in zip(places, sides, strict=True):
            patch, box = patches[int(place)]
            zoom = 1 + _ZOOM * place / len(patches)
            ground = cv2.warpAffine(
                self.ground, np.column_stack([np.eye(2) * zoom, vanishing * (1 - zoom)]), (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
            )
            yield _pasted(np.asarray(ground, np.uint8), patch, box, side, vanishing + last * side / sides[-1])


def approaches(bundle: Bundle, data: Path) -> list[Approach]:
    """Put each track that the bundle's training held out before a frame.

    Raises:
        InputError: the bundle tells no training, or a frame cannot be read.
        DataError: no GTSRB or no frames at `data`, or another GTSRB than the bundle was trained on.
    """
    check_known(bundle.manifest.labels, data, str(bundle.folder))
    grounds = [paint_out(read_image(frame.path), frame.boxes_xyxy) for frame in read_sides(data).held]
    found: dict[str, list[Photo]] = defaultdict(list)
    for photo in held_out(data, bundle.manifest.lineage.get("train", {}))[1]:
        found[photo.track].append(photo)
    return [
        Approach(sorted(photos, key=lambda photo: photo.path.name), grounds[seed % len(grounds)], seed)
        for seed, (_, photos) in enumerate(sorted(found.items()))
    ]


class ApproachSink:
    """Keeps what was announced, and scores it."""

    def __init__(self, boxes_xyxy: Sequence[NDArray[np.float64]], class_id: int) -> None:
        """Score what is said of a sign of a class, which is at a box, (4,) pixels, in each frame."""
        self._boxes_xyxy, self._class_id = boxes_xyxy, class_id
        self._told: list[tuple[int, int, int]] = []
        self._false = 0

    def __enter__(self) -> ApproachSink:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def write(self, result: Result) -> None:
        """Keep what is said of the sign, and count what is said of anything else."""
        for report in result.reports:
            if report.event == "gone" or report.track is None:
                continue
            if iou_matrix(report.box_xyxy, self._boxes_xyxy[result.frame.index]).max() > 0:
                self._told.append((result.frame.index, report.track, report.class_id))
            else:
                self._false += report.event == "sighting"

    def feed(self, state: FeedState) -> None:
        """There is no feed."""

    def score(self) -> dict[str, int]:
        """Return `all`, `right` (its last name is the right one), `wrong`, `missed`, `twice` (two tracks were announced) and `false`."""
        right = bool(self._told) and self._told[-1][2] == self._class_id
        several = len({track for _, track, _ in self._told}) > 1
        return {
            "all": 1,
            "right": int(right),
            "wrong": int(bool(self._told) and not right),
            "missed": int(not self._told),
            "twice": int(several),
            "false": self._false,
        }

    def delay(self) -> int | None:
        """Return the frames up to the first announcement with the right name, None where there was none."""
        return next((frame for frame, _, class_id in self._told if class_id == self._class_id), None)


def _patch(photo: Photo) -> tuple[Image, NDArray[np.float64]]:
    """Read a photo and the box of its sign in it."""
    image = read_photo(photo)
    height, width = image.shape[:2]
    box = photo.box_in(image) or (width * _MARGIN, height * _MARGIN, width * (1 - _MARGIN), height * (1 - _MARGIN))
    return image, np.array(box, np.float64)


def _pasted(image: Image, patch: Image, box: NDArray[np.float64], side: float, centre: NDArray[np.float64]) -> tuple[Image, NDArray[np.float64]]:
    """Paste a patch so that its box has a shorter side of `side` and its centre at `centre`, with soft edges; returns the image and the box in it."""
    height, width = image.shape[:2]
    scale = side / float((box[2:] - box[:2]).min())
    size = np.maximum(np.rint(np.array(patch.shape[1::-1]) * scale), 4).astype(int)
    size = np.minimum(size, [width, height])
    corner = np.clip(np.rint(centre - size / 2), 0, np.array([width, height]) - size).astype(int)
    scaled = cv2.resize(patch, size.tolist(), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR).astype(np.float32)
    rows, columns = (np.minimum(np.arange(extent) + 1, extent - np.arange(extent)) / _SOFT_PX for extent in (size[1], size[0]))
    mask = np.clip(np.minimum(rows[:, None], columns[None]), 0, 1)[:, :, None].astype(np.float32)
    x, y = corner.tolist()
    ground = image[y : y + size[1], x : x + size[0]].astype(np.float32)
    image[y : y + size[1], x : x + size[0]] = np.rint(ground + (scaled - ground) * mask).astype(np.uint8)
    factors = size / np.array(patch.shape[1::-1])
    return image, np.concatenate([box[:2] * factors, box[2:] * factors]) + np.tile(corner, 2)
