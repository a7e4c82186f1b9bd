"""Batch norm for training from scratch: Keras's layer, through TensorFlow's fused kernel where TensorFlow is the backend."""

from __future__ import annotations

from typing import Any

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


@keras.saving.register_keras_serializable("signwing")
class FusedBatchNorm(keras.layers.BatchNormalization):
    """Batch norm over the last axis: activations in the compute dtype, statistics and scales in float32. Frozen, it takes the moving statistics.

    On TensorFlow Keras's own layer falls back to separate float32 operations under mixed_bfloat16, which cost a third of the epoch on a CPU. Other backends
    run Keras's layer as it is; the weights are the same. The fused kernel's moving variance is the unbiased one: n / (n - 1) of Keras's.
    Input and output (batch, height, width, channels) in the compute dtype.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise by the batch's statistics in training, by the moving ones otherwise."""
        if keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        learning = bool(training) and self.trainable
        empty = tf.zeros((0,), tf.float32)
        out = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=empty if learning else tf.convert_to_tensor(self.moving_mean),
            variance=empty if learning else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=learning,
        )
        if learning:
            self.moving_mean.assign(self.momentum * self.moving_mean + (1 - self.momentum) * out.batch_mean)
            self.moving_variance.assign(self.momentum * self.moving_variance + (1 - self.momentum) * out.batch_variance)
        return out.y
