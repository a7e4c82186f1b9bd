"""A bundle's weights in Keras compute what its fp32 model computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

from edge.bundle.manifest import SHIPPED, read_bundle
from edge.datasets.gtsrb_labels import LABELS
from edge.engines.open import open_engine
from edge.errors import InputError
from train.networks import spotter, vgg
from train.networks.bundle_weights import is_bundle, load_bundle


def classifier(width: float = 0.5, size: int = 64):
    return vgg.build(size, dense=128, dropout=0.3, batch_norm=False, blocks=vgg.channels(width))


def fp32_of_the_bundle(role: str, images: np.ndarray) -> np.ndarray:
    with open_engine(read_bundle(SHIPPED), role, engine="onnxruntime", precision="fp32") as engine:
        return engine.infer(images)


def test_a_classifier_computes_the_same():
    crops = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    network = classifier()
    load_bundle(network, SHIPPED, "classifier", LABELS)
    np.testing.assert_allclose(network.predict_on_batch(crops), fp32_of_the_bundle("classifier", crops), atol=1e-5)


def test_a_spotter_computes_the_same():
    frames = np.random.default_rng(0).integers(0, 256, (1, 480, 816, 3), np.uint8)
    network = spotter.build((480, 816), batch_norm=False)
    load_bundle(network, SHIPPED, "spotter")
    np.testing.assert_allclose(network.predict_on_batch(frames).transpose(0, 3, 1, 2), fp32_of_the_bundle("spotter", frames), atol=1e-4)


def test_of_other_labels_the_last_layer_takes_those_that_the_bundle_knows():
    network, whole = classifier(), classifier()
    before = network.get_layer("logits").get_weights()
    load_bundle(whole, SHIPPED, "classifier", LABELS)
    load_bundle(network, SHIPPED, "classifier", ("Something else", *LABELS[42:0:-1]))
    for fresh, found, held in zip(before, network.get_layer("logits").get_weights(), whole.get_layer("logits").get_weights(), strict=True):
        np.testing.assert_array_equal(found[..., 0], fresh[..., 0])
        np.testing.assert_array_equal(found[..., 1:], held[..., 42:0:-1])
    assert np.abs(network.get_layer("dense").get_weights()[0]).sum() > 0


@pytest.mark.parametrize(("width", "size"), [(0.25, 64), (0.5, 48)])
def test_a_network_of_another_size_is_refused_and_left_as_it_was(width: float, size: int):
    network = classifier(width, size)
    before = network.get_weights()
    with pytest.raises(InputError, match=r"^wanted .* of shapes .*: give --width and --size as the bundle has them$"):
        load_bundle(network, SHIPPED, "classifier", LABELS)
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_bundle_without_that_network_is_refused(tiny_bundle: Path):
    bundle = read_bundle(tiny_bundle)
    alone = replace(bundle.manifest, models=tuple(model for model in bundle.manifest.models if model.role == "classifier"))
    if bundle.manifest.models == alone.models:
        with pytest.raises(InputError, match=r"^wanted a spotter in .*: give another bundle to --weights$"):
            load_bundle(spotter.build((480, 816), batch_norm=False), tiny_bundle, "spotter")


def test_a_folder_with_a_manifest_is_a_bundle(tmp_path: Path):
    assert is_bundle(str(SHIPPED))
    assert not is_bundle(str(tmp_path))
    assert not is_bundle("imagenet")
