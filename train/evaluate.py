"""Score the classifiers of runs on crops, top-1 and by class, and name the signs in single photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edge.bundle.lineage import lineage, now, result
from edge.datasets.classes import check_known, classes_of
from edge.datasets.gtsrb import LABELS, held_out, read_test, score
from edge.files import write_json
from edge.images import fit_crop, read_image
from train.photos.data import load_crops
from train.runs import folder as runs

WORST_SHOWN = 5


def evaluate_runs(run_folders: Sequence[Path], data: Path, split: str, json_path: Path | None) -> dict[str, Any]:
    """Score finished runs, print top-1 and the worst classes, and return the result, written to `json_path` if given.

    Args:
        run_folders: one run, or several that differ by their seed: then `top1` is their mean, `top1_std` the standard deviation of the sample, and `runs`
            holds the figures of each.
        data: folder in a layout that `edge.datasets.gtsrb` reads.
        split: "valid" (the tracks that each run held out) or "test".
        json_path: where the result goes as JSON, or None.

    Raises:
        InputError: a folder without a finished run, or a broken photo.
        DataError: no known data set at `data`, one of other classes, or for "valid" another one than a run was trained on.
        OutputError: `json_path` cannot be written.
    """
    started_at = now()
    told = [runs.read_run(folder) for folder in run_folders]
    each = []
    for folder, run in zip(run_folders, told, strict=True):
        names = classes_of(run.get("classes", {})).names
        check_known(names, data, str(folder))
        photos = read_test(data) if split == "test" else held_out(data, run)[1]
        model = runs.load_model(folder / runs.MODEL)
        each.append(evaluate_model(model, *load_crops(photos, model.input_shape[1]), names))
        _print_score(each[-1], f"{folder}: {split}" if len(run_folders) > 1 else split)
    conditions = {
        "runs": [{"run": str(folder), "recipe": run["recipe"], "weights": run["weights"]} for folder, run in zip(run_folders, told, strict=True)],
        "data": str(data),
        "split": split,
        "lineage": lineage("tensorflow", "keras", "numpy"),
    }
    document = result("train evaluate", started_at, conditions, each[0] if len(each) == 1 else _together(each, split))
    if json_path is not None:
        write_json(json_path, document)
    return document


def _together(each: list[dict[str, Any]], split: str) -> dict[str, Any]:
    top1 = [figures["top1"] for figures in each]
    mean, std = float(np.mean(top1)), float(np.std(top1, ddof=1))
    print(f"{split} top1 {mean:.4f} in the mean of {len(each)} runs, standard deviation {std:.4f}")
    return {"n": each[0]["n"], "top1": mean, "top1_std": std, "runs": each}


def predict_paths(run: Path, paths: Sequence[Path]) -> list[tuple[Path, int, str, float]]:
    """Name the signs in photos with a finished run: (path, class id, label, probability from 0 to 1) for each.

    Raises:
        InputError: no finished run in `run`, or an unreadable photo.
    """
    names = classes_of(runs.read_run(run).get("classes", {})).names
    model = runs.load_model(run / runs.MODEL)
    crops = np.stack([fit_crop(read_image(path), model.input_shape[1]) for path in paths])
    probabilities = predict_probabilities(model, crops)
    return [(path, int(row.argmax()), names[row.argmax()], float(row.max())) for path, row in zip(paths, probabilities, strict=True)]


def predict_probabilities(model: keras.Model, crops: NDArray[np.uint8], batch: int = 32) -> NDArray[np.float32]:
    """Run (n, size, size, 3) uint8 BGR crops through a model: (n, classes) float32 probabilities."""
    return np.asarray(model.predict(crops, batch_size=batch, verbose=0), np.float32)


def evaluate_model(model: keras.Model, crops: NDArray[np.uint8], class_ids: NDArray[np.int64], names: Sequence[str] = LABELS) -> dict[str, Any]:
    """Score a model of classes of these names on crops; keys `n`, `top1` and `per_class` as `edge.datasets.gtsrb.score` gives them."""
    return score(predict_probabilities(model, crops).argmax(axis=1), class_ids, names)


def _print_score(figures: dict[str, Any], split: str) -> None:
    print(f"{split} top1 {figures['top1']:.4f} on {figures['n']} photos")
    imperfect = sorted((entry["top1"], class_id, entry) for class_id, entry in figures["per_class"].items() if entry["top1"] < 1)
    for top1, class_id, entry in imperfect[:WORST_SHOWN]:
        print(f"  {top1:.4f} on {entry['n']} photos of class {class_id} ({entry['label']})")
