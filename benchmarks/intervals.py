"""How sure a rate is that was counted: intervals at 95%.

They take each sign, photo or detection for a trial of its own. Frames of one road, and photos of one sign, tell less than that.
Sources: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927; for F1 K. F. Y. Lam, V. Gopal and J. Qian, "Confidence
intervals for the F1 score: a comparison of four methods", 2023 (arXiv 2309.14621).
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

_Z = NormalDist().inv_cdf(0.975)


def wilson(hits: int, n: int) -> list[float]:
    """Return the ends, 0 to 1, of Wilson's score interval of a rate of `hits` in `n` trials: all from 0 to 1 where there was no trial."""
    if n == 0:
        return [0.0, 1.0]
    share, weight = hits / n, _Z**2 / n
    middle, reach = share + weight / 2, sqrt(weight * (share * (1 - share) + weight / 4))
    return [_rounded(end / (1 + weight)) for end in (middle - reach, middle + reach)]


def f1_interval(right: int, signs: int, said: int) -> list[float]:
    """Return the ends, 0 to 1, of the interval of F1, 2 `right` / (`signs` + `said`).

    F1 itself counts each hit twice, so it is no share of trials: an interval as of one would be too short. A share of trials is F* = TP / (TP + FP + FN): of
    all that was there or was said, what was right. Its Wilson interval is carried over by F1 = 2 F* / (1 + F*), which only grows (the "Wilson indirect"
    method). A sign that was found and misnamed is counted among the missed and among the false.

    Args:
        right: true positives.
        signs: true positives and false negatives.
        said: true positives and false positives.
    """
    return [_rounded(2 * end / (1 + end)) for end in wilson(right, signs + said - right)]


def shown(rate: float, interval: list[float]) -> str:
    """Return a rate and its interval as people read them."""
    return f"{rate:.4f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _rounded(value: float) -> float:
    return round(min(max(value, 0.0), 1.0), 4)
