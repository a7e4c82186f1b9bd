"""The ages of a run's frames in figures, however long it runs: counts in bins of equal ratio, so that a month takes no more memory than a minute."""

from __future__ import annotations

import math
from array import array

ERROR = 0.005
"""Percentiles are right to this share; the largest age is exact."""

_RATIO = math.log1p(2 * ERROR)
_LEAST_MS, _MOST_MS = 0.01, 1e7
_BINS = math.ceil(math.log(_MOST_MS / _LEAST_MS) / _RATIO)


class Ages:
    """Counts ages by size."""

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * (_BINS + 1)))
        self._least_ms, self._most_ms = math.inf, 0.0

    def add(self, age_ms: float) -> None:
        """Count an age in milliseconds."""
        place = math.ceil(math.log(age_ms / _LEAST_MS) / _RATIO) if age_ms > _LEAST_MS else 0
        self._counts[min(place, _BINS)] += 1
        self._least_ms, self._most_ms = min(self._least_ms, age_ms), max(self._most_ms, age_ms)

    def figures(self) -> dict[str, float]:
        """Return p50, p90, p99 and max in milliseconds; zeros where nothing was counted."""
        return {**{f"p{percent}": round(self._percentile(percent), 3) for percent in (50, 90, 99)}, "max": round(self._most_ms, 3)}

    def _percentile(self, percent: int) -> float:
        wanted, passed = sum(self._counts) * percent / 100, 0
        for place, count in enumerate(self._counts):
            passed += count
            if count and passed >= wanted:
                middle_ms = _LEAST_MS * math.exp((place - 0.5) * _RATIO)
                return min(max(middle_ms, self._least_ms), self._most_ms)
        return 0.0
