"""VGG-16 for signs: uint8 BGR in, a probability for each class out, normalisation inside the graph.

From scratch it trains with batch norm after each convolution, which `fold` works into the weights at the end: what leaves this stage is always the
plain VGG-16 of `keras.applications` (13 convolutions, 5 pools) with the head of the tutorial (flatten, dense, dropout, dense, softmax).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import keras
import numpy as np

from edge.datasets.classes import GTSRB
from edge.errors import BundleError, InputError
from train.networks.norm import FusedBatchNorm
from train.networks.precision import in_policy
from train.networks.weights import load_base

__all__ = ["FusedBatchNorm", "build", "convolution_names", "fold", "freeze", "frozen_end", "load_base", "round_to_fp16", "split_at_frozen"]

# Filters of each block's convolutions: K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks", ICLR 2015, configuration D.
Blocks = Sequence[tuple[int, ...]]
BLOCKS: Blocks = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# ImageNet's mean in BGR, as keras.applications.vgg16.preprocess_input subtracts it after it has turned RGB into BGR: the published kernels, Caffe's, want the
# very order in which OpenCV reads a photo, so block1_conv1 needs no flip.
MEAN_BGR: tuple[float, float, float] = (103.939, 116.779, 123.68)
SMALLEST_SIZE = 32
BN_MOMENTUM = 0.99
"""Of the moving statistics: at 0.9 they would be those of the last few hundred photos."""


def convolution_names() -> list[str]:
    """Names of the 13 convolutions in order, as `keras.applications.VGG16` has them."""
    return [name for name in _counted() if "_conv" in name]


def channels(width: float) -> Blocks:
    """Return the filters of each block's convolutions for a share of VGG-16's, above 0 and at most 1: multiples of 8, as integer kernels like them.

    Source of one factor for all layers: A. Howard et al., "MobileNets", 2017.
    """
    return [tuple(max(8, 8 * round(filters * width / 8)) for filters in block) for block in BLOCKS]


def build(size: int, *, dense: int, dropout: float, batch_norm: bool, blocks: Blocks = BLOCKS, classes: int = len(GTSRB)) -> keras.Model:
    """Build the classifier with random weights.

    Args:
        size: side of the square input, pixels, at least 32 (five pools).
        dense: units of the hidden dense layer.
        dropout: share of its outputs dropped in training.
        batch_norm: after each convolution and the dense layer, for training from scratch.
        blocks: filters of each block's convolutions, for a narrower network: from `channels`.
        classes: how many.

    Returns:
        A model from `images` (batch, size, size, 3) uint8 BGR to `probabilities` (batch, classes) float32.

    Raises:
        InputError: `size` is too small for five pools.
    """
    if size < SMALLEST_SIZE:
        raise InputError(f"wanted an input of at least {SMALLEST_SIZE} px (VGG-16 halves it five times), found {size}: give a larger --size")
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1.0, offset=[-m for m in MEAN_BGR], dtype="float32", name="mean_subtraction")(images)
    for b, block in enumerate(blocks, 1):
        for c, filters in enumerate(block, 1):
            name = f"block{b}_conv{c}"
            activation = None if batch_norm else "relu"
            x = keras.layers.Conv2D(filters, 3, padding="same", activation=activation, kernel_initializer="he_normal", name=name)(x)
            if batch_norm:
                x = FusedBatchNorm(momentum=BN_MOMENTUM, name=f"{name}_bn")(x)
                x = keras.layers.Activation("relu", name=f"{name}_relu")(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{b}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(dense, activation=None if batch_norm else "relu", kernel_initializer="he_normal", name="dense")(x)
    if batch_norm:
        x = keras.layers.BatchNormalization(momentum=BN_MOMENTUM, dtype="float32", name="dense_bn")(x)
        x = keras.layers.Activation("relu", name="dense_relu")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    logits = keras.layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(images, keras.layers.Softmax(dtype="float32", name="probabilities")(logits), name="signwing_vgg16")


def _counted() -> list[str]:
    """Name the 19 layers of `keras.applications.VGG16(include_top=False)` in order: the input, then each block's convolutions and its pool."""
    names = ["images"]
    for b, block in enumerate(BLOCKS, 1):
        names += [f"block{b}_conv{c}" for c in range(1, len(block) + 1)] + [f"block{b}_pool"]
    return names


