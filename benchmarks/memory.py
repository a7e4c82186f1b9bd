"""Resident memory of a process that does nothing but run the classifier: measured in a fresh child, since memory once taken rarely goes back."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.setting import Setting, print_conditions, write_result
from edge.errors import EngineError, SignwingError
from edge.lineage import now
from edge.machine import peak_rss_mib, rss_mib

STEPS = {
    "idle_mib": "Python, numpy and OpenCV",
    "loaded_mib": "with the engine loaded",
    "running_mib": "after its calls",
    "peak_mib": "most at any time",
    "closed_mib": "after closing it",
}


def memory(setting: Setting, batch: int, runs: int, json_path: Path | None) -> dict[str, Any]:
    """Measure an engine's memory in a child process and print a table.

    Args:
        setting: what runs.
        batch: crops per call.
        runs: calls.
        json_path: where the result goes, or None.

    Returns:
        The keys of `STEPS` in MiB, `batch`, `runs`, `precision` and `engine`.

    Raises:
        BundleError: no bundle, or a damaged one.
        EngineError: the child failed; its own line is in the message.
        OutputError: `json_path` cannot be written.
    """
    started_at = now()
    conditions = setting.conditions(input="black images")
    figures = _in_child(setting, batch, runs)
    print_conditions(figures["engine"], figures["precision"], setting)
    for key, meaning in STEPS.items():
        print(f"{figures[key]:>8.1f} MiB  {meaning}")
    write_result(json_path, "memory", started_at, conditions, figures)
    return figures


def measure(setting: Setting, batch: int, runs: int) -> dict[str, Any]:
    """Load, run and close an engine in this process, and return what `memory` does; only a fresh process gives figures that mean something."""
    cv2.resize(np.zeros((4, 4, 3), np.uint8), (2, 2))  # its threads and tables count as idle
    idle = rss_mib()
    with setting.open() as engine:
        loaded = rss_mib()
        images = np.zeros((batch, *engine.spec.input.shape[1:]), np.uint8)
        for _ in range(runs):
            engine.infer(images)
        running = rss_mib()
    gc.collect()
    closed = rss_mib()
    peak = max(peak_rss_mib(), idle, loaded, running)  # the kernel's own peak lags behind by some pages
    rounded = {key: round(mib, 1) for key, mib in zip(STEPS, (idle, loaded, running, peak, closed), strict=True)}
    return {**rounded, "batch": batch, "runs": runs, "precision": engine.precision, "engine": engine.name}


def _in_child(setting: Setting, batch: int, runs: int) -> dict[str, Any]:
    command = [sys.executable, "-m", __name__, str(setting.bundle), setting.engine, setting.precision, setting.provider, str(batch), str(runs)]
    paths = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - this Python, running this file
    if child.returncode != 0:
        said = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise EngineError(f"wanted to measure an engine in a process of its own, which ended early: {said}")
    figures: dict[str, Any] = json.loads(child.stdout)
    return figures


if __name__ == "__main__":
    bundle, engine, precision, provider, batch, runs = sys.argv[1:]
    try:
        print(json.dumps(measure(Setting(Path(bundle), engine, precision, provider), int(batch), int(runs))))
    except SignwingError as error:
        sys.exit(str(error))
