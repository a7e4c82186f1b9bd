"""How long `Engine.infer` takes on drawn crops. The first call stands apart: it pays for memory and threads that later calls find ready."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edge.engines.contract import Engine
from numpy.typing import NDArray

from benchmarks.measuring.roofline import held_against, peak_of, work_of
from benchmarks.measuring.setting import ROLE, Setting, print_conditions, write_result
from edge.board.machine import describe
from edge.bundle.lineage import now
from edge.bundle.manifest import read_bundle
from edge.drawn.signs import DRAWN_CLASSES, draw_sign

WARM_UP = 10
TURNS = 5
"""Engines, one after the other, among which the calls of a batch size are divided."""
NOISY, NOISY_CURE = 0.1, "the machine is noisy, end what else runs and measure again"
"""Spread of the turns' p50 above which a result is called noisy."""


@dataclass(frozen=True)
class Timing:
    """What one engine took, in milliseconds: its first call, and each timed one, (n,) float64."""

    first_ms: float
    calls_ms: NDArray[np.float64]


def latency(setting: Setting, batches: Sequence[int], runs: int, json_path: Path | None) -> dict[str, Any]:
    """Time an engine at each batch size, a fresh one in each of `TURNS` turns, and print a table.

    Args:
        setting: what runs.
        batches: crops per call, 1 and more.
        runs: timed calls for each batch size, after the warm-up.
        json_path: where the result goes, or None.

    Returns:
        The figures of the first batch size, as `summed_up` gives them, `precision`, `engine`, and under `batches` the figures of every size; with `roofline`,
        as `benchmarks.measuring.roofline.held_against` gives it, where work and peak are known.

    Raises:
        BundleError: no bundle, or a damaged one.
        EngineError: the engine fails.
        OutputError: `json_path` cannot be written.
    """
    started_at, conditions = now(), setting.conditions(warm_up=WARM_UP, input="drawn signs")
    rows: list[dict[str, Any]] = []
    for batch in batches:
        timings: list[Timing] = []
        for part in _parts(runs):
            with setting.open() as engine:
                if not rows and not timings:
                    print_conditions(engine.name, engine.precision, setting)
                    print(f"{'batch':>5} {'runs':>6} {'p50 ms':>9} {'p90 ms':>9} {'p99 ms':>9} {'max ms':>9} {'first ms':>9} {'spread':>7}")
                timings.append(time_calls(engine, batch, part))
        rows.append(summed_up(timings, batch))
        times = " ".join(f"{rows[-1][key]:>9.2f}" for key in ("p50_ms", "p90_ms", "p99_ms", "max_ms", "first_ms"))
        print(f"{batch:>5} {runs:>6} {times} {rows[-1]['spread']:>7.1%}", flush=True)
    noise = [f"warning: p50 of batch {row['batch']} varies by {row['spread']:.0%} between turns: {NOISY_CURE}" for row in rows if row["spread"] > NOISY]
    conditions |= {"size": engine.spec.input.shape[1], **_hold_against_peak(setting, engine, rows, conditions["before"]["clocks"]["gpu_max"])}
    figures = {**rows[0], "precision": engine.precision, "engine": engine.name, "batches": rows}
    write_result(json_path, "latency", started_at, conditions, figures, noise)
    return figures


def _hold_against_peak(setting: Setting, engine: Engine, rows: list[dict[str, Any]], gpu_max_mhz: int | None) -> dict[str, Any]:
    """Give every row its `roofline` and print how much of the peak was reached; return the peak as a condition, or nothing where it is not known."""
    work = work_of(read_bundle(setting.bundle), ROLE)
    peak = peak_of(engine.name, engine.precision, setting.provider, describe()["board"], gpu_max_mhz) if work else None
    if work is None or peak is None:
        return {}
    print(f"peak {peak.operations / 1e9:,.0f} G operations and {peak.bandwidth / 1e9:.1f} GB a second ({peak.known})")
    for row in rows:
        row["roofline"] = held = held_against(peak, work, engine.precision, row["batch"], row["p50_ms"])
        work_told = f"{held['operations'] / 1e9:.2f} G operations, {held['bytes'] / 1e6:.1f} MB"
        print(f"{row['batch']:>5} {work_told}: at least {held['floor_ms']:.2f} ms by {held['bound']}, {held['share']:.0%} of the peak reached")
    return {"peak": asdict(peak)}


def time_calls(engine: Engine, batch: int, runs: int) -> Timing:
    """Time the first call of a fresh engine and, after the warm-up, `runs` more; a call is its whole batch."""
    images = drawn_crops(batch, engine.spec.input.shape[1])
    first_ms = _call_ms(engine, images)
    for _ in range(WARM_UP):
        engine.infer(images)
    return Timing(first_ms, np.array([_call_ms(engine, images) for _ in range(runs)]))


def summed_up(timings: Sequence[Timing], batch: int) -> dict[str, Any]:
    """Return the figures of one batch size from its turns.

    Returns:
        `p50_ms`, `p90_ms`, `p99_ms`, `max_ms` of all timed calls; `first_ms`, the very first; `batch` and `runs`; `p50_turns_ms`, each turn's own, and
        `spread`, their range as a share of their median.
    """
    calls_ms = np.concatenate([timing.calls_ms for timing in timings])
    figures = {f"p{share}_ms": float(np.percentile(calls_ms, share)) for share in (50, 90, 99)} | {"max_ms": float(calls_ms.max())}
    turns = [float(np.median(timing.calls_ms)) for timing in timings]
    return {
        **{key: round(ms, 4) for key, ms in (figures | {"first_ms": timings[0].first_ms}).items()},
        "batch": batch,
        "runs": len(calls_ms),
        "p50_turns_ms": [round(ms, 4) for ms in turns],
        "spread": round((max(turns) - min(turns)) / float(np.median(turns)), 4) if min(turns) > 0 else 0.0,
    }


def _parts(runs: int) -> list[int]:
    """Divide the calls among the turns; fewer calls than turns are a turn each."""
    turns = min(TURNS, runs)
    return [runs // turns + (place < runs % turns) for place in range(turns)]


def drawn_crops(n: int, size: int) -> NDArray[np.uint8]:
    """Draw signs of different classes: (n, size, size, 3) uint8 BGR."""
    return np.stack([draw_sign(DRAWN_CLASSES[place % len(DRAWN_CLASSES)], size)[:, :, :3] for place in range(n)])


def _call_ms(engine: Engine, images: NDArray[np.uint8]) -> float:
    start = time.perf_counter_ns()
    engine.infer(images)
    return (time.perf_counter_ns() - start) / 1e6
