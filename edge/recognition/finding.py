"""How well signs are found: boxes against the truth, frame by frame. Nothing here names a sign.

A detection takes, best score first, the free truth that it overlaps most, from IoU 0.5 on. Truth with a shorter side below 16 px, or that reaches
beyond the picture, is neither hit nor miss, and neither is a detection that is about such a sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.geometry.boxes import iou_matrix
from edge.recognition.proposals import Proposals

MATCH_IOU = 0.5
LEAST_SIDE_PX = 16.0
FALSE_RATES = (0.1, 0.3, 1.0)
"""False boxes a frame at which recall is told."""


@dataclass(frozen=True)
class Findings:
    """Detections of some frames, judged, best first.

    Attributes:
        scores: (n,) float64, descending; detections that are about ignored signs are left out.
        hits: (n,) bool: the detection found a sign; otherwise it is false.
        signs: counted signs, found or not.
        frames: how many.
    """

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    signs: int
    frames: int

    def recall_at(self, false_a_frame: float) -> float:
        """Return the largest share of the signs that is found with so many false boxes a frame at most; 1 where there is no sign."""
        kept = self._kept(false_a_frame)
        return float(self.hits[:kept].sum() / self.signs) if self.signs else 1.0

    def score_at(self, false_a_frame: float) -> float:
        """Return the least score at which there are so many false boxes a frame at most; 1 where even the best detection is one too many."""
        kept = self._kept(false_a_frame)
        return float(self.scores[kept - 1]) if kept else 1.0

    def ap50(self) -> float:
        """Return the average precision: the area under the precision that some recall and more can still have, over all recalls; 0 without signs."""
        if not self.signs:
            return 0.0
        found = np.cumsum(self.hits)
        precision = found / np.arange(1, len(found) + 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        return float(best[self.hits].sum() / self.signs)

    def _kept(self, false_a_frame: float) -> int:
        """Return how many detections, best first, may be kept; those of equal score are kept or dropped together."""
        allowed = np.flatnonzero(np.cumsum(~self.hits) <= false_a_frame * self.frames + 1e-9)
        kept = len(allowed)
        while 0 < kept < len(self.scores) and self.scores[kept] == self.scores[kept - 1]:
            kept -= 1
        return kept


def counted(boxes_xyxy: NDArray[np.float64], size_wh: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Tell which true boxes, (m, 4), count: (m,) bool.

    Args:
        boxes_xyxy: pixels, end-exclusive.
        size_wh: of the picture, which they may reach beyond; None: they do not.
    """
    large = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).min(axis=1, initial=np.inf) >= LEAST_SIDE_PX
    if size_wh is None:
        return np.asarray(large)
    return np.asarray(large & (boxes_xyxy[:, :2] >= 0).all(axis=1) & (boxes_xyxy[:, 2:] <= size_wh).all(axis=1))


def judge(frames: Iterable[tuple[Proposals, ArrayLike]], sizes_wh: Iterable[tuple[int, int] | None] = repeat(None)) -> Findings:
    """Judge detections.

    Args:
        frames: of each frame its detections, and the true boxes, (m, 4) pixels, end-exclusive, ignored ones among them.
        sizes_wh: of each frame, where true boxes may reach beyond it.
    """
    scores: list[float] = []
    hits: list[bool] = []
    signs = count = 0
    for (proposals, truth), size_wh in zip(frames, sizes_wh, strict=False):
        boxes = np.asarray(truth, np.float64).reshape(-1, 4)
        counting = counted(boxes, size_wh)
        matched = match(proposals.boxes_xyxy, boxes, size_wh)
        told = np.array([place < 0 or counting[place] for place in matched], bool)
        scores += proposals.scores[told].tolist()
        hits += (np.array(matched, np.int64)[told] >= 0).tolist()
        signs, count = signs + int(counting.sum()), count + 1
    return _in_order(np.array(scores, np.float64), np.array(hits, bool), signs, count)


def merged(parts: Sequence[Findings]) -> Findings:
    """Return the findings of all frames of some."""
    scores, hits = np.concatenate([part.scores for part in parts]), np.concatenate([part.hits for part in parts])
    return _in_order(scores, hits, sum(part.signs for part in parts), sum(part.frames for part in parts))


def _in_order(scores: NDArray[np.float64], hits: NDArray[np.bool_], signs: int, frames: int) -> Findings:
    order = np.argsort(-scores, kind="stable")
    return Findings(scores[order], hits[order], signs, frames)


def match(detected_xyxy: ArrayLike, truth_xyxy: ArrayLike, size_wh: tuple[int, int] | None = None) -> Sequence[int]:
    """Give each detection, (n, 4), best first, the free truth, (m, 4), that it overlaps most, or -1; a truth goes to one detection only.

    In a picture of `size_wh`, which truth may reach beyond, what can be seen of it is what a detection is about.
    """
    truth = np.asarray(truth_xyxy, np.float64).reshape(-1, 4)
    overlaps = iou_matrix(detected_xyxy, truth if size_wh is None else np.clip(truth, 0, [*size_wh, *size_wh]))
    taken: list[int] = []
    for row in overlaps:
        row[[place for place in taken if place >= 0]] = 0
        best = int(row.argmax()) if len(row) else -1
        taken.append(best if best >= 0 and row[best] >= MATCH_IOU else -1)
    return taken


def figures(findings: Findings) -> dict[str, float]:
    """Return `frames`, `signs`, `ap50` and `recall_at_<rate>` for each of `FALSE_RATES`."""
    recalls = {f"recall_at_{rate:g}": round(findings.recall_at(rate), 4) for rate in FALSE_RATES}
    return {"frames": findings.frames, "signs": findings.signs, "ap50": round(findings.ap50(), 4), **recalls}
