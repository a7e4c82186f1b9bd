"""Score a run's classifier on crops, top-1 and by class, and name the signs in single photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edge.files import write_json
from edge.gtsrb import LABELS, held_out, read_test, score
from edge.images import fit_crop, read_image
from edge.lineage import lineage, now, result
from train import runs
from train.data import load_crops

WORST_SHOWN = 5


def evaluate_run(run: Path, data: Path, split: str, json_path: Path | None) -> dict[str, Any]:
    """Score a finished run, print top-1 and the worst classes, and return the result, written to `json_path` if given.

    Args:
        run: run folder.
        data: folder in a layout that `edge.gtsrb` reads.
        split: "valid" (the tracks that the run held out) or "test".
        json_path: where the result goes as JSON, or None.

    Raises:
        InputError: no finished run in `run`, or a broken photo.
        DataError: no known data set at `data`, or for "valid" another one than the run was trained on.
        OutputError: `json_path` cannot be written.
    """
    started_at = now()
    photos = read_test(data) if split == "test" else held_out(data, runs.read_run(run))[1]
    model = runs.load_model(run / runs.MODEL)
    size = model.input_shape[1]
    figures = evaluate_model(model, *load_crops(photos, size))
    _print_score(figures, split)
    conditions = {"run": str(run), "data": str(data), "split": split, "size": size, "lineage": lineage("tensorflow", "keras", "numpy")}
    document = result("train evaluate", started_at, conditions, figures)
    if json_path is not None:
        write_json(json_path, document)
    return document


def predict_paths(run: Path, paths: Sequence[Path]) -> list[tuple[Path, int, str, float]]:
    """Name the signs in photos with a finished run: (path, class id, label, probability from 0 to 1) for each.

    Raises:
        InputError: no finished run in `run`, or an unreadable photo.
    """
    model = runs.load_model(run / runs.MODEL)
    crops = np.stack([fit_crop(read_image(path), model.input_shape[1]) for path in paths])
    probabilities = predict_probabilities(model, crops)
    return [(path, int(row.argmax()), LABELS[row.argmax()], float(row.max())) for path, row in zip(paths, probabilities, strict=True)]


def predict_probabilities(model: keras.Model, crops: NDArray[np.uint8], batch: int = 256) -> NDArray[np.float32]:
    """Run (n, size, size, 3) uint8 BGR crops through a model: (n, 43) float32 probabilities."""
    return np.asarray(model.predict(crops, batch_size=batch, verbose=0), np.float32)


def evaluate_model(model: keras.Model, crops: NDArray[np.uint8], class_ids: NDArray[np.int64]) -> dict[str, Any]:
    """Score a model on crops; keys `n`, `top1` and `per_class` as `edge.gtsrb.score` gives them."""
    return score(predict_probabilities(model, crops).argmax(axis=1), class_ids)


def _print_score(figures: dict[str, Any], split: str) -> None:
    print(f"{split} top1 {figures['top1']:.4f} on {figures['n']} photos")
    imperfect = sorted((entry["top1"], class_id, entry) for class_id, entry in figures["per_class"].items() if entry["top1"] < 1)
    for top1, class_id, entry in imperfect[:WORST_SHOWN]:
        print(f"  {top1:.4f} on {entry['n']} photos of class {class_id} ({entry['label']})")
