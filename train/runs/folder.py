"""The run folder: its files, and how they are written and read back.

`asked.json` (how the run was started), `checkpoint.keras` (the last whole epoch, with the optimizer; its zip comment has `Progress`), `best.keras` (the
weights of the epoch with the lowest validation loss), `history.csv` and `curves.png`; at the end `model.keras` (a plain VGG-16 in float32 whose weights are
exact in float16), `run.json` (recipe, data, metrics, lineage), and `report.html` with its pictures (`train.report.page`).
"""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from edge.bundle.manifest import MANIFEST, read_bundle
from edge.errors import InputError, one_line
from edge.files import written_beside
from train.recipes import FULL, RECIPES, SPOTTERS

ASKED = "asked.json"
CHECKPOINT = "checkpoint.keras"
BEST = "best.keras"
HISTORY = "history.csv"
CURVES = "curves.png"
MODEL = "model.keras"
RUN = "run.json"
SCHEMA = 1
FORMER_KEYS = ("recipe", "weights", "photos", "frames", "taught_by", "former")


@dataclass(frozen=True)
class Progress:
    """What a checkpoint has behind it, beside weights and optimizer.

    Attributes:
        epochs: whole ones.
        precision: dtype policy that they were trained in; None where the checkpoint does not say.
        seeds: state of each layer's generator of chance, by the layer's name; Keras does not save it.
        passes: whose mean gradient makes one update: the optimizer's state is laid out for them.
    """

    epochs: int
    precision: str | None
    seeds: dict[str, list[int]]
    passes: int = 1


def check_start(out: Path, asked: dict[str, Any], resume: bool) -> None:
    """Refuse to start in a folder that holds a run, or to resume one otherwise than it was started; writes nothing.

    What an older version did not write down about its recipe counts as the recipe's own value.

    Raises:
        InputError: `out` holds a run and `resume` is false, or `asked` differs from what the run was started with.
    """
    if not any((out / name).exists() for name in (ASKED, CHECKPOINT, MODEL)):
        return
    if not resume:
        raise InputError(f"wanted an empty folder for the run, found a run in {out}: add --resume, or give another --out")
    # As JSON has it, which knows no tuples.
    now, before = _flat(json.loads(json.dumps(asked))), _flat(_read_json(out / ASKED))
    name = str(before.get("recipe"))
    own = SPOTTERS.get(name) or RECIPES.get(name, FULL)
    before = {"weights": "none", **asdict(own), **before}
    differing = [f"{key} {before.get(key)} (now {now[key]})" for key in now if now[key] != before.get(key)]
    if differing:
        raise InputError(
            f"wanted to resume the run in {out} as it was started, found that it had {', '.join(differing)}: repeat its options, or give another --out"
        )


def _flat(asked: dict[str, Any]) -> dict[str, Any]:
    recipe = asked.get("recipe")
    return {**asked, **recipe} | {"recipe": recipe.get("name")} if isinstance(recipe, dict) else asked


def save_model(model: keras.Model, path: Path) -> None:
    """Save a model beside its final name, then rename: a kill leaves the old file or the new one, never half.

    Raises:
        OutputError: the file cannot be written.
    """
    with written_beside(path) as beside:
        model.save(beside)


def save_weights(network: keras.Model, path: Path) -> None:
    """Save a compiled model as `save_model` does, without its optimizer.

    Raises:
        OutputError: the file cannot be written.
    """
    save_model(_bare(network), path)


def load_weights(network: keras.Model, path: Path) -> None:
    """Load the weights of a saved model into one of the same layout, whatever the optimizers of both.

    Raises:
        InputError: a file that Keras cannot read, or of another layout.
    """
    try:
        _bare(network).load_weights(path)
    except Exception as error:  # as in `load_model`
        raise InputError(f"wanted the run's own weights in {path}, Keras refused them ({one_line(error)}): remove the file") from error


def _bare(network: keras.Model) -> keras.Model:
    """Return a view of a model's layers that has no optimizer."""
    return keras.Model(network.inputs, network.outputs)


def load_model(path: Path) -> keras.Model:
    """Load a model for inference.

    Raises:
        InputError: no such file, or one that Keras cannot read.
    """
    if not path.is_file():
        raise InputError(
            f"wanted a finished run in {path.parent}, found no {path.name}: give the folder that `python -m train fit` wrote, or --resume that run"
        )
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, zipfile and h5py each raise their own for a damaged file
        raise InputError(f"wanted a whole Keras model in {path}, found a damaged one ({one_line(error)}): copy it again or train again") from error


