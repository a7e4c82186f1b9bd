"""Pretrained convolutions for VGG-16: Keras's ImageNet file, a file in its layout, or a `.keras` model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import keras

from edge.errors import InputError, one_line

CURE = "give the notop h5 or a .keras of keras.applications.VGG16, or a run's model.keras"
SUFFIXES = (".h5", ".hdf5", ".keras")


def load_base(model: keras.Model, weights: str) -> None:
    """Copy VGG-16's convolutions into a plain model; nothing is copied where anything is wrong.

    Args:
        model: from `train.model.build(batch_norm=False)`.
        weights: "imagenet" (Keras downloads and verifies its file) or the path of a file: Keras's `notop` weights (`.h5`, as published or as `save_weights`
            writes them), or a `.keras` of VGG-16 or of a finished run.

    Raises:
        InputError: no download, no such file, or a file that does not hold VGG-16's convolutions.
    """
    base = _published() if weights == "imagenet" else _read(Path(weights))
    for layer in _convolutions(base):
        model.get_layer(layer.name).set_weights(layer.get_weights())


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
    found, wanted = ([f"{layer.name} {[tuple(w.shape) for w in layer.weights]}" for layer in _convolutions(network)] for network in (model, plain))
    if found != wanted:
        other = next((f", among them {described}" for described in found if described not in wanted), "")
        raise InputError(f"wanted VGG-16's {len(wanted)} convolutions in {path}, found {len(found)}{other}: {CURE}")
    return model


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
