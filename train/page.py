"""The page of a finished run: figures, pictures, recipe and environment in one HTML file that opens without a network.

The page shows photos of the data set: it stays in the run folder and is never committed.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.files import write_text
from edge.gtsrb import LABELS
from train.plots import WIDTH_PX, confused_pairs, count_confusions, draw_balance, draw_confusion, draw_curves
from train.sheets import Example, draw_predictions, draw_samples

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

_CSS = """
:root{color-scheme:light dark;--ground:#f7f8fa;--card:#fff;--ink:#101828;--soft:#475467;--line:#e4e7ec}
@media(prefers-color-scheme:dark){:root{--ground:#0f1319;--card:#1a2029;--ink:#e6e9ee;--soft:#a3adbb;--line:#303846}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1050px;padding:1rem;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{margin:.5rem 0 0;font-size:1.6rem}h2{margin:2rem 0 .25rem;font-size:1.15rem}
p{margin:0 0 .75rem;color:var(--soft);max-width:75ch;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.75rem;margin:1rem 0}
dl div,.sheet,table{background:var(--card);border:1px solid var(--line);border-radius:8px}
dl div{padding:.6rem .8rem}dt{color:var(--soft);font-size:.8rem}dd{margin:0;font-size:1.35rem;font-weight:600}
dd small{display:block;font-size:.8rem;font-weight:400;color:var(--soft)}
.sheet{overflow-x:auto;background:#fff;padding:.5rem}.sheet img{display:block;width:100%;height:auto;min-width:680px}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:.9rem}
th,td{padding:.3rem .7rem;text-align:left;vertical-align:top;border-top:1px solid var(--line)}.facts td{overflow-wrap:anywhere}
@media(max-width:600px){th,td{padding:.3rem .4rem}}
thead th,tbody:first-child tr:first-child>*{border-top:0}th{font-weight:500}tbody th{color:var(--soft)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:0 1.5rem;align-items:start}
"""


@dataclass(frozen=True)
class Seen:
    """What a run saw and said, for its pictures.

    Attributes:
        rows: history, one dict an epoch.
        crops: (n, size, size, 3) uint8 BGR, of validation.
        class_ids: (n,), the true ones of `crops`.
        probabilities: (n, 43), predicted for `crops`.
        train_class_ids: of all training photos.
        sampled_class_ids: of one epoch's photos as drawn.
        examples: class id, photo and augmented views, each (side, side, 3) uint8 BGR.
    """

    rows: list[dict[str, float]]
    crops: NDArray[np.uint8]
    class_ids: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    train_class_ids: NDArray[np.int64]
    sampled_class_ids: NDArray[np.int64]
    examples: list[Example]


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
    draw_confusion(seen.class_ids, seen.probabilities, pictures[1])
    draw_predictions(seen.crops, seen.class_ids, seen.probabilities, pictures[2])
    draw_balance(seen.train_class_ids, seen.sampled_class_ids, seen.class_ids, pictures[3])
    draw_samples(seen.examples, pictures[4])
    name, made = f"Signwing run: {run['recipe']['name']}", run["lineage"]
    origin = f"{made['made_at']}, commit {made['commit']}; weights {run['weights']}; photos in {run['data']}"
    body = [
        f"<h1>{escape(name)}</h1>",
        f"<p>{escape(origin)}</p>",
        _headline(run, seen),
        _worst(run["metrics"]["valid"]["per_class"], count_confusions(seen.class_ids, seen.probabilities.argmax(axis=1))),
        *(_section(title, hint, path) for (title, hint), path in zip(_HINTS.items(), pictures, strict=True)),
        f'<div class="pair"><div><h2>Recipe</h2>{_facts(run["recipe"])}</div>',
        f"<div><h2>Environment</h2>{_facts({**run['environment'], 'versions': made['versions']})}</div></div>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(name)}</title><style>{_CSS}</style>'
    write_text(out / REPORT, "\n".join([f'<!doctype html><html lang="en"><head>{head}</head><body>', *body, "</body></html>\n"]))
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
    return "<dl>" + "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>" for name, value, note in tiles) + "</dl>"


def _mib(mib: float | None) -> str:
    return "\u2013" if mib is None else f"{mib / 1024:.2f} GiB"


def _worst(per_class: Mapping[str, Any], counts: NDArray[np.int64]) -> str:
    imperfect = sorted((entry["top1"], int(class_id), entry["n"]) for class_id, entry in per_class.items() if entry["top1"] < 1)
    if not imperfect:
        return "<h2>Worst classes</h2><p>None: every validation photo was named rightly.</p>"
    taken: dict[int, list[str]] = {}
    for true, said, n in confused_pairs(counts):
        taken.setdefault(true, []).append(f"{LABELS[said]}\u00a0\u00d7{n}")
    rows = [
        (f"{class_id} {LABELS[class_id]}", f"{top1:.4f}", str(n), ", ".join(taken.get(class_id, [])[:TAKEN_FOR_SHOWN]))
        for top1, class_id, n in imperfect[:WORST_SHOWN]
    ]
    cells = "".join(f'<tr><th scope="row">{escape(name)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in rest) + "</tr>" for name, *rest in rows)
    head = "".join(f'<th scope="col">{name}</th>' for name in ("class", "top-1", "photos", "taken for"))
    note = f"{len(imperfect)} of {len(per_class)} classes have a mistake; the worst come first."
    return f"<h2>Worst classes</h2><p>{note}</p><table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>"


def _section(title: str, hint: str, path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    # A phone scrolls a picture sideways rather than shrink its text away; the keyboard can, too.
    image = f'<img src="data:image/png;base64,{data}" width="{WIDTH_PX}" alt="{escape(title)}">'
    sheet = f'<div class="sheet" tabindex="0" role="region" aria-label="{escape(title)}">{image}</div>'
    return f"<section><h2>{escape(title)}</h2><p>{escape(hint)}</p>{sheet}</section>"


def _facts(facts: Mapping[str, Any]) -> str:
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in _flat(facts))
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def _flat(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in facts.items():
        name = f"{above} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        elif isinstance(value, (list, tuple)):
            yield name, "; ".join(", ".join(f"{v}" for _, v in _flat(item)) if isinstance(item, Mapping) else str(item) for item in value)
        else:
            yield name, "\u2013" if value is None else str(value)
