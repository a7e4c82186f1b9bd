"""Proves that a bundle is whole and computes here what it computed where it was made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.cuda import open_cuda
from edge.engine import Engine, built_precisions, choose_engine, open_engine
from edge.errors import BundleError, VerificationError
from edge.machine import rss_mib
from edge.manifest import Bundle, read_bundle

_BATCH = 16
_TIMED_RUNS = 20
_ROLE = "classifier"
_ON_ONNXRUNTIME = ("int8-cpu", "int8", "fp16")


@dataclass(frozen=True)
class Choice:
    """What to check: `engine`, `precision` and `provider` as `edge.engine.open_engine` takes them; precision "auto" is every one that the engine can run."""

    engine: str = "auto"
    precision: str = "auto"
    provider: str = "cpu"


@dataclass(frozen=True)
class Outcome:
    """One precision's self-test.

    Attributes:
        engine: that ran it.
        precision: as `--precision` names it.
        difference: largest absolute difference from the probabilities to expect.
        tolerance: the difference that the manifest allows.
        median_ms: time of one crop, in milliseconds.
        resident_mib: resident memory that this process gained by loading and running it; little where an earlier one has left some to use again.
        gpu_mib: memory that the GPU had less meanwhile, on a Jetson the system's; None on a CPU.
    """

    engine: str
    precision: str
    difference: float
    tolerance: float
    median_ms: float
    resident_mib: float
    gpu_mib: float | None

    @property
    def passed(self) -> bool:
        """Whether the difference is within its tolerance."""
        return self.difference <= self.tolerance


def check(folder: Path, choice: Choice | None = None) -> None:
    """Check a bundle's files and outputs and print a table.

    Raises:
        BundleError: a file is missing, damaged or incomplete, or there is no engine for this board.
        EngineError: a model cannot be run.
        MissingDependency: the engine's library is not installed.
        VerificationError: a precision is out of its tolerance.
    """
    bundle = read_bundle(folder)
    held = [(model.file, model.sha256) for model in bundle.manifest.models] + [(bundle.manifest.golden.file, bundle.manifest.golden.sha256)]
    for file, sha256 in held:
        bundle.verified_path(file, sha256)
    print(f"{folder}: {bundle.manifest.name}, {len(held)} files are as they were exported")
    outcomes = []
    print(f"{'engine':<12} {'precision':<10} {'difference':>10} {'tolerance':>10} {'ms a crop':>10} {'resident MiB':>13} {'GPU MiB':>8}")
    for outcome in self_test(bundle, choice or Choice()):
        outcomes.append(outcome)
        print(_row(outcome))
    failed = [outcome.precision for outcome in outcomes if not outcome.passed]
    if failed:
        raise VerificationError(f"wanted the outputs that {folder} was made with, found others in {', '.join(failed)}: export the bundle again on this version")


def _row(outcome: Outcome) -> str:
    figures = f"{outcome.difference:>10.2g} {outcome.tolerance:>10.2g} {outcome.median_ms:>10.2f} {outcome.resident_mib:>13.1f}"
    gpu = "-" if outcome.gpu_mib is None else f"{outcome.gpu_mib:.1f}"
    return f"{outcome.engine:<12} {outcome.precision:<10} {figures} {gpu:>8}  {'ok' if outcome.passed else 'OUT OF TOLERANCE'}"


def self_test(bundle: Bundle, choice: Choice) -> Iterator[Outcome]:
    """Run the golden crops through the engine in each precision that is chosen.

    Raises:
        BundleError: the golden file or a tolerance is missing or wrong, or there is no engine for this board.
        EngineError: a model cannot be run.
        MissingDependency: the engine's library is not installed.
    """
    images, wanted = read_golden(bundle)
    engine = choice.engine
    if engine == "auto":
        engine = choose_engine(bundle, _ROLE, precision=choice.precision, provider=choice.provider)
    for precision in runnable_precisions(bundle, engine) if choice.precision == "auto" else [choice.precision]:
        if precision not in bundle.manifest.golden.tolerance:
            raise BundleError(f"wanted a golden tolerance for {precision} in {bundle.folder}, the manifest has none: export the bundle again")
        yield _outcome(bundle, Choice(engine, precision, choice.provider), images, wanted)


def runnable_precisions(bundle: Bundle, engine: str) -> list[str]:
    """Return the precisions that an engine can run a bundle in; of TensorRT those that are built, or the one whose refusal tells how to build it."""
    if engine == "tensorrt":
        return built_precisions(bundle, _ROLE) or ["fp16"]
    held = [model.precision for model in bundle.manifest.models if model.role == _ROLE]
    return [precision for precision in _ON_ONNXRUNTIME if precision in held] + (["fp32"] if "fp16" in held else [])


def _outcome(bundle: Bundle, choice: Choice, images: NDArray[np.uint8], wanted: NDArray[np.float32]) -> Outcome:
    free_mib = open_cuda().free_mib if "tensorrt" in (choice.engine, choice.provider) or choice.provider == "cuda" else None
    resident, free = rss_mib(), free_mib() if free_mib else 0.0
    with open_engine(bundle, _ROLE, engine=choice.engine, precision=choice.precision, provider=choice.provider) as engine:
        found = np.concatenate([engine.infer(images[at : at + _BATCH]) for at in range(0, len(images), _BATCH)])
        if found.shape != wanted.shape:
            raise BundleError(f"wanted outputs of shape {wanted.shape} from {engine.spec.file}, found {found.shape}: export the bundle again")
        return Outcome(
            engine.name,
            engine.precision,
            difference=float(np.nan_to_num(np.abs(found - wanted), nan=np.inf).max()),
            tolerance=bundle.manifest.golden.tolerance[choice.precision],
            median_ms=_median_ms(engine, images),
            resident_mib=rss_mib() - resident,
            gpu_mib=free - free_mib() if free_mib else None,
        )


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
