"""A trained network made narrower: what it computes stays where there is room for it, and training goes on from there."""

import dataclasses

import keras
import numpy as np
import pytest

from edge.errors import InputError
from train.networks import vgg
from train.networks.prune import Convolution, _most_telling, prune
from train.networks.weights import load_base
from train.recipes import FULL, recipe, spotter_recipe


def chain(channels, seed=0, pooled=(False, True, False)):
    chance, before, layers = np.random.default_rng(seed), 3, []
    for count, last in zip(channels, pooled, strict=True):
        kernel = chance.normal(0, np.sqrt(2 / (9 * before)), (3, 3, before, count)).astype(np.float32)
        layers.append(Convolution(kernel, chance.normal(0, 0.1, count).astype(np.float32), last))
        before = count
    return layers


def run(layers, maps):
    for layer in layers:
        maps = np.maximum(keras.ops.convert_to_numpy(keras.ops.conv(maps, layer.kernel, padding="same")) + layer.bias, 0)
        if layer.pooled:
            maps = keras.ops.convert_to_numpy(keras.ops.max_pool(maps, 2))
    return maps


def doubled(layers):
    """The same network with each channel twice, in another order: what follows reads the two with half the weight each."""
    chance, order, wide = np.random.default_rng(5), None, []
    for at, layer in enumerate(layers):
        kernel = layer.kernel if order is None else (np.concatenate([layer.kernel, layer.kernel], axis=2) / 2)[:, :, order]
        twice = np.arange(2 * layer.bias.size)
        order = twice if at == len(layers) - 1 else chance.permutation(twice)
        wide.append(Convolution(np.concatenate([kernel, kernel], axis=3)[..., order], np.concatenate([layer.bias, layer.bias])[order], layer.pooled))
    return wide


def test_what_is_there_twice_goes_without_loss():
    layers, photos = chain((8, 12, 16)), np.random.default_rng(1).normal(0, 1, (24, 16, 16, 3)).astype(np.float32)
    wide = doubled(layers)
    narrow = prune(wide, (8, 12, 16), photos)
    assert [layer.kernel.shape[2:] for layer in narrow] == [(3, 8), (8, 12), (12, 16)]
    assert [layer.pooled for layer in narrow] == [False, True, False]
    others = np.random.default_rng(2).normal(0, 1, (8, 16, 16, 3)).astype(np.float32)
    wanted, found = run(wide, others), run(narrow, others)
    error = min(np.abs(np.sort(found, axis=3) - np.sort(wanted[..., half], axis=3)).max() for half in (slice(0, 16), slice(16, 32)))
    assert error < 0.02 * wanted.std()


def test_it_keeps_more_of_what_is_computed_than_cutting_does():
    wide, photos = chain((16, 16, 12), seed=3), np.random.default_rng(1).normal(0, 1, (64, 16, 16, 3)).astype(np.float32)
    narrow = prune(wide, (12, 12, 12), photos)
    cut = [Convolution(layer.kernel[:, :, : min(12, layer.kernel.shape[2]), :12], layer.bias[:12], layer.pooled) for layer in wide]
    others = np.random.default_rng(2).normal(0, 1, (16, 16, 16, 3)).astype(np.float32)
    wanted = run(wide, others)
    assert np.square(run(narrow, others) - wanted).mean() < 0.3 * np.square(run(cut, others) - wanted).mean()


def test_a_channel_that_is_silent_or_not_listened_to_goes_first():
    outputs = np.random.default_rng(0).random((200, 6), np.float32)
    outputs[:, 2] = 0
    following = np.ones((3, 3, 6, 4), np.float32)
    following[:, :, 4] = 1e-3
    assert set(_most_telling(outputs, following, 4)) == {0, 1, 3, 5}
    assert len(_most_telling(outputs * 0, following, 3)) == 3


def test_wider_weights_are_pruned_to_the_width_that_is_asked_for(tmp_path):
    keras.utils.set_random_seed(1)
    wide = vgg.build(32, dense=8, dropout=0.5, batch_norm=False)
    wide.save(tmp_path / "model.keras")
    narrow = vgg.build(32, dense=8, dropout=0.5, batch_norm=False, blocks=vgg.channels(0.25))
    assert narrow.get_layer("block1_conv1").filters == 16
    assert narrow.get_layer("block5_conv3").filters == 128
    photos = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
    load_base(narrow, str(tmp_path / "model.keras"), lambda: photos)
    first, whole = (keras.Model(network.input, network.get_layer("block1_conv1").output).predict(photos[:8], verbose=0) for network in (narrow, wide))
    distances = np.abs(first[..., :, None] - whole[..., None, :]).max(axis=(0, 1, 2))
    assert (distances.min(axis=1) < 0.02 * whole.std()).all()  # each is one of the wide network's
    assert len(set(distances.argmin(axis=1))) == 16

    narrow.save(tmp_path / "narrow.keras")
    again = vgg.build(32, dense=8, dropout=0.5, batch_norm=False, blocks=vgg.channels(0.25))
    load_base(again, str(tmp_path / "narrow.keras"), lambda: pytest.fail("there is nothing to prune"))
    assert np.array_equal(again.get_layer("block4_conv2").get_weights()[0], narrow.get_layer("block4_conv2").get_weights()[0])
    before = wide.get_weights()
    with pytest.raises(InputError, match=r"at least \[64, 64, 128.*found \[16, 16, 32.*narrow\.keras: give a smaller --width"):
        load_base(wide, str(tmp_path / "narrow.keras"), lambda: photos)
    assert all(np.array_equal(a, b) for a, b in zip(before, wide.get_weights(), strict=True))


def test_a_narrow_network_folds_to_what_it_computes():
    keras.utils.set_random_seed(2)
    network = vgg.build(32, dense=8, dropout=0.5, batch_norm=True, blocks=vgg.channels(0.25))
    plain = vgg.fold(network)
    assert plain.get_layer("block3_conv2").filters == 64
    photos = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    assert np.allclose(plain.predict(photos, verbose=0), network.predict(photos, verbose=0), atol=1e-5)


def test_widths_are_checked():
    assert vgg.channels(1.0) == list(vgg.BLOCKS)
    assert min(min(block) for block in vgg.channels(0.01)) == 8
    assert recipe("full", width=0.5) == dataclasses.replace(FULL, width=0.5)
    for width in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(InputError, match=f"above 0 and at most 1, found {width:g}: give another --width"):
            recipe("full", width=width)
    with pytest.raises(InputError, match="--width"):
        spotter_recipe(epochs=None, seed=None, precision=None, width=0.5)
