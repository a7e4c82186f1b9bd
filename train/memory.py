"""How much memory a training takes: counted before it begins, and kept inside a budget by how many photos pass through the network at a time.

The budget is for the process's resident memory; with a GPU, for that GPU's. The count comes from the network's graph, the optimizer and the photos, with
factors that were measured on a CPU at 48, 96 and 224 px, with and without batch norm. A GPU's were not measured: TensorFlow is held to the budget there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras

from edge.board.machine import rss_mib
from edge.datasets.gtsrb import Photo
from edge.errors import InputError
from train.networks import vgg
from train.networks.compiled import network_of
from train.networks.precision import has_gpu
from train.photos.ahead import workers
from train.recipes import Recipe

FEWEST_NORMED = 8
"""Photos that batch norm is given at least: of fewer, its statistics are noise."""

_RUNTIME_MIB = 220.0
"""Graphs, threads, and the pictures of the report."""
_CUDA_MIB = 600.0
"""What CUDA and cuDNN take of a GPU beside what the backend hands out."""
_SIGN_FREE_MIB = 40.0
"""Places without a sign, cut out of GTSDB's frames."""
_AHEAD = 4
"""Batches in the streams beside those that workers make, with the one that is in the network."""
_GRADIENTS_MIB = 100.0
"""Scratch for the gradients of the weights, beside themselves."""
_FACTORS = {"tensorflow": (1.6, 1.2), "jax": (1.1, 2.4)}
"""By backend: what inference takes over the outputs that live at a time, and training over the outputs that wait for their gradients."""
_BYTES = {"uint8": 1, "float16": 2, "bfloat16": 2, "float32": 4}
_MIB = float(1 << 20)


@dataclass(frozen=True)
class Plan:
    """What is in memory at a time.

    Attributes:
        batch: photos that pass through the network at a time, in training and in inference: the recipe's batch or a divisor of it.
        passes: passes whose mean gradient makes one update, so that an update sees the recipe's batch all the same. Without batch norm the result is the
            recipe's own; batch norm goes by the smaller batch.
        cached: what a frozen prefix makes of the photos is computed once and kept.
        expected_mib: the peak to expect; None without a budget.
    """

    batch: int
    passes: int
    cached: bool
    expected_mib: float | None


