"""The whole road for signs of one's own: look, train both models, export, check. Each step is a command of its own, so that its memory is free for the next."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edge import cli
from edge.bundle.manifest import MANIFEST
from edge.errors import InputError, OutputError, SignwingError, one_line
from edge.files import telling_refusal
from train.own.prepare import PREPARED, Options, prepare
from train.recipes import OWN, OWN_SPOTTER
from train.runs.folder import RUN

DATA, CLASSIFIER, SPOTTER, BUNDLE = "data", "classifier", "spotter", "bundle"
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
        OutputError: `out` cannot be written, or another call is at work in it.
        SignwingError: a step failed; it has said why.
    """
    options, out = options or Options(), Path(out)
    told = _prepared(Path(root), out, options)
    with _alone(out) as held:
        _teach(told, out, epochs, held)


def _teach(told: dict[str, Any], out: Path, epochs: int | None, held: Sequence[int]) -> None:
    frames = sum(told["frames"].values())
    print(_plan(told, epochs))
    data, runs = out / DATA, {OWN.name: out / CLASSIFIER, **({OWN_SPOTTER.name: out / SPOTTER} if frames else {})}
    wanted = [] if epochs is None else ["--epochs", str(epochs)]
    for recipe, run in runs.items():
        if not (run / RUN).is_file():
            _run(held, "train", "fit", "--recipe", recipe, "--data", str(data), "--out", str(run), "--resume", *wanted)
    if not (out / BUNDLE / MANIFEST).is_file():
        found_by = ["--spotter", str(out / SPOTTER)] if frames else []
        name = f"own-{len(told['classes'])}"
        _run(held, "export", "bundle", str(out / CLASSIFIER), "--data", str(data), "--out", str(out / BUNDLE), "--name", name, *found_by)
    _run(held, "edge", "check", str(out / BUNDLE))
    print(f"curves, confusions and the worst photos: {out / CLASSIFIER / 'report.html'}; the model card: {out / BUNDLE / 'MODEL_CARD.md'}")
    print(f"use it: {shlex.join(['signwing', 'run', 'my.mp4', '--bundle', str(out / BUNDLE)])}")


def _prepared(root: Path, out: Path, options: Options) -> dict[str, Any]:
    """Make the data set, unless it is there."""
    if not (out / DATA / PREPARED).is_file():
        return prepare(root, out / DATA, options)
    told = _read(out / DATA / PREPARED)
    before, now = told.get("asked", {}), options.asked(root)
    differing = [key for key in now if before.get(key) != now[key]]
    if differing:
        others = ", ".join(f"{key} {before.get(key)} (now {now[key]})" for key in differing if key != "lay")
        what = others or "other files in ROOT, or of other sizes"
        raise InputError(f"wanted to go on in {out} as it was begun, found {what}: give another OUT, or what it was begun with")
    print(told["said"])
    return told


@contextmanager
def _alone(out: Path) -> Iterator[Sequence[int]]:
    """Keep a folder to this call and its steps, which inherit the descriptors that are yielded: one that was killed may leave a step at work.

    Raises:
        OutputError: another is at work there.
    """
    try:
        import fcntl
    except ImportError:  # Windows, whose folders cannot be locked
        yield ()
        return
    with telling_refusal(out):
        held = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        raise OutputError(f"wanted {out} alone, found that another call, or a step that it left, is at work there: wait until it ends, or end it") from error
    try:
        yield (held,)
    finally:
        os.close(held)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"wanted {path.name} of an earlier call in {path.parent}, cannot read it ({one_line(error)}): give another OUT") from error


def _plan(told: dict[str, Any], epochs: int | None) -> str:
    """Say what will be done, and about how long it takes here."""
    photos, frames = told["photos"]["train"], sum(told["frames"].values())
    views = OWN.steps(photos) * OWN.batch * (epochs or OWN.lasting(photos).epochs)
    gflop = views * _CLASSIFIER_GFLOP
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


def _run(held: Sequence[int], *words: str) -> None:
    """Run a command of a stage in a process of its own.

    Raises:
        SignwingError: it failed, and has said why.
    """
    command: Sequence[str] = cli.child(words[0], *words[1:])
    print(f"\n$ python -m {shlex.join(words)}", flush=True)
    if subprocess.run(command, check=False, pass_fds=held).returncode != 0:  # noqa: S603 - one of our own modules
        raise SignwingError(f"wanted `python -m {words[0]} {words[1]}` to end well, found that it failed (above): cure that, and type the same again to go on")
