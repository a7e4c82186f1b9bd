"""A network that learnt on, averaged with the one that it began as: most of what was learnt is kept, and little of what was known before is lost.

Source: M. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022: the mean of both networks' weights, layer by layer, by halves where no other
share has been found to be better.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

SHARE = 0.5


def average(network: keras.Model, begin: Callable[[keras.Model], None]) -> dict[str, Any]:
    """Give a network the mean of its weights and those that it began with; returns its `share` of it, `SHARE`, for the record.

    Args:
        network: without batch norm, trained; its weights are replaced.
        begin: gives a copy of it the weights that it began with; layers that it leaves alone are not averaged.
    """
    end = network.get_weights()
    copy = keras.models.clone_model(network)
    copy.set_weights(end)
    begin(copy)
    network.set_weights([first + (last - first) * SHARE for first, last in zip(copy.get_weights(), end, strict=True)])
    return {"share": SHARE}
