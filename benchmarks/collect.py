"""Every benchmark that needs no photos, one after the other, in one file to send: what a board's owner runs."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.latency import latency
from benchmarks.measuring.setting import ROLE, Setting, write_result
from benchmarks.memory import memory
from benchmarks.pipeline import SOURCES, pipeline
from benchmarks.report.results import ALL, RESULTS
from edge.bundle.lineage import now
from edge.bundle.manifest import Bundle, read_bundle
from edge.engines.open import choose_engine
from edge.engines.self_test import runnable_precisions
from edge.errors import SignwingError

BATCHES = (1, 4, 8, 16)
CALLS = 200
SECONDS = 60

Step = tuple[str, Callable[[Path], object]]


def collect(setting: Setting, json_path: Path) -> dict[str, Any]:
    """Measure latency and memory in every precision that the engine is meant to run, and the whole runtime; one that fails is told, and the others go on.

    Args:
        setting: bundle, engine and provider; its precision "auto" is every one.
        json_path: where all results go.

    Returns:
        `results`, the document of each, and `failed`, `step` and `error` of each that failed.

    Raises:
        BundleError: no bundle, or a damaged one.
        OutputError: `json_path` cannot be written.
    """
    started_at, conditions = now(), setting.conditions()
    results: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    steps = list(_steps(setting))
    with tempfile.TemporaryDirectory(prefix="signwing-") as folder:
        path = Path(folder) / "result.json"
        for place, (name, step) in enumerate(steps):
            print(f"\n[{place + 1} of {len(steps)}] {name}", flush=True)
            try:
                step(path)
            except SignwingError as error:
                failed.append({"step": name, "error": str(error)})
                print(f"failed: {error}", file=sys.stderr)
            else:
                results.append(json.loads(path.read_text(encoding="utf-8")))
    figures = {RESULTS: results, "failed": failed}
    write_result(json_path, ALL, started_at, conditions, figures)
    return figures


def _steps(setting: Setting) -> Iterator[Step]:
    bundle = read_bundle(setting.bundle)
    engine = choose_engine(bundle, ROLE, provider=setting.provider) if setting.engine == "auto" else setting.engine
    precisions = _made_for(engine, bundle) if setting.precision == "auto" else [setting.precision]
    for precision in precisions:
        chosen = replace(setting, engine=engine, precision=precision)
        yield f"latency, {engine} {precision}", lambda path, chosen=chosen: latency(chosen, BATCHES, CALLS, path)  # type: ignore[misc]
        yield f"memory, {engine} {precision}", lambda path, chosen=chosen: memory(chosen, 1, CALLS, path)  # type: ignore[misc]
    yield "pipeline", lambda path: pipeline(setting, SOURCES, "auto", SECONDS, path)


def _made_for(engine: str, bundle: Bundle) -> list[str]:
    """Return the precisions that an engine is meant to run: on a CPU those for TensorRT prove the files alone, and take minutes."""
    target = "tensorrt" if engine == "tensorrt" else "onnxruntime"
    meant = {model.precision for model in bundle.manifest.models if model.role == ROLE and model.target == target} | {"fp32"}
    return [precision for precision in runnable_precisions(bundle, engine) if precision in meant]
