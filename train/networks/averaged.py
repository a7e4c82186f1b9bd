"""A network that learnt on, averaged with the one that it began as: what was learnt last is kept, and little of what was known before is lost.

Source: M. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022: the mean of both networks' weights, layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of what was learnt that are tried; 1 is the network as it came out of the training."""


def average(network: keras.Model, begin: Callable[[keras.Model], None], score: Callable[[keras.Model], float], judged: int) -> dict[str, Any]:
    """Give a network the mean of its weights and those that it began with, in the least share of its own that scores as well as the best.

    As well is what lies within one standard error of the best (L. Breiman et al., "Classification and Regression Trees", 1984, 3.4.3): so few photos or signs
    cannot tell them apart, and the nearer to what has proved itself, the better.

    Args:
        network: without batch norm, trained; its weights are replaced.
        begin: gives a copy of it the weights that it began with; layers that it leaves alone are not averaged.
        score: share of the photos or signs that a network gets right, 0 to 1.
        judged: how many these are.

    Returns:
        `share`, and `scores` by the shares that were tried.
    """
    end = network.get_weights()
    copy = keras.models.clone_model(network)
    copy.set_weights(end)
    begin(copy)
    start = copy.get_weights()
    scores = {}
    for share in SHARES:
        network.set_weights([a + (b - a) * share for a, b in zip(start, end, strict=True)])
        scores[share] = score(network)
        print(f"{share:.0%} of what was learnt: {scores[share]:.4f}", flush=True)
    best = max(scores.values())
    chosen = min(share for share in SHARES if scores[share] >= best - math.sqrt(best * (1 - best) / max(judged, 1)))
    network.set_weights([a + (b - a) * chosen for a, b in zip(start, end, strict=True)])
    return {"share": chosen, "scores": {f"{share:g}": round(value, 4) for share, value in scores.items()}}
