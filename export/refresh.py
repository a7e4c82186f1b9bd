"""A bundle's models as they are, with self-test and fusion made again and with what was measured since its export in manifest and model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge.bundle.manifest import Bundle, read_bundle, write_manifest
from edge.datasets.gtsrb import held_out, score
from edge.errors import BundleError
from edge.files import write_text
from export.artefacts import TARGETS
from export.card import CARD, write_card
from export.faces import carry_faces
from export.graphs.cost import COST, costs_of
from export.judging.crops import class_ids_of
from export.judging.fewshot import RECIPE as FEWSHOT
from export.judging.fewshot import read_fewshot
from export.judging.fusion import fused
from export.judging.golden import write_golden
from export.judging.verify import REFERENCE, run_on_photos


def refresh(folder: Path, data: Path, fewshot: Sequence[Path] = ()) -> Bundle:
    """Write a bundle's self-test, manifest and model card again: with its fusion, its data set's faces, what its models cost, and results of few photos.

    Args:
        folder: a bundle that `export bundle` wrote.
        data: the data set it was trained on, whose validation photos the card tells by class; GTSDB's frames beside it choose the fusion
            (`export.judging.fusion`).
        fewshot: results of `train evaluate` (`export.judging.fewshot`); empty keeps what the bundle tells.

    Raises:
        BundleError: no bundle, a damaged one, or one without export's record.
        InputError, DataError: a result or a data set is not what was wanted.
        OutputError: the folder cannot be written.
    """
    bundle = read_bundle(folder)
    train, export = (bundle.manifest.lineage.get(stage) for stage in ("train", "export"))
    if not train or not export:
        raise BundleError(f"wanted a bundle with the records of train and export, found none in {folder}: export it from its run")
    told = read_fewshot(fewshot)
    lineage = {**bundle.manifest.lineage, "train": {**train, FEWSHOT: told} if told else train, "export": {**export, COST: costs_of(bundle)}}
    valid = held_out(data, train)[1]
    by_class = score(run_on_photos(bundle, ["int8-cpu"], valid)["int8-cpu"].argmax(axis=1), class_ids_of(valid), bundle.manifest.labels)
    golden = write_golden(bundle, [REFERENCE, *TARGETS])
    done = fused(carry_faces(Bundle(bundle.folder, replace(bundle.manifest, lineage=lineage, golden=golden)), data), data)
    write_text(done.folder / CARD, write_card(done, by_class))
    write_manifest(done.folder, done.manifest)
    return done
