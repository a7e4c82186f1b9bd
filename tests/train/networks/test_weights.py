"""VGG-16's weights from every kind of file that users have, and from the network when there is none."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from edge.errors import InputError
from train.networks import vgg
from train.networks.weights import load_base

INPUT = (32, 32, 3)


@pytest.fixture(scope="module")
def reference():
    keras.utils.set_random_seed(3)
    return keras.applications.VGG16(weights=None, include_top=False, input_shape=INPUT)


@pytest.fixture
def network():
    return built()


@pytest.fixture(scope="module")
def untouched():
    return built()


def built():
    return vgg.build(32, dense=16, dropout=0.5, batch_norm=False)


def no_photos():
    pytest.fail("there is nothing to prune")


def write_as_published(network, path):
    """The layout of `vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5`, written by Keras 1: a group a layer, pools too, and no version."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        for layer in network.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}_{kind}_1:0" for kind in ("W", "b")][: len(layer.weights)]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.get_weights(), strict=True):
                group[name] = weight


def write_as_keras_2(network, path):
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)


def write_nested(network, path):
    """As the tutorial's users build theirs: VGG-16 is one layer of a model."""
    keras.Sequential([keras.Input(INPUT), network, keras.layers.Flatten(), keras.layers.Dense(43)]).save(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", write_as_published),
        ("keras2.h5", write_as_keras_2),
        ("keras3.weights.h5", keras.Model.save_weights),
        ("vgg16.keras", keras.Model.save),
        ("nested.keras", write_nested),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_layout_of_vgg16_loads(tmp_path, reference, network, name, write):
    write(reference, tmp_path / name)
    head = network.get_layer("dense").get_weights()
    load_base(network, str(tmp_path / name), no_photos)
    for layer in vgg.convolution_names():
        assert all(np.array_equal(a, b) for a, b in zip(network.get_layer(layer).get_weights(), reference.get_layer(layer).get_weights(), strict=True))
    assert np.array_equal(head[0], network.get_layer("dense").get_weights()[0])


def test_a_finished_run_gives_its_base(tmp_path, network):
    ours = vgg.build(48, dense=8, dropout=0.5, batch_norm=False)
    ours.save(tmp_path / "model.keras")
    load_base(network, str(tmp_path / "model.keras"), no_photos)
    assert np.array_equal(network.get_layer("block5_conv3").get_weights()[0], ours.get_layer("block5_conv3").get_weights()[0])


def test_with_the_same_weights_bgr_gives_the_features_that_keras_gives_of_rgb(tmp_path, reference, network):
    """So the published kernels, which Keras feeds with BGR less its mean, fit our input as they are: block1_conv1 needs no flip of its channels."""
    write_as_published(reference, tmp_path / "vgg.h5")
    load_base(network, str(tmp_path / "vgg.h5"), no_photos)
    photos = np.random.default_rng(0).integers(0, 256, (4, *INPUT)).astype(np.uint8)
    ours = keras.Model(network.input, network.get_layer("block5_pool").output).predict(photos, verbose=0)
    rgb = photos[..., ::-1].astype(np.float32)
    theirs = reference.predict(keras.applications.vgg16.preprocess_input(rgb.copy()), verbose=0)
    flipped = reference.predict(keras.applications.vgg16.preprocess_input(rgb[..., ::-1].copy()), verbose=0)
    assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * theirs.std())
    assert np.abs(ours - flipped).max() > 0.1 * theirs.std()


def write_other(kind, path, reference):
    nets = keras.applications
    if kind == "text":
        path.write_text("no weights\n" * 100)
    elif kind == "truncated":
        (keras.Model.save if path.suffix == ".keras" else write_as_published)(reference, path)
        path.write_bytes(path.read_bytes()[:1_000_000])
    else:
        makes = {
            "vgg19": lambda: nets.VGG19(weights=None, include_top=False, input_shape=INPUT),
            "resnet": lambda: nets.ResNet50(weights=None, include_top=False, input_shape=INPUT),
            "grey": lambda: nets.VGG16(weights=None, include_top=False, input_shape=(32, 32, 1)),
            "batch norm": lambda: vgg.build(32, dense=8, dropout=0.5, batch_norm=True),
            "dense": lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
        }
        write = {".keras": keras.Model.save, ".weights.h5": keras.Model.save_weights, ".h5": write_as_keras_2}
        write["".join(path.suffixes)](makes[kind](), path)


