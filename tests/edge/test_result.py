"""Ages of any number of frames in bounded memory: percentiles to half a percent, the largest exact."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from edge.result import AGE_ERROR, Ages


@pytest.mark.parametrize("spread", [0.05, 1.0, 3.0])
@pytest.mark.parametrize("count", [1, 2, 10, 1000, 30_000])
def test_percentiles_are_right_to_half_a_percent(count: int, spread: float) -> None:
    known = np.random.default_rng(count).lognormal(3.0, spread, count)
    ages = Ages()
    for age_ms in known:
        ages.add(float(age_ms))
    told = ages.figures()
    for percent in (50, 90, 99):
        exact = float(np.percentile(known, percent, method="inverted_cdf"))
        assert told[f"p{percent}"] == pytest.approx(exact, rel=1.02 * AGE_ERROR, abs=0.0006)
    assert told["max"] == round(float(known.max()), 3)
    assert told["p50"] <= told["p90"] <= told["p99"] <= told["max"]


def test_what_was_never_counted_is_zero_and_odd_ages_are_taken() -> None:
    ages = Ages()
    assert ages.figures() == {"p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0}
    for odd in (0.0, -1.0, 1e-9, 1e12):
        ages.add(odd)
    assert ages.figures()["max"] == 1e12


def test_a_million_frames_take_no_more_memory_than_one() -> None:
    ages = Ages()
    ages.add(1.0)
    tracemalloc.start()
    try:
        for number in range(100_000):
            ages.add(10.0 + number % 977)
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()
