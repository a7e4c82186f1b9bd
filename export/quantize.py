"""Which int8 artefact is kept: every calibration method is tried on what was held out, and layers stay in float where none of them is good enough."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from export.graphs.calibrate import METHODS, Histogram, Range, ranges
from export.judging.verify import Budget, Loss, as_record

MOST_KEPT_SHARE = 0.5
"""Share of the layers that may stay in float: with more, the artefact would be int8 by its name alone."""

Run = Callable[[bytes], NDArray[np.float32]]
L = TypeVar("L", bound=Loss)
Make = Callable[[Mapping[str, Range], Collection[str]], bytes]
"""Quantizes: from ranges by tensor, and the names of layers that stay in float, to an ONNX file's bytes."""


@dataclass(frozen=True)
class Judge(Generic[L]):
    """Photos or frames to judge an artefact by.

    Attributes:
        run: from an ONNX file's bytes to its outputs on them, float32 (n, ...).
        compare: from these to what they lose against fp32's.
    """

    run: Run
    compare: Callable[[NDArray[np.float32]], L]


@dataclass(frozen=True)
class Quantized(Generic[L]):
    """An int8 artefact and how it came to be.

    Attributes:
        content: the ONNX file.
        outputs: on what it was judged by, float32 (n, ...).
        method: of calibration, one of `METHODS`.
        kept: layers that stay in float, the worst first.
        tried: figures of every method, with all layers in int8.
    """

    content: bytes
    outputs: NDArray[np.float32]
    method: str
    kept: tuple[str, ...]
    tried: dict[str, L]

    def as_record(self) -> dict[str, Any]:
        """Return the choice for the manifest."""
        return {"method": self.method, "kept_in_float": list(self.kept), "tried": as_record(self.tried)}


def quantize(make: Make, histograms: Mapping[str, Histogram], layers: Sequence[str], valid: Judge[L], few: Judge[L], budget: Budget) -> Quantized[L]:
    """Quantize by the method that loses least, and keep as few layers in float as the budget asks for, worst first.

    Args:
        make: the quantizer.
        histograms: of the calibration.
        layers: names of what `make` quantizes.
        valid: what chooses and what the budget holds for.
        few: what ranks the layers, if it comes to that.
        budget: of this artefact. If no choice is within, the best one is returned, for `export.judging.verify.check` to refuse.
    """
    trials = {method: _trial(make, histograms, method, (), valid) for method in METHODS}
    tried = {method: valid.compare(trial.outputs) for method, trial in trials.items()}
    method = min(METHODS, key=lambda method: _loss(tried[method]))
    best = trials[method]
    if not budget.holds(tried[method]):
        order = worst_first(make, ranges(histograms, method), layers, few)
        best = _fewest_kept(lambda count: _trial(make, histograms, method, tuple(order[:count]), valid), len(order), valid, budget) or best
    return Quantized(best.content, best.outputs, method, best.kept, tried)


@dataclass(frozen=True)
class _Trial:
    content: bytes
    outputs: NDArray[np.float32]
    kept: tuple[str, ...]


def _trial(make: Make, histograms: Mapping[str, Histogram], method: str, kept: tuple[str, ...], judge: Judge[L]) -> _Trial:
    content = make(ranges(histograms, method), kept)
    return _Trial(content, judge.run(content), kept)


def _fewest_kept(trial_of: Callable[[int], _Trial], layers: int, valid: Judge[L], budget: Budget) -> _Trial | None:
    """Bisect for the trial that keeps the fewest layers in float and is within the budget; None if even the most that may be kept are not enough."""
    beyond, enough, best = 0, int(layers * MOST_KEPT_SHARE) + 1, None
    count = enough - 1
    while beyond < count < enough:
        trial = trial_of(count)
        if budget.holds(valid.compare(trial.outputs)):
            enough, best = count, trial
        elif best is None:
            return None
        else:
            beyond = count
        count = (beyond + enough) // 2
    return best


def _loss(found: Loss) -> tuple[float, float]:
    """Signs lost, then error: signs that int8 names right by luck count for nothing."""
    return max(found.drop, 0.0), found.mean_error


def worst_first(make: Make, spans: Mapping[str, Range], layers: Sequence[str], judge: Judge[L]) -> list[str]:
    """Order layers by the mean error of the probabilities when each alone is in int8, the largest first."""
    errors = {layer: judge.compare(judge.run(make(spans, set(layers) - {layer}))).mean_error for layer in layers}
    return sorted(layers, key=lambda layer: -errors[layer])
