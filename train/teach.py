"""The whole road for signs of one's own: look, train both models, export, check. Each step is a command of its own, so that its memory is free for the next."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge import cli
from edge.bundle.manifest import MANIFEST
from edge.errors import InputError, SignwingError, one_line
from edge.files import write_json
from train.own.prepare import PREPARED, Options, prepare
from train.recipes import OWN, OWN_SPOTTER
from train.runs.folder import RUN

DATA, CLASSIFIER, SPOTTER, BUNDLE, ASKED = "data", "classifier", "spotter", "bundle", "asked.json"
LEAST_STEPS = 330
"""Of the classifier: what twelve signs took to be told apart (`tests/support/own/foreign_trial.py`)."""
_CLASSIFIER_GFLOP, _SPOTTER_GFLOP = 1.8, 2.6
"""What one view costs either network to learn from: three times its forward pass."""
_SHARE_OF_PEAK = 0.35
"""Of a matrix product's speed, that a training reaches."""
_EXPORT_S = 150.0
"""What conversion and proof take on 2 cores, beside what they take for each frame."""
_EXPORT_A_FRAME_S = 1.5


def teach(root: Path, out: Path, options: Options | None = None, *, epochs: int | None = None) -> None:
    """Make a bundle of what lies in a folder; what an earlier call has done is not done again.

    Args:
        root: as `train.own.prepare.prepare` takes it.
        out: folder of the data set, the runs and the bundle.
        options: how the folder is read and split.
        epochs: of both trainings; None as the recipes have them.

    Raises:
        InputError: another folder, or otherwise asked, than what `out` was begun with.
        DataError: nothing that can be read, or data that are wrong.
        OutputError: `out` cannot be written.
        SignwingError: a step failed; it has said why.
    """
    options = options or Options()
    told = _prepared(Path(root), Path(out), options)
    frames = sum(told["frames"].values())
    print(_plan(told, epochs))
    data, runs = out / DATA, {OWN.name: out / CLASSIFIER, **({OWN_SPOTTER.name: out / SPOTTER} if frames else {})}
    for recipe, run in runs.items():
        if not (run / RUN).is_file():
            wanted = epochs or (classifier_epochs(told) if recipe == OWN.name else OWN_SPOTTER.epochs)
            _run("train", "fit", "--recipe", recipe, "--data", str(data), "--out", str(run), "--resume", "--epochs", str(wanted))
    if not (out / BUNDLE / MANIFEST).is_file():
        found_by = ["--spotter", str(out / SPOTTER)] if frames else []
        _run("export", "bundle", str(out / CLASSIFIER), "--data", str(data), "--out", str(out / BUNDLE), "--name", f"own-{len(told['classes'])}", *found_by)
    _run("edge", "check", str(out / BUNDLE))
    print(f"curves, confusions and the worst photos: {out / CLASSIFIER / 'report.html'}; the model card: {out / BUNDLE / 'MODEL_CARD.md'}")
    print(f"use it: {shlex.join(['signwing', 'run', 'my.mp4', '--bundle', str(out / BUNDLE)])}")


def _prepared(root: Path, out: Path, options: Options) -> dict[str, Any]:
    """Make the data set, unless it is there."""
    asked = {"root": str(root.resolve()), "alike": options.alike, "seed": options.seed, "table": options.table and str(options.table.file)}
    if (out / DATA / PREPARED).is_file():
        before, told = (_read(path) for path in (out / ASKED, out / DATA / PREPARED))
        if before != asked:
            raise InputError(f"wanted to go on in {out} as it was begun, found that it had {before} (now {asked}): repeat that, or give another OUT")
        print(told["said"])
        return told
    told = prepare(root, out / DATA, options)
    write_json(out / ASKED, asked)
    return told


def classifier_epochs(told: dict[str, Any]) -> int:
    """Return the epochs of the classifier's training: the recipe's, or more where photos are so few that these would be few steps."""
    steps = max(1, int(told["photos"]["train"] / (1 - OWN.sign_free_share)) // OWN.batch)
    return max(OWN.epochs, math.ceil(LEAST_STEPS / steps))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"wanted {path.name} of an earlier call in {path.parent}, cannot read it ({one_line(error)}): give another OUT") from error


def _plan(told: dict[str, Any], epochs: int | None) -> str:
    """Say what will be done, and about how long it takes here."""
    photos, frames = told["photos"]["train"] / (1 - OWN.sign_free_share), sum(told["frames"].values())
    gflop = photos * (epochs or classifier_epochs(told)) * _CLASSIFIER_GFLOP
    gflop += (epochs or OWN_SPOTTER.epochs) * OWN_SPOTTER.steps * OWN_SPOTTER.batch * _SPOTTER_GFLOP if frames else 0.0
    minutes = (gflop / (_gflop_a_second() * _SHARE_OF_PEAK) + _EXPORT_S + frames * _EXPORT_A_FRAME_S) / 60
    models = "a classifier and a spotter" if frames else "a classifier (without frames there is no spotter: signs will be looked for by colour)"
    return (
        f"training {models}, then export and check: about {max(1, round(minutes))} minutes on this machine; type the same again to go on after an interruption"
    )


def _gflop_a_second() -> float:
    """Measure how fast this machine multiplies matrices of float32: the best of a few."""
    matrix, best = np.ones((1024, 1024), np.float32), 0.0
    for _ in range(4):
        started = time.perf_counter()
        matrix @ matrix
        best = max(best, 2 * 1024**3 / (time.perf_counter() - started) / 1e9)
    return best


def _run(*words: str) -> None:
    """Run a command of a stage in a process of its own.

    Raises:
        SignwingError: it failed, and has said why.
    """
    command: Sequence[str] = cli.child(words[0], *words[1:])
    print(f"\n$ python -m {shlex.join(words)}", flush=True)
    if subprocess.run(command, check=False).returncode != 0:  # noqa: S603 - one of our own modules
        raise SignwingError(f"wanted `python -m {words[0]} {words[1]}` to end well, found that it failed (above): cure that, and type the same again to go on")
