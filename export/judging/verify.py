"""Two artefacts on the same crops: error, agreement and the accuracy that one loses, against a budget.

The reference is always fp32, which is the fp16 file's weights computed in float32. ONNX Runtime's CPU provider computes an fp16 file in float32 too (it
cancels the casts), so on a PC the fp16 figures prove the file, not a GPU's rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.bundle.manifest import Bundle, ModelSpec
from edge.commands.check import check as check_bundle
from edge.datasets.aerial import mixed_crop
from edge.datasets.classes import check_known
from edge.datasets.gtsrb import Photo, held_out, read_photo
from edge.engines.open import open_engine
from edge.engines.self_test import Choice
from edge.errors import VerificationError
from edge.images import fit_crop
from export.artefacts import ROLE
from export.graphs.lint import check_graph
from export.judging.crops import BATCH, class_ids_of, read_batches
from export.judging.rtx import build_with_rtx

Infer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

REFERENCE = "fp32"
KERAS = "keras"


class Loss(Protocol):
    """What an artefact loses against its reference: `drop` of what it is for, and the largest and the mean absolute difference of its outputs."""

    @property
    def drop(self) -> float:
        """Of top-1 accuracy, or of what a spotter finds; a fraction of 1."""
        ...

    @property
    def max_error(self) -> float:
        """Of any output."""
        ...

    @property
    def mean_error(self) -> float:
        """Of all outputs."""
        ...


@dataclass(frozen=True)
class Budget:
    """What an artefact may differ from its reference: `drop` and `max_error` as `Loss` has them."""

    drop: float
    max_error: float = 1.0

    def holds(self, found: Loss) -> bool:
        """Tell whether figures are within; a NaN never is."""
        return found.drop <= self.drop and found.max_error <= self.max_error


_ROUNDED = ("int8", "int8-cpu")
BUDGETS: dict[str, Budget] = {
    REFERENCE: Budget(drop=0.0, max_error=0.0),
    KERAS: Budget(drop=0.001, max_error=1e-4),
    "fp16": Budget(drop=0.001),
    "int8": Budget(drop=0.002),
    "int8-cpu": Budget(drop=0.002),
}


def bearable(budgets: Mapping[str, Budget], photos: int) -> dict[str, Budget]:
    """Widen what artefacts may lose to one photo where so few are there to judge by that one is more than the budget.

    Who has 20 photos of each sign, or a few that were reviewed, validates on a few hundred: a single photo on the brink, which rounding may tip to either side,
    would then refuse a sound artefact. More than one is still refused. For GTSRB, whose photos are thousands, budgets stay what they are.
    """
    return {name: replace(budget, drop=max(budget.drop, 1.001 / photos)) if name in _ROUNDED else budget for name, budget in budgets.items()}


AIR_DROP = 0.005
"""Top-1 that an artefact may lose on a drone's views of the photos (`edge.datasets.aerial.CROP_MIXTURE`)."""
SURE = 1.64
"""Standard deviations of chance beyond which few photos count too: one in twenty by chance, one-sided (Q. McNemar, Psychometrika 1947)."""


@dataclass(frozen=True)
class Agreement:
    """An artefact beside a reference, fp32 or Keras, on the same `n` photos.

    Attributes:
        n: photos.
        top1: the artefact's accuracy, a fraction.
        drop: the reference's accuracy less the artefact's.
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


def compare_all(found: Mapping[str, NDArray[np.float32]], reference: str, class_ids: NDArray[np.int64]) -> dict[str, Agreement]:
    """Compare everything in `found` with one of it, itself too."""
    return {name: compare(values, found[reference], class_ids) for name, values in found.items()}


def check(agreements: Mapping[str, Agreement], budgets: Mapping[str, Budget], reference: str = REFERENCE) -> None:
    """Hold each artefact's figures against its budget.

    Raises:
        VerificationError: one is beyond it; the message names the first.
    """
    for precision, found in agreements.items():
        budget = budgets[precision]
        if not budget.holds(found):
            raise VerificationError(
                f"wanted {precision} within {budget.drop:.4f} of {reference}'s top1 and {budget.max_error:g} of its probabilities on {found.n} photos, "
                f"found a drop of {found.drop:.4f} and an error of {found.max_error:.2g}: train longer, or export again"
            )


def run_on_photos(
    bundle: Bundle, precisions: Sequence[str], photos: Sequence[Photo], others: Mapping[str, Infer] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Run a bundle's classifier in several precisions, and `others`, over photos: (n, classes) float32 each, by name.

    One after the other, so that no more than one network is in memory.

    Raises:
        BundleError: a damaged or missing artefact.
        EngineError: ONNX Runtime refuses one.
    """
    size = next((model.input.shape[1] for model in bundle.manifest.models if model.role == ROLE), 0)
    found = {}
    for precision in precisions:
        with open_engine(bundle, ROLE, engine="onnxruntime", precision=precision) as engine:
            found[precision] = _run(engine.infer, photos, size, precision)
    return found | {name: _run(infer, photos, size, name) for name, infer in (others or {}).items()}


