"""VGG-16 for signs: uint8 BGR in, 43 probabilities out, normalisation inside the graph.

From scratch it trains with batch norm after each convolution, which `fold` works into the weights at the end: what leaves this stage is always the
plain VGG-16 of `keras.applications` (13 convolutions, 5 pools) with the head of the tutorial (flatten, dense, dropout, dense, softmax).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edge.errors import BundleError, InputError
from edge.gtsrb import CLASSES

# Filters of each block's convolutions: K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks", ICLR 2015, configuration D.
BLOCKS: tuple[tuple[int, ...], ...] = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# ImageNet's mean in BGR, as keras.applications.vgg16.preprocess_input subtracts it.
MEAN_BGR: tuple[float, float, float] = (103.939, 116.779, 123.68)
SMALLEST_SIZE = 32


@keras.saving.register_keras_serializable("signwing")
class FusedBatchNorm(keras.layers.Layer):
    """Batch norm through TensorFlow's fused kernel: bfloat16 activations with float32 statistics and scales.

    Keras's own layer falls back to separate float32 operations under mixed_bfloat16, which cost a third of the epoch on a CPU.
    Input and output (batch, height, width, channels) in the compute dtype.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum, self.epsilon = momentum, epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make scale, offset and the moving statistics, (channels,) float32 each."""
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones", dtype="float32", autocast=False)
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros", dtype="float32", autocast=False)
        self.moving_mean = self.add_weight(name="moving_mean", shape=shape, initializer="zeros", dtype="float32", trainable=False, autocast=False)
        self.moving_variance = self.add_weight(name="moving_variance", shape=shape, initializer="ones", dtype="float32", trainable=False, autocast=False)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalise by the batch's statistics in training, by the moving ones otherwise."""
        empty = tf.zeros((0,), tf.float32)
        mean, variance = (empty, empty) if training else (tf.convert_to_tensor(self.moving_mean), tf.convert_to_tensor(self.moving_variance))
        out = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=mean,
            variance=variance,
            epsilon=self.epsilon,
            is_training=bool(training),
        )
        if training:
            self.moving_mean.assign(self.momentum * self.moving_mean + (1 - self.momentum) * out.batch_mean)
            self.moving_variance.assign(self.momentum * self.moving_variance + (1 - self.momentum) * out.batch_variance)
        return out.y

    def get_config(self) -> dict[str, Any]:
        """Return what `__init__` needs to make the layer again."""
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


def convolution_names() -> list[str]:
    """Names of the 13 convolutions in order, as `keras.applications.VGG16` has them."""
    return [f"block{b}_conv{c}" for b, block in enumerate(BLOCKS, 1) for c in range(1, len(block) + 1)]


def build(size: int, *, dense: int, dropout: float, batch_norm: bool) -> keras.Model:
    """Build the classifier with random weights.

    Args:
        size: side of the square input, pixels, at least 32 (five pools).
        dense: units of the hidden dense layer.
        dropout: share of its outputs dropped in training.
        batch_norm: a `FusedBatchNorm` after each convolution, for training from scratch.

    Returns:
        A model from `images` (batch, size, size, 3) uint8 BGR to `probabilities` (batch, 43) float32.

    Raises:
        InputError: `size` is too small for five pools.
    """
    if size < SMALLEST_SIZE:
        raise InputError(f"wanted an input of at least {SMALLEST_SIZE} px (VGG-16 halves it five times), found {size}: give a larger --size")
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1.0, offset=[-m for m in MEAN_BGR], dtype="float32", name="mean_subtraction")(images)
    for b, block in enumerate(BLOCKS, 1):
        for c, filters in enumerate(block, 1):
            name = f"block{b}_conv{c}"
            activation = None if batch_norm else "relu"
            x = keras.layers.Conv2D(filters, 3, padding="same", activation=activation, kernel_initializer="he_normal", name=name)(x)
            if batch_norm:
                x = FusedBatchNorm(name=f"{name}_bn")(x)
                x = keras.layers.Activation("relu", name=f"{name}_relu")(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{b}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(dense, activation="relu", kernel_initializer="he_normal", name="dense")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    logits = keras.layers.Dense(CLASSES, dtype="float32", name="logits")(x)
    return keras.Model(images, keras.layers.Softmax(dtype="float32", name="probabilities")(logits), name="signwing_vgg16")


def load_base(model: keras.Model, weights: str) -> None:
    """Copy VGG-16's convolutions into a plain model.

    Args:
        model: from `build(batch_norm=False)`.
        weights: "imagenet" (Keras downloads and verifies its file) or the path of a file in the layout of Keras's `notop` weights.

    Raises:
        InputError: no download, no such file, or a file that does not hold VGG-16's convolutions.
    """
    if weights != "imagenet" and not Path(weights).is_file():
        raise InputError(f"wanted --weights imagenet, none or a file of VGG-16's notop weights, found no file {weights}")
    try:
        base = keras.applications.VGG16(include_top=False, weights=weights, input_shape=(SMALLEST_SIZE, SMALLEST_SIZE, 3))
    except Exception as error:  # Keras raises a different class for each of network, checksum, layout and shape
        cure = "check the network, or give --weights a file or none" if weights == "imagenet" else "give the notop h5 of keras.applications.VGG16"
        raise InputError(f"wanted VGG-16's weights from {weights}, Keras refused: {' '.join(str(error).split())[:200]}: {cure}") from error
    for name in convolution_names():
        model.get_layer(name).set_weights(base.get_layer(name).get_weights())


def fold(model: keras.Model) -> keras.Model:
    """Return the plain float32 VGG-16 that computes what `model` computes in inference, with any batch norm folded into the convolutions."""
    size = model.input_shape[1]
    with_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    plain = build(size, dense=model.get_layer("dense").units, dropout=model.get_layer("dropout").rate, batch_norm=False)
    keras.config.set_dtype_policy(with_policy)
    has_norm = any(isinstance(layer, FusedBatchNorm) for layer in model.layers)
    for name in convolution_names():
        kernel, bias = model.get_layer(name).get_weights()
        if has_norm:
            norm = model.get_layer(f"{name}_bn")
            gamma, beta, mean, variance = norm.get_weights()
            factor = gamma / np.sqrt(variance + norm.epsilon)
            kernel, bias = kernel * factor, (bias - mean) * factor + beta
        plain.get_layer(name).set_weights([kernel, bias])
    for name in ("dense", "logits"):
        plain.get_layer(name).set_weights(model.get_layer(name).get_weights())
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
