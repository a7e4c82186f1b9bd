"""Intervals: known values, edges, and how often they hold what is true."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.intervals import f1_interval, shown, wilson


@pytest.mark.parametrize(
    ("hits", "n", "ends"),
    [(9, 10, [0.5958, 0.9821]), (0, 10, [0.0, 0.2775]), (10, 10, [0.7225, 1.0]), (81, 263, [0.2553, 0.3662]), (0, 0, [0.0, 1.0])],
)
def test_wilsons_interval_has_its_known_values(hits: int, n: int, ends: list[float]) -> None:
    """81 of 263 is R. G. Newcombe's first example, 1998, method 3."""
    assert wilson(hits, n) == pytest.approx(ends, abs=1e-4)


def test_an_f1_lies_within_its_interval_which_is_that_of_nothing_known_without_signs() -> None:
    low, high = f1_interval(90, 100, 95)
    assert low < 2 * 90 / 195 < high
    assert f1_interval(0, 0, 0) == [0.0, 1.0]
    assert f1_interval(50, 50, 50)[1] == 1.0
    assert f1_interval(0, 50, 50)[0] == 0.0


@pytest.mark.parametrize("shares", [(0.9, 0.06, 0.04), (0.5, 0.25, 0.25), (0.15, 0.8, 0.05)], ids=str)
def test_19_of_20_intervals_hold_the_true_f1(shares: tuple[float, float, float]) -> None:
    hit, missed, _ = shares
    true = 2 * hit / (2 * hit + 1 - hit)
    counts = np.random.default_rng(3).multinomial(120, shares, 2000)
    ends = np.array([f1_interval(tp, tp + fn, tp + fp) for tp, fn, fp in counts.tolist()])
    held = float(((ends[:, 0] <= true) & (true <= ends[:, 1])).mean())
    assert 0.93 <= held <= 0.97
    assert missed > 0


def test_people_read_a_rate_with_its_interval() -> None:
    assert shown(0.9, wilson(9, 10)) == "0.9000 (0.596 to 0.982)"
