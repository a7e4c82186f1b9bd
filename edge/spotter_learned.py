"""The learned spotter: a bundle's fully convolutional network behind the same seam as the colour one. A frame in, boxes out.

A frame is shrunk to fit the network's input and padded with grey at the right and below; it is never enlarged. Training sees frames in the same way.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.engine import Engine
from edge.fusion import Fusion
from edge.heatmap import decode
from edge.spotter import MOST, Proposals

GREY = 114
"""What pads a frame."""

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
        maps = self._engine.infer(pad(fitted, self.size_wh)[None])[0]
        found = decode(maps.transpose(1, 2, 0), least_score=self._threshold, most=MOST)
        height, width = image.shape[:2]
        boxes = np.clip(found.boxes_xyxy / np.float32(scale), 0, np.array([width, height, width, height], np.float32))
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # a peak in the padding has no box in the frame
        return Proposals(boxes[inside], found.scores[inside], self._fusion)

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
