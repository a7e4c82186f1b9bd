"""A network that learnt on is averaged with what it began as, and nothing else of it changes."""

from __future__ import annotations

import pytest

keras = pytest.importorskip("keras", reason="needs the train extra")

import numpy as np  # noqa: E402

from train.networks.averaged import SHARE, average  # noqa: E402


def test_what_began_is_averaged_and_layers_that_are_new_stay() -> None:
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="old"), keras.layers.Dense(2, name="new")])
    learnt = [weight.copy() for weight in network.get_weights()]
    began = [np.full_like(weight, 5.0) for weight in learnt[:2]]
    assert average(network, lambda copy: copy.get_layer("old").set_weights(began)) == {"share": SHARE}
    kernel, bias, *new = network.get_weights()
    np.testing.assert_allclose(kernel, 5 + (learnt[0] - 5) * SHARE, rtol=1e-6)
    np.testing.assert_allclose(bias, 5 + (learnt[1] - 5) * SHARE, rtol=1e-6)
    for found, before in zip(new, learnt[2:], strict=True):
        np.testing.assert_array_equal(found, before)
