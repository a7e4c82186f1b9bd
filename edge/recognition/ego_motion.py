"""How the whole picture moved since the frame before, because the camera did: estimated from a small grey picture.

Corners are found in the frame before (J. Shi and C. Tomasi, "Good features to track", 1994) and followed into this one (J.-Y. Bouguet, "Pyramidal
implementation of the Lucas Kanade feature tracker", 2001); a similarity transform is fitted to most of them by RANSAC (M. Fischler and R. Bolles, 1981).
BoT-SORT (N. Aharon et al., 2022) moves its tracks in the same way.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.geometry.similarity import Similarity
from edge.vehicle.levelling import View

Image = NDArray[np.uint8]

_WIDTH_PX = 160
_CORNERS = 60
_CORNER_QUALITY, _CORNERS_APART_PX = 0.01, 6
_FLOW = {"winSize": (11, 11), "maxLevel": 3, "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)}
_TOLERANCE_PX = 1.0
_LEAST_CORNERS, _LEAST_SHARE = 10, 0.4
"""Fewer corners that moved together, or a smaller share of those that were followed, tell nothing of the whole picture."""
_MOST_SCALE = 1.25


class EgoMotion:
    """Follows the whole picture from frame to frame."""

    def __init__(self) -> None:
        self._before: Image | None = None

    def see(self, image: Image, *, wanted: bool = True) -> Similarity | None:
        """Take the next frame, (height, width, 3) uint8 BGR.

        Args:
            image: the frame.
            wanted: whether to estimate; otherwise the frame is only kept for the next one.

        Returns:
            What takes places of the frame before to this one, in pixels; None where nothing can be told.
        """
        before, self._before = self._before, thumbnail(image)
        if not wanted or before is None or before.shape != self._before.shape:
            return None
        found = _between(before, self._before)
        if found is None:
            return None
        enlarged = Similarity(image.shape[1] / self._before.shape[1])
        return enlarged.inverse().then(found).then(enlarged)


class PictureMotion:
    """What moved the picture that the spotter sees, levelled or not: the camera, and how the picture was turned back."""

    def __init__(self) -> None:
        self._ego = EgoMotion()
        self._turn = Similarity()

    def see(self, view: View, *, wanted: bool = True) -> Similarity | None:
        """Take the next view; returns what takes places of the view before to this one, None where nothing moves them.

        Where the picture itself tells nothing, the camera's roll is known as far as both views were levelled by it: nothing moves then.
        """
        moved = self._ego.see(view.frame.image, wanted=wanted)
        before, self._turn = self._turn, view.turn or Similarity()
        both = view.turn is not None and before != Similarity()
        if moved is None and (both or before == self._turn):
            return None
        return before.inverse().then(moved or Similarity()).then(self._turn)


def thumbnail(image: Image) -> Image:
    """Shrink a frame to a grey picture 160 px wide, (height, 160) uint8: first by every few pixels, then by all that are left."""
    height, width = image.shape[:2]
    size_wh = (_WIDTH_PX, max(round(height * _WIDTH_PX / width), 1))
    if width > 2 * _WIDTH_PX:
        image = np.asarray(cv2.resize(image, (2 * size_wh[0], 2 * size_wh[1]), interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.asarray(cv2.cvtColor(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY), np.uint8)


def _between(before: Image, after: Image) -> Similarity | None:
    corners = cv2.goodFeaturesToTrack(before, _CORNERS, _CORNER_QUALITY, _CORNERS_APART_PX)
    if corners is None or len(corners) < _LEAST_CORNERS:
        return None
    followed, good, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, **_FLOW)  # type: ignore[call-overload]
    kept = good.reshape(-1) == 1
    if kept.sum() < _LEAST_CORNERS:
        return None
    matrix, agree = cv2.estimateAffinePartial2D(corners[kept], followed[kept], method=cv2.RANSAC, ransacReprojThreshold=_TOLERANCE_PX)
    if matrix is None or agree.sum() < max(_LEAST_CORNERS, _LEAST_SHARE * kept.sum()):
        return None
    (a, _, right), (b, _, down) = matrix.tolist()
    found = Similarity(a, b, right, down)
    # OpenCV counts from the centres of pixels.
    found = Similarity(right=-0.5, down=-0.5).then(found).then(Similarity(right=0.5, down=0.5))
    return found if 1 / _MOST_SCALE <= found.scale <= _MOST_SCALE else None
