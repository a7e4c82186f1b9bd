"""Fine-tune or train a classifier: data -> run folder (`train.runs` says what lies in it)."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edge.errors import InputError
from edge.files import write_json
from edge.gtsrb import CLASSES, read_train, split_by_track
from edge.lineage import lineage
from train import model as vgg
from train import runs
from train.config import Recipe
from train.data import load_crops, train_stream
from train.evaluate import evaluate_model
from train.plots import draw_curves

WORTH_IT = 1.2
"""How much faster bfloat16 must be before its rounding is worth it."""

Crops = tuple[NDArray[np.uint8], NDArray[np.int64]]


def fit(data: Path, out: Path, recipe: Recipe, *, weights: str, resume: bool) -> dict[str, Any]:
    """Train by a recipe and write the run folder; returns what `run.json` holds. Nothing is written before data and weights are known to be good.

    Args:
        data: folder in a layout that `edge.gtsrb` reads.
        out: run folder.
        recipe: how to train.
        weights: "imagenet", "none" (from scratch), or a file of VGG-16's notop weights.
        resume: go on after the last whole epoch in `out`.

    Raises:
        InputError: `out` holds a run that is not to be resumed, was started otherwise or is damaged; no such weights; a broken photo; too few photos.
        DataError: no known data set at `data`.
        OutputError: `out` cannot be written.
    """
    asked = {"recipe": dataclasses.asdict(recipe), "weights": weights, "data": str(data)}
    runs.check_start(out, asked, resume)
    photos, valid = split_by_track(read_train(data), recipe.valid_share, recipe.seed)
    steps = len(photos) // recipe.batch
    if steps == 0:
        raise InputError(f"wanted at least one batch of {recipe.batch} training photos in {data}, found {len(photos)}: add photos")
    print(f"{recipe}\nweights {weights}; {len(photos)} photos to train, {len(valid)} to validate, split by track; {steps} steps an epoch")
    keras.utils.set_random_seed(recipe.seed)
    checkpoint = out / runs.CHECKPOINT
    network = _resumed_model(recipe, weights, steps, checkpoint) if checkpoint.exists() else _new_model(recipe, weights, steps)
    print(f"precision {keras.config.dtype_policy().name}")
    held = load_crops(valid, recipe.size)
    # Rounded: float16 skips the steps whose gradients overflow, and does not count them.
    first_epoch = round(int(network.optimizer.iterations.numpy()) / steps)
    if first_epoch < recipe.epochs:
        stream = train_stream(
            photos, size=recipe.size, batch=recipe.batch, power=recipe.sampling_power, seed=recipe.seed, first_epoch=first_epoch, epochs=recipe.epochs
        )
        write_json(out / runs.ASKED, asked)
        _train(network, stream, held, out, recipe, first_epoch, steps)
    plain = vgg.fold(network)
    vgg.round_to_fp16(plain)
    metrics = {"valid": evaluate_model(plain, *held)}
    runs.save_model(plain, out / runs.MODEL)
    counts = {"train": len(photos), "valid": len(valid)}
    run = {"schema": runs.SCHEMA, **asked, "photos": counts, "metrics": metrics, "lineage": lineage("tensorflow", "keras", "numpy")}
    write_json(out / runs.RUN, run)
    print(f"valid top1 {metrics['valid']['top1']:.4f} on {len(valid)} photos of unseen signs; run in {out}")
    return run


def choose_precision(precision: str) -> str:
    """Name the Keras dtype policy that "auto" means on this machine.

    A GPU takes float16. A CPU takes bfloat16 only where a convolution is faster in it: processors that list the instruction can still be slower with it.
    """
    if precision != "auto":
        return precision
    if tf.config.list_physical_devices("GPU"):
        return "mixed_float16"
    return "mixed_bfloat16" if _convolution_seconds(tf.bfloat16) * WORTH_IT < _convolution_seconds(tf.float32) else "float32"


def _convolution_seconds(dtype: tf.DType) -> float:
    """Time a convolution of VGG-16's middle (128 channels, 24 px, 16 images) and its gradients, best of five, in seconds."""
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
        both()[1].numpy()
        times.append(time.perf_counter() - start)
    return min(times)


def _new_model(recipe: Recipe, weights: str, steps: int) -> keras.Model:
    keras.config.set_dtype_policy(choose_precision(recipe.precision))
    network = _compiled(recipe, weights, steps)
    if weights != "none":
        vgg.load_base(network, weights)
    return network


def _resumed_model(recipe: Recipe, weights: str, steps: int, checkpoint: Path) -> keras.Model:
    # Built anew around the checkpoint's state: Keras saves an optimizer without its exclusions from weight decay.
    # The precision is the checkpoint's own: what is fastest here may be another one than where the run began.
    policy = runs.load_model(checkpoint).get_layer(vgg.convolution_names()[0]).dtype_policy
    keras.config.set_dtype_policy(policy)
    network = _compiled(recipe, weights, steps)
    runs.load_checkpoint(network, checkpoint)
    return network


def _compiled(recipe: Recipe, weights: str, steps: int) -> keras.Model:
    scratch = weights == "none"
    network = vgg.build(recipe.size, dense=recipe.dense, dropout=recipe.dropout, batch_norm=scratch)
    peak = recipe.scratch_rate if scratch else recipe.tuning_rate
    total = steps * recipe.epochs
    rising = int(total * recipe.warmup_share)
    rate = keras.optimizers.schedules.CosineDecay(peak / 25, total - rising, alpha=1e-3, warmup_target=peak, warmup_steps=rising)
    optimizer = keras.optimizers.SGD(rate, momentum=recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay, clipnorm=None if scratch else 1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    network.compile(optimizer, keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing), metrics=["accuracy"])
    return network


def _train(network: keras.Model, stream: tf.data.Dataset, held: Crops, out: Path, recipe: Recipe, first_epoch: int, steps: int) -> None:
    crops, class_ids = held
    network.fit(
        stream,
        epochs=recipe.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=steps,
        validation_data=tf.data.Dataset.from_tensor_slices((crops, tf.one_hot(class_ids, CLASSES))).batch(recipe.batch * 4),
        shuffle=False,  # the stream has its own order
        callbacks=[_Keeper(out, first_epoch)],
        verbose=1 if os.isatty(1) else 2,
    )


class _Keeper(keras.callbacks.Callback):
    """After each epoch: history and curves, then the checkpoint, whose step count alone says how far the run has come."""

    def __init__(self, out: Path, first_epoch: int) -> None:
        super().__init__()
        self.out = out
        self.rows = runs.read_history(out / runs.HISTORY)[:first_epoch]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.rows.append({"epoch": float(epoch + 1), **{key: float(value) for key, value in (logs or {}).items()}})
        runs.write_history(self.rows, self.out / runs.HISTORY)
        draw_curves(self.rows, self.out / runs.CURVES)
        runs.save_model(self.model, self.out / runs.CHECKPOINT)
