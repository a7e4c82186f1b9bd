"""Turns a banked picture level for the spotter, by the roll of the moment in which it was taken, and boxes back into the picture as it came.

The levelled picture has the size of the one that came and shows what a level camera with the same lens would show. What a bank takes out of it lies above and
below such a camera's view; a canvas that held it too would be shrunk more by the spotter (by a third at 20 degrees), and small signs would be lost everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Frame
from edge.geometry.pose import Pose
from edge.geometry.similarity import Similarity, around
from edge.result import Detection, LevelState, Report, Track

GREY = 114
"""What lies beside the picture, as the spotter is used to."""
LEAST_ROLL_DEG = 0.5
"""Below it a frame stays as it came: turning it would only blur it."""
STEEPEST_DEG = 75.0
"""A camera that looks so far up or down sees no horizon to level by, and its roll hardly means anything."""

T = TypeVar("T", Detection, Report, Track)


class Attitudes(Protocol):
    """Knows how the camera was turned."""

    @property
    def told(self) -> str:
        """Where it comes from and how it is matched, for people."""
        ...

    @property
    def measured(self) -> bool:
        """Whether it is the vehicle's or the camera's own, and not how the camera is mounted."""
        ...

    def at(self, frame: Frame) -> Pose | None:
        """Return the pose in the moment in which a frame was taken, None where it is not known."""
        ...


@dataclass(frozen=True)
class View:
    """What the spotter sees of a frame.

    Attributes:
        frame: as it came, with its pose where one is known.
        image: (height, width, 3) uint8 BGR of the frame's size, levelled where that was needed.
        turn: what takes places of the frame to the image; None where the image is the frame's.
        change: what changed about the attitude with this frame.
    """

    frame: Frame
    image: NDArray[np.uint8]
    turn: Similarity | None = None
    change: LevelState | None = None

    def mark(self, found: Sequence[T]) -> list[T]:
        """Give what was found in the image the corners that it has in the frame."""
        if self.turn is None:
            return list(found)
        back = self.turn.inverse()
        return [replace(one, quad_xy=back.quad(one.box_xyxy)) for one in found]

    def in_frame(self, marked: Sequence[T]) -> list[T]:
        """Give what has corners in a frame the upright box of the ellipse that fills them, clipped to it; what has none stays."""
        height, width = self.frame.image.shape[:2]
        return [one if one.quad_xy is None else replace(one, box_xyxy=around(one.quad_xy, (width, height))) for one in marked]


class Leveller:
    """Turns frames level as long as the roll is known, and tells once when it no longer is, and when it is again.

    Attributes:
        attitudes: what knows the roll.
        levelled: frames whose roll was known.
        missed: frames whose roll was not.
    """

    def __init__(self, attitudes: Attitudes) -> None:
        """Level by `attitudes`."""
        self.attitudes = attitudes
        self._known = True
        self.levelled = self.missed = 0

    @property
    def told(self) -> str:
        """What it levels by, for people."""
        return self.attitudes.told

    @property
    def warning(self) -> str:
        """What is wrong now; empty where the roll is known."""
        return "" if self._known else f"not levelled: no attitude from {self.told}"

    def view(self, frame: Frame) -> View:
        """Return what the spotter is to see of a frame."""
        pose = self.attitudes.at(frame)
        known = pose is not None and pose.roll_deg is not None
        change = self._change(known) if known != self._known else None
        self.levelled, self.missed = self.levelled + known, self.missed + (not known)
        if pose is None or pose.roll_deg is None:
            return View(frame, frame.image, None, change)
        if self.attitudes.measured:
            frame = replace(frame, pose=pose if frame.pose is None else frame.pose.told_by(pose))
        steep = pose.pitch_deg is not None and abs(pose.pitch_deg) > STEEPEST_DEG
        if steep or abs(pose.roll_deg) < LEAST_ROLL_DEG:
            return View(frame, frame.image, None, change)
        height, width = frame.image.shape[:2]
        turn = Similarity.turned(pose.roll_deg, (width / 2, height / 2))
        return View(frame, warp(frame.image, turn), turn, change)

    def figures(self) -> dict[str, Any]:
        """Return what a `--json` result has of it: `by`, `levelled` and `missed` frames."""
        return {"by": self.told, "levelled": self.levelled, "missed": self.missed}

    def _change(self, known: bool) -> LevelState:
        self._known = known
        if known:
            return LevelState(True, time.monotonic_ns(), f"frames are levelled by {self.told}")
        return LevelState(False, time.monotonic_ns(), f"no attitude from {self.told}: frames are not levelled until it comes")


def warp(image: NDArray[np.uint8], turn: Similarity) -> NDArray[np.uint8]:
    """Turn a picture, (height, width, 3) uint8, within its size; grey comes in from beside it."""
    height, width = image.shape[:2]
    four = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)  # OpenCV warps four channels in less than half the time of three
    turned = cv2.warpAffine(four, turn.matrix(), (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(GREY,) * 4)
    return np.asarray(cv2.cvtColor(turned, cv2.COLOR_BGRA2BGR), np.uint8)
