"""Results that others are held against: those of one machine in one power mode, in one file that tells nothing of whoever measured it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report.results import ALL, PREFIX, RESULTS, read_results
from edge.bundle.lineage import RESULT_SCHEMA
from edge.errors import InputError
from edge.files import write_json

FOLDER = Path(__file__).resolve().parents[1] / "reference"


def keep(paths: Sequence[Path], out: Path | None) -> Path:
    """Write results as one reference and return where.

    Args:
        paths: results of one machine.
        out: the file; None is one in `FOLDER`, named as by `name_of`.

    Raises:
        InputError: a file that is no result, or results of several machines or power modes.
        OutputError: the file cannot be written.
    """
    documents = read_results(paths)
    names = {name_of(document) for document in documents}
    if len(names) != 1:
        raise InputError(f"wanted results of one machine in one power mode, found {', '.join(sorted(names)) or 'none'}: give those of one")
    place = out or FOLDER / f"{names.pop()}.json"
    told = [{**without_paths(document), "machine": _machine(document)} for document in documents]
    shared = {"schema": RESULT_SCHEMA, "command": f"{PREFIX}{ALL}", "machine": told[0]["machine"], "conditions": {}}
    write_json(place, {**shared, "started_at": told[0]["started_at"], RESULTS: told, "failed": []})
    print(f"reference in {place}")
    return place


def name_of(document: dict[str, Any]) -> str:
    """Name a result's machine for a file: board, or processor and what speeds it up, since makers give unlike ones one name; cores and power mode."""
    machine, before = document["machine"], document["conditions"].get("before") or {}
    kind = machine.get("board") or " ".join([str(machine.get("cpu")), *(machine.get("cpu_flags") or [])])
    told = f"{kind} {machine.get('cores')} cores {before.get('power_mode') or ''}"
    return re.sub(r"[^a-z0-9]+", "-", told.lower()).strip("-")


def _machine(document: dict[str, Any]) -> dict[str, Any]:
    """Return the machine without what its kernel is called."""
    return {**document["machine"], "system": str(document["machine"].get("system")).partition("-")[0]}


def without_paths(value: Any) -> Any:
    """Return JSON with the last part alone of every absolute path in it."""
    if isinstance(value, dict):
        return {key: without_paths(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [without_paths(inside) for inside in value]
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value