@pytest.mark.parametrize(
    ("kind", "name", "found"),
    [
        ("missing", "w.h5", r"found no file .*w\.h5"),
        ("text", "w.png", r"in a file named \.h5 or \.hdf5 or \.keras, found .*w\.png"),
        ("text", "w.h5", "found no HDF5 file"),
        ("text", "w.weights.h5", "found no HDF5 file"),
        ("text", "w.keras", "found no Keras model that can be read"),
        ("truncated", "w.h5", "found a damaged HDF5 file"),
        ("truncated", "w.keras", "found no Keras model that can be read"),
        ("vgg19", "w.h5", r"found 16 convolutions from .*; Keras says: Layer count mismatch.* expected 13 layers, found 16"),
        ("vgg19", "w.weights.h5", "found 16 convolutions from"),
        ("vgg19", "w.keras", r"found 16, among them block3_conv4 \[\(3, 3, 256, 256\), \(256,\)\]"),
        ("resnet", "w.h5", r"found 53 convolutions from \(7, 7, 3, 64\)"),
        ("grey", "w.h5", r"found 13 convolutions from \(3, 3, 1, 64\) to"),
        ("grey", "w.weights.h5", r"found 13 convolutions from \(3, 3, 1, 64\) to"),
        ("grey", "w.keras", r"found 13, among them block1_conv1 \[\(3, 3, 1, 64\), \(64,\)\]"),
        ("batch norm", "w.keras", "found one with batch norm"),
        ("dense", "w.h5", "found 0 convolutions"),
        ("dense", "w.keras", "VGG-16's 13 convolutions in .*, found 0: give"),
    ],
)
def test_what_is_no_vgg16_is_refused_by_what_it_is(tmp_path, reference, untouched, kind, name, found):
    path = tmp_path / name
    if kind != "missing":
        write_other(kind, path, reference)
    before = untouched.get_weights()
    with pytest.raises(InputError, match=found) as caught:
        load_base(untouched, str(path), no_photos)
    told = str(caught.value)
    assert told.startswith("wanted ")
    assert str(path) in told
    assert "\n" not in told
    assert all(np.array_equal(a, b) for a, b in zip(before, untouched.get_weights(), strict=True))


DOWNLOADS = """
import pathlib, sys
from keras.src.applications import vgg16
from edge.errors import InputError
from train.networks.weights import load_base
def told():
    try:
        load_base(None, "imagenet", None)
    except InputError as error:
        print("TOLD", str(error).replace(chr(10), "<newline>"))
told()
other = pathlib.Path(sys.argv[1])
other.write_text("another file")
vgg16.WEIGHTS_PATH_NO_TOP = other.as_uri()  # Keras's address is fixed: else only its owner could serve a wrong file
told()
"""


def test_a_failed_download_is_one_clear_line(tmp_path):
    closed = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"), "http://127.0.0.1:9")
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, **closed, "no_proxy": "", "KERAS_HOME": str(home), "KERAS_BACKEND": "numpy"}  # numpy starts quickest
    ran = subprocess.run(
        [sys.executable, "-c", DOWNLOADS, tmp_path / "served.h5"],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    no_network, wrong_file = (line for line in ran.stdout.splitlines() if line.startswith("TOLD"))
    for line in (no_network, wrong_file):
        assert line.startswith("TOLD wanted VGG-16's ImageNet weights")
        assert line.endswith("or give --weights PATH (its notop h5, fetched elsewhere) or --weights none")
        assert "<newline>" not in line
    assert "URL fetch failure" in no_network
    assert "refused" in no_network
    assert "file hash does not match" in wrong_file
