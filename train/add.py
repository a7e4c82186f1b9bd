"""Learning on from what a person reviewed: a data set of it, and of what the bundle knows, and a training on that from the bundle's own weights."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.bundle.manifest import read_bundle
from edge.datasets.classes import GTSRB, drawn_classes_of
from edge.errors import InputError
from train.fit import fit
from train.own.added import ADDED, write_added
from train.recipes import ADDING, ADDING_STEPS, OWN, recipe
from train.runs.folder import check_start

DATA = "data"
"""Of the run's folder: the data set that was made."""


def add(
    reviewed: Path, out: Path, bundle: Path, data: Path | None, *, resume: bool, epochs: int | None, changes: dict[str, Any], options: dict[str, Any]
) -> None:
    """Let a bundle's classifier learn on, and say what makes a bundle of it.

    Args:
        reviewed: as `train.own.added.write_added` takes it.
        out: run folder.
        bundle: that learns on, and teaches what it is sure of.
        data: photos of its classes; None: they are drawn.
        resume: go on after the last whole epoch in `out`.
        epochs: None for as many as make `ADDING_STEPS` batches.
        changes: of the recipe, by attribute; None keeps what it has, and the size and the width that the bundle has.
        options: others of `train.fit.fit`.

    Raises:
        InputError, DataError, BundleError, OutputError: as of `write_added` and `fit`.
    """
    opened = read_bundle(bundle)
    manifest = opened.manifest
    seed = changes.get("seed")
    if not (resume and (out / DATA / ADDED).is_file()):
        check_start(out, {}, resume=False)
        print(write_added(reviewed, out / DATA, manifest, data, OWN.seed if seed is None else seed, drawn_classes_of(opened).faces))
    made = {**ADDING, **_layout(manifest.lineage, opened.model("classifier", "fp16").input.shape[1])}
    if manifest.labels[: len(GTSRB)] != GTSRB.names:
        made["drawn_share"] = 0.0  # nobody can draw them
    chosen = recipe(OWN.name, **{**made, **{name: value for name, value in changes.items() if value is not None}})
    chosen = replace(chosen, epochs=epochs or 1, least_steps=0 if epochs else ADDING_STEPS)
    fit(out / DATA, out, chosen, weights=str(bundle), resume=resume, **{"teacher": bundle, **options})
    words = ["signwing", "export", "bundle", str(out), "--data", str(out / DATA), "--spotter", str(bundle), "--out", "bundles/more"]
    print(f"make it a bundle, unless it is worse: {shlex.join([*words, '--unless-worse', str(bundle)])}")


def _layout(lineage: Any, size: int) -> dict[str, Any]:
    """Return the size and the width of the bundle's network.

    Raises:
        InputError: the bundle does not tell how it was trained.
    """
    try:
        return {"size": size, "width": float(lineage["train"]["recipe"].get("width", 1.0))}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"wanted a bundle whose manifest tells its training, found a fault ({error!r}): give another --weights") from error
