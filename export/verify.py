"""Two artefacts on the same crops: error, agreement and the accuracy that one loses, against a budget.

The reference is always fp32, which is the fp16 file's weights computed in float32. ONNX Runtime's CPU provider computes an fp16 file in float32 too (it
cancels the casts), so on a PC the fp16 figures prove the file, not a GPU's rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge import check as edge_check
from edge.engine import open_engine
from edge.errors import VerificationError
from edge.gtsrb import Photo, held_out
from edge.manifest import Bundle
from export.crops import class_ids_of, read_batches

Infer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

ROLE = "classifier"
REFERENCE = "fp32"
KERAS = "keras"


@dataclass(frozen=True)
class Budget:
    """What an artefact may differ from fp32: `drop` of top-1 accuracy and `max_error` of any probability, fractions of 1."""

    drop: float
    max_error: float = 1.0


BUDGETS: dict[str, Budget] = {KERAS: Budget(drop=0.001, max_error=1e-4), "fp16": Budget(drop=0.001), "int8-cpu": Budget(drop=0.002)}


@dataclass(frozen=True)
class Agreement:
    """An artefact beside fp32 on the same `n` photos.

    Attributes:
        n: photos.
        top1: the artefact's accuracy, a fraction.
        drop: fp32's accuracy less the artefact's.
        agreement: share of the photos on which both name the same class.
        max_error: largest absolute difference of a probability.
        mean_error: mean absolute difference of the probabilities.
    """

    n: int
    top1: float
    drop: float
    agreement: float
    max_error: float
    mean_error: float


def compare(found: NDArray[np.float32], reference: NDArray[np.float32], class_ids: NDArray[np.int64]) -> Agreement:
    """Compare two artefacts' probabilities, (n, classes) float32 each, on photos of known classes, (n,) int64."""
    named, wanted = found.argmax(axis=1), reference.argmax(axis=1)
    error = np.abs(found - reference)
    top1, reference_top1 = float((named == class_ids).mean()), float((wanted == class_ids).mean())
    return Agreement(len(class_ids), top1, reference_top1 - top1, float((named == wanted).mean()), float(error.max()), float(error.mean()))


def check(agreements: Mapping[str, Agreement], budgets: Mapping[str, Budget]) -> None:
    """Hold each artefact's figures against its budget.

    Raises:
        VerificationError: one is beyond it; the message names the first.
    """
    for precision, found in agreements.items():
        budget = budgets[precision]
        # A NaN is beyond every budget.
        if not (found.drop <= budget.drop and found.max_error <= budget.max_error):
            raise VerificationError(
                f"wanted {precision} within {budget.drop:.4f} of fp32's top1 and {budget.max_error:g} of its probabilities on {found.n} photos, "
                f"found a drop of {found.drop:.4f} and an error of {found.max_error:.2g}: train longer, or export again"
            )


def run_on_photos(
    bundle: Bundle, precisions: Sequence[str], photos: Sequence[Photo], others: Mapping[str, Infer] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Run a bundle's classifier in several precisions, and `others`, over photos: (n, classes) float32 each, by name.

    Raises:
        BundleError: a damaged or missing artefact.
        EngineError: ONNX Runtime refuses one.
    """
    with ExitStack() as stack:
        engines = {precision: stack.enter_context(open_engine(bundle, ROLE, engine="onnxruntime", precision=precision)) for precision in precisions}
        runs: dict[str, Infer] = {**{precision: engine.infer for precision, engine in engines.items()}, **(others or {})}
        size = bundle.model(ROLE, "fp16").input.shape[1]
        found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in runs}
        for crops in read_batches(photos, size, f"running {', '.join(runs)}"):
            for name, infer in runs.items():
                found[name].append(infer(crops))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def verify_bundle(bundle: Bundle, data: Path) -> dict[str, Agreement]:
    """Prove a finished bundle: every file's hash, the golden self-test, and each precision against fp32 on the validation photos.

    Raises:
        BundleError: a damaged file.
        InputError: no record of the training, or a broken photo.
        DataError: no known data set at `data`, or another one than the bundle was trained on.
        VerificationError: an artefact is beyond its budget or its golden tolerance.
    """
    edge_check.check(bundle.folder)
    precisions = [model.precision for model in bundle.manifest.models if model.role == ROLE]
    _, photos = held_out(data, bundle.manifest.lineage.get("train", {}))
    found = run_on_photos(bundle, [REFERENCE, *precisions], photos)
    agreements = {precision: compare(found[precision], found[REFERENCE], class_ids_of(photos)) for precision in precisions}
    check(agreements, BUDGETS)
    return agreements


def as_table(agreements: Mapping[str, Agreement]) -> str:
    """Lay figures out for people: a line for each artefact."""
    head = f"{'against fp32':14}{'photos':>8}{'top1':>9}{'drop':>9}{'agreement':>11}{'max error':>11}"
    rows = [f"{name:14}{a.n:8}{a.top1:9.4f}{a.drop:9.4f}{a.agreement:11.4f}{a.max_error:11.2g}" for name, a in agreements.items()]
    return "\n".join([head, *rows])


def as_record(agreements: Mapping[str, Agreement]) -> dict[str, dict[str, float]]:
    """Return figures for the manifest, rounded to what they mean."""
    return {name: {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in asdict(a).items()} for name, a in agreements.items()}
