"""Where signs may be in a frame, and what a spotter is: a frame in, boxes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.bundle.fusion import Fusion, SecondLook

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Proposals:
    """Where signs may be, best first.

    Attributes:
        boxes_xyxy: (n, 4) float32, pixels, end-exclusive, inside the frame, tight on the sign's face.
        scores: (n,) float32, 0 to 1, descending.
        fusion: how score and confidence decide together; None: the score says nothing beyond the proposal.
        closer: looks at boxes of the frame, (n, 4) pixels, with these scores, (n,), again from nearer: (n,) float32 scores; None where nothing does.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    fusion: Fusion | None = None
    closer: Callable[[ArrayLike, ArrayLike], NDArray[np.float32]] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def second(self) -> SecondLook | None:
        """What decides after a second look; None where nothing looks, or nothing would decide."""
        return self.fusion.second if self.fusion is not None and self.closer is not None else None


Spotter = Callable[[Image], Proposals]
"""A frame, (height, width, 3) uint8 BGR, to proposals."""

MOST = 25
"""Proposals for a frame, at most."""


def spot_whole(image: Image) -> Proposals:
    """Propose the whole frame as one sign, for sources that hold crops already."""
    height, width = image.shape[:2]
    return Proposals(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))
