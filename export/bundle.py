"""A source to a verified bundle: written beside its final name, and renamed only when it has passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.files import sha256_of, write_text, written_beside
from edge.gtsdb import find_frames
from edge.gtsrb import CLASSES, LABELS, Photo, has_test, held_out, read_test, read_train, score
from edge.lineage import lineage
from edge.machine import describe
from edge.manifest import SCHEMA, Bundle, Golden, Manifest, ModelSpec, TensorSpec, Thresholds, read_bundle, write_manifest
from edge.onnx_fp32 import widen
from export import robustness
from export.card import CARD, PICTURE, write_card
from export.crops import class_ids_of
from export.folder import replacing
from export.golden import FILE, write_golden
from export.source import Source, read_source
from export.threshold import choose_rejection
from export.to_int8 import PER_CLASS, calibration_photos, to_int8_cpu
from export.verify import BUDGETS, KERAS, REFERENCE, Budget, as_record, as_table, check, compare, run_on_photos

FILES = {"fp16": "classifier.fp16.onnx", "int8-cpu": "classifier.int8-cpu.onnx"}
TARGETS = {"fp16": "tensorrt", "int8-cpu": "onnxruntime"}


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
        read_train(data)  # a wrong --data is told before the conversion, which takes half a minute
        print(f"reading {source}")
        made = read_source(source)
        photos, valid = held_out(data, made.train)
        _write_bytes(folder / FILES["fp16"], made.fp16)
        chosen = calibration_photos(photos, made.train["recipe"]["seed"])
        _write_bytes(folder / FILES["int8-cpu"], to_int8_cpu(widen(made.fp16), chosen, made.size))
        draft = Bundle(folder, _draft(folder, made, name))
        found = run_on_photos(draft, [REFERENCE, *FILES], valid, {KERAS: made.keras} if made.keras else None)
        class_ids = class_ids_of(valid)
        agreements = {key: compare(values, found[REFERENCE], class_ids) for key, values in found.items() if key != REFERENCE}
        print(as_table(agreements))
        check(agreements, budgets)
        figures = {
            "calibration": {"photos": len(chosen), "per_class": PER_CLASS, "method": "minmax, mean of batches", "weight_bits": 7},
            "verification": as_record(agreements),
            **_measured(draft, data, valid, found["int8-cpu"]),
        }
        robustness.draw(figures["robustness"], folder / PICTURE)
        done = _finish(draft, figures)
        write_text(folder / CARD, write_card(done, score(found["int8-cpu"].argmax(axis=1), class_ids)))
        write_manifest(folder, done.manifest)
    print(f"bundle in {out}: {', '.join(FILES.values())}")
    return read_bundle(out)


def _write_bytes(path: Path, content: bytes) -> None:
    with written_beside(path) as beside:
        beside.write_bytes(content)


def _draft(folder: Path, made: Source, name: str | None) -> Manifest:
    """Describe the artefacts in `folder`; threshold, self-test and export's own record are still open."""
    images = TensorSpec("images", (-1, made.size, made.size, 3), "uint8")
    probabilities = TensorSpec("probabilities", (-1, CLASSES), "float32")
    models = tuple(
        ModelSpec("classifier", file, sha256_of(folder / file), precision, TARGETS[precision], images, probabilities) for precision, file in FILES.items()
    )
    return Manifest(SCHEMA, name or f"vgg16-{made.size}", LABELS, models, Thresholds(0.0), Golden(FILE, "", {}), {"train": made.train})


def _measured(draft: Bundle, data: Path, valid: Sequence[Photo], found: NDArray[np.float32]) -> dict[str, Any]:
    """Choose the threshold and measure int8-cpu, whose probabilities on the validation photos are `found`, beyond them."""
    rejection = choose_rejection(draft, found.max(axis=1), find_frames(data), "int8-cpu")
    print(rejection)
    chosen = calibration_photos(valid, draft.manifest.lineage["train"]["recipe"]["seed"])
    return {"rejection": asdict(rejection), "robustness": robustness.measure(draft, chosen), "test": _test_figures(draft, data)}


def _finish(draft: Bundle, figures: Mapping[str, Any]) -> Bundle:
    """Add threshold, self-test and export's record to a draft that has passed."""
    record = {**lineage("tensorflow", "keras", "tf2onnx", "onnx", "onnxslim", "onnxruntime", "numpy"), **figures, "cpu_flags": describe()["cpu_flags"]}
    manifest = replace(
        draft.manifest,
        thresholds=Thresholds(figures["rejection"]["threshold"]),
        golden=write_golden(draft, [REFERENCE, *FILES]),
        lineage={**draft.manifest.lineage, "export": record},
    )
    return Bundle(draft.folder, manifest)


def _test_figures(draft: Bundle, data: Path) -> dict[str, Any]:
    """Score int8-cpu on the official test photos, where the data set has them."""
    if not has_test(data):
        return {}
    photos = read_test(data)
    found = run_on_photos(draft, ["int8-cpu"], photos)["int8-cpu"]
    figures = score(found.argmax(axis=1), class_ids_of(photos))
    return {"precision": "int8-cpu", "n": figures["n"], "top1": figures["top1"]}
