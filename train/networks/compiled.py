"""A recipe's network and optimizer, ready to train."""

from __future__ import annotations

import keras

from edge.datasets.classes import GTSRB
from train.networks import vgg
from train.recipes import Recipe


def from_scratch(weights: str) -> bool:
    """Say whether no file's weights are started from: then the network has batch norm, which VGG-16's published weights know nothing of."""
    return weights in ("none", "drawn")


def network_of(recipe: Recipe, *, batch_norm: bool, classes: int = len(GTSRB)) -> keras.Model:
    """Build a recipe's network with random weights, frozen as the recipe says, in the dtype policy in force."""
    network = vgg.build(recipe.size, dense=recipe.dense, dropout=recipe.dropout, batch_norm=batch_norm, blocks=vgg.channels(recipe.width), classes=classes)
    if recipe.last_layers is not None:
        vgg.freeze(network, last_layers=recipe.last_layers)
    return network


def compiled(recipe: Recipe, weights: str, steps: int, passes: int = 1, classes: int = len(GTSRB)) -> keras.Model:
    """Build and compile a recipe's network with random weights, in the dtype policy in force.

    Args:
        recipe: how to train.
        weights: what it is to start from, as `train.fit.fit` takes it.
        steps: updates an epoch.
        passes: whose mean gradient makes one update, each of `recipe.batch / passes` photos.
        classes: how many.
    """
    scratch = from_scratch(weights)
    network = network_of(recipe, batch_norm=scratch, classes=classes)
    rate = recipe.scratch_rate if scratch else recipe.tuning_rate
    optimizer = _optimizer(recipe, rate, steps, clipnorm=None if scratch else 1.0, accumulated=passes if passes > 1 else None)
    network.compile(optimizer, keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing), metrics=["accuracy"])
    return network


def _optimizer(recipe: Recipe, peak: float, steps: int, clipnorm: float | None, accumulated: int | None) -> keras.optimizers.Optimizer:
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(peak, gradient_accumulation_steps=accumulated)
    total = steps * recipe.epochs * (accumulated or 1)  # Keras asks a schedule for the rate by passes, not by updates
    rising = int(total * recipe.warmup_share)
    rate = keras.optimizers.schedules.CosineDecay(peak / 25, total - rising, alpha=1e-3, warmup_target=peak, warmup_steps=rising)
    optimizer = keras.optimizers.SGD(
        rate, recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay, clipnorm=clipnorm, gradient_accumulation_steps=accumulated
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
