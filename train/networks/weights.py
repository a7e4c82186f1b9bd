"""Pretrained convolutions for VGG-16: Keras's ImageNet file, a file in its layout, or a `.keras` model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError, one_line
from train.networks.prune import Convolution, prune

CURE = "give the notop h5 or a .keras of keras.applications.VGG16, or a run's model.keras"
SUFFIXES = (".h5", ".hdf5", ".keras")


def load_base(model: keras.Model, weights: str, crops: Callable[[], NDArray[np.uint8]]) -> None:
    """Copy VGG-16's convolutions into a plain model, pruned to its channels where the file's are more; nothing is copied where anything is wrong.

    Args:
        model: from `train.networks.vgg.build(batch_norm=False)`.
        weights: "imagenet" (Keras downloads and verifies its file) or the path of a file: Keras's `notop` weights (`.h5`, as published or as `save_weights`
            writes them), or a `.keras` of VGG-16 or of a finished run.
        crops: gives photos to prune by, (n, size, size, 3) uint8 BGR; called where there is something to prune.

    Raises:
        InputError: no download, no such file, or a file that does not hold VGG-16's convolutions, or fewer channels than `model`.
    """
    base = _convolutions(_published() if weights == "imagenet" else _read(Path(weights)))
    names, wanted = [layer.name for layer in base], [model.get_layer(layer.name).filters for layer in base]
    trained = [layer.get_weights() for layer in base]
    if any(layer.filters < count for layer, count in zip(base, wanted, strict=True)):
        raise InputError(f"wanted weights of at least {wanted} channels, found {[layer.filters for layer in base]} in {weights}: give a smaller --width")
    if [layer.filters for layer in base] != wanted:
        centred = keras.Model(model.input, model.get_layer(names[0]).input)
        pooled = [model.layers[model.layers.index(model.get_layer(name)) + 1].name.endswith("_pool") for name in names]
        wide = [Convolution(kernel, bias, last) for (kernel, bias), last in zip(trained, pooled, strict=True)]
        trained = [[layer.kernel, layer.bias] for layer in prune(wide, wanted, np.asarray(centred(crops()), np.float32))]
    for name, values in zip(names, trained, strict=True):
        model.get_layer(name).set_weights(values)


def _published() -> keras.Model:
    try:
        return keras.applications.VGG16(include_top=False, weights="imagenet", input_shape=(32, 32, 3))
    except Exception as error:  # Keras raises another class for each of network, checksum and disk
        raise InputError(
            f"wanted VGG-16's ImageNet weights through Keras, the download failed ({one_line(error)}): "
            "connect to the network and try again, or give --weights PATH (its notop h5, fetched elsewhere) or --weights none"
        ) from error


def _read(path: Path) -> keras.Model:
    if not path.is_file():
        raise InputError(f"wanted --weights imagenet, none or a file of VGG-16's weights, found no file {path}: check the path")
    if path.suffix not in SUFFIXES:
        raise InputError(f"wanted VGG-16's weights in a file named {' or '.join(SUFFIXES)}, found {path}: {CURE}")
    plain = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    try:
        if path.suffix != ".keras":
            plain.load_weights(path)
            return plain
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, zipfile and h5py each raise their own for a damaged or other file
        raise InputError(f"wanted VGG-16's weights in {path}, found {_described(path)}; Keras says: {one_line(error)}: {CURE}") from error
    if any(isinstance(layer, keras.layers.BatchNormalization) for layer in _layers(model)):
        raise InputError(f"wanted a plain VGG-16 in {path}, found one with batch norm: {CURE}")
    found, wanted = _convolutions(model), {layer.name: layer for layer in _convolutions(plain)}
    strange = [layer for layer in found if layer.name not in wanted or not _is_narrower(layer, wanted[layer.name])]
    if [layer.name for layer in found] != list(wanted) or strange:
        other = "".join(f", among them {layer.name} {[tuple(weight.shape) for weight in layer.weights]}" for layer in strange[:1])
        raise InputError(f"wanted VGG-16's {len(wanted)} convolutions in {path}, found {len(found)}{other}: {CURE}")
    return model


def _is_narrower(layer: keras.layers.Conv2D, whole: keras.layers.Conv2D) -> bool:
    """Say whether a convolution is VGG-16's, with all of its channels or less; of a photo's there are always three."""
    (*side, before, after), (*whole_side, whole_before, whole_after) = layer.kernel.shape, whole.kernel.shape
    return side == whole_side and after <= whole_after and (before == whole_before if whole_before == 3 else before <= whole_before)


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Walk through the layers of a model, in nested models too."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def _convolutions(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in _layers(model) if isinstance(layer, keras.layers.Conv2D)]


def _described(path: Path) -> str:
    """Say what a file of weights holds."""
    if path.suffix == ".keras":
        return "no Keras model that can be read"
    if not h5py.is_hdf5(path):
        return "no HDF5 file"
    shapes: list[tuple[int, ...]] = []

    def note(_name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 4:
            shapes.append(item.shape)

    try:
        with h5py.File(path) as file:
            file.visititems(note)
    except OSError:
        return "a damaged HDF5 file"
    return f"{len(shapes)} convolutions" + (f" from {shapes[0]} to {shapes[-1]}" if shapes else "")
