"""A source to a verified bundle: written beside its final name, and renamed only when it has passed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxslim
from numpy.typing import NDArray

from edge import cli
from edge.board.machine import describe
from edge.bundle.lineage import lineage
from edge.bundle.manifest import MANIFEST, SCHEMA, Bundle, Golden, Manifest, ModelSpec, Thresholds, read_bundle, write_manifest
from edge.bundle.onnx_fp32 import widen
from edge.datasets.classes import check_known
from edge.datasets.gtsdb import find_frames
from edge.datasets.gtsrb import Photo, has_test, held_out, read_test, read_train, score
from edge.errors import VerificationError
from edge.files import sha256_of, write_text, written_beside
from export.artefacts import AIR, FILES, SPOTTER, spec_of
from export.card import CARD, PICTURE, write_card
from export.faces import carry_faces
from export.folder import replacing
from export.graphs.calibrate import PER_CLASS, PERCENTILE, calibration_photos, observe
from export.graphs.cost import COST, costs_of
from export.graphs.to_int8 import layers_of, to_int8
from export.graphs.to_int8_cpu import WEIGHT_BITS, to_int8_cpu
from export.judging import robustness
from export.judging.crops import class_ids_of, read_batches
from export.judging.fewshot import RECIPE as FEWSHOT
from export.judging.fewshot import read_fewshot
from export.judging.fusion import fused
from export.judging.golden import FILE as GOLDEN
from export.judging.golden import write_golden
from export.judging.threshold import choose_rejection
from export.judging.verify import (
    BUDGETS,
    KERAS,
    REFERENCE,
    Agreement,
    Budget,
    as_record,
    as_table,
    bearable,
    check,
    check_graphs,
    compare,
    compare_all,
    run_on_photos,
    verify_from_the_air,
)
from export.judging.worst import draw_worst, sheet_path
from export.quantize import Judge, Make, Quantized, quantize
from export.source import Source, read_source
from export.spotter import Spotter, make_spotter, read_spotter

QUANTIZED = ("int8", "int8-cpu")
RANKED_ON = 128
"""Photos that rank layers: each is run once for every layer."""


def write_bundle(
    source: Path,
    data: Path,
    out: Path,
    name: str | None = None,
    budgets: Mapping[str, Budget] = BUDGETS,
    fewshot: Sequence[Path] = (),
    spotter: Path | None = None,
    unless_worse: Path | None = None,
) -> Bundle:
    """Make a bundle of a run or of another bundle and verify it; the photos on which int8 strays furthest are drawn beside it, whether it passes or not.

    Args:
        source: a run folder, or a bundle.
        data: the data set it was trained on.
        out: folder to write; one that is a bundle is replaced.
        name: of the bundle; None is "vgg16-" and the input's side, and behind it the share of the channels where some were pruned.
        budgets: what each artefact may lose.
        fewshot: results of `train evaluate` for the card (`export.judging.fewshot`); empty keeps what a bundle as source tells.
        spotter: run of a spotter, or a bundle whose spotter is kept as it is; None keeps that of a bundle as source.
        unless_worse: a bundle that the new one must not be worse than, by `signwing compare`; None: there is none.

    Raises:
        InputError, BundleError, DataError: the source or the data set is not what was wanted.
        OutputError: `out` cannot be written, or holds something else than a bundle.
        VerificationError: an artefact is beyond its budget, or the bundle is worse than `unless_worse`; `out` is as it was.
    """
    if unless_worse is not None:
        read_bundle(unless_worse)
    with replacing(Path(out)) as folder:
        told = read_fewshot(fewshot)
        read_train(data)  # a wrong --data is told before the conversion, which takes half a minute
        print(f"reading {source}")
        made = read_source(source)
        kept = read_bundle(spotter) if spotter and (spotter / MANIFEST).is_file() else None
        found_by = read_spotter(spotter) if spotter and not kept else None
        if told:
            made = replace(made, train={**made.train, FEWSHOT: told})
        check_known(made.classes.names, data, str(source))
        photos, valid = held_out(data, made.train)
        chosen = calibration_photos(photos, made.train["recipe"]["seed"])
        budgets = bearable(budgets, len(valid))
        draft = _Draft(folder, made, name)
        draft.write("fp16", made.fp16)
        found = run_on_photos(draft.bundle("fp16"), [REFERENCE, "fp16"], valid, {KERAS: made.keras} if made.keras else None)
        quantized = _quantize(draft, chosen, valid, found[REFERENCE], budgets)
        strayed = {precision: result.outputs for precision, result in quantized.items()}
        draw_worst(strayed, found[REFERENCE], valid, made.classes.names, sheet_path(out))
        print(f"the photos on which int8 strays furthest: {sheet_path(out)}")
        whole = draft.bundle(*FILES)
        figures = {
            "calibration": {"photos": len(chosen), "per_class": PER_CLASS, "percentile": PERCENTILE, "int8_cpu_weight_bits": WEIGHT_BITS},
            "quantization": {precision: result.as_record() for precision, result in quantized.items()},
            **_verified(found | strayed, class_ids_of(valid), budgets),
            AIR: as_record(verify_from_the_air(whole, valid)),
            **_measured(whole, data, valid, strayed["int8-cpu"]),
        }
        robustness.draw(figures["robustness"], folder / PICTURE)
        if found_by:
            whole = draft.joined(whole, make_spotter(found_by, data, folder, draft.of))
        elif kept or made.keras is None:
            whole = _kept_spotter(whole, kept or read_bundle(source))
        check_graphs(whole)
        whole = carry_faces(whole, data, read_bundle(source) if made.keras is None else None)
        done = fused(_finish(whole, figures), data)
        write_text(folder / CARD, write_card(done, score(strayed["int8-cpu"].argmax(axis=1), class_ids_of(valid), made.classes.names)))
        write_manifest(folder, done.manifest)
        if unless_worse is not None:
            _refuse_if_worse(folder, unless_worse, data)
    print(f"bundle in {out}: {', '.join(FILES.values())}")
    return read_bundle(out)


def _refuse_if_worse(folder: Path, old: Path, data: Path) -> None:
    """Have the benchmarks compare two bundles, in a process of its own: this stage imports nothing of theirs."""
    print(f"comparing with {old}")
    judge = cli.child("benchmarks", "compare", str(old), str(folder), "--data", str(data), "--silent-minutes", "0")
    if subprocess.run(judge, check=False).returncode:  # noqa: S603 - this Python, running this project's code
        raise VerificationError(f"wanted a bundle no worse than {old}, the comparison above refused it: train on, or leave --unless-worse out")


@dataclass(frozen=True)
class _Draft:
    """A bundle in the making: its folder, what it is made of, and its name or None."""

    folder: Path
    made: Source
    name: str | None

    def write(self, precision: str, content: bytes) -> None:
        with written_beside(self.folder / FILES[precision]) as beside:
            beside.write_bytes(content)

    def bundle(self, *precisions: str) -> Bundle:
        """Describe artefacts that are there; threshold, self-test and export's own record are still open."""
        return self.of(*(spec_of(precision, self.made.size, len(self.made.classes), sha256_of(self.folder / FILES[precision])) for precision in precisions))

    def of(self, *models: ModelSpec) -> Bundle:
        """Describe a bundle of these models alone."""
        width, lineage = self.made.train["recipe"].get("width", 1.0), {"train": self.made.train}
        name = self.name or f"vgg16-{self.made.size}" + (f"-{width:g}" if width < 1 else "")
        of, still_open = self.made.classes, (Thresholds(0.0), Golden(GOLDEN, "", {}))
        return Bundle(self.folder, Manifest(SCHEMA, name, of.names, models, *still_open, lineage, of.numbers, of.sizes_mm))

    def joined(self, classifier: Bundle, spotter: Spotter) -> Bundle:
        """Add a spotter to the classifier's draft."""
        manifest = classifier.manifest
        lineage = {**manifest.lineage, SPOTTER: spotter.lineage}
        models, thresholds = (*manifest.models, *spotter.models), replace(manifest.thresholds, spotter=0.0)
        return Bundle(self.folder, replace(manifest, models=models, thresholds=thresholds, lineage=lineage))

    def run(self, precision: str, photos: Sequence[Photo], content: bytes) -> NDArray[np.float32]:
        """Put an artefact in its place and run it over photos."""
        self.write(precision, content)
        return run_on_photos(self.bundle(precision), [precision], photos)[precision]


