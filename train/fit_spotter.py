"""Train the spotter: frames -> run folder (`train.runs` says what lies in it)."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from itertools import repeat, starmap
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edge.bundle.lineage import lineage
from edge.datasets.aerial import mixture
from edge.datasets.classes import read_classes
from edge.datasets.gtsdb import Sides, read_sides
from edge.errors import InputError
from edge.files import write_json
from edge.recognition.finding import Findings, figures, judge
from edge.recognition.heatmap import decode
from edge.recognition.spotter_learned import pad
from train.networks import spotter
from train.networks.bundle_weights import is_bundle, load_bundle
from train.networks.precision import choose_precision, in_policy
from train.networks.spotter_loss import spotter_loss
from train.networks.vgg import round_to_fp16
from train.photos.spotter_frames import Still, Views, draw_stills, read_photos, read_stills, stream
from train.recipes import SpotterRecipe
from train.report.plots import draw_curves
from train.runs import folder as runs
from train.runs.environment import PeakMemory, describe
from train.runs.keeper import Keeper, load_best

JUDGED_BY = "tune_error"
JUDGED_EVERY = 4
LEAST_SCORE = 0.02
MOST = 100
BATCH = 4


def fit_spotter(data: Path, out: Path, recipe: SpotterRecipe, *, weights: str = "none", resume: bool) -> dict[str, Any]:
    """Train by the recipe and write the run folder; returns what `run.json` holds. Nothing is written before the data are known to be good.

    The best epoch and the threshold are chosen on frames of the training groups that are not trained on; the held-out groups only tell how good it is.

    Args:
        data: folder that holds GTSDB's frames (in gtsdb/, or beside it) and GTSRB's photos (in gtsrb/, or itself).
        out: run folder.
        recipe: how to train.
        weights: "none" (from scratch), or what is to learn on: a bundle's folder, or the model.keras of a spotter.
        resume: go on after the last whole epoch in `out`.

    Raises:
        InputError: `out` holds a run that is not to be resumed, was started otherwise or is damaged; no spotter at `weights`; a broken frame or photo.
        DataError: no frames or no photos, or too few.
        OutputError: `out` cannot be written.
    """
    asked = {"recipe": dataclasses.asdict(recipe), "weights": weights, "data": str(data)}
    runs.check_start(out, asked, resume)
    sides = read_sides(data)
    print(f"{recipe}\n{len(sides.train)} frames to train, {len(sides.tuning)} to choose epoch and threshold, {len(sides.held)} held out, split by neighbours")
    held, tuning = read_stills(sides.held, "reading frames held out"), read_stills(sides.tuning, "reading frames to tune")
    if recipe.air:
        tuning = seen_from_the_air(tuning)
    with PeakMemory() as peak, in_policy(runs.read_progress(out).precision or choose_precision(recipe.precision)):
        network = _trained(data, sides, tuning, out, recipe, asked)
        environment = describe()
    plain = spotter.fold(network)
    round_to_fp16(plain)
    chosen, told = findings(plain, tuning), findings(plain, held)
    metrics = {"tuning": figures(chosen), "valid": figures(told), "threshold": round(chosen.score_at(recipe.false_a_frame), 4)}
    runs.save_model(plain, out / runs.MODEL)
    rows = runs.read_history(out / runs.HISTORY)
    draw_curves(rows, out / runs.CURVES)
    run = {
        "schema": runs.SCHEMA,
        **asked,
        **runs.former(weights, "spotter"),
        "metrics": metrics,
        "frames": {"train": len(sides.train), "tuning": len(sides.tuning), "valid": len(held)},
        "parameters": plain.count_params(),
        "flop": spotter.count_flop(),
        "environment": environment,
        "peak_memory": peak.figures,
        "seconds": round(sum(row.get("seconds", 0.0) for row in rows)),
        "lineage": lineage("tensorflow", "keras", "numpy"),
    }
    write_json(out / runs.RUN, run)
    print(f"held-out frames: {metrics['valid']}; threshold {metrics['threshold']}, from the tuning frames: {metrics['tuning']}")
    return run


def findings(network: keras.Model, stills: Sequence[Still]) -> Findings:
    """Judge what a spotter finds in stills."""
    maps = [network.predict_on_batch(_batch(stills[start : start + BATCH])) for start in range(0, len(stills), BATCH)]
    pairs = zip(np.concatenate(maps), stills, strict=True)
    return judge(((decode(found, least_score=LEAST_SCORE, most=MOST), still.boxes_xyxy) for found, still in pairs), repeat(spotter.FRAME_WH))


def seen_from_the_air(stills: Sequence[Still]) -> list[Still]:
    """Return each still as it is, and in the views of `edge.datasets.aerial.MIXTURE`."""
    return [seen for place, still in enumerate(stills) for seen in (still, *starmap(Still, mixture(still.image, still.boxes_xyxy, place)))]


def _batch(stills: Sequence[Still]) -> NDArray[np.uint8]:
    return np.stack([pad(still.image, spotter.FRAME_WH) for still in stills])


def _trained(data: Path, sides: Sides, tuning: list[Still], out: Path, recipe: SpotterRecipe, asked: dict[str, Any]) -> keras.Model:
    """Train what the run in `out` lacks and return the network of its best epoch."""
    done = runs.read_progress(out).epochs
    keras.utils.set_random_seed(recipe.seed)
    network = _compiled(recipe, asked["weights"])
    if (out / runs.CHECKPOINT).exists():
        runs.load_checkpoint(network, out / runs.CHECKPOINT)
    elif is_bundle(asked["weights"]):
        load_bundle(network, Path(asked["weights"]), "spotter")
    elif asked["weights"] != "none":
        spotter.load(network, Path(asked["weights"]))
    if done < recipe.epochs:
        photos, classes = read_photos(data, recipe), read_classes(data)
        if not photos:
            raise InputError(f"wanted photos of signs to paste in {data}, found none: add photos")
        drawn = draw_stills(recipe.drawn_frames, recipe.seed) if classes.official else []  # they show GTSRB's signs
        views = Views(read_stills(sides.train, "reading frames"), drawn, photos, recipe, classes)
        write_json(out / runs.ASKED, asked)
        print(f"precision {keras.config.dtype_policy().name}; {network.count_params()} parameters, {spotter.count_flop() / 1e9:.2f} GFLOP a frame")
        network.fit(
            stream(views, done),
            epochs=recipe.epochs,
            initial_epoch=done,
            steps_per_epoch=recipe.steps,
            shuffle=False,
            callbacks=[_Finder(recipe, tuning), Keeper(network, out, done, None, JUDGED_BY)],
            verbose=1 if os.isatty(1) else 2,
        )
    load_best(network, out, JUDGED_BY)
    return network


def _compiled(recipe: SpotterRecipe, weights: str) -> keras.Model:
    scratch = weights == "none"
    network, peak = spotter.build((None, None), batch_norm=scratch), recipe.scratch_rate if scratch else recipe.tuning_rate
    rising = int(recipe.steps * recipe.epochs * recipe.warmup_share)
    rate = keras.optimizers.schedules.CosineDecay(peak / 25, recipe.steps * recipe.epochs - rising, alpha=1e-2, warmup_target=peak, warmup_steps=rising)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, clipnorm=5.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    network.compile(optimizer, spotter_loss)
    return network


class _Finder(keras.callbacks.Callback):
    """Adds to each epoch's figures what the network finds in the tuning frames; stands before the keeper, which writes them down."""

    def __init__(self, recipe: SpotterRecipe, tuning: Sequence[Still]) -> None:
        super().__init__()
        self.recipe, self.tuning = recipe, tuning

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Judge them after every `JUDGED_EVERY` epochs and after the last, for it takes a third of an epoch's time; one not judged is never the best."""
        told = dict.fromkeys(("tune_recall", "tune_ap50", JUDGED_BY), math.nan)
        if (epoch + 1) % JUDGED_EVERY == 0 or epoch + 1 == self.recipe.epochs:
            found = findings(self.model, self.tuning)
            told = {"tune_recall": found.recall_at(self.recipe.false_a_frame), "tune_ap50": found.ap50(), JUDGED_BY: 1 - found.ap50()}
        print(", ".join(f"{key} {value:.4f}" for key, value in told.items()))
        if logs is not None:
            logs.update(told)
