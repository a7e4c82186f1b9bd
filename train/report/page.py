"""The page of a finished run: figures, pictures, recipe and environment in one HTML file that opens without a network.

The page shows photos of the data set: it stays in the run folder and is never committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge import page
from edge.files import write_text
from train.report.plots import WIDTH_PX, confused_pairs, count_confusions, draw_balance, draw_confusion, draw_curves
from train.report.sheets import Example, draw_predictions, draw_samples

REPORT = "report.html"
WORST_SHOWN = 12
TAKEN_FOR_SHOWN = 3

_HINTS = {
    "Curves": "Both lines should fall, then lie flat: valid rising while train still falls is overfitting, a step is a resume gone wrong. "
    "Train may stay above valid, since it alone sees augmentation and dropout.",
    "Confusion": "All should lie on the blue diagonal: a red 1 is often one unreadable photo, a red cell with many photos is a pair of classes to work on.",
    "Predictions": "Could you tell the sign yourself? Confident mistakes on clear photos are worth a look at their labels, those on unreadable photos are not.",
    "Class balance": "A sampling power below 1 brings the diamonds closer together than the bars' ends. "
    "A class with ten photos to validate is scored in steps of a tenth.",
    "Augmentation": "A person should still name nearly every view: if not, it is too strong; if the views look like the photo, it is too weak.",
}


@dataclass(frozen=True)
class Seen:
    """What a run saw and said, for its pictures.

    Attributes:
        rows: history, one dict an epoch.
        crops: (n, size, size, 3) uint8 BGR, of validation.
        class_ids: (n,), the true ones of `crops`.
        probabilities: (n, classes), predicted for `crops`.
        train_class_ids: of all training photos.
        sampled_class_ids: of one epoch's photos as drawn.
        examples: class id, photo and augmented views, each (side, side, 3) uint8 BGR.
        names: of the classes.
    """

    rows: list[dict[str, float]]
    crops: NDArray[np.uint8]
    class_ids: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    train_class_ids: NDArray[np.int64]
    sampled_class_ids: NDArray[np.int64]
    examples: list[Example]
    names: Sequence[str]


def write_report(out: Path, run: Mapping[str, Any], seen: Seen) -> Path:
    """Draw a run's pictures into its folder and write the page that holds them all; returns the page.

    Args:
        out: run folder.
        run: what `run.json` holds, with `environment`, `peak_memory` and `seconds`.
        seen: what the pictures show.

    Raises:
        OutputError: `out` cannot be written.
    """
    pictures = [out / name for name in ("curves.png", "confusion.png", "predictions.png", "balance.png", "samples.png")]
    draw_curves(seen.rows, pictures[0])
    draw_confusion(seen.class_ids, seen.probabilities, seen.names, pictures[1])
    draw_predictions(seen.crops, seen.class_ids, seen.probabilities, seen.names, pictures[2])
    draw_balance(seen.train_class_ids, seen.sampled_class_ids, seen.class_ids, seen.names, pictures[3])
    draw_samples(seen.examples, seen.names, pictures[4])
    name, made = f"Signwing run: {run['recipe']['name']}", run["lineage"]
    origin = f"{made['made_at']}, commit {made['commit']}; weights {run['weights']}; photos in {run['data']}"
    body = [
        f"<h1>{escape(name)}</h1>",
        f"<p>{escape(origin)}</p>",
        _headline(run, seen),
        _worst(run["metrics"]["valid"]["per_class"], count_confusions(seen.class_ids, seen.probabilities.argmax(axis=1), len(seen.names)), seen.names),
        *(page.picture(title, hint, path.read_bytes(), WIDTH_PX) for (title, hint), path in zip(_HINTS.items(), pictures, strict=True)),
        f'<div class="pair"><div><h2>Recipe</h2>{page.facts(run["recipe"])}</div>',
        f"<div><h2>Environment</h2>{page.facts({**run['environment'], 'versions': made['versions']})}</div></div>",
    ]
    write_text(out / REPORT, page.document(name, body))
    return out / REPORT


def _headline(run: Mapping[str, Any], seen: Seen) -> str:
    valid, peak = run["metrics"]["valid"], run["peak_memory"]
    minutes = round(run["seconds"] / 60)
    time = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{run['seconds'] / 60:.1f} min"
    tiles = (
        ("top-1, unseen signs", f"{valid['top1']:.4f}", f"{round((1 - valid['top1']) * valid['n'])} of {valid['n']} wrong"),
        ("epochs", str(len(seen.rows)), f"of {run['recipe']['epochs']} planned"),
        ("time", time, "whole run"),
        ("peak memory, host", _mib(peak["host_peak_mib"]), "this process"),
        ("peak memory, GPU", _mib(peak["gpu_peak_mib"]), "no GPU used" if peak["gpu_peak_mib"] is None else "without CUDA's own"),
        ("photos to train", str(run["photos"]["train"]), f"{run['photos']['valid']} to validate"),
    )
    return page.tiles(tiles)


def _mib(mib: float | None) -> str:
    return page.DASH if mib is None else f"{mib / 1024:.2f} GiB"


def _worst(per_class: Mapping[str, Any], counts: NDArray[np.int64], names: Sequence[str]) -> str:
    imperfect = sorted((entry["top1"], int(class_id), entry["n"]) for class_id, entry in per_class.items() if entry["top1"] < 1)
    if not imperfect:
        return "<h2>Worst classes</h2><p>None: every validation photo was named rightly.</p>"
    taken: dict[int, list[str]] = {}
    for true, said, n in confused_pairs(counts):
        taken.setdefault(true, []).append(f"{names[said]}\u00a0\u00d7{n}")
    rows = [
        (f"{class_id} {names[class_id]}", f"{top1:.4f}", str(n), ", ".join(taken.get(class_id, [])[:TAKEN_FOR_SHOWN]))
        for top1, class_id, n in imperfect[:WORST_SHOWN]
    ]
    note = f"{len(imperfect)} of {len(per_class)} classes have a mistake; the worst come first."
    return f"<h2>Worst classes</h2><p>{note}</p>{page.table(('class', 'top-1', 'photos', 'taken for'), rows)}"
