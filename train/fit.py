"""Fine-tune or train a classifier: data -> run folder.

A run folder holds `run.json` (recipe, data, lineage, metrics), `checkpoint.keras` (the last whole epoch, with the optimizer), `history.csv`,
`curves.png` and at the end `model.keras`: a plain VGG-16 in float32 whose weights are exact in float16.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from edge.errors import InputError
from edge.files import write_json
from edge.gtsrb import Photo, read_train, split_by_track
from edge.lineage import lineage
from train import model as vgg
from train.config import Recipe
from train.data import load_crops, train_stream
from train.evaluate import evaluate_model
from train.plots import draw_curves

CHECKPOINT = "checkpoint.keras"
MODEL = "model.keras"
HISTORY = "history.csv"
RUN = "run.json"


def fit(data: Path, out: Path, recipe: Recipe, *, weights: str, resume: bool) -> dict[str, Any]:
    """Train by a recipe and write the run folder; returns what `run.json` holds.

    Raises:
        InputError: `out` holds a run and `resume` is false, or it was started otherwise than now asked.
        DataError: no known data set at `data`.
    """
    asked = {"recipe": dataclasses.asdict(recipe), "weights": weights, "data": str(data)}
    _prepare(out, asked, resume)
    photos, valid = split_by_track(read_train(data), recipe.valid_share, recipe.seed)
    steps = len(photos) // recipe.batch
    if steps == 0:
        raise InputError(f"wanted at least one batch of {recipe.batch} training photos in {data}, found {len(photos)}")
    print(f"{recipe}\nweights {weights}; {len(photos)} photos to train, {len(valid)} to validate, split by track; {steps} steps an epoch")
    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy(choose_precision(recipe.precision))
    checkpoint = out / CHECKPOINT
    network = keras.models.load_model(checkpoint) if checkpoint.exists() else _new_model(recipe, weights, steps)
    first_epoch = int(network.optimizer.iterations.numpy()) // steps
    if first_epoch < recipe.epochs:
        _train(network, photos, valid, out, recipe, first_epoch)
    plain = vgg.fold(network)
    vgg.round_to_fp16(plain)
    metrics = {"valid": evaluate_model(plain, *load_crops(valid, recipe.size))}
    save_model(plain, out / MODEL)
    run = {"schema": 1, **asked, "photos": {"train": len(photos), "valid": len(valid)}, "metrics": metrics, "lineage": lineage("tensorflow", "keras", "numpy")}
    write_json(out / RUN, run)
    print(f"valid top1 {metrics['valid']['top1']:.4f} on {len(valid)} photos of unseen signs; run in {out}")
    return run


def choose_precision(precision: str) -> str:
    """Name the Keras dtype policy that "auto" means on this machine."""
    if precision != "auto":
        return precision
    if tf.config.list_physical_devices("GPU"):
        return "mixed_float16"
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace") if Path("/proc/cpuinfo").exists() else ""
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def save_model(model: keras.Model, path: Path) -> None:
    """Save a model beside its final name, then rename: a kill leaves the old file or the new one, never half."""
    beside = path.with_name(f".{path.stem}.partial.keras")
    model.save(beside)
    os.replace(beside, path)


def _prepare(out: Path, asked: dict[str, Any], resume: bool) -> None:
    state = out / "asked.json"
    if state.exists():
        if not resume:
            raise InputError(f"wanted an empty folder for the run, found a run in {out}: add --resume, or give another --out")
        before = json.loads(state.read_text(encoding="utf-8"))
        differing = [key for key in asked if asked[key] != before.get(key)]
        if differing:
            raise InputError(f"wanted to resume the run in {out} as it was started, found another {', '.join(differing)}: repeat its options, or give another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(state, asked)


def _new_model(recipe: Recipe, weights: str, steps: int) -> keras.Model:
    scratch = weights == "none"
    network = vgg.build(recipe.size, dense=recipe.dense, dropout=recipe.dropout, batch_norm=scratch)
    if not scratch:
        vgg.load_base(network, weights)
    peak = recipe.scratch_rate if scratch else recipe.tuning_rate
    total = steps * recipe.epochs
    rising = int(total * recipe.warmup_share)
    rate = keras.optimizers.schedules.CosineDecay(peak / 25, total - rising, alpha=1e-3, warmup_target=peak, warmup_steps=rising)
    optimizer = keras.optimizers.SGD(rate, momentum=recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay, clipnorm=None if scratch else 1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    network.compile(optimizer, keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing), metrics=["accuracy"])
    return network


def _train(network: keras.Model, photos: list[Photo], valid: list[Photo], out: Path, recipe: Recipe, first_epoch: int) -> None:
    stream = train_stream(
        photos, size=recipe.size, batch=recipe.batch, power=recipe.sampling_power, seed=recipe.seed, first_epoch=first_epoch, epochs=recipe.epochs
    )
    crops, class_ids = load_crops(valid, recipe.size)
    held = tf.data.Dataset.from_tensor_slices((crops, tf.one_hot(class_ids, vgg.CLASSES))).batch(recipe.batch * 4)
    network.fit(
        stream,
        epochs=recipe.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=len(photos) // recipe.batch,
        validation_data=held,
        callbacks=[_Keeper(out, first_epoch)],
        verbose=1 if os.isatty(1) else 2,
    )


class _Keeper(keras.callbacks.Callback):
    """After each epoch: history and curves, then the checkpoint, whose step count alone says how far the run has come."""

    def __init__(self, out: Path, first_epoch: int) -> None:
        super().__init__()
        self.out = out
        self.rows = read_history(out / HISTORY)[:first_epoch]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.rows.append({"epoch": float(epoch + 1), **{key: float(value) for key, value in (logs or {}).items()}})
        beside = self.out / f".{HISTORY}.partial"
        with beside.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(self.rows[0]))
            table.writeheader()
            table.writerows(self.rows)
        os.replace(beside, self.out / HISTORY)
        draw_curves(self.rows, self.out / "curves.png")
        save_model(self.model, self.out / CHECKPOINT)


def read_history(path: Path) -> list[dict[str, float]]:
    """Read `history.csv`, one row an epoch; no file is no rows."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
