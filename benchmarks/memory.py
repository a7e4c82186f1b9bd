"""Resident memory of a process that does nothing but run the classifier: measured in a fresh child, since memory once taken rarely goes back."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.measuring.budget import budget
from benchmarks.measuring.children import last_line
from benchmarks.measuring.setting import Setting, print_conditions, write_result
from edge import cli
from edge.board.identity import is_jetson, read_memory
from edge.board.machine import peak_rss_mib, pss_mib, rss_mib
from edge.bundle.lineage import now
from edge.bundle.manifest import read_bundle
from edge.errors import EngineError, SignwingError

STEPS = {
    "idle_mib": "Python, numpy and OpenCV",
    "loaded_mib": "with the engine loaded",
    "running_mib": "after its calls",
    "peak_mib": "most at any time",
    "closed_mib": "after closing it",
}
"""Resident memory (RSS), which on a Jetson leaves out most of what CUDA takes."""


def memory(setting: Setting, batch: int, runs: int, json_path: Path | None) -> dict[str, Any]:
    """Measure an engine's memory in a child process and print a table.

    Args:
        setting: what runs.
        batch: crops per call.
        runs: calls.
        json_path: where the result goes, or None.

    Returns:
        The keys of `STEPS` in MiB; `pss_mib`, after its calls, with pages that others share counted in parts; `taken_mib`, by how much the system's available
        memory was less after the calls, whoever took it; `batch`, `runs`, `precision`, `engine`; `budget`, as `benchmarks.measuring.budget` divides it.

    Raises:
        BundleError: no bundle, or a damaged one.
        EngineError: the child failed; its own line is in the message.
        OutputError: `json_path` cannot be written.
    """
    started_at = now()
    conditions = setting.conditions(input="black images")
    figures = _in_child(setting, batch, runs)
    conditions["size"] = figures.pop("size")
    print_conditions(figures["engine"], figures["precision"], setting)
    for key, meaning in STEPS.items():
        print(f"{figures[key]:>8.1f} MiB  {meaning}")
    figures["budget"] = shares = budget(read_bundle(setting.bundle), max(figures["peak_mib"], figures["taken_mib"] or 0.0 if is_jetson() else 0.0))
    print(f"of {shares['total_mib']} MiB of a Jetson Orin Nano ({', '.join(f'{name} {_known(here)}' for name, here in shares['measured'].items())}):")
    for name, row in shares["rows"].items():
        print(f"{name:>10}  {', '.join(f'{share} {mib:.0f}' for share, mib in row.items())}")
    print(shares["verdict"])
    write_result(json_path, "memory", started_at, conditions, figures)
    return figures


def measure(setting: Setting, batch: int, runs: int) -> dict[str, Any]:
    """Load, run and close an engine in this process, and return what `memory` does and the input's `size`; only a fresh process gives true figures."""
    cv2.resize(np.zeros((4, 4, 3), np.uint8), (2, 2))  # its threads and tables count as idle
    idle, before = rss_mib(), read_memory()
    with setting.open() as engine:
        loaded = rss_mib()
        images = np.zeros((batch, *engine.spec.input.shape[1:]), np.uint8)
        for _ in range(runs):
            engine.infer(images)
        running, pss, after = rss_mib(), pss_mib(), read_memory()
    gc.collect()
    closed = rss_mib()
    peak = max(peak_rss_mib(), idle, loaded, running)  # the kernel's own peak lags behind by some pages
    rounded = {key: round(mib, 1) for key, mib in zip(STEPS, (idle, loaded, running, peak, closed), strict=True)}
    taken = max(0, before.available_mib - after.available_mib) if before and after else None
    shared = {"pss_mib": round(pss, 1) if pss is not None else None, "taken_mib": taken}
    told = {"size": engine.spec.input.shape[1], "precision": engine.precision, "engine": engine.name}
    return {**rounded, **shared, "batch": batch, "runs": runs, **told}


def _known(here: bool) -> str:
    return "measured" if here else "estimated"


def _in_child(setting: Setting, batch: int, runs: int) -> dict[str, Any]:
    command = cli.child(__name__, str(setting.bundle), setting.engine, setting.precision, setting.provider, str(batch), str(runs))
    child = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this Python, running this file
    if child.returncode != 0:
        raise EngineError(f"wanted to measure an engine in a process of its own, which ended early: {last_line(child.stderr, child.returncode)}")
    figures: dict[str, Any] = json.loads(child.stdout)
    return figures


if __name__ == "__main__":
    bundle, engine, precision, provider, batch, runs = sys.argv[1:]
    try:
        print(json.dumps(measure(Setting(Path(bundle), engine, precision, provider), int(batch), int(runs))))
    except SignwingError as error:
        sys.exit(str(error))
