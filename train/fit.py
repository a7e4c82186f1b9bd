"""Fine-tune or train a classifier: data -> run folder (`train.runs` says what lies in it)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edge.bundle.lineage import lineage
from edge.datasets.classes import GTSRB, Classes, read_classes
from edge.datasets.faces import PaintedFace
from edge.datasets.gtsrb import Photo, Sides, Split, read_split, score
from edge.errors import InputError
from edge.files import cache_folder, check_place, write_json
from train.evaluate import predict_probabilities
from train.memory import Plan, limit_gpus, plan
from train.networks import vgg
from train.networks.bundle_weights import is_bundle, load_bundle
from train.networks.calibrate import apply_temperature, fit_temperature, reliability
from train.networks.compiled import compiled, from_scratch
from train.networks.precision import choose_precision, in_policy
from train.photos.data import (
    broken_photos,
    drawn_crops,
    feature_stream,
    load_crops,
    load_sign_free,
    load_views,
    plan_epoch,
    train_stream,
    view_examples,
)
from train.photos.teacher import Teacher, taught
from train.photos.views import REAL, Crop
from train.recipes import Recipe, drawn_recipe
from train.report.page import Seen, write_report
from train.runs import folder as runs
from train.runs.distribution import device_count, distribute, gather
from train.runs.environment import PeakMemory, describe
from train.runs.keeper import Keeper, is_over, load_best

DRAWN_A_CLASS = 10
EXAMPLES, VIEWS = 12, 7
PRUNED_BY = 512 * 64 * 64
"""Pixels of photos: the widest layer's outputs take half a GiB."""

NAMED = 20
"""Broken photos that a message names."""

_LOG = logging.getLogger(__name__)
Crops = tuple[NDArray[np.uint8], NDArray[np.int64]]


def fit(
    data: Path,
    out: Path,
    recipe: Recipe,
    *,
    weights: str,
    resume: bool,
    features: str = "auto",
    budget_gib: float | None = None,
    distributed: bool = False,
    teacher: Path | None = None,
    leave_out_broken: bool = False,
) -> dict[str, Any]:
    """Train by a recipe and write the run folder; returns what `run.json` holds. Nothing is written before data and weights are known to be good.

    Args:
        data: folder in a layout that `edge.datasets.gtsrb` reads.
        out: run folder.
        recipe: how to train.
        weights: "imagenet", "drawn" (trained on drawn photos first, once, kept in the user's cache), "none" (from scratch: every layer is trained, whatever
            the recipe freezes), a bundle's folder (its classifier learns on), or a file of VGG-16's weights.
        resume: go on after the last whole epoch in `out`.
        features: of a frozen prefix, on photos that are not augmented: "computed" in each step, or "cached" once; "auto" caches where it can.
        budget_gib: memory to stay inside (`train.memory`), GiB.
        distributed: split each batch over all devices and processes (`train.runs.distribution`).
        teacher: bundle whose classifier's answers are learnt beside the labels (`train.photos.teacher`), in place of smoothed labels.
        leave_out_broken: go on without the photos that cannot be read.

    Raises:
        InputError: `out` holds a run that is not to be resumed, was started otherwise or is damaged; no such weights; broken photos; too
            small a budget; nothing to distribute with.
        DataError: no known data set at `data`.
        BundleError: no bundle at `teacher`, or a damaged one.
        OutputError: `out` cannot be written.
    """
    classes = read_classes(data)
    if weights == "drawn" and classes.drawn < len(classes):
        raise InputError(
            f"wanted weights that know photos, or a face of every class, found --weights drawn and {classes.drawn} faces of {len(classes)} in {data}: "
            "give --weights edge/models, or prepare the data with --faces"
        )
    if not classes.drawn:
        recipe = dataclasses.replace(recipe, drawn_share=0.0)
    if weights == "none":
        recipe = dataclasses.replace(recipe, last_layers=None)  # frozen at random, the others would be lost
    if teacher is not None:
        recipe = taught(recipe)
    asked = {"recipe": dataclasses.asdict(recipe), "weights": weights, "data": str(data), "teacher": teacher and str(teacher)}
    runs.check_start(out, asked, resume)
    if budget_gib is not None:
        limit_gpus(budget_gib)
    if distributed:
        distribute(recipe.batch)
    devices, cacheable = device_count(), _caches(recipe, features)
    (photos, valid), left_out = _whole(data, Split(recipe.valid_share, recipe.seed, recipe.train_per_class, recipe.valid_per_class), leave_out_broken)
    recipe, steps = recipe.lasting(len(photos)), recipe.steps(len(photos))
    print(f"{recipe}\nweights {weights}; {len(photos)} photos to train, {len(valid)} to validate, split by track; {steps} steps an epoch")
    opened = Teacher(teacher, recipe, classes.names) if teacher is not None else nullcontext()
    with PeakMemory() as peak, opened as master, in_policy(runs.read_progress(out).precision or choose_precision(recipe.precision)):
        held = load_crops(valid, recipe.size)
        source = _Source(data, photos, held, _judged(valid, held, recipe, classes), steps, master, classes)
        chosen = _plan(source, out, recipe, weights, budget_gib, cacheable)
        network = _trained(source, out, recipe, weights, asked, chosen)
        gather()
        plain, metrics, probabilities = _finished(network, source.held, chosen.batch, classes)
        environment = describe()
    memory = {"memory": {"budget_gib": budget_gib, **dataclasses.asdict(chosen), "devices": devices}, "peak_memory": peak.figures}
    runs.save_model(plain, out / runs.MODEL)
    told: dict[str, Any] = {
        **asked,
        "recipe": dataclasses.asdict(recipe),
        **runs.former(weights),
        **_taught_by(source.teacher),
        "metrics": {"valid": metrics},
        "environment": environment,
        **memory,
    }
    if classes.own:
        told["classes"] = classes.as_record()
    told["photos"] = {"train": len(photos), "valid": len(valid), **({"left_out": left_out} if left_out else {})}
    return _record(out, source, recipe, told, probabilities)


