"""Which dtype policy pays on this machine, and building in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

WORTH_IT = 1.2
"""How much faster bfloat16 must be before its rounding is worth it."""


def choose_precision(precision: str) -> str:
    """Name the Keras dtype policy that "auto" means on this machine.

    A GPU takes float16: what small gradients lose in it, Keras restores by scaling the loss, on TensorFlow as on JAX. A CPU takes bfloat16 only where a
    convolution is faster in it: processors that list the instruction can still be slower with it; on JAX that is not measured.
    """
    if precision != "auto":
        return precision
    if has_gpu():
        return "mixed_float16"
    if keras.backend.backend() != "tensorflow":
        return "float32"
    return "mixed_bfloat16" if _convolution_seconds("bfloat16") * WORTH_IT < _convolution_seconds("float32") else "float32"


@contextmanager
def in_policy(policy: str | keras.DTypePolicy) -> Iterator[None]:
    """Build layers and models in a dtype policy; afterwards the former one is in force again."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def has_gpu() -> bool:
    """Tell whether Keras's backend sees a GPU."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    return any(device.startswith(("gpu", "cuda")) for device in keras.distribution.list_devices())


def _convolution_seconds(dtype: str) -> float:
    """Time a convolution of VGG-16's middle (128 channels, 24 px, 16 images) and its gradients, best of five, in seconds."""
    import tensorflow as tf

    images, kernel = tf.ones((16, 24, 24, 128), dtype), tf.ones((3, 3, 128, 128), dtype)

    @tf.function
    def both() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            out = tf.nn.conv2d(images, kernel, 1, "SAME")
        return tape.gradient(out, [images, kernel])

    both()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        np.asarray(both()[1])
        times.append(time.perf_counter() - start)
    return min(times)