def save_checkpoint(network: keras.Model, path: Path, epochs: int) -> None:
    """Save a model with its optimizer and how far it has come, in one file: a kill cannot part them.

    The optimizer's steps would not tell: float16 skips those whose gradients overflow, and does not count them.

    Raises:
        OutputError: the file cannot be written.
    """
    seeds = {layer.name: keras.ops.convert_to_numpy(layer.seed_generator.state).tolist() for layer in network.layers if hasattr(layer, "seed_generator")}
    optimizer = getattr(network.optimizer, "inner_optimizer", network.optimizer)  # float16's is wrapped
    progress = Progress(epochs, network.dtype_policy.name, seeds, optimizer.gradient_accumulation_steps or 1)
    with written_beside(path) as beside:
        network.save(beside)
        with zipfile.ZipFile(beside, "a") as archive:
            archive.comment = json.dumps(asdict(progress)).encode("ascii")


def read_progress(out: Path) -> Progress:
    """Read how far the run in a folder has come. A checkpoint of an older version has as many epochs behind it as the history has rows.

    Raises:
        InputError: a damaged checkpoint or history.
    """
    path = out / CHECKPOINT
    if not path.exists():
        return Progress(0, None, {})
    try:
        with zipfile.ZipFile(path) as archive:
            return Progress(**json.loads(archive.comment)) if archive.comment else Progress(len(read_history(out / HISTORY)), None, {})
    except (OSError, TypeError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise InputError(f"wanted a whole checkpoint in {path}, found a damaged one ({one_line(error)}): remove it to begin anew") from error


def load_checkpoint(network: keras.Model, path: Path) -> None:
    """Load weights, optimizer state and state of chance of a checkpoint into a compiled model of the same layout.

    Raises:
        InputError: a file that Keras cannot read, or of another layout.
    """
    network.optimizer.build(network.trainable_variables)  # else its state would be passed over
    try:
        network.load_weights(path)
    except Exception as error:  # as in `load_model`
        raise InputError(f"wanted the run's own checkpoint in {path}, Keras refused it ({one_line(error)}): remove it to begin anew") from error
    for name, state in read_progress(path.parent).seeds.items():
        network.get_layer(name).seed_generator.state.assign(state)


def read_run(run: Path) -> dict[str, Any]:
    """Read `run.json` of a finished run.

    Raises:
        InputError: missing, damaged, or of another schema.
    """
    document = _read_json(run / RUN)
    if document.get("schema") != SCHEMA:
        raise InputError(f"wanted schema {SCHEMA} in {run / RUN}, found {document.get('schema')}: evaluate with the version that trained it, or train again")
    return document


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"wanted a run's {path.name} in {path.parent}, cannot read it ({one_line(error)}): give the folder of a run") from error
    if not isinstance(document, dict):
        raise InputError(f"wanted a run's {path.name} in {path.parent}, found JSON that is no object: give the folder of a run")
    return document


def write_history(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Write `history.csv`, one row an epoch; what a row of an older version lacks stays empty.

    Raises:
        OutputError: the file cannot be written.
    """
    with written_beside(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        table.writeheader()
        table.writerows(rows)


def former(weights: str, stage: str = "train") -> dict[str, Any]:
    """Return how the run or the bundle's network was trained that another one starts from, as `former`; nothing where the weights are neither's."""
    if (Path(weights) / MANIFEST).is_file():
        run = read_bundle(Path(weights)).manifest.lineage.get(stage, {})
        return {"former": {key: run[key] for key in FORMER_KEYS if key in run}} if run else {}
    if not (Path(weights).parent / RUN).is_file():
        return {}
    run = read_run(Path(weights).parent)
    return {"former": {key: run[key] for key in FORMER_KEYS if key in run}}


def read_history(path: Path) -> list[dict[str, float]]:
    """Read `history.csv`, one row an epoch; no file is no rows.

    Raises:
        InputError: a cell that is no number.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [{key: float(value) for key, value in row.items() if value != ""} for row in csv.DictReader(file)]
    except (TypeError, ValueError) as error:
        cure = f"remove it and {CHECKPOINT} to begin anew"
        raise InputError(f"wanted one row of numbers an epoch in {path}, found other text ({one_line(error)}): {cure}") from error
