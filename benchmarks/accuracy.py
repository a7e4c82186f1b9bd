"""Top-1 accuracy of a bundle on GTSRB's photos, through the engine that the board would use."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring.intervals import shown, wilson
from benchmarks.measuring.setting import Setting, print_conditions, write_result
from edge.bundle.lineage import now
from edge.bundle.manifest import read_bundle
from edge.datasets.classes import check_known
from edge.datasets.gtsrb import Photo, held_out, read_photo, read_test, score
from edge.engines.contract import Engine
from edge.images import fit_crop

BATCH = 16
WORST_SHOWN = 5


def accuracy(setting: Setting, data: Path, split: str, json_path: Path | None) -> dict[str, Any]:
    """Score a bundle on photos, print top-1 and the worst classes, and return the figures.

    Args:
        setting: what runs.
        data: a GTSRB folder, or one that holds `gtsrb/`.
        split: "test", or "valid" (the tracks that the bundle's training run held out).
        json_path: where the result goes, or None.

    Returns:
        `n`, `top1` and its `interval`, `per_class` (the same of each class), `precision`, `engine`.

    Raises:
        DataError: no known data set at `data`, or for "valid" another one than the bundle was trained on.
        InputError: a photo cannot be read, or for "valid" no record of the training in the bundle.
        BundleError: no bundle, or a damaged one.
        EngineError: the engine fails.
        OutputError: `json_path` cannot be written.
    """
    started_at, conditions = now(), setting.conditions(data=str(data), split=split, batch=BATCH)
    manifest = read_bundle(setting.bundle).manifest
    names = manifest.labels
    check_known(names, data, manifest.name)
    photos = read_test(data) if split == "test" else held_out(data, manifest.lineage.get("train", {}))[1]
    with setting.open() as engine:
        print_conditions(engine.name, engine.precision, setting)
        predicted = predict(engine, photos)
        size = engine.spec.input.shape[1]
    scored = with_intervals(score(predicted, np.array([photo.class_id for photo in photos]), names))
    figures = {**scored, "precision": engine.precision, "engine": engine.name}
    _print(figures, split)
    write_result(json_path, "accuracy", started_at, conditions | {"size": size}, figures)
    return figures


def predict(engine: Engine, photos: Sequence[Photo]) -> NDArray[np.int64]:
    """Return the most likely class of each photo, (n,) int64; only one batch of photos is in memory at a time.

    Raises:
        InputError: a photo cannot be read.
        DataError: a sign's box is not inside its photo.
        EngineError: the engine fails.
    """
    size = engine.spec.input.shape[1]
    predicted = np.empty(len(photos), np.int64)
    for start in range(0, len(photos), BATCH):
        crops = np.stack([fit_crop(read_photo(photo), size) for photo in photos[start : start + BATCH]])
        predicted[start : start + len(crops)] = engine.infer(crops).argmax(axis=1)
        _show_progress(start + len(crops), len(photos))
    return predicted


def with_intervals(scored: dict[str, Any]) -> dict[str, Any]:
    """Return what `edge.datasets.gtsrb.score` told, with the `interval` of each top-1."""
    per_class = {class_id: {**entry, "interval": _interval(entry)} for class_id, entry in scored["per_class"].items()}
    return {**scored, "interval": _interval(scored), "per_class": per_class}


def _interval(entry: dict[str, Any]) -> list[float]:
    return wilson(round(entry["top1"] * entry["n"]), entry["n"])


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} photos", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _print(figures: dict[str, Any], split: str) -> None:
    print(f"{split} top1 {shown(figures['top1'], figures['interval'])} on {figures['n']} photos")
    imperfect = sorted((entry["top1"], int(class_id), entry) for class_id, entry in figures["per_class"].items() if entry["top1"] < 1)
    for top1, class_id, entry in imperfect[:WORST_SHOWN]:
        print(f"  {shown(top1, entry['interval'])} on {entry['n']:4} photos of class {class_id:2} ({entry['label']})")
