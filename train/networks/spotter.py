"""The spotter: a small fully convolutional network that says where signs are; uint8 BGR frames in, a map of sign centres out.

Strides 2 to 16 and back to 4, so that a 12 px sign still covers three cells and a decision sees 150 px around. Plain 3x3 convolutions, ReLU, additions and
nearest upsampling: what integer kernels do fast and quantise well. One convolution straight to stride 4 and a third fewer channels took half the time and
found 0.89 instead of 0.96 of the held-out signs at 0.3 false boxes a frame.
Source of the heads: X. Zhou et al., "Objects as Points", 2019; of the way back up: T.-Y. Lin et al., "Feature Pyramid Networks", CVPR 2017.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from edge.errors import InputError
from train.networks.norm import FusedBatchNorm
from train.networks.precision import in_policy
from train.runs.folder import load_model

FRAME_WH = (816, 480)
"""What the runtime gives: fixed, since a TensorRT engine of one known size takes one known memory, and tiles of larger frames go in one batch."""
HEAT_BIAS = -4.0
"""Nearly all cells hold no sign: without it the first steps would go into learning that."""
BN_MOMENTUM = 0.97

# Layers with a kernel: name -> (channels, kernel side, stride).
_DOWN = {
    "stem": (16, 3, 2),
    "down4": (32, 3, 2),
    "conv4": (32, 3, 1),
    "down8": (64, 3, 2),
    "conv8": (64, 3, 1),
    "down16": (96, 3, 2),
    "conv16a": (96, 3, 1),
    "conv16b": (96, 3, 1),
}
_UP = {"lateral16": (64, 1, 1), "merge8": (64, 3, 1), "lateral8": (32, 1, 1), "merge4": (32, 3, 1)}
_HEADS = {"heat_logits": 1, "boxes": 4}


def build(size_hw: tuple[int | None, int | None], *, batch_norm: bool) -> keras.Model:
    """Build the spotter with random weights.

    Args:
        size_hw: height and width of the frames, multiples of 16; None where any such will do.
        batch_norm: after each convolution but the heads, for training; `fold` works it into the weights.

    Returns:
        A model from `frames` (batch, height, width, 3) uint8 BGR to `maps` (batch, height / 4, width / 4, 5) float32: heat, 0 to 1; the sign's centre within
        its cell, x and y in cells; the logarithms of its width and its height in units of 16 px.
    """
    frames = keras.Input((*size_hw, 3), dtype="uint8", name="frames")
    # Bytes less 128 fill a signed byte exactly, so the first convolution can take them as they are when quantised.
    x = keras.layers.Rescaling(1 / 64, offset=-2.0, dtype="float32", name="centred")(frames)
    seen = {name: (x := _convolution(x, name, *form, batch_norm=batch_norm)) for name, form in _DOWN.items()}
    for lateral, merge, skip in (("lateral16", "merge8", "conv8"), ("lateral8", "merge4", "conv4")):
        x = _convolution(x, lateral, *_UP[lateral], batch_norm=batch_norm)
        x = keras.layers.UpSampling2D(2, interpolation="nearest", name=f"{lateral}_up")(x)
        x = keras.layers.Add(name=f"{merge}_sum")([x, seen[skip]])
        x = _convolution(x, merge, *_UP[merge], batch_norm=batch_norm)
    bias = keras.initializers.Constant(HEAT_BIAS)
    small = keras.initializers.RandomNormal(stddev=0.01)
    logits = keras.layers.Conv2D(1, 1, kernel_initializer=small, bias_initializer=bias, dtype="float32", name="heat_logits")(x)
    heat = keras.layers.Activation("sigmoid", dtype="float32", name="heat")(logits)
    boxes = keras.layers.Conv2D(4, 1, kernel_initializer=small, dtype="float32", name="boxes")(x)
    return keras.Model(frames, keras.layers.Concatenate(dtype="float32", name="maps")([heat, boxes]), name="signwing_spotter")


def _convolution(x: Any, name: str, channels: int, side: int, stride: int, *, batch_norm: bool) -> Any:
    x = keras.layers.Conv2D(channels, side, stride, padding="same", use_bias=not batch_norm, kernel_initializer="he_normal", name=name)(x)
    if batch_norm:
        x = FusedBatchNorm(momentum=BN_MOMENTUM, name=f"{name}_bn")(x)
    return keras.layers.Activation("relu", name=f"{name}_relu")(x)


def fold(network: keras.Model, size_hw: tuple[int, int] = (FRAME_WH[1], FRAME_WH[0])) -> keras.Model:
    """Return the plain float32 spotter for frames of one size that computes what `network` computes in inference; its batch norm, if any, is worked in."""
    with in_policy("float32"):
        plain = build(size_hw, batch_norm=False)
    if len(network.weights) == len(plain.weights):
        plain.set_weights(network.get_weights())
        return plain
    for name in (*_DOWN, *_UP):
        kernel = network.get_layer(name).get_weights()[0]
        norm = network.get_layer(f"{name}_bn")
        gamma, beta, mean, variance = norm.get_weights()
        factor = gamma / np.sqrt(variance + norm.epsilon)
        plain.get_layer(name).set_weights([kernel * factor, beta - mean * factor])
    for name in _HEADS:
        plain.get_layer(name).set_weights(network.get_layer(name).get_weights())
    return plain


def load(network: keras.Model, path: Path) -> None:
    """Load a finished run's weights into a spotter without batch norm.

    Raises:
        InputError: no such file, or another model in it.
    """
    if not path.is_file():
        raise InputError(f"wanted a spotter to learn on, found no {path}: give --weights the model.keras of its run, or leave that out")
    found = load_model(path).get_weights()
    if [weight.shape for weight in found] != [tuple(weight.shape) for weight in network.weights]:
        raise InputError(f"wanted a spotter in {path}, found a model of {len(found)} other weights: give the model.keras that --recipe spotter wrote")
    network.set_weights(found)


def count_flop(size_wh: tuple[int, int] = FRAME_WH) -> int:
    """Count the floating-point operations of the convolutions for one frame: two for each multiplication with its addition."""
    width, height = size_wh
    before, cells, total = 3, height * width, 0
    for channels, side, stride in _DOWN.values():
        cells //= stride * stride
        total += 2 * cells * channels * before * side * side
        before = channels
    for name, (channels, side, _) in _UP.items():
        cells *= 4 if name.startswith("merge") else 1
        total += 2 * cells * channels * before * side * side
        before = channels
    return total + 2 * cells * before * sum(_HEADS.values())
