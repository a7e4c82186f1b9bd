import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from edge.errors import BundleError, InputError
from train.networks import vgg


@pytest.fixture(scope="module")
def reference():
    keras.utils.set_random_seed(3)
    return keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))


@pytest.fixture(scope="module")
def photos():
    return np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def to_freeze():
    """One network of each kind: freezing begins anew each time."""
    return {batch_norm: small(batch_norm) for batch_norm in (False, True)}


def small(batch_norm=False):
    return vgg.build(32, dense=16, dropout=0.5, batch_norm=batch_norm)


def randomise(network):
    rng = np.random.default_rng(5)
    for layer in network.layers:
        if isinstance(layer, vgg.FusedBatchNorm):
            count = layer.gamma.shape[0]
            layer.set_weights([rng.uniform(0.5, 1.5, count), rng.normal(0, 0.3, count), rng.normal(0, 2, count), rng.uniform(0.5, 3, count)])
        elif layer.name.endswith("_conv1"):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(0, 0.5, bias.shape)])


def unsaturate(network):
    """Let the first layer give little, else one class has all, whatever a plain network is shown, and nothing moves."""
    kernel, bias = network.get_layer("block1_conv1").get_weights()
    network.get_layer("block1_conv1").set_weights([kernel / 64, bias])


def test_the_plain_network_is_vgg16_of_keras(reference):
    def described(network):
        kinds = (keras.layers.Conv2D, keras.layers.MaxPooling2D)
        kept = ("name", "filters", "kernel_size", "strides", "padding", "activation", "dilation_rate", "groups", "use_bias", "pool_size")
        layers = [layer for layer in network.layers if isinstance(layer, kinds)]
        return [(type(y).__name__, {key: y.get_config().get(key) for key in kept}, [w.shape for w in y.get_weights()]) for y in layers]

    ours = described(small())
    assert [kind for kind, _, _ in ours].count("Conv2D") == 13
    assert [kind for kind, _, _ in ours].count("MaxPooling2D") == 5
    assert ours == described(reference)
    assert [name for _, config, _ in ours if (name := config["name"]).find("conv") > 0] == vgg.convolution_names()


def test_normalisation_lies_in_the_graph_and_is_that_of_keras(photos):
    network = small()
    inside = keras.Model(network.input, network.get_layer("mean_subtraction").output).predict(photos, verbose=0)
    rgb = photos[..., ::-1].astype(np.float32)
    assert np.allclose(inside, keras.applications.vgg16.preprocess_input(rgb.copy()), atol=1e-4)


def learning(network):
    return [layer.name for layer in network.layers if layer.trainable_weights]


def batches(count):
    rng = np.random.default_rng(2)
    return [(rng.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8), np.eye(43, dtype=np.float32)[rng.integers(0, 43, 4)]) for _ in range(count)]


def compiled(network):
    network.compile(keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=1e-3), "categorical_crossentropy")
    return network


def test_folded_batch_norm_computes_the_same(photos):
    network = small(batch_norm=True)
    randomise(network)
    plain = vgg.fold(network)
    assert not any(isinstance(layer, vgg.FusedBatchNorm) for layer in plain.layers)
    wanted, found = network.predict(photos, verbose=0), plain.predict(photos, verbose=0)
    assert np.abs(wanted[0] - wanted[1]).max() > 1e-3  # the photos are told apart, so that an error would show
    assert np.abs(wanted - found).max() < 1e-4