def _judged(valid: Sequence[Photo], held: Crops, recipe: Recipe, classes: Classes) -> Crops:
    """Return what the epoch is chosen by: the photos held out and their views; and drawn ones of GTSRB's classes where own ones are added to them."""
    judged = load_views(valid, recipe.size) if recipe.air else held
    if not (classes.own and classes.official):
        return judged
    drawn = drawn_crops(recipe.size, DRAWN_A_CLASS, recipe.seed, GTSRB.faces)
    return np.concatenate([judged[0], drawn[0]]), np.concatenate([judged[1], drawn[1]])


def _whole(data: Path, split: Split, leave_out: bool) -> tuple[Sides, list[str]]:
    """Read both sides of a data set; returns them without their broken photos, and those photos' paths within it.

    Raises:
        InputError: broken photos, which are not to be left out; the message names all of them, up to `NAMED`.
    """
    train, valid = read_split(data, split)
    broken = broken_photos([*train, *valid])
    if broken and not leave_out:
        named = ", ".join(str(photo.path) for photo in list(broken)[:NAMED]) + (f" and {len(broken) - NAMED} more" if len(broken) > NAMED else "")
        first = next(iter(broken.values())).rpartition(": ")[0]
        raise InputError(
            f"wanted whole photos in {data}, found {len(broken)} of {len(train) + len(valid)} broken: {named} (the first: {first}): "
            "copy them again, or give --leave-out-broken"
        )
    for said in broken.values():
        _LOG.warning("%s: left out", said)
    left_out = sorted(os.path.relpath(photo.path, data) for photo in broken)
    return ([photo for photo in train if photo not in broken], [photo for photo in valid if photo not in broken]), left_out


def _taught_by(teacher: Teacher | None) -> dict[str, Any]:
    return {"taught_by": {"name": teacher.name, "sha256": teacher.sha256}} if teacher else {}


