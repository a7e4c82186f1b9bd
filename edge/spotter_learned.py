"""The learned spotter: a bundle's fully convolutional network behind the same seam as the colour one. A frame in, boxes out.

A frame is shrunk to fit the network's input and padded with grey at the right and below. Training sees frames in the same way, at 0.6 to 1.6 of that scale.
A second look at a part of the frame is at 1.5 and at 2 times that scale: signs of 16 px and what is taken for one differ more there.
"""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.engine import Engine
from edge.fusion import Fusion, logit
from edge.heatmap import decode
from edge.spotter import MOST, Proposals, iou_matrix

GREY = 114
"""What pads a frame."""
CLOSER = (1.5, 2.0)
"""Scales of the second look, times that of the first."""
UNSEEN = 0.01
"""Score of a box that the second look does not propose."""
_AROUND_PX = 64
"""What the network must see around a box, in its own pixels: a decision looks at 150."""
_LARGEST_PX = 160
"""Longest side that a box may have when it is looked at from nearer: none that is trained on is larger."""
_SAME_IOU = 0.3

Image = NDArray[np.uint8]


class LearnedSpotter:
    """Proposes boxes through an engine, which it owns and closes."""

    def __init__(self, engine: Engine, threshold: float, fusion: Fusion | None = None) -> None:
        """Take an open engine over.

        Args:
            engine: of the role "spotter": frames to maps (n, 5, height / 4, width / 4), planes as `edge.heatmap.decode` takes them.
            threshold: least score, 0 to 1, of a proposal.
            fusion: goes on with the proposals.
        """
        self._engine, self._threshold, self._fusion = engine, threshold, fusion

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the network's input, pixels."""
        _, height, width, _ = self._engine.spec.input.shape
        return width, height

    def __call__(self, image: Image) -> Proposals:
        """Propose boxes in a frame, (height, width, 3) uint8 BGR, in its own pixels, at most `edge.spotter.MOST`.

        Raises:
            EngineError: the engine failed.
        """
        fitted, scale = shrink(image, self.size_wh)
        found = self._decoded(fitted, self._threshold)
        height, width = image.shape[:2]
        boxes = np.clip(found.boxes_xyxy / np.float32(scale), 0, np.array([width, height, width, height], np.float32))
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # a peak in the padding has no box in the frame
        return Proposals(boxes[inside], found.scores[inside], self._fusion, partial(self.look_closer, image))

    def look_closer(self, image: Image, boxes_xyxy: ArrayLike, scores: ArrayLike) -> NDArray[np.float32]:
        """Score boxes of a frame again, from nearer: one run at each scale for all that one part of the frame shows with what is around them.

        Args:
            image: the frame, (height, width, 3) uint8 BGR.
            boxes_xyxy: (n, 4) pixels.
            scores: (n,) of the first look; they stand at a scale at which a box is too large to gain by it.

        Returns:
            (n,) float32 scores: of those at each scale, `UNSEEN` where nothing is proposed any more, what the mean of their logits stands for.

        Raises:
            EngineError: the engine failed.
        """
        height, width = image.shape[:2]
        fitting = min(self.size_wh[0] / width, self.size_wh[1] / height, 1.0)
        asked = np.asarray(boxes_xyxy, np.float32).reshape(-1, 4)
        each = [logit(self._scored_at(fitting * times, image, asked, scores)) for times in CLOSER]
        return np.asarray(1 / (1 + np.exp(-np.mean(each, axis=0))), np.float32)

    def _scored_at(self, scale: float, image: Image, asked: NDArray[np.float32], scores: ArrayLike) -> NDArray[np.float32]:
        height, width = image.shape[:2]
        part = np.minimum(np.array(self.size_wh) / scale, [width, height])
        closer = np.array(scores, np.float32)
        needed = np.clip(asked + _AROUND_PX / scale * np.array([-1, -1, 1, 1]), 0, [width, height, width, height])
        waiting = np.flatnonzero((asked[:, 2:] - asked[:, :2]).max(axis=1) * scale <= _LARGEST_PX).tolist()
        while waiting:
            low, high = needed[waiting[0], :2], needed[waiting[0], 2:]
            x, y = np.floor(np.clip((low + high - part) / 2, 0, [width, height] - part)).astype(int).tolist()
            shown = image[y : y + int(part[1]), x : x + int(part[0])]
            view = np.array([x, y, x + shown.shape[1], y + shown.shape[0]])
            seen = [place for place in waiting if place == waiting[0] or ((needed[place, :2] >= view[:2]) & (needed[place, 2:] <= view[2:])).all()]
            size = np.clip(np.rint(np.array(shown.shape[1::-1]) * scale).astype(int), 1, self.size_wh).tolist()
            found = self._decoded(np.asarray(cv2.resize(shown, size, interpolation=cv2.INTER_LINEAR), np.uint8), UNSEEN)
            boxes = found.boxes_xyxy / np.float32(scale) + np.array([x, y, x, y], np.float32)
            same = iou_matrix(asked[seen], boxes) >= _SAME_IOU
            closer[seen] = np.where(same, found.scores, UNSEEN).max(axis=1, initial=UNSEEN)
            waiting = [place for place in waiting if place not in seen]
        return closer

    def _decoded(self, fitted: Image, least_score: float) -> Proposals:
        maps = self._engine.infer(pad(fitted, self.size_wh)[None])[0]
        return decode(maps.transpose(1, 2, 0), least_score=least_score, most=MOST)

    def __enter__(self) -> LearnedSpotter:
        return self

    def __exit__(self, *exc: object) -> None:
        self._engine.close()


def shrink(image: Image, size_wh: tuple[int, int]) -> tuple[Image, float]:
    """Scale a frame, (height, width, 3) uint8, down to fit into `size_wh`; returns it and the scale, 1 where it fits as it is."""
    height, width = image.shape[:2]
    scale = min(size_wh[0] / width, size_wh[1] / height, 1.0)
    if scale == 1:
        return image, scale
    size = (round(width * scale), round(height * scale))
    # Halved as long as that leaves enough, then linear: every pixel counts, as in INTER_AREA, which takes many times as long where the factor is not whole.
    while image.shape[1] >= 2 * size[0] and image.shape[0] >= 2 * size[1]:
        image = np.asarray(cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8), scale


def pad(image: Image, size_wh: tuple[int, int]) -> Image:
    """Pad a frame at the right and below: (height, width, 3) uint8 of `size_wh`."""
    height, width = image.shape[:2]
    if (width, height) == size_wh:
        return image
    whole = np.full((size_wh[1], size_wh[0], 3), GREY, np.uint8)
    whole[:height, :width] = image
    return whole
