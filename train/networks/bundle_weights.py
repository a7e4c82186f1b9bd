"""A bundle's weights, read back into Keras's layout: what a network learns on from.

The bundle's fp16 file holds them exactly. Of an ONNX kernel the axes stand in another order, and so do the rows of the matrix behind the flattening.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edge.bundle.manifest import MANIFEST, Bundle, read_bundle
from edge.errors import InputError

Layers = dict[str, list[NDArray[np.float32]]]
_FLAT = "flatten"


def is_bundle(path: str) -> bool:
    """Tell whether a path is a bundle's folder."""
    return (Path(path) / MANIFEST).is_file()


def load_bundle(network: keras.Model, folder: Path, role: str, labels: tuple[str, ...] | None = None) -> None:
    """Copy a bundle's weights into a network without batch norm, those of its last layer for the labels that the bundle knows too.

    Args:
        network: of the role's layers, by name.
        folder: of the bundle.
        role: "classifier" or "spotter".
        labels: of the network's outputs, in order; what the last layer, `logits`, has for others is left as it is. None: there are none.

    Raises:
        BundleError: no bundle, or a damaged one.
        InputError: the bundle has no such network, or one of another size; nothing is copied.
    """
    bundle = read_bundle(folder)
    if not bundle.holds(role):
        raise InputError(f"wanted a {role} in {folder}, found none: give another bundle to --weights")
    found = _layers(bundle, role, network)
    if labels is not None:
        found["logits"] = _by_label(found["logits"], bundle.manifest.labels, network.get_layer("logits").get_weights(), labels)
    for name, values in found.items():
        wanted = [tuple(weight.shape) for weight in network.get_layer(name).weights]
        if [value.shape for value in values] != wanted:
            raise InputError(
                f"wanted {name} of shapes {wanted} in {folder}, found {[value.shape for value in values]}: give --width and --size as the bundle has them"
            )
    for name, values in found.items():
        network.get_layer(name).set_weights(values)


def _by_label(held: list[NDArray[np.float32]], known: tuple[str, ...], fresh: list[NDArray[np.float32]], labels: tuple[str, ...]) -> list[NDArray[np.float32]]:
    """Return kernel and bias of `logits`: for the labels that are known what is held, for others what is fresh."""
    if known == labels:
        return held
    kernel, bias = (weight.copy() for weight in fresh)
    for place, label in enumerate(labels):
        if label in known and len(held[0]) == len(kernel):
            kernel[:, place], bias[place] = held[0][:, known.index(label)], held[1][known.index(label)]
    return [kernel, bias]


def _layers(bundle: Bundle, role: str, network: keras.Model) -> Layers:
    """Read kernels and biases of the network's layers out of the bundle's fp16 file."""
    spec = bundle.model(role, "fp16")
    file = bundle.verified_path(spec.file, spec.sha256)
    graph = onnx.load(file).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in graph.initializer}
    found: Layers = {}
    for layer in network.layers:
        if not layer.weights:
            continue
        values = [values for name, values in tensors.items() if name.split("/")[0] == layer.name]
        if len(values) != 2:
            raise InputError(f"wanted kernel and bias of {layer.name} in {file}, found {len(values)} tensors: give a bundle of this version's export")
        kernel, bias = sorted(values, key=lambda value: value.size, reverse=True)
        if kernel.ndim == 4:
            kernel = kernel.transpose(2, 3, 1, 0)
        elif layer is _behind_flat(network):
            height, width, channels = network.layers[_place(network, _FLAT)].input.shape[1:]
            if kernel.shape[0] == height * width * channels:
                kernel = kernel.reshape(channels, height, width, -1).transpose(1, 2, 0, 3).reshape(kernel.shape)
        found[layer.name] = [np.ascontiguousarray(kernel), bias.reshape(-1)]
    return found


def _place(network: keras.Model, name: str) -> int:
    return [layer.name for layer in network.layers].index(name)


def _behind_flat(network: keras.Model) -> keras.layers.Layer | None:
    names = [layer.name for layer in network.layers]
    return network.layers[names.index(_FLAT) + 1] if _FLAT in names else None
