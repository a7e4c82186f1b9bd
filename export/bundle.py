"""A source to a verified bundle: written beside its final name, and renamed only when it has passed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.files import sha256_of, write_text, written_beside
from edge.gtsrb import CLASSES, LABELS, read_test, read_train, score
from edge.lineage import lineage
from edge.machine import describe
from edge.manifest import SCHEMA, Bundle, Golden, Manifest, ModelSpec, TensorSpec, Thresholds, read_bundle, write_manifest
from edge.onnx_fp32 import widen
from export.card import CARD, write_card
from export.crops import class_ids_of
from export.folder import replacing
from export.golden import FILE, write_golden
from export.source import Source, read_source
from export.to_int8 import PER_CLASS, calibration_photos, to_int8_cpu
from export.verify import BUDGETS, KERAS, REFERENCE, Agreement, Budget, as_record, as_table, check, compare, run_on_photos, split

FILES = {"fp16": "classifier.fp16.onnx", "int8-cpu": "classifier.int8-cpu.onnx"}
TARGETS = {"fp16": "tensorrt", "int8-cpu": "onnxruntime"}
KEPT = 0.99
"""Share of the validation photos that the confidence threshold lets pass."""
LEAST_CONFIDENCE = 0.5


def write_bundle(source: Path, data: Path, out: Path, name: str | None = None, budgets: Mapping[str, Budget] = BUDGETS) -> Bundle:
    """Make a bundle of a run or of another bundle and verify it.

    Args:
        source: a run folder, or a bundle.
        data: the data set it was trained on.
        out: folder to write; one that is a bundle is replaced.
        name: of the bundle; None is "vgg16-" and the input's side.
        budgets: what each artefact may lose.

    Raises:
        InputError, BundleError, DataError: the source or the data set is not what was wanted.
        OutputError: `out` cannot be written, or holds something else than a bundle.
        VerificationError: an artefact is beyond its budget; `out` is as it was.
    """
    with replacing(Path(out)) as folder:
        listed = read_train(data)
        print(f"reading {source}")
        made = read_source(source)
        photos, valid = split(made.train, listed)
        _write_bytes(folder / FILES["fp16"], made.fp16)
        chosen = calibration_photos(photos, made.train["recipe"]["seed"])
        _write_bytes(folder / FILES["int8-cpu"], to_int8_cpu(widen(made.fp16), chosen, made.size))
        draft = Bundle(folder, _draft(folder, made, name))
        found = run_on_photos(draft, [REFERENCE, *FILES], valid, {KERAS: made.keras} if made.keras else None)
        class_ids = class_ids_of(valid)
        agreements = {key: compare(values, found[REFERENCE], class_ids) for key, values in found.items() if key != REFERENCE}
        print(as_table(agreements))
        check(agreements, budgets)
        by_class = score(found["int8-cpu"].argmax(axis=1), class_ids)
        done = _finish(draft, agreements, found["int8-cpu"], _test_figures(draft, data), len(chosen))
        write_text(folder / CARD, write_card(done, by_class, f"{KEPT:.0%}"))
        write_manifest(folder, done.manifest)
    print(f"bundle in {out}: {', '.join(FILES.values())}; confidence threshold {done.manifest.thresholds.confidence}")
    return read_bundle(out)


def _write_bytes(path: Path, content: bytes) -> None:
    with written_beside(path) as beside:
        beside.write_bytes(content)


def choose_threshold(probabilities: NDArray[np.float32]) -> float:
    """Return the largest confidence, to 3 decimals, that at least `KEPT` of the photos reach with their likeliest class; never below `LEAST_CONFIDENCE`.

    Args:
        probabilities: (n, classes) float32, of photos that do show signs.
    """
    confidences = np.sort(probabilities.max(axis=1))
    refused = int(len(confidences) * (1 - KEPT) + 1e-9)
    return max(math.floor(float(confidences[refused]) * 1000) / 1000, LEAST_CONFIDENCE)


def _draft(folder: Path, made: Source, name: str | None) -> Manifest:
    """Describe the artefacts in `folder`; threshold, self-test and export's own record are still open."""
    images = TensorSpec("images", (-1, made.size, made.size, 3), "uint8")
    probabilities = TensorSpec("probabilities", (-1, CLASSES), "float32")
    models = tuple(
        ModelSpec("classifier", file, sha256_of(folder / file), precision, TARGETS[precision], images, probabilities) for precision, file in FILES.items()
    )
    return Manifest(SCHEMA, name or f"vgg16-{made.size}", LABELS, models, Thresholds(LEAST_CONFIDENCE), Golden(FILE, "", {}), {"train": made.train})


def _finish(draft: Bundle, agreements: Mapping[str, Agreement], found: NDArray[np.float32], test: dict[str, Any], calibration: int) -> Bundle:
    """Add threshold, self-test and export's record to a draft that has passed."""
    record = {
        **lineage("tensorflow", "keras", "tf2onnx", "onnx", "onnxslim", "onnxruntime", "numpy"),
        "calibration": {"photos": calibration, "per_class": PER_CLASS, "method": "minmax, mean of batches", "weight_bits": 7},
        "verification": as_record(agreements),
        "test": test,
        "cpu_flags": describe()["cpu_flags"],
    }
    manifest = replace(
        draft.manifest,
        thresholds=Thresholds(choose_threshold(found)),
        golden=write_golden(draft, [REFERENCE, *FILES]),
        lineage={**draft.manifest.lineage, "export": record},
    )
    return Bundle(draft.folder, manifest)


def _test_figures(draft: Bundle, data: Path) -> dict[str, Any]:
    """Score int8-cpu on the official test photos, where the data set has them."""
    if not (Path(data) / "Test.csv").is_file():
        return {}
    photos = read_test(data)
    found = run_on_photos(draft, ["int8-cpu"], photos)["int8-cpu"]
    figures = score(found.argmax(axis=1), class_ids_of(photos))
    return {"precision": "int8-cpu", "n": figures["n"], "top1": figures["top1"]}