def _quantize(
    draft: _Draft, chosen: Sequence[Photo], valid: Sequence[Photo], reference: NDArray[np.float32], budgets: Mapping[str, Budget]
) -> dict[str, Quantized[Agreement]]:
    """Write both int8 artefacts, calibrated on `chosen` and picked on `valid`, on which fp32 gives `reference`."""
    fp32 = onnxslim.slim(onnx.load_from_string(widen(draft.made.fp16)))
    histograms = observe(fp32, read_batches(chosen, draft.made.size, "calibrating"))
    few = chosen[:RANKED_ON]
    judged_on = ((valid, reference), (few, run_on_photos(draft.bundle("fp16"), [REFERENCE], few)[REFERENCE]))
    makers: dict[str, Make] = {"int8": partial(to_int8, draft.made.fp16), "int8-cpu": partial(to_int8_cpu, fp32)}
    done = {}
    for precision, make in makers.items():
        by_valid, by_few = (
            Judge(partial(draft.run, precision, photos), partial(compare, reference=wanted, class_ids=class_ids_of(photos))) for photos, wanted in judged_on
        )
        done[precision] = quantize(make, histograms, layers_of(fp32), by_valid, by_few, budgets[precision])
        draft.write(precision, done[precision].content)
    return done


def _verified(found: Mapping[str, NDArray[np.float32]], class_ids: NDArray[np.int64], budgets: Mapping[str, Budget]) -> dict[str, Any]:
    """Compare every artefact with fp32, and with Keras where the source is a run; print it and hold it against the budgets."""
    agreements = compare_all(found, REFERENCE, class_ids)
    print(as_table(agreements))
    check(agreements, budgets)
    records = {"verification": as_record(agreements)}
    if KERAS in found:
        against = compare_all({name: values for name, values in found.items() if name != REFERENCE}, KERAS, class_ids)
        print(as_table(against, KERAS))
        check(against, budgets, KERAS)
        records["verification_against_keras"] = as_record(against)
    return records


