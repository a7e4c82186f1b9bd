"""Proves that a bundle is whole and computes here what it computed where it was made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.engine import Engine, open_engine
from edge.errors import BundleError, VerificationError
from edge.manifest import Bundle, read_bundle

_BATCH = 16
_TIMED_RUNS = 20


@dataclass(frozen=True)
class Outcome:
    """One precision's self-test.

    Attributes:
        precision: as `--precision` names it.
        difference: largest absolute difference from the probabilities to expect.
        tolerance: the difference that the manifest allows.
        median_ms: time of one crop, in milliseconds.
    """

    precision: str
    difference: float
    tolerance: float
    median_ms: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within its tolerance."""
        return self.difference <= self.tolerance


def check(folder: Path) -> None:
    """Check a bundle's files and outputs and print a table.

    Raises:
        BundleError: a file is missing, damaged or incomplete.
        EngineError: a model cannot be run.
        VerificationError: a precision is out of its tolerance.
    """
    bundle = read_bundle(folder)
    held = [(model.file, model.sha256) for model in bundle.manifest.models] + [(bundle.manifest.golden.file, bundle.manifest.golden.sha256)]
    for file, sha256 in held:
        bundle.verified_path(file, sha256)
    print(f"{folder}: {bundle.manifest.name}, {len(held)} files are as they were exported")
    outcomes = []
    print(f"{'precision':<10} {'difference':>10} {'tolerance':>10} {'ms a crop':>10}")
    for outcome in self_test(bundle):
        outcomes.append(outcome)
        verdict = "ok" if outcome.passed else "OUT OF TOLERANCE"
        print(f"{outcome.precision:<10} {outcome.difference:>10.2g} {outcome.tolerance:>10.2g} {outcome.median_ms:>10.2f}  {verdict}")
    failed = [outcome.precision for outcome in outcomes if not outcome.passed]
    if failed:
        raise VerificationError(f"wanted the outputs that {folder} was made with, found others in {', '.join(failed)}: export the bundle again on this version")


def self_test(bundle: Bundle) -> Iterator[Outcome]:
    """Run the golden crops through each precision that ONNX Runtime can run.

    Raises:
        BundleError: the golden file or a tolerance is missing or wrong.
        EngineError: a model cannot be run.
    """
    images, wanted = read_golden(bundle)
    held = [model.precision for model in bundle.manifest.models if model.role == "classifier"]
    for precision in [p for p in ("int8-cpu", "fp16") if p in held] + (["fp32"] if "fp16" in held else []):
        if precision not in bundle.manifest.golden.tolerance:
            raise BundleError(f"wanted a golden tolerance for {precision} in {bundle.folder}, the manifest has none: export the bundle again")
        with open_engine(bundle, "classifier", engine="onnxruntime", precision=precision) as engine:
            found = np.concatenate([engine.infer(images[at : at + _BATCH]) for at in range(0, len(images), _BATCH)])
            if found.shape != wanted.shape:
                raise BundleError(f"wanted outputs of shape {wanted.shape} from {engine.spec.file}, found {found.shape}: export the bundle again")
            difference = float(np.nan_to_num(np.abs(found - wanted), nan=np.inf).max())
            yield Outcome(precision, difference, bundle.manifest.golden.tolerance[precision], _median_ms(engine, images))


def read_golden(bundle: Bundle) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Read the self-test: crops (n, size, size, 3) uint8 BGR, and their probabilities (n, classes) float32.

    Raises:
        BundleError: the file is damaged, or lacks an array.
    """
    path = bundle.verified_path(bundle.manifest.golden.file, bundle.manifest.golden.sha256)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, probabilities = arrays["images"], arrays["probabilities"]
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"wanted arrays images and probabilities in {path}, cannot read them ({error}): export the bundle again") from error
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) == 0 or probabilities.shape != (len(images), len(bundle.manifest.labels)):
        raise BundleError(
            f"wanted crops and a row of probabilities for each in {path}, found {images.shape} and {probabilities.shape}: export the bundle again"
        )
    return images, probabilities.astype(np.float32, copy=False)


def _median_ms(engine: Engine, images: NDArray[np.uint8]) -> float:
    took = []
    for run in range(_TIMED_RUNS):
        started = time.perf_counter_ns()
        engine.infer(images[run % len(images)][None])
        took.append((time.perf_counter_ns() - started) / 1e6)
    return float(np.median(took))
