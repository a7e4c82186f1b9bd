"""Proves that a bundle is whole and computes here what it computed where it was made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.engines.cuda import open_cuda
from edge.engines.contract import Engine
from edge.engines.open import built_precisions, choose_engine, open_engine
from edge.errors import BundleError, VerificationError
from edge.board.machine import rss_mib
from edge.bundle.manifest import Bundle, read_bundle, tolerance_key

_BATCH = 16
_TIMED_RUNS = 20
_ROLES = {"classifier": ("images", "probabilities"), "spotter": ("frames", "maps")}
"""The arrays of the golden file by role: inputs, and the outputs to expect."""
_A_SIGN = 0.3
"""Heat of a spotter's map from which its boxes are compared: elsewhere they mean nothing."""
_ON_ONNXRUNTIME = ("int8-cpu", "int8", "fp16")


@dataclass(frozen=True)
class Choice:
    """What to check: `engine`, `precision` and `provider` as `edge.engines.open.open_engine` takes them; precision "auto" is every one that the engine can run."""

    engine: str = "auto"
    precision: str = "auto"
    provider: str = "cpu"


@dataclass(frozen=True)
class Outcome:
    """The self-test of a model in one precision.

    Attributes:
        role: of the model.
        engine: that ran it.
        precision: as `--precision` names it.
        difference: largest absolute difference from the outputs to expect: probabilities, or heat and, where a sign is, its box in cells.
        tolerance: the difference that the manifest allows.
        median_ms: time of one crop or frame, in milliseconds.
        resident_mib: resident memory that this process gained by loading and running it; little where an earlier one has left some to use again.
        gpu_mib: memory that the GPU had less meanwhile, on a Jetson the system's; None on a CPU.
    """

    role: str
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
    print(f"{'model':<11} {'engine':<12} {'precision':<10} {'difference':>10} {'tolerance':>10} {'ms each':>10} {'resident MiB':>13} {'GPU MiB':>8}")
    for role in _ROLES:
        for outcome in self_test(bundle, role, choice or Choice()) if bundle.holds(role) else ():
            outcomes.append(outcome)
            print(_row(outcome))
    failed = [f"{outcome.role} {outcome.precision}" for outcome in outcomes if not outcome.passed]
    if failed:
        raise VerificationError(f"wanted the outputs that {folder} was made with, found others in {', '.join(failed)}: export the bundle again on this version")


def _row(outcome: Outcome) -> str:
    figures = f"{outcome.difference:>10.2g} {outcome.tolerance:>10.2g} {outcome.median_ms:>10.2f} {outcome.resident_mib:>13.1f}"
    gpu = "-" if outcome.gpu_mib is None else f"{outcome.gpu_mib:.1f}"
    return f"{outcome.role:<11} {outcome.engine:<12} {outcome.precision:<10} {figures} {gpu:>8}  {'ok' if outcome.passed else 'OUT OF TOLERANCE'}"


def self_test(bundle: Bundle, role: str, choice: Choice) -> Iterator[Outcome]:
    """Run the golden inputs of a role through the engine in each precision that is chosen.

    Raises:
        BundleError: the golden file or a tolerance is missing or wrong, or there is no engine for this board.
        EngineError: a model cannot be run.
        MissingDependency: the engine's library is not installed.
    """
    inputs, wanted = read_golden(bundle, role)
    engine = choice.engine
    if engine == "auto":
        engine = choose_engine(bundle, role, precision=choice.precision, provider=choice.provider)
    for precision in runnable_precisions(bundle, engine, role) if choice.precision == "auto" else [choice.precision]:
        if tolerance_key(role, precision) not in bundle.manifest.golden.tolerance:
            raise BundleError(
                f"wanted a golden tolerance for {tolerance_key(role, precision)} in {bundle.folder}, the manifest has none: export the bundle again"
            )
        yield _outcome(bundle, role, Choice(engine, precision, choice.provider), inputs, wanted)


def runnable_precisions(bundle: Bundle, engine: str, role: str = "classifier") -> list[str]:
    """Return the precisions that an engine can run a bundle's model of a role in; of TensorRT those that are built, else fp16."""
    if engine == "tensorrt":
        return built_precisions(bundle, role) or ["fp16"]
    held = [model.precision for model in bundle.manifest.models if model.role == role]
    return [precision for precision in _ON_ONNXRUNTIME if precision in held] + (["fp32"] if "fp16" in held else [])


def _outcome(bundle: Bundle, role: str, choice: Choice, inputs: NDArray[np.uint8], wanted: NDArray[np.float32]) -> Outcome:
    free_mib = open_cuda().free_mib if "tensorrt" in (choice.engine, choice.provider) or choice.provider == "cuda" else None
    resident, free = rss_mib(), free_mib() if free_mib else 0.0
    with open_engine(bundle, role, engine=choice.engine, precision=choice.precision, provider=choice.provider) as engine:
        found = np.concatenate([engine.infer(inputs[at : at + _BATCH]) for at in range(0, len(inputs), _BATCH)])
        if found.shape != wanted.shape:
            raise BundleError(f"wanted outputs of shape {wanted.shape} from {engine.spec.file}, found {found.shape}: export the bundle again")
        return Outcome(
            role,
            engine.name,
            engine.precision,
            difference=difference(role, found, wanted),
            tolerance=bundle.manifest.golden.tolerance[tolerance_key(role, choice.precision)],
            median_ms=_median_ms(engine, inputs),
            resident_mib=rss_mib() - resident,
            gpu_mib=free - free_mib() if free_mib else None,
        )


def difference(role: str, found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Return the largest absolute difference of two outputs of a role, float32 of one shape; infinite where one is no number.

    Of a spotter's maps, (n, 5, height, width), the heat counts everywhere, and the other planes where `wanted` has a sign.
    """
    apart = np.nan_to_num(np.abs(found - wanted), nan=np.inf)
    if role == "spotter":
        apart[:, 1:] = np.where(wanted[:, :1] >= _A_SIGN, apart[:, 1:], 0)
    return float(apart.max())


def read_golden(bundle: Bundle, role: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Read the self-test of a role: inputs, (n, height, width, 3) uint8 BGR, and what comes of them, float32 (n, ...).

    Raises:
        BundleError: the file is damaged, or lacks an array.
    """
    path = bundle.verified_path(bundle.manifest.golden.file, bundle.manifest.golden.sha256)
    taken, given = _ROLES[role]
    try:
        with np.load(path, allow_pickle=False) as arrays:
            inputs, wanted = arrays[taken], arrays[given]
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"wanted arrays {taken} and {given} in {path}, cannot read them ({error}): export the bundle again") from error
    output = next(model.output.shape[1:] for model in bundle.manifest.models if model.role == role)
    if inputs.dtype != np.uint8 or inputs.ndim != 4 or len(inputs) == 0 or wanted.shape != (len(inputs), *output):
        raise BundleError(f"wanted {taken} and an output for each in {path}, found {inputs.shape} and {wanted.shape}: export the bundle again")
    return inputs, wanted.astype(np.float32, copy=False)


def _median_ms(engine: Engine, inputs: NDArray[np.uint8]) -> float:
    took = []
    for run in range(_TIMED_RUNS):
        started = time.perf_counter_ns()
        engine.infer(inputs[run % len(inputs)][None])
        took.append((time.perf_counter_ns() - started) / 1e6)
    return float(np.median(took))