def _record(out: Path, source: _Source, recipe: Recipe, told: dict[str, Any], probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """Write `run.json` and the report, say how it went, and return what `run.json` holds."""
    rows = runs.read_history(out / runs.HISTORY)
    run = {
        "schema": runs.SCHEMA,
        **told,
        "seconds": round(sum(row.get("seconds", 0.0) for row in rows)),
        "lineage": lineage("tensorflow", "keras", "numpy"),
    }
    write_json(out / runs.RUN, run)
    page = write_report(out, run, _seen(source, recipe, rows, probabilities))
    print(f"valid top1 {told['metrics']['valid']['top1']:.4f} on {len(probabilities)} photos of unseen signs; see {page}")
    return run


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where a run's photos come from: the data set, photos to train on, crops held out, crops to choose the epoch by, steps an epoch, who teaches, classes."""

    data: Path
    photos: Sequence[Photo]
    held: Crops
    judged: Crops
    steps: int
    teacher: Teacher | None
    classes: Classes


def _caches(recipe: Recipe, features: str) -> bool:
    """Decide whether the frozen prefix is computed once.

    Raises:
        InputError: "cached" is asked for where there is no frozen prefix, or where each view of a photo is another.
    """
    same_views = not (recipe.augmented or recipe.drawn_share or recipe.sign_free_share or recipe.teacher_share)
    possible = recipe.last_layers is not None and same_views and device_count() == 1
    if features == "cached" and not possible:
        raise InputError(
            f"wanted cached features, but recipe {recipe.name} varies its photos or trains every layer, or is taught or distributed: give --features computed"
        )
    return possible and features != "computed"


def _plan(source: _Source, out: Path, recipe: Recipe, weights: str, budget_gib: float | None, cacheable: bool) -> Plan:
    resumed = runs.read_progress(out).passes if (out / runs.CHECKPOINT).exists() else None
    held, devices = len(source.judged[0]), device_count()
    chosen = plan(recipe, source.photos, held, budget_gib, batch_norm=from_scratch(weights), cacheable=cacheable, devices=devices, passes=resumed)
    if weights == "drawn" and resumed is None:
        first = plan(drawn_recipe(recipe), [], source.classes.drawn * DRAWN_A_CLASS, budget_gib, batch_norm=True, cacheable=False, devices=devices)
        chosen = min(chosen, first, key=lambda each: each.batch)
    if devices > 1 and held < chosen.batch:
        raise InputError(f"wanted at least one batch of {chosen.batch} photos to validate on with --distribute, found {held}: add photos")
    print(f"{chosen}")
    return chosen


def _trained(source: _Source, out: Path, recipe: Recipe, weights: str, asked: dict[str, Any], chosen: Plan) -> keras.Model:
    """Train what the run in `out` lacks and return the network of its best epoch. Photos are read first, then weights; only then is anything written."""
    done = runs.read_progress(out).epochs
    if done >= recipe.epochs or is_over(runs.read_history(out / runs.HISTORY)[:done], recipe.patience):
        network = _network(recipe, weights, source.steps, out, chosen, source.classes, source.photos)
    else:
        if chosen.cached:
            views = load_crops(source.photos, recipe.size)
        else:
            sign_free = _sign_free(source, recipe) if recipe.sign_free_share else []
            views = train_stream(source.photos, sign_free, recipe, source.steps, done, classes=source.classes)
            views = source.teacher.teach(views) if source.teacher else views
        network = _network(recipe, weights, source.steps, out, chosen, source.classes, source.photos)
        write_json(out / runs.ASKED, asked)
        _train(network, views, source.judged, out, recipe, source.steps, chosen, source.classes, source.teacher)
    load_best(network, out)
    return network


def _sign_free(source: _Source, recipe: Recipe) -> list[Crop]:
    """Cut out places without a sign; where a teacher knows what seems one, all of that and about as many others at most."""
    crops = load_sign_free(source.data, recipe.seed)
    seeming = source.teacher.seeming(source.data) if source.teacher else []
    return seeming + crops[:: max(1, len(crops) // len(seeming))] if seeming else crops


def _network(recipe: Recipe, weights: str, steps: int, out: Path, chosen: Plan, classes: Classes = GTSRB, photos: Sequence[Photo] = ()) -> keras.Model:
    """Build and compile the network, in the policy in force, with the weights to start from: the checkpoint's where there is one.

    Photos are what wider weights are pruned by.
    """
    checkpoint, drawn = out / runs.CHECKPOINT, None
    if weights == "drawn" and not checkpoint.exists():
        check_place(checkpoint)  # before much work is done
        drawn = _drawn_weights(recipe, chosen, classes)
    print(f"precision {keras.config.dtype_policy().name}")
    keras.utils.set_random_seed(recipe.seed)
    network = compiled(recipe, weights, steps, chosen.passes, len(classes))
    if checkpoint.exists():
        # Built anew around the checkpoint's state: Keras saves an optimizer without its exclusions from weight decay.
        runs.load_checkpoint(network, checkpoint)
    elif drawn is not None:
        runs.load_weights(network, drawn)
    elif is_bundle(weights):
        load_bundle(network, Path(weights), "classifier", classes.names)
    elif weights != "none":
        vgg.load_base(network, weights, lambda: _some_crops(photos, recipe))
    return network


def _some_crops(photos: Sequence[Photo], recipe: Recipe) -> NDArray[np.uint8]:
    """Read as many photos, evenly from all, as have the pixels of PRUNED_BY."""
    count = max(1, min(len(photos), PRUNED_BY // recipe.size**2))
    return load_crops([photos[at] for at in np.linspace(0, len(photos) - 1, count).round().astype(int)], recipe.size)[0]


def _drawn_weights(recipe: Recipe, chosen: Plan, classes: Classes) -> Path:
    """Train on drawn photos, unless the user's cache has it done, and return the file with the weights. Interrupted, it goes on where it was."""
    first = drawn_recipe(recipe)
    told = {key: value for key, value in dataclasses.asdict(first).items() if key != "least_steps"}  # `epochs` has it, and older ones know it not
    told |= {"passes": chosen.passes} if chosen.passes > 1 else {}  # batch norm sees smaller batches
    told |= {"faces": [hashlib.sha256(face.png).hexdigest() for face in classes.faces if isinstance(face, PaintedFace)]} if classes.own else {}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
    out = cache_folder() / f"drawn-{digest}"
    progress, steps = runs.read_progress(out), max(1, recipe.drawn_steps // first.epochs)
    if progress.epochs < first.epochs:
        print(f"training on drawn photos first, in {first.epochs} epochs of {steps} steps; kept in {out}")
        with in_policy(progress.precision or choose_precision(first.precision)):
            views = train_stream([], [], first, steps, progress.epochs, classes=classes)
            held = drawn_crops(first.size, DRAWN_A_CLASS, first.seed, classes.faces)
            _train(_network(first, "none", steps, out, chosen, classes), views, held, out, first, steps, chosen, classes)
    return out / runs.CHECKPOINT


def _train(
    network: keras.Model,
    views: tf.data.Dataset | Crops,
    held: Crops,
    out: Path,
    recipe: Recipe,
    steps: int,
    chosen: Plan,
    classes: Classes,
    teacher: Teacher | None = None,
) -> None:
    """Train to the end of the recipe on a stream of views, or on what the frozen prefix makes of crops; judged by what the views' targets are like."""
    done, targets = runs.read_progress(out).epochs, np.eye(len(classes), dtype=np.float32)[held[1]]
    targets = teacher.mix(held[0], targets) if teacher else targets
    trained = network
    inputs: NDArray[Any] = held[0]
    if isinstance(views, tuple):
        prefix, trained = vgg.split_at_frozen(network)
        trained.compile(network.optimizer, network.loss, metrics=["accuracy"])
        inputs = _features(prefix, inputs, chosen.batch)
        stream = feature_stream(_features(prefix, views[0], chosen.batch), views[1], recipe, steps, done, len(classes))
    else:
        stream = views
    valid = tf.data.Dataset.from_tensor_slices((inputs, targets))
    trained.fit(
        stream.rebatch(chosen.batch) if chosen.passes > 1 else stream,
        epochs=recipe.epochs,
        initial_epoch=done,
        steps_per_epoch=steps * chosen.passes,
        validation_data=valid.batch(chosen.batch, drop_remainder=device_count() > 1),  # devices share whole batches only
        shuffle=False,  # the stream has its own order
        callbacks=[Keeper(network, out, done, recipe.patience)],
        verbose=1 if os.isatty(1) else 2,
    )


def _features(prefix: keras.Model, crops: NDArray[np.uint8], batch: int) -> NDArray[np.float32]:
    return np.asarray(prefix.predict(crops, batch_size=batch, verbose=0), np.float32)


def _finished(network: keras.Model, held: Crops, batch: int, classes: Classes) -> tuple[keras.Model, dict[str, Any], NDArray[np.float32]]:
    """Fold, calibrate on the held-out photos and round: the model that leaves this stage, its figures on those photos, and its probabilities."""
    crops, class_ids = held
    plain = vgg.fold(network)
    logits = predict_probabilities(keras.Model(plain.inputs, plain.get_layer("logits").output), crops, batch)
    before = reliability(np.asarray(keras.ops.softmax(logits)), class_ids)
    temperature = fit_temperature(logits, class_ids)
    apply_temperature(plain, temperature)
    vgg.round_to_fp16(plain)
    probabilities = predict_probabilities(plain, crops, batch)
    calibration = {"temperature": temperature, "before": before, "after": reliability(probabilities, class_ids)}
    return plain, {**score(probabilities.argmax(axis=1), class_ids, classes.names), "calibration": calibration}, probabilities


def _seen(source: _Source, recipe: Recipe, rows: list[dict[str, float]], probabilities: NDArray[np.float32]) -> Seen:
    class_ids = np.array([photo.class_id for photo in source.photos], np.int64)
    plan = plan_epoch(class_ids, recipe, source.steps, 0, len(source.classes), source.classes.drawn)
    sampled = class_ids[plan[plan[:, 0] == REAL, 1]]
    return Seen(rows, *source.held, probabilities, class_ids, sampled, view_examples(source.photos, recipe, EXAMPLES, VIEWS), source.classes.names)