def _measured(draft: Bundle, data: Path, valid: Sequence[Photo], found: NDArray[np.float32]) -> dict[str, Any]:
    """Choose the threshold and measure int8-cpu, whose probabilities on the validation photos are `found`, beyond them."""
    rejection = choose_rejection(draft, found.max(axis=1), find_frames(data), "int8-cpu")
    print(rejection)
    chosen = calibration_photos(valid, draft.manifest.lineage["train"]["recipe"]["seed"])
    return {"rejection": asdict(rejection), "robustness": robustness.measure(draft, chosen), "test": _test_figures(draft, data)}


def _finish(draft: Bundle, figures: Mapping[str, Any]) -> Bundle:
    """Add threshold, self-test and export's record to a draft that has passed."""
    made = lineage("tensorflow", "keras", "tf2onnx", "onnx", "onnxslim", "onnxruntime", "numpy")
    record = {**made, **figures, COST: costs_of(draft), "cpu_flags": describe()["cpu_flags"]}
    manifest = replace(
        draft.manifest,
        thresholds=replace(draft.manifest.thresholds, confidence=figures["rejection"]["threshold"]),
        golden=write_golden(draft, [REFERENCE, *FILES]),
        lineage={**draft.manifest.lineage, "export": record},
    )
    return Bundle(draft.folder, manifest)


def _kept_spotter(draft: Bundle, source: Bundle) -> Bundle:
    """Copy the spotter of a bundle, if it has one, into a draft; its bytes and its records stay as they are."""
    kept = tuple(model for model in source.manifest.models if model.role == SPOTTER)
    if not kept:
        return draft
    for model in kept:
        shutil.copyfile(source.verified_path(model.file, model.sha256), draft.folder / model.file)
    lineage = {**draft.manifest.lineage, SPOTTER: source.manifest.lineage.get(SPOTTER, {})}
    former = source.manifest.thresholds
    thresholds = replace(draft.manifest.thresholds, spotter=former.spotter, fusion=former.fusion)
    return Bundle(draft.folder, replace(draft.manifest, models=(*draft.manifest.models, *kept), thresholds=thresholds, lineage=lineage))


def _test_figures(draft: Bundle, data: Path) -> dict[str, Any]:
    """Score int8-cpu on the official test photos, where the data set has them."""
    if not has_test(data):
        return {}
    photos = read_test(data)
    found = run_on_photos(draft, ["int8-cpu"], photos)["int8-cpu"]
    figures = score(found.argmax(axis=1), class_ids_of(photos), draft.manifest.labels)
    return {"precision": "int8-cpu", "n": figures["n"], "top1": figures["top1"]}
