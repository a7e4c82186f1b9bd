"""Confidences that mean something: one temperature for all logits, fitted on photos that were held out, and how far a confidence is from the truth.

C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. Where every photo is named rightly the likelihood would drive the temperature to 0 and
every confidence to 1, so the targets keep the share of one photo in n + 2 for the other classes: J. Platt, "Probabilistic Outputs for Support Vector Machines
and Comparisons to Regularized Likelihood Methods", 1999.
"""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

LEAST, MOST = 0.25, 4.0
"""Bounds of a temperature."""

BINS = 15
_HALVINGS = 40
_TINY = float(np.finfo(np.float32).tiny)


def fit_temperature(logits: NDArray[np.float32], class_ids: NDArray[np.int64]) -> float:
    """Return the temperature, `LEAST` to `MOST`, by which logits are divided to be likeliest: below 1 makes a network surer, as after label smoothing.

    Args:
        logits: (n, classes) float32, of photos that were not trained on, at least one.
        class_ids: (n,) int64, the true ones.
    """
    z = logits.astype(np.float64)
    others = 1 / (len(z) + 2)
    true = z[np.arange(len(z)), class_ids]
    target = (1 - others) * true + others * (z.sum(axis=1) - true) / (z.shape[1] - 1)

    def slope(factor: float) -> float:
        """Derivative of the mean negative log-likelihood by the factor on the logits; it only grows, since the likelihood is convex in the factor."""
        scaled = factor * (z - z.max(axis=1, keepdims=True))
        shares = np.exp(scaled)
        return float(((shares * z).sum(axis=1) / shares.sum(axis=1) - target).mean())

    low, high = 1 / MOST, 1 / LEAST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 2 / (low + high)


def apply_temperature(model: keras.Model, temperature: float) -> None:
    """Divide the weights of a plain model's layer `logits` by a temperature, in place: it lies inside the graph and costs no operation."""
    layer = model.get_layer("logits")
    layer.set_weights([weights / temperature for weights in layer.get_weights()])


def reliability(probabilities: NDArray[np.float32], class_ids: NDArray[np.int64]) -> dict[str, float]:
    """Hold confidences against the truth.

    Args:
        probabilities: (n, classes) float32.
        class_ids: (n,) int64, the true ones.

    Returns:
        `ece`: expected calibration error, the mean distance of confidence and accuracy in `BINS` bins of equal width, weighted by their photos;
        `nll`: mean negative log-likelihood, nats; `confidence`: mean of the likeliest class's probability.
    """
    confidences = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == class_ids
    bins = np.clip(np.ceil(confidences * BINS).astype(int) - 1, 0, BINS - 1)  # as in the paper, a bin holds its upper edge
    gaps = np.bincount(bins, weights=confidences - right, minlength=BINS)
    true = probabilities[np.arange(len(probabilities)), class_ids].astype(np.float64)
    return {"ece": float(np.abs(gaps).sum() / len(right)), "nll": float(-np.log(np.maximum(true, _TINY)).mean()), "confidence": float(confidences.mean())}
