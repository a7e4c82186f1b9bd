"""The learned spotter: a bundle's fully convolutional network behind the same seam as the colour one. A frame in, boxes out.

A frame is shrunk to fit the network's input and padded with grey at the right and below. Training sees frames in the same way, at 0.6 to 1.6 of that scale.
A second look at a part of the frame is at 1.5 and at 2 times that scale: signs of 16 px and what is taken for one differ more there.
"""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.bundle.fusion import Fusion, logit
from edge.bundle.manifest import STRIDE
from edge.engines.contract import Engine
from edge.geometry.boxes import iou_matrix
from edge.recognition.heatmap import decode
from edge.recognition.proposals import MOST, Proposals

GREY = 114
"""What pads a frame."""
CLOSER = (1.5, 2.0)
"""Scales of the second look, times that of the first."""
UNSEEN = 0.01
"""Score of a box that the second look does not propose."""
_GRIDS = ((4, 2), (2, 1))
"""Cells of the network's input, across and down, that each show one box from nearer: those of small boxes, and of larger ones."""
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
            engine: of the role "spotter": frames to maps (n, 5, height / 4, width / 4), planes as `edge.recognition.heatmap.decode` takes them.
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
        """Propose boxes in a frame, (height, width, 3) uint8 BGR, in its own pixels, at most `edge.recognition.proposals.MOST`.

        Raises:
            EngineError: the engine failed.
        """
        fitted, scale = shrink(image, self.size_wh)
        found = self._decoded(pad(fitted, self.size_wh), self._threshold, MOST)
        height, width = image.shape[:2]
        boxes = np.clip(found.boxes_xyxy / np.float32(scale), 0, np.array([width, height, width, height], np.float32))
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # a peak in the padding has no box in the frame
        return Proposals(boxes[inside], found.scores[inside], self._fusion, partial(self.look_closer, image))

    def look_closer(self, image: Image, boxes_xyxy: ArrayLike, scores: ArrayLike) -> NDArray[np.float32]:
        """Score boxes of a frame again, from nearer: several of them, at each scale, beside each other in one run of the network.

        Args:
            image: the frame, (height, width, 3) uint8 BGR.
            boxes_xyxy: (n, 4) pixels.
            scores: (n,) of the first look; they stand at a scale at which a box is too large to gain by it.

        Returns:
            (n,) float32 scores: of those at each scale, `UNSEEN` where nothing is proposed any more, what the mean of their logits stands for.

        Raises:
            EngineError: the engine failed.
        """
        scales = _fitting_scale(image, self.size_wh) * np.array(CLOSER)
        asked = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
        sides = scales[:, None] * (asked[:, 2:] - asked[:, :2]).max(axis=1)
        closer = np.tile(np.asarray(scores, np.float32), (len(scales), 1))
        small = sides.max(axis=0) + 2 * _AROUND_PX <= min(self._cell_wh(_GRIDS[0]))
        for grid, fitting in zip(_GRIDS, (small, ~small), strict=True):
            views, at_once = np.argwhere((sides <= _LARGEST_PX) & fitting), grid[0] * grid[1]
            for those in (views[start : start + at_once] for start in range(0, len(views), at_once)):
                closer[tuple(those.T)] = self._scored(image, asked[those[:, 1]], scales[those[:, 0]], grid)
        return np.asarray(1 / (1 + np.exp(-np.mean(logit(closer), axis=0))), np.float32)

    def _scored(self, image: Image, boxes: NDArray[np.float64], scales: NDArray[np.float64], grid: tuple[int, int]) -> NDArray[np.float32]:
        """Score boxes, (n, 4), each at a scale of its own, (n,), in the middle of a cell of its own of the network's input."""
        cell_wh = self._cell_wh(grid)
        whole = np.full((self.size_wh[1], self.size_wh[0], 3), GREY, np.uint8)
        middle = cell_wh // (2 * STRIDE) * STRIDE + STRIDE // 2  # in the middle of a cell of the map too, where a peak is highest
        shown = np.empty_like(boxes)
        for place, (box, scale) in enumerate(zip(boxes, scales, strict=True)):
            corner = cell_wh * (place % grid[0], place // grid[0])
            centre = (box[:2] + box[2:]) / 2
            # Pixels have their centres at a half.
            aside, down = middle - scale * (centre - 0.5) - 0.5
            turn = np.array([[scale, 0, aside], [0, scale, down]])
            view = cv2.warpAffine(image, turn, cell_wh.tolist(), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(GREY, GREY, GREY))
            (left, top), (right, bottom) = corner, corner + cell_wh
            whole[top:bottom, left:right] = view
            shown[place] = (box - np.tile(centre, 2)) * scale + np.tile(corner + middle, 2)
        found = self._decoded(whole, UNSEEN, MOST * len(boxes))
        same = iou_matrix(shown, found.boxes_xyxy) >= _SAME_IOU
        return np.asarray(np.where(same, found.scores, UNSEEN).max(axis=1, initial=UNSEEN), np.float32)

    def _cell_wh(self, grid: tuple[int, int]) -> NDArray[np.int64]:
        return np.array(self.size_wh, np.int64) // grid

    def _decoded(self, whole: Image, least_score: float, most: int) -> Proposals:
        maps = self._engine.infer(whole[None])[0]
        return decode(maps.transpose(1, 2, 0), least_score=least_score, most=most)

    def __enter__(self) -> LearnedSpotter:
        return self

    def __exit__(self, *exc: object) -> None:
        self._engine.close()


def shrink(image: Image, size_wh: tuple[int, int]) -> tuple[Image, float]:
    """Scale a frame, (height, width, 3) uint8, down to fit into `size_wh`; returns it and the scale, 1 where it fits as it is."""
    scale = _fitting_scale(image, size_wh)
    if scale == 1:
        return image, scale
    height, width = image.shape[:2]
    size = (round(width * scale), round(height * scale))
    # Halved as long as that leaves enough, then linear: every pixel counts, as in INTER_AREA, which takes many times as long where the factor is not whole.
    while image.shape[1] >= 2 * size[0] and image.shape[0] >= 2 * size[1]:
        image = np.asarray(cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8), scale


def _fitting_scale(image: Image, size_wh: tuple[int, int]) -> float:
    height, width = image.shape[:2]
    return float(min(size_wh[0] / width, size_wh[1] / height, 1.0))


def pad(image: Image, size_wh: tuple[int, int]) -> Image:
    """Pad a frame at the right and below: (height, width, 3) uint8 of `size_wh`."""
    height, width = image.shape[:2]
    if (width, height) == size_wh:
        return image
    whole = np.full((size_wh[1], size_wh[0], 3), GREY, np.uint8)
    whole[:height, :width] = image
    return whole
