"""How the learned spotter's score and the classifier's confidence decide together whether a box holds a sign.

Each alone must be strict where the other would have known better: a dim sign that the classifier names without doubt, a tail light that fills its box well.
A second look, from nearer, tells most of what is left apart; it costs a run of the spotter, so it is for what is about to be announced.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # who only reads a bundle, as a desk that deploys one, needs no NumPy
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

_LEAST = 1e-6
"""Probabilities are kept this far from 0 and 1, where a logit has no end."""
_SURE = 0.999
"""Confidence that most signs are named with."""
_NEAREST = 0.95
"""Score from nearer that hardly any sign goes beyond."""
_CLEAR = 3.0
"""Margin beyond which a verdict will hardly be another in the next frame: odds of 20 to 1."""


@dataclass(frozen=True)
class SecondLook:
    """A logistic regression as `Fusion`, with the score that the spotter gives a box from nearer (`closer`) as a third."""

    score: float
    closer: float
    confidence: float
    bias: float

    def margin(self, scores: ArrayLike, closer: ArrayLike, confidences: ArrayLike) -> NDArray[np.float64]:
        """Return how far boxes are on a sign's side, (n,): 0 and more is a sign. All three are (n,), 0 to 1."""
        import numpy as np

        weighed = self.score * logit(scores) + self.closer * logit(closer) + self.confidence * logit(confidences)
        return np.asarray(weighed + self.bias, np.float64)

    def pays(self, score: float, confidence: float) -> bool:
        """Tell whether a box may be a sign after all: whether to look at it again."""
        return bool(self.margin(score, _NEAREST, confidence) >= 0)


@dataclass(frozen=True)
class Fusion:
    """A logistic regression on the logits of both: weights of `score` and `confidence`, and a `bias` with which a sign's side begins at 0.

    `second` decides on a box that was looked at from nearer; None: there is no such look.
    """

    score: float
    confidence: float
    bias: float
    second: SecondLook | None = None

    def is_finite(self) -> bool:
        """Tell whether all its numbers are, and those of the second look."""
        second = astuple(self.second) if self.second else ()
        return all(map(math.isfinite, (self.score, self.confidence, self.bias, *second)))

    def margin(self, scores: ArrayLike, confidences: ArrayLike) -> NDArray[np.float64]:
        """Return how far boxes are on a sign's side, (n,): 0 and more is a sign.

        Args:
            scores: the spotter's, (n,) 0 to 1.
            confidences: the classifier's, (n,) 0 to 1.
        """
        import numpy as np

        return np.asarray(self.score * logit(scores) + self.confidence * logit(confidences) + self.bias, np.float64)

    def accepts(self, score: float, confidence: float) -> bool:
        """Tell whether a box counts as a sign."""
        return bool(self.margin(score, confidence) >= 0)

    def doubts(self, score: float) -> bool:
        """Tell whether a spotter's score is such that even a sure name would not make a sign of the box."""
        return bool(self.margin(score, _SURE) < 0)

    def rules_out(self, score: float, confidence: float) -> bool:
        """Tell whether a box is clearly no sign."""
        return bool(self.margin(score, confidence) < -_CLEAR)


def logit(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Return the log odds of probabilities."""
    import numpy as np

    kept = np.clip(np.asarray(probabilities, np.float64), _LEAST, 1 - _LEAST)
    return np.asarray(np.log(kept / (1 - kept)), np.float64)
