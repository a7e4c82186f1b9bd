"""Score a Keras classifier on crops: top-1, and by class."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edge.gtsrb import score


def predict_probabilities(model: keras.Model, crops: NDArray[np.uint8], batch: int = 256) -> NDArray[np.float32]:
    """Run (n, size, size, 3) uint8 BGR crops through a model: (n, 43) float32 probabilities."""
    return np.asarray(model.predict(crops, batch_size=batch, verbose=0), np.float32)


def evaluate_model(model: keras.Model, crops: NDArray[np.uint8], class_ids: NDArray[np.int64]) -> dict[str, Any]:
    """Score a model on crops; keys `n`, `top1` and `per_class` as `edge.gtsrb.score` gives them."""
    return score(predict_probabilities(model, crops).argmax(axis=1), class_ids)