def test_fused_batch_norm_trains_as_that_of_keras(photos):
    batch = photos.astype(np.float32)
    ours, theirs = vgg.FusedBatchNorm(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    outputs = [np.asarray(layer(batch, training=True)) for layer in (ours, theirs)]
    assert np.allclose(*outputs, atol=1e-3)
    assert np.allclose(ours.moving_mean, theirs.moving_mean, rtol=1e-4)
    assert np.allclose(ours.moving_variance, theirs.moving_variance, rtol=1e-3)  # the fused one is unbiased: n / (n - 1)
    ours.trainable = theirs.trainable = False
    frozen = [np.asarray(layer(batch, training=True)) for layer in (ours, theirs)]
    assert np.allclose(*frozen, rtol=1e-3)
    assert np.abs(frozen[0] - outputs[0]).max() > 1


def test_rounding_to_fp16_is_exact_and_refuses_what_does_not_fit():
    network = small()
    before = network.get_layer("dense").get_weights()[0]
    vgg.round_to_fp16(network)
    assert all(np.array_equal(w, w.astype(np.float16).astype(np.float32)) for w in network.get_weights())
    assert 0 < np.abs(network.get_layer("dense").get_weights()[0] - before).max() < 1e-3
    kernel, bias = network.get_layer("logits").get_weights()
    for wrong in (70_000.0, np.nan):
        network.get_layer("logits").set_weights([kernel, np.full_like(bias, wrong)])
        with pytest.raises(BundleError, match=r"float16's range.*logits"):
            vgg.round_to_fp16(network)


def test_an_input_too_small_for_five_pools_is_refused():
    with pytest.raises(InputError, match=r"at least 32 px.*found 31"):
        vgg.build(31, dense=8, dropout=0.5, batch_norm=False)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(
    ("asked", "end", "first"),
    [
        ({"last_layers": 8}, "block3_pool", "block4_conv1"),  # the tutorial
        ({"from_block": 4}, "block3_pool", "block4_conv1"),
        ({"last_layers": 7}, "block4_conv1", "block4_conv2"),
        ({"last_layers": 5}, "block4_pool", "block5_conv1"),  # the pool of block 4 has nothing to learn
        ({"from_block": 5}, "block4_pool", "block5_conv1"),
        ({"last_layers": 0}, "block5_pool", None),
        ({"last_layers": 19}, None, "block1_conv1"),
        ({"from_block": 1}, None, "block1_conv1"),
    ],
)
def test_freezing_counts_as_the_tutorial_and_by_block(reference, to_freeze, batch_norm, asked, end, first):
    network = to_freeze[batch_norm]
    vgg.freeze(network, **asked)
    wanted = vgg.convolution_names()[vgg.convolution_names().index(first) :] if first else []
    if "last_layers" in asked:  # the tutorial's own line
        kept = reference.layers[len(reference.layers) - asked["last_layers"] :]
        assert wanted == [layer.name for layer in kept if layer.weights]
    if batch_norm:
        wanted = [name for conv in wanted for name in (conv, f"{conv}_bn")]
    assert learning(network) == [*wanted, *(["dense", "dense_bn"] if batch_norm else ["dense"]), "logits"]
    ends = {"block4_conv1": "block4_conv1_relu"} if batch_norm else {}
    assert vgg.frozen_end(network) == ends.get(end, end)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "either last_layers or from_block"),
        ({"last_layers": 8, "from_block": 4}, "either last_layers or from_block"),
        ({"last_layers": 20}, "0 to 19 trainable layers.*found 20"),
        ({"last_layers": -1}, "0 to 19 trainable layers.*found -1"),
        ({"from_block": 0}, "from 1 to 5, found 0"),
        ({"from_block": 6}, "from 1 to 5, found 6.*last_layers 0 for the head alone"),
    ],
)
def test_nonsense_to_freeze_is_refused(to_freeze, asked, told):
    network = to_freeze[False]
    before = learning(network)
    with pytest.raises(InputError, match=told):
        vgg.freeze(network, **asked)
    assert learning(network) == before


@pytest.mark.parametrize(("batch_norm", "policy"), [(False, "float32"), (True, "float32"), (True, "mixed_bfloat16")])
def test_prefix_and_suffix_are_the_model(tmp_path, photos, batch_norm, policy):
    keras.config.set_dtype_policy(policy)
    try:
        network = small(batch_norm)
    finally:
        keras.config.set_dtype_policy("float32")
    randomise(network)
    unsaturate(network)
    vgg.freeze(network, from_block=4)
    prefix, suffix = vgg.split_at_frozen(network)
    features = prefix(photos)
    assert features.shape == (4, 4, 4, 256)
    assert keras.backend.standardize_dtype(features.dtype) == ("bfloat16" if policy == "mixed_bfloat16" else "float32")
    wanted = np.asarray(network(photos))
    assert np.abs(wanted[0] - wanted[1]).max() > 1e-4
    assert np.abs(np.asarray(suffix(features)) - wanted).max() <= 1e-6
    network.save(tmp_path / "whole.keras")  # the cut leaves the model whole
    assert np.abs(np.asarray(keras.models.load_model(tmp_path / "whole.keras", compile=False)(photos)) - wanted).max() <= 1e-6


