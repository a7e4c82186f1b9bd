"""How long `Engine.infer` takes on drawn crops. The first call stands apart: it pays for memory and threads that later calls find ready."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.setting import Setting, print_conditions, write_result
from edge.engine import Engine
from edge.lineage import now
from edge.signs import DRAWN_CLASSES, draw_sign

WARM_UP = 10


def latency(setting: Setting, batches: Sequence[int], runs: int, json_path: Path | None) -> dict[str, Any]:
    """Time an engine at each batch size, a fresh one each, and print a table.

    Args:
        setting: what runs.
        batches: crops per call, 1 and more.
        runs: timed calls for each batch size, after the warm-up.
        json_path: where the result goes, or None.

    Returns:
        The figures of the first batch size, as `time_calls` gives them, `precision`, `engine`, and under `batches` the figures of every size.

    Raises:
        BundleError: no bundle, or a damaged one.
        EngineError: the engine fails.
        OutputError: `json_path` cannot be written.
    """
    started_at, conditions = now(), setting.conditions(warm_up=WARM_UP, input="drawn signs")
    rows: list[dict[str, float]] = []
    for batch in batches:
        with setting.open() as engine:
            if not rows:
                print_conditions(engine.name, engine.precision, setting)
                print(f"{'batch':>5} {'runs':>6} {'p50 ms':>9} {'p90 ms':>9} {'p99 ms':>9} {'max ms':>9} {'first ms':>9}")
            rows.append(time_calls(engine, batch, runs))
            times = " ".join(f"{rows[-1][key]:>9.2f}" for key in ("p50_ms", "p90_ms", "p99_ms", "max_ms", "first_ms"))
            print(f"{batch:>5} {runs:>6} {times}", flush=True)
    figures = {**rows[0], "precision": engine.precision, "engine": engine.name, "batches": rows}
    write_result(json_path, "latency", started_at, conditions | {"size": engine.spec.input.shape[1]}, figures)
    return figures


def time_calls(engine: Engine, batch: int, runs: int) -> dict[str, float]:
    """Time `runs` calls of a fresh engine; times are in milliseconds, a call's whole batch each.

    Returns:
        `p50_ms`, `p90_ms`, `p99_ms`, `max_ms` of the timed calls; `first_ms`, the very first; `batch` and `runs`.
    """
    images = drawn_crops(batch, engine.spec.input.shape[1])
    first_ms = _call_ms(engine, images)
    for _ in range(WARM_UP):
        engine.infer(images)
    times = np.array([_call_ms(engine, images) for _ in range(runs)])
    figures = {f"p{share}_ms": float(np.percentile(times, share)) for share in (50, 90, 99)} | {"max_ms": float(times.max()), "first_ms": first_ms}
    return {**{key: round(ms, 4) for key, ms in figures.items()}, "batch": batch, "runs": runs}


def drawn_crops(n: int, size: int) -> NDArray[np.uint8]:
    """Draw signs of different classes: (n, size, size, 3) uint8 BGR."""
    return np.stack([draw_sign(DRAWN_CLASSES[place % len(DRAWN_CLASSES)], size)[:, :, :3] for place in range(n)])


def _call_ms(engine: Engine, images: NDArray[np.uint8]) -> float:
    start = time.perf_counter_ns()
    engine.infer(images)
    return (time.perf_counter_ns() - start) / 1e6
