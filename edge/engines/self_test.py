"""Runs the self-test of a bundle: whether its models compute here what they computed where it was made, how fast, and in how much memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.board.machine import rss_mib
from edge.bundle.golden import difference, read_golden
from edge.bundle.manifest import Bundle, tolerance_key
from edge.engines.contract import Engine
from edge.engines.cuda import open_cuda
from edge.engines.open import built_precisions, choose_engine, open_engine
from edge.errors import BundleError

_BATCH = 16
_TIMED_RUNS = 20
_ON_ONNXRUNTIME = ("int8-cpu", "int8", "fp16")


@dataclass(frozen=True)
class Choice:
    """What to check: `engine`, `precision` and `provider` as `open_engine` takes them; precision "auto" is every one that the engine can run."""

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


def _median_ms(engine: Engine, inputs: NDArray[np.uint8]) -> float:
    took = []
    for run in range(_TIMED_RUNS):
        started = time.perf_counter_ns()
        engine.infer(inputs[run % len(inputs)][None])
        took.append((time.perf_counter_ns() - started) / 1e6)
    return float(np.median(took))
