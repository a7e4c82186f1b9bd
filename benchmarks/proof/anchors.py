"""The best figures that are published, where they stand, and why ours can or cannot be held against them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Anchor:
    """A published figure beside one of ours.

    Attributes:
        what: is measured.
        path: of our figure in the result of `signwing bench proof`.
        best: the published figure, a fraction; None where nobody published one.
        source: who and where.
        differs: what is not alike.
        fewer_is_better: such as errors.
    """

    what: str
    path: tuple[str, ...]
    best: float | None
    source: str
    differs: str
    fewer_is_better: bool = False

    def ours(self, figures: dict[str, Any]) -> Any:
        """Return our figure; None where it was not measured."""
        found: Any = figures
        for key in self.path:
            found = found.get(key) if isinstance(found, dict) else None
        return found


_ROBUSTNESS = "Charith-Reddy-Pareddy, Robustness and Quantized Inference, 2026: MobileNetV2, mean of ten kinds"
_DETECTOR = "YOLO with CBAM and C3TR, SAGE 10.1177/17248035251390608, 2025"
_OTHER_FRAMES = "three or four categories; frames and split not in the abstract, ours are those of the project's split"
ANCHORS = (
    Anchor(
        "GTSRB, test photos, top-1 in int8",
        ("photos", "top1"),
        0.99794,
        "shijunqiang27, two-stage robust classification, 2026: 26 errors of 12,630, networks of 20 to 90 M parameters",
        "all 12,630 photos there; no int8 of that quality is published",
    ),
    Anchor(
        "GTSRB, ten corruptions, strength 4 of 4, fp32", ("corruptions", "mean_published", "fp32"), 0.641, _ROBUSTNESS, "trained without augmentation there"
    ),
    Anchor(
        "GTSRB, ten corruptions, strength 4 of 4, int8", ("corruptions", "mean_published", "int8-cpu"), 0.611, _ROBUSTNESS, "trained without augmentation there"
    ),
    Anchor("GTSDB, AP at 0.5, mean of three categories", ("frames", "categories", "ap50"), 0.9675, _DETECTOR, _OTHER_FRAMES),
    Anchor("GTSDB, AP at 0.5:0.95, mean of three categories", ("frames", "categories", "ap50_95"), 0.8118, _DETECTOR, _OTHER_FRAMES),
    Anchor("GTSDB, 43 classes, mAP at 0.5", ("frames", "classes", "ap50"), None, "", "papers judge three or four categories"),
    Anchor("Places without a sign, AUROC", ("rejection", "far", "auroc"), None, "", "no figure for GTSRB is known"),
    Anchor("What the spotter takes for a sign and is none, AUROC", ("rejection", "near", "auroc"), None, "", "no figure for GTSRB is known"),
    Anchor("Expected calibration error", ("photos", "ece"), None, "", "no figure for GTSRB is known", fewer_is_better=True),
)
