"""Drawn pictures as a camera sees them that banks, pans and shakes, with the truth about every sign: a still road, seen through a moving window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic_ns

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.drawn.scenes import Flight, SceneFrame, Truth
from edge.frame import Frame
from edge.geometry.similarity import Similarity

SIZE_WH = (960, 540)
GROUND_WH = (1920, 1080)
FPS = 30.0
FOCAL_PX = 0.93 * SIZE_WH[0]
"""That of the drawn camera: 120 degrees a second are 62 px a frame at its middle."""

Image = NDArray[np.uint8]


@lru_cache(maxsize=8)
def ground(index: int, seed: int = 3) -> SceneFrame:
    """Draw a frame of a flight, larger than the window."""
    return Flight(seed, GROUND_WH, 400).frame(index)


@dataclass(frozen=True)
class Window:
    """What the camera sees of a ground.

    Attributes:
        image: (height, width, 3) uint8 BGR of `SIZE_WH`.
        place: takes places of the ground to it.
        signs: the truth in the ground.
    """

    image: Image
    place: Similarity
    signs: tuple[Truth, ...]

    def box(self, sign: Truth) -> tuple[float, float, float, float] | None:
        """Where a sign is, upright as the detections of a levelled picture are; None where it is not wholly in the window."""
        x1, y1, x2, y2 = self.place.upright(sign.box_xyxy)
        return (x1, y1, x2, y2) if min(x1, y1) >= 0 and x2 <= SIZE_WH[0] and y2 <= SIZE_WH[1] else None


def window(scene: SceneFrame, roll_deg: float = 0.0, pan_px: Sequence[float] = (0.0, 0.0)) -> Window:
    """Look at the middle of a ground with a camera that has banked by `roll_deg` (right side down) and turned aside by `pan_px`."""
    centre = (SIZE_WH[0] / 2, SIZE_WH[1] / 2)
    aside = Similarity(right=-(GROUND_WH[0] - SIZE_WH[0]) / 2 - pan_px[0], down=-(GROUND_WH[1] - SIZE_WH[1]) / 2 - pan_px[1])
    place = aside.then(Similarity.turned(-roll_deg, centre))
    image = cv2.warpAffine(scene.image, place.matrix(), SIZE_WH, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return Window(np.asarray(image, np.uint8), place, scene.truths)


@dataclass
class Banked:
    """A recording of windows, as a source."""

    windows: Sequence[Window]
    stills: bool = False
    live: bool = False
    uri: str = "banked"
    fps: float | None = FPS
    dropped: int = 0
    unreadable: int = 0
    feed: None = None

    def __enter__(self) -> Banked:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        for index, seen in enumerate(self.windows):
            yield Frame(index, seen.image, monotonic_ns(), None, media_s=index / FPS)


def film(roll_deg: Callable[[int], float], pan_px: Callable[[int], Sequence[float]], frames: int, ground_at: Callable[[int], int]) -> list[Window]:
    """Film a road: the camera's roll and aside by frame, and the ground's frame by frame."""
    return [window(ground(ground_at(index)), roll_deg(index), pan_px(index)) for index in range(frames)]
