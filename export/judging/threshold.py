"""The confidence below which a crop is no sign: chosen on true signs of the validation photos and on places of GTSDB's frames where no sign stands.

Both were held out of the training. Others will measure on frames that were not seen here, so half of the budget is kept in hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.bundle.manifest import Bundle
from edge.datasets.classes import classes_of_bundle
from edge.datasets.gtsdb import read_frames, sign_free_crops, split_by_group
from edge.engines.open import open_engine
from edge.images import fit_crop
from export.artefacts import ROLE

MOST_ACCEPTED = 0.01
"""Share of the sign-free crops that may pass: half of the 2 % that is promised."""
MOST_LOST = 0.01
"""Share of the validation photos that may be refused, whatever passes."""
LOST_UNMEASURED = 0.005
"""The same where no sign-free crop tells what refusing is worth."""
LEAST_CONFIDENCE = 0.5

SEED = 0
OWN_FRAMES = "cut from frames that training does not see, up to half of them coloured like a sign"
FRAMES = "cut from GTSDB's frames that training does not see, up to half of them coloured like a sign"
NO_FRAMES = "validation photos alone: no sign-free crops were at hand"


@dataclass(frozen=True)
class Rejection:
    """A threshold and what it does.

    Attributes:
        threshold: confidence, 0 to 1; what reaches it is accepted.
        true_lost: share of the validation photos below it.
        sign_free_accepted: share of the sign-free crops that reach it; None where there were none.
        sign_free_crops: their number.
        source: where they come from, for people.
    """

    threshold: float
    true_lost: float
    sign_free_accepted: float | None
    sign_free_crops: int
    source: str

    def __str__(self) -> str:
        """Say it in a line."""
        lost = f"confidence threshold {self.threshold}: refuses {self.true_lost:.2%} of the validation photos"
        if self.sign_free_accepted is None:
            return f"{lost}; chosen on {self.source}"
        aim = "" if self.sign_free_accepted <= MOST_ACCEPTED else f", wanted {MOST_ACCEPTED:.0%}: more would lose over {MOST_LOST:.0%} of the true signs"
        return f"{lost} and accepts {self.sign_free_accepted:.2%} of {self.sign_free_crops} sign-free crops ({self.source}){aim}"


def choose_threshold(signs: NDArray[np.float32], sign_free: NDArray[np.float32], source: str) -> Rejection:
    """Choose the least threshold, to 3 decimals and from `LEAST_CONFIDENCE` on, that accepts `MOST_ACCEPTED` of the sign-free crops at most.

    It never refuses more than `MOST_LOST` of the signs for that; without sign-free crops it is the largest that refuses `LOST_UNMEASURED` at most.

    Args:
        signs: (n,) float32 confidences of photos that do show signs.
        sign_free: (m,) float32, of crops that do not; may be empty.
        source: of the sign-free crops.
    """
    steps = np.arange(round(LEAST_CONFIDENCE * 1000), 1001) / 1000  # float64, as the runtime compares: a float32 would be another threshold
    lost = (signs < steps[:, None]).mean(axis=1)
    bearable = int((lost <= (MOST_LOST if len(sign_free) else LOST_UNMEASURED)).sum())
    chosen, accepted = max(bearable - 1, 0), None
    if len(sign_free):
        accepted = (sign_free >= steps[:, None]).mean(axis=1)
        chosen = min(chosen, int((accepted > MOST_ACCEPTED).sum()))
    passed = None if accepted is None else round(float(accepted[chosen]), 6)
    return Rejection(float(steps[chosen]), round(float(lost[chosen]), 6), passed, len(sign_free), source)


def choose_rejection(bundle: Bundle, signs: NDArray[np.float32], frames: Path | None, precision: str) -> Rejection:
    """Choose a bundle's threshold.

    Args:
        bundle: with its models.
        signs: (n,) float32 confidences of the validation photos in this precision.
        frames: GTSDB's folder, or None where there is none.
        precision: to measure in.

    Raises:
        DataError: a damaged `gt.txt`.
        InputError: a frame that cannot be read.
    """
    sign_free = np.zeros(0, np.float32) if frames is None else sign_free_confidences(bundle, frames, precision)
    return choose_threshold(signs, sign_free, _cut_from(bundle) if len(sign_free) else NO_FRAMES)


def _cut_from(bundle: Bundle) -> str:
    return OWN_FRAMES if classes_of_bundle(bundle.manifest).own else FRAMES


def sign_free_confidences(bundle: Bundle, frames: Path, precision: str) -> NDArray[np.float32]:
    """Run a classifier on places without a sign in the held-out groups of GTSDB's frames: (m,) float32 confidences, the same places each time.

    Raises:
        DataError: a damaged `gt.txt`.
        InputError: a frame that cannot be read.
    """
    size, rng = bundle.model(ROLE, "fp16").input.shape[1], np.random.default_rng(SEED)
    found = [np.zeros(0, np.float32)]
    with open_engine(bundle, ROLE, engine="onnxruntime", precision=precision) as engine:
        for frame in tqdm(split_by_group(read_frames(frames))[1], "looking where no sign stands", unit="frame"):
            crops = [fit_crop(crop, size) for crop in sign_free_crops(frame, rng)]
            if crops:
                found.append(engine.infer(np.stack(crops)).max(axis=1))
    return np.concatenate(found)