@pytest.mark.parametrize("batch_norm", [False, True])
def test_steps_on_kept_features_are_steps_of_the_whole_model(batch_norm):
    keras.utils.set_random_seed(1)
    first = vgg.build(32, dense=16, dropout=0.0, batch_norm=batch_norm)
    randomise(first)
    unsaturate(first)
    second = keras.models.clone_model(first)
    second.set_weights(first.get_weights())
    before = first.get_weights()
    for network in (first, second):
        vgg.freeze(network, last_layers=8)
    compiled(first)
    prefix, suffix = vgg.split_at_frozen(second)
    compiled(suffix)
    for photos, targets in batches(10):
        first.train_on_batch(photos, targets)
        suffix.train_on_batch(prefix.predict_on_batch(photos), targets)
    moved = [np.abs(a - b).max() for a, b in zip(before, first.get_weights(), strict=True)]
    assert max(moved) > 1e-2
    assert moved[0] == 0  # frozen
    assert max(np.abs(a - b).max() for a, b in zip(first.get_weights(), second.get_weights(), strict=True)) < 1e-5


def test_a_model_that_cannot_be_cut_is_refused():
    network = small(batch_norm=True)
    with pytest.raises(InputError, match="frozen prefix, found that block1_conv1 learns"):
        vgg.split_at_frozen(network)
    vgg.freeze(network, from_block=3)
    network.get_layer("block2_conv1_bn").trainable = True
    with pytest.raises(InputError, match="found that block2_conv1_bn learns behind the frozen block2_conv1"):
        vgg.split_at_frozen(network)


ON_JAX = """
import sys
class NoTensorFlow:  # as where it is not installed
    def find_spec(name, path, target=None):
        if name == "tensorflow":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoTensorFlow)
import keras, numpy as np
from train.networks import vgg
folder = sys.argv[1]
given = np.load(f"{folder}/given.npz")
network = keras.models.load_model(f"{folder}/tensorflow.keras", compile=False)
np.savez(f"{folder}/found.npz", network.predict(given["photos"], verbose=0))
np.savez(f"{folder}/folded.npz", *vgg.fold(network).get_weights())
vgg.freeze(network, last_layers=8)
network.compile(keras.optimizers.SGD(0.01, momentum=0.9), "categorical_crossentropy")
np.savez(f"{folder}/losses.npz", [network.train_on_batch(given["photos"], given["targets"]) for _ in range(2)])
network.save(f"{folder}/jax.keras")
np.savez(f"{folder}/trained.npz", *network.get_weights())
print(keras.backend.backend(), "tensorflow" in sys.modules)
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax")
def test_jax_without_tensorflow_takes_the_model_trains_it_and_gives_it_back(tmp_path, photos):
    network = vgg.build(32, dense=16, dropout=0.0, batch_norm=True)
    randomise(network)
    targets = np.eye(43, dtype=np.float32)[:4]
    np.savez(tmp_path / "given.npz", photos=photos, targets=targets)
    wanted = network.predict(photos, verbose=0)
    network.save(tmp_path / "tensorflow.keras")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    ran = subprocess.run(
        [sys.executable, "-c", ON_JAX, tmp_path], cwd=Path(__file__).parents[3], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "jax False"), ran.stderr
    found, folded, losses, trained = (list(np.load(tmp_path / f"{name}.npz").values()) for name in ("found", "folded", "losses", "trained"))
    assert np.abs(found[0] - wanted).max() < 1e-4
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(folded, vgg.fold(network).get_weights(), strict=True))
    back = keras.models.load_model(tmp_path / "jax.keras", compile=False)
    assert all(np.array_equal(a, b) for a, b in zip(trained, back.get_weights(), strict=True))
    assert np.abs(back.predict(photos, verbose=0) - wanted).max() > 1e-3
    vgg.freeze(network, last_layers=8)
    network.compile(keras.optimizers.SGD(0.01, momentum=0.9), "categorical_crossentropy")
    assert np.allclose(losses[0], [network.train_on_batch(photos, targets) for _ in range(2)], rtol=1e-3)