def plan(
    recipe: Recipe,
    photos: Sequence[Photo],
    held: int,
    budget_gib: float | None,
    *,
    batch_norm: bool,
    cacheable: bool,
    devices: int = 1,
    passes: int | None = None,
) -> Plan:
    """Choose the largest batch that stays inside the budget, and caching where there is room for it too. Counts in the dtype policy in force.

    Args:
        recipe: how to train.
        photos: to train on; none where they are drawn.
        held: number of crops to validate on, which are in memory already.
        budget_gib: GiB, or None: the recipe's batch, and caching wherever it can be.
        batch_norm: the network has it.
        cacheable: there is a frozen prefix, and every epoch shows the same views.
        devices: that share each batch; they can share the recipe's.
        passes: of an update where a run goes on: its batch stays, whatever the budget.

    Raises:
        InputError: a budget of nothing, or one in which not even the smallest batch fits.
    """
    if budget_gib is None:
        return Plan(recipe.batch // (passes or 1), passes or 1, cacheable, None)
    if not budget_gib > 0:
        raise InputError(f"wanted a memory budget above 0 GiB, found {budget_gib:g}: give another --memory-budget")
    on_gpu = has_gpu()
    count = _Count.of(recipe, photos, held, batch_norm=batch_norm, on_gpu=on_gpu)
    candidates = [
        (round(count.peak(batch, devices, accumulated=batch < recipe.batch, cached=cached), 1), batch, cached)
        for batch in (_batches(recipe.batch, batch_norm, devices) if passes is None else [recipe.batch // passes])
        for cached in ((True, False) if cacheable else (False,))
    ]
    least = min(candidates)
    if passes is None and least[0] > budget_gib * 1024:
        raise InputError(
            f"wanted to stay inside --memory-budget {budget_gib:g} GiB, found that {recipe.size} px take at least about {least[0] / 1024:.2f} GiB, with "
            f"batches of {least[1]}: give a larger budget or a smaller --size"
        )
    expected, batch, cached = next((each for each in candidates if each[0] <= budget_gib * 1024), least)
    return Plan(batch, recipe.batch // batch, cached, expected)


def _batches(whole: int, batch_norm: bool, devices: int) -> list[int]:
    """Divisors of a recipe's batch that devices can share, the largest first."""
    fewest = min(FEWEST_NORMED, whole) if batch_norm else 1
    return [batch for batch in range(whole, fewest - 1, -1) if whole % batch == 0 and batch % devices == 0]


def limit_gpus(budget_gib: float) -> None:
    """Let TensorFlow hand out no more than the budget on a GPU; to be called before anything is computed. On JAX there is the plan alone."""
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    limit = tf.config.LogicalDeviceConfiguration(memory_limit=max(1, round(budget_gib * 1024 - _CUDA_MIB)))
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.set_logical_device_configuration(gpu, [limit])


@dataclass(frozen=True)
class _Count:
    """What a peak is made of, in MiB.

    Attributes:
        viewed: on the host beside the network: what the process holds, encoded photos, and crops on their way.
        features: the same where the features of a frozen prefix are kept.
        weights: of the network.
        learning: part of the weights that is trained.
        slots: values that the optimizer keeps of each trained weight.
        forward: outputs of layers that live at a time in inference, a photo.
        backward: outputs that wait for the gradients, a photo.
        on_gpu: whose memory is counted.
    """

    viewed: float
    features: float
    weights: float
    learning: float
    slots: int
    forward: float
    backward: float
    on_gpu: bool

    @classmethod
    def of(cls, recipe: Recipe, photos: Sequence[Photo], held: int, *, batch_norm: bool, on_gpu: bool) -> _Count:
        network = network_of(recipe, batch_norm=batch_norm)
        inference, training = _FACTORS[keras.backend.backend()]
        end = vgg.frozen_end(network)
        outputs = [_output_mib(layer) for layer in network.layers]
        behind = [layer.name for layer in network.layers].index(end) + 1 if end else 0
        # Batch norm's output does not wait: the activation behind it is computed in its place.
        waiting = [0.0 if isinstance(layer, keras.layers.BatchNormalization) else output for output, layer in zip(outputs, network.layers, strict=True)]
        before = rss_mib() + _RUNTIME_MIB
        return cls(
            viewed=before + _views_mib(recipe, photos, held),
            features=before + _features_mib(recipe, len(photos), held, outputs[behind - 1]),
            weights=_weights_mib(network.weights),
            learning=_weights_mib(network.trainable_weights),
            slots=2 if recipe.optimizer == "adam" else 1,
            forward=inference * max(sum(outputs[start : start + 3]) for start in range(len(outputs))),
            backward=training * sum(waiting[behind:]),
            on_gpu=on_gpu,
        )

    def peak(self, batch: int, devices: int, *, accumulated: bool, cached: bool) -> float:
        """Return the peak with `batch` photos at a time: of all devices together on a CPU, of each on GPUs."""
        state = self.weights + self.learning * (self.slots + accumulated)
        gradients = self.learning * (2 if accumulated else 1) + _GRADIENTS_MIB
        if self.on_gpu:
            return _CUDA_MIB + state + max(batch // devices * self.forward, gradients + batch // devices * self.backward)
        saving = state  # Keras writes a checkpoint from a copy
        return (self.features if cached else self.viewed) + state * devices + max(batch * self.forward, gradients + batch * self.backward) + saving


def _views_mib(recipe: Recipe, photos: Sequence[Photo], held: int) -> float:
    encoded = sum(photo.path.stat().st_size for photo in photos) / _MIB
    crops = held + (workers() + _AHEAD) * recipe.batch  # the stream to validate on copies its crops
    return encoded + crops * recipe.size**2 * 3 / _MIB + (_SIGN_FREE_MIB if recipe.sign_free_share else 0.0)


def _features_mib(recipe: Recipe, photos: int, held: int, feature: float) -> float:
    # The larger set is there twice while its parts are joined, or while TensorFlow copies it.
    return photos * recipe.size**2 * 3 / _MIB + (photos + held + max(photos, held) + _AHEAD * recipe.batch) * feature


def _weights_mib(weights: Sequence[keras.Variable]) -> float:
    return sum(math.prod(weight.shape) for weight in weights) * 4 / _MIB


def _output_mib(layer: keras.Layer) -> float:
    return math.prod(layer.output.shape[1:]) * _BYTES[layer.output.dtype] / _MIB