def freeze(model: keras.Model, *, last_layers: int | None = None, from_block: int | None = None) -> None:
    """Leave only the end of VGG-16 and the head trainable; compile afterwards. Batch norm is frozen with its convolution.

    Args:
        model: from `build`.
        last_layers: how many of the 19 layers of `keras.applications.VGG16(include_top=False)` learn, counted from the end, pools included: 8 are blocks 4
            and 5, 0 is the head alone.
        from_block: the first block that learns, 1 to 5. Exactly one of the two is given.

    Raises:
        InputError: neither or both are given, or one is out of range.
    """
    names = _counted()
    if (last_layers is None) == (from_block is None):
        raise InputError(f"wanted either last_layers or from_block, found last_layers {last_layers} and from_block {from_block}: give one of them")
    if last_layers is not None and not 0 <= last_layers <= len(names):
        raise InputError(f"wanted 0 to {len(names)} trainable layers at the end of VGG-16, found {last_layers}: give last_layers in that range")
    if from_block is not None and not 1 <= from_block <= len(BLOCKS):
        raise InputError(f"wanted a first trainable block from 1 to {len(BLOCKS)}, found {from_block}: give another, or last_layers 0 for the head alone")
    first = len(names) - last_layers if last_layers is not None else names.index(f"block{from_block}_conv1")
    for layer in model.layers:
        layer.trainable = layer.name.removesuffix("_bn") not in names[:first]


def frozen_end(model: keras.Model) -> str | None:
    """Name the layer that ends the frozen part (a pool wherever whole blocks are frozen); None where the first convolution learns."""
    names = [layer.name for layer in model.layers]
    base = model.layers[names.index("block1_conv1") : names.index("flatten")]
    frozen = list(itertools.takewhile(lambda layer: not layer.trainable_weights, base))
    return frozen[-1].name if frozen else None


def split_at_frozen(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a model where its frozen part ends, so that what the frozen part computes can be kept; both parts share the model's layers.

    Returns:
        The prefix, images (batch, size, size, 3) uint8 BGR to features (batch, height, width, channels) in the compute dtype, and the suffix, from those
        features to `probabilities` (batch, classes) float32. Training the suffix trains the model.

    Raises:
        InputError: nothing is frozen, or a batch norm still learns right behind a frozen convolution: it would norm by each batch anew.
    """
    end = frozen_end(model)
    if end is None:
        raise InputError("wanted a frozen prefix, found that block1_conv1 learns: freeze some layers, or train without cached features")
    layer = model.get_layer(end)
    after = model.layers[model.layers.index(layer) + 1]
    if isinstance(after, keras.layers.BatchNormalization):
        raise InputError(f"wanted batch norm frozen with its convolution, found that {after.name} learns behind the frozen {end}: its output cannot be kept")
    return keras.Model(model.input, layer.output, name="prefix"), keras.Model(layer.output, model.output, name="suffix")


def fold(model: keras.Model) -> keras.Model:
    """Return the plain float32 VGG-16 that computes what `model` computes in inference, with any batch norm folded into the convolutions."""
    blocks = [tuple(model.get_layer(f"block{b}_conv{c}").filters for c in range(1, len(block) + 1)) for b, block in enumerate(BLOCKS, 1)]
    dense, dropout = model.get_layer("dense").units, model.get_layer("dropout").rate
    with in_policy("float32"):
        plain = build(model.input_shape[1], dense=dense, dropout=dropout, batch_norm=False, blocks=blocks, classes=model.output_shape[-1])
    has_norm = any(isinstance(layer, FusedBatchNorm) for layer in model.layers)
    for name in (*convolution_names(), "dense"):
        kernel, bias = model.get_layer(name).get_weights()
        if has_norm:
            norm = model.get_layer(f"{name}_bn")
            gamma, beta, mean, variance = norm.get_weights()
            factor = gamma / np.sqrt(variance + norm.epsilon)
            kernel, bias = kernel * factor, (bias - mean) * factor + beta
        plain.get_layer(name).set_weights([kernel, bias])
    plain.get_layer("logits").set_weights(model.get_layer("logits").get_weights())
    return plain


def round_to_fp16(model: keras.Model) -> None:
    """Round every weight to the nearest float16 in place, so that the fp16 artefact loses nothing and fp32 is derived from it exactly.

    Raises:
        BundleError: a weight is beyond float16's range, or no number.
    """
    for layer in model.layers:
        weights = layer.get_weights()
        with np.errstate(over="ignore"):  # told below
            rounded = [np.asarray(w, np.float16).astype(np.float32) for w in weights]
        if not all(np.isfinite(w).all() for w in rounded):
            raise BundleError(f"wanted weights within float16's range, found larger ones or NaN in layer {layer.name}: train again with a lower rate")
        layer.set_weights(rounded)
