from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.backend.config import keras_home
from keras.src.legacy.saving import legacy_h5_format

from edge.errors import BundleError, InputError
from train import model as vgg


@pytest.fixture(scope="module")
def reference():
    keras.utils.set_random_seed(3)
    return keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))


@pytest.fixture(scope="module")
def photos():
    return np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)


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


def test_with_the_same_weights_the_features_are_those_of_keras(tmp_path, reference, photos):
    path = tmp_path / "notop.weights.h5"
    reference.save_weights(path)
    network = small()
    vgg.load_base(network, str(path))
    ours = keras.Model(network.input, network.get_layer("block5_pool").output).predict(photos, verbose=0)
    theirs = reference.predict(keras.applications.vgg16.preprocess_input(photos[..., ::-1].astype(np.float32)), verbose=0)
    assert theirs.std() > 0
    assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * theirs.std())


def test_weights_in_the_layout_of_the_published_file_are_taken(tmp_path, reference):
    path = tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, reference)
    network = small()
    vgg.load_base(network, str(path))
    for name in vgg.convolution_names():
        assert all(np.array_equal(a, b) for a, b in zip(network.get_layer(name).get_weights(), reference.get_layer(name).get_weights(), strict=True))


@pytest.mark.parametrize("kind", ["missing", "text", "suffix", "truncated", "other network"])
def test_a_file_of_no_vgg16_weights_is_refused(tmp_path, reference, kind):
    path = tmp_path / ("weights.png" if kind == "suffix" else "weights.h5")
    if kind in ("text", "suffix"):
        path.write_text("no weights")
    elif kind == "truncated":
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, reference)
        path.write_bytes(path.read_bytes()[:1_000_000])
    elif kind == "other network":
        other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, other)
    with pytest.raises(InputError, match=r"wanted .*VGG-16's.* weights.*weights\.(h5|png)|VGG-16's weights from .*weights\.(h5|png)") as caught:
        vgg.load_base(small(), str(path))
    assert "\n" not in str(caught.value)


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
    ours, theirs = vgg.FusedBatchNorm(), keras.layers.BatchNormalization(momentum=0.9)
    outputs = [np.asarray(layer(batch, training=True)) for layer in (ours, theirs)]
    assert np.allclose(*outputs, atol=1e-3)
    assert np.allclose(ours.moving_mean, theirs.moving_mean, rtol=1e-4)
    assert np.allclose(ours.moving_variance, theirs.moving_variance, rtol=1e-3)  # the fused one is unbiased: n / (n - 1)


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


def test_imagenet_without_a_network_is_one_clear_line(monkeypatch, capsys):
    if list(Path(keras_home()).glob("models/vgg16*notop*")):
        pytest.skip("Keras has the weights in its cache")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"VGG-16's weights from imagenet.*check the network, or give --weights a file or none") as caught:
        vgg.load_base(small(), "imagenet")
    assert "\n" not in str(caught.value)
