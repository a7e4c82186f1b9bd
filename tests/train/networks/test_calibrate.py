"""Temperatures that were drawn are found again, and confidences are held against the truth by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from train.networks.calibrate import LEAST, MOST, apply_temperature, fit_temperature, reliability


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def _drawn(temperature: float, n: int = 20_000) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits, and classes drawn by the probabilities that they have at a temperature."""
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (n, 10)).astype(np.float32)
    shares = _softmax(logits / np.float32(temperature)).cumsum(axis=1)
    return logits, (rng.random((n, 1)) > shares).sum(axis=1).clip(max=9)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_of_the_truth_is_found(temperature: float) -> None:
    logits, class_ids = _drawn(temperature)
    found = fit_temperature(logits, class_ids)
    assert found == pytest.approx(temperature, rel=0.05)
    least = reliability(_softmax(logits / found), class_ids)["nll"]
    assert all(least < reliability(_softmax(logits / (found * factor)), class_ids)["nll"] for factor in (0.97, 1.03))
    assert reliability(_softmax(logits / found), class_ids)["ece"] < 0.01


def test_faultless_photos_are_not_trusted_beyond_their_number() -> None:
    for repeats in (1, 100):
        class_ids = np.repeat(np.arange(10), repeats)
        logits = np.eye(10, dtype=np.float32)[class_ids] * 5
        found = _softmax(logits / fit_temperature(logits, class_ids))
        assert found.max(axis=1) == pytest.approx(1 - 1 / (len(class_ids) + 2), rel=1e-3)


def test_faint_and_hopeless_photos_stay_within_bounds() -> None:
    class_ids = np.arange(10)
    logits = np.eye(10, dtype=np.float32)
    assert fit_temperature(logits * 0.1, class_ids) == pytest.approx(LEAST)
    assert fit_temperature(logits * -5, class_ids) == pytest.approx(MOST)


def test_large_logits_do_not_overflow() -> None:
    logits, class_ids = _drawn(1.0, n=200)
    assert fit_temperature(logits * 1e4, class_ids) == pytest.approx(MOST)
    assert fit_temperature(logits + 1e4, class_ids) == pytest.approx(fit_temperature(logits, class_ids), rel=0.01)


def test_temperature_lies_inside_the_last_layer() -> None:
    images = keras.Input((4,))
    logits = keras.layers.Dense(3, name="logits", bias_initializer="random_normal")(images)
    model = keras.Model(images, keras.layers.Softmax()(logits))
    given = np.random.default_rng(0).normal(0, 1, (5, 4)).astype(np.float32)
    before = np.asarray(keras.ops.convert_to_numpy(keras.Model(images, logits)(given)))
    layers = len(model.layers)
    apply_temperature(model, 0.5)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(given)), _softmax(before * 2), rtol=1e-5)
    assert len(model.layers) == layers


def test_reliability_by_hand() -> None:
    # In the bin from 0.8 to 0.867 one of two is right; in the last, whose upper edge belongs to it, the surer one is wrong.
    probabilities = np.array([[0.82, 0.18], [0.84, 0.16], [0.95, 0.05], [1.0, 0.0]], np.float32)
    found = reliability(probabilities, np.array([0, 1, 0, 1]))
    assert found["ece"] == pytest.approx((0.82 + 0.84 - 1 + 0.95 + 1.0 - 1) / 4, abs=1e-6)
    assert found["confidence"] == pytest.approx((0.82 + 0.84 + 0.95 + 1) / 4)
    assert reliability(probabilities[:3], np.array([0, 1, 0]))["nll"] == pytest.approx(-(np.log([0.82, 0.16, 0.95])).mean(), rel=1e-6)


def test_a_probability_of_zero_has_a_finite_likelihood() -> None:
    assert 80 < reliability(np.array([[0.0, 1.0]], np.float32), np.array([0]))["nll"] < 90
