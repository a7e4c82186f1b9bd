"""Score and confidence together."""

from __future__ import annotations

import numpy as np
import pytest

from edge.bundle.fusion import Fusion, SecondLook, logit

FUSION = Fusion(score=2.0, confidence=1.0, bias=-3.0)


@pytest.mark.parametrize(
    ("score", "confidence", "accepted"),
    [(0.5, 0.99, True), (0.5, 0.94, False), (0.9, 0.5, True), (0.2, 0.99, False), (0.2, 0.999, True), (0.0, 1.0, False), (1.0, 0.0, True), (1.0, 1.0, True)],
)
def test_the_one_makes_up_for_the_other(score: float, confidence: float, accepted: bool) -> None:
    assert FUSION.accepts(score, confidence) is accepted


def test_only_what_is_far_from_a_sign_is_ruled_out() -> None:
    assert FUSION.rules_out(0.5, 0.4)
    assert not FUSION.rules_out(0.5, 0.6)
    assert not FUSION.rules_out(1.0, 1.0)


def test_what_even_a_sure_name_would_not_make_a_sign_is_doubtful() -> None:
    assert FUSION.doubts(0.1)
    assert not FUSION.doubts(0.2)


def test_the_margin_begins_at_nothing_and_rises_with_both() -> None:
    grid = np.linspace(0, 1, 21)
    margins = FUSION.margin(grid[:, None], grid[None])
    assert np.isfinite(margins).all()
    assert (np.diff(margins, axis=0) > 0).all()
    assert (np.diff(margins, axis=1) > 0).all()
    assert FUSION.margin(0.5, 1 / (1 + np.exp(-3.0))) == pytest.approx(0, abs=1e-9)


def test_logits_are_odds() -> None:
    np.testing.assert_allclose(logit([0.5, 0.8, 0.2]), [0, np.log(4), -np.log(4)])


def test_the_second_look_rises_with_all_three_and_is_part_of_what_must_be_finite() -> None:
    second = SecondLook(1.0, 2.0, 3.0, -4.0)
    least = np.full(3, 0.5)
    for place in range(3):
        more = least.copy()
        more[place] = 0.9
        assert second.margin(*more) - second.margin(*least) == pytest.approx((place + 1) * logit(0.9))
    assert second.margin(*least) == pytest.approx(-4)
    assert second.pays(0.5, 0.4)
    assert not second.pays(0.1, 0.4)
    assert Fusion(1.0, 1.0, 0.0, second).is_finite()
    assert not Fusion(1.0, 1.0, 0.0, SecondLook(1.0, float("nan"), 3.0, -4.0)).is_finite()