def _run(infer: Infer, photos: Sequence[Photo], size: int, name: str) -> NDArray[np.float32]:
    return np.concatenate([infer(crops) for crops in read_batches(photos, size, f"running {name}")])


def verify_from_the_air(bundle: Bundle, photos: Sequence[Photo]) -> dict[str, Agreement]:
    """Hold each precision of a bundle's classifier against fp32 on photos turned, blurred, darkened and compressed, and print it.

    int8 can lose under blur or in the dark what it keeps on clean photos.

    Raises:
        BundleError: a damaged or missing artefact.
        InputError: a broken photo.
        VerificationError: an artefact loses more than `AIR_DROP`, and more than chance would with so many photos.
    """
    precisions = [REFERENCE, *(model.precision for model in bundle.manifest.models if model.role == ROLE)]
    size = bundle.model(ROLE, "fp16").input.shape[1]
    crops = np.stack([fit_crop(mixed_crop(read_photo(photo), place), size) for place, photo in enumerate(tqdm(photos, "seen from the air", disable=None))])
    found = {}
    for precision in precisions:
        with open_engine(bundle, ROLE, engine="onnxruntime", precision=precision) as engine:
            found[precision] = np.concatenate([engine.infer(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)])
    agreements = compare_all(found, REFERENCE, class_ids_of(photos))
    print(as_table(agreements, "fp32, from the air"))
    budgets = {name: Budget(drop=max(AIR_DROP, SURE * ((1 - found.agreement) * found.n) ** 0.5 / found.n)) for name, found in agreements.items()}
    check(agreements, budgets, "fp32 from the air")
    return agreements


def verify_bundle(bundle: Bundle, data: Path, *, tensorrt_rtx: bool = False) -> dict[str, Agreement]:
    """Prove a finished bundle: every file's hash, TensorRT's rules, the golden self-test, and each precision against fp32 on the validation photos.

    `tensorrt_rtx` asks NVIDIA's parser and builder too.

    Raises:
        BundleError: a damaged file, or a graph that TensorRT would refuse.
        InputError: no record of the training, or a broken photo.
        DataError: no known data set at `data`, or another one than the bundle was trained on.
        VerificationError: an artefact is beyond its budget or its golden tolerance.
        MissingDependency: `tensorrt_rtx` is not installed.
        EngineError: NVIDIA's parser or builder refuses a graph.
    """
    check_known(bundle.manifest.labels, data, str(bundle.folder))
    check_graphs(bundle)
    if tensorrt_rtx:
        ask_nvidia(bundle)
    check_bundle(bundle.folder, Choice("onnxruntime"))
    precisions = [model.precision for model in bundle.manifest.models if model.role == ROLE]
    _, photos = held_out(data, bundle.manifest.lineage.get("train", {}))
    found = run_on_photos(bundle, [REFERENCE, *precisions], photos)
    agreements = compare_all(found, REFERENCE, class_ids_of(photos))
    check(agreements, bearable(BUDGETS, len(photos)))
    verify_from_the_air(bundle, photos)
    return agreements


def check_graphs(bundle: Bundle) -> None:
    """Hold TensorRT's rules against each model that is made for it.

    Raises:
        BundleError: a damaged file, or a broken rule.
    """
    for model in _for_tensorrt(bundle):
        path = bundle.verified_path(model.file, model.sha256)
        check_graph(path.read_bytes(), model, str(path))


def ask_nvidia(bundle: Bundle) -> None:
    """Have NVIDIA's TensorRT-RTX build each model that is made for TensorRT, and print what came of it.

    Raises:
        BundleError: a damaged file.
        MissingDependency: tensorrt-rtx is not installed.
        EngineError: its parser or builder refuses a graph.
    """
    for model in _for_tensorrt(bundle):
        built = build_with_rtx(bundle.verified_path(model.file, model.sha256), model)
        print(f"{model.file}: tensorrt-rtx parses and builds it, strongly typed, {built / 1e6:.1f} MB")


def _for_tensorrt(bundle: Bundle) -> list[ModelSpec]:
    return [model for model in bundle.manifest.models if model.target == "tensorrt"]


def as_table(agreements: Mapping[str, Agreement], reference: str = REFERENCE) -> str:
    """Lay figures out for people: a line for each artefact."""
    head = f"{f'against {reference}':14}{'photos':>8}{'top1':>9}{'drop':>9}{'agreement':>11}{'max error':>11}{'mean error':>12}"
    rows = [f"{name:14}{a.n:8}{a.top1:9.4f}{a.drop:9.4f}{a.agreement:11.4f}{a.max_error:11.2g}{a.mean_error:12.2g}" for name, a in agreements.items()]
    return "\n".join([head, *rows])


def as_record(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return figures, a dataclass each, for the manifest, rounded to what they mean."""
    return {name: {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in asdict(a).items()} for name, a in found.items()}
