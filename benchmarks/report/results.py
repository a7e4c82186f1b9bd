"""Results of benchmarks as they were written, read again to be drawn and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bundle.lineage import RESULT_SCHEMA
from edge.errors import InputError

PREFIX = "benchmarks "
ALL = "all"
RESULTS = "results"
_KEYS = {"schema": int, "command": str, "machine": dict, "conditions": dict, "started_at": str}


@dataclass(frozen=True)
class Figure:
    """One number of a result.

    Attributes:
        of: what was measured, such as "latency onnxruntime int8-cpu 64 px batch 1".
        name: the figure, such as "p50_ms".
        value: in the unit that the name ends in.
        more_is_better: whether a larger one is the better one.
    """

    of: str
    name: str
    value: float
    more_is_better: bool


def read_results(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Read `--json` files of benchmarks; a file of `benchmarks all` holds several.

    Raises:
        InputError: a file that is none.
    """
    return [document for path in paths for document in _read(Path(path))]


def _read(path: Path) -> list[dict[str, Any]]:
    wanted = f"wanted a result of python -m benchmarks in {path}"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{wanted}, cannot read it ({error}): measure again with --json") from error
    held = document.get(RESULTS) if isinstance(document, dict) and document.get("command") == f"{PREFIX}{ALL}" else [document]
    for each in held if isinstance(held, list) else [None]:
        if not isinstance(each, dict) or any(not isinstance(each.get(key), kind) for key, kind in _KEYS.items()) or not each["command"].startswith(PREFIX):
            raise InputError(f"{wanted}, found another document: give a file that --json of a benchmark wrote")
        if each["schema"] != RESULT_SCHEMA:
            raise InputError(f"{wanted} of schema {RESULT_SCHEMA}, found {each['schema']}: measure again with this version")
    return list(held) if isinstance(held, list) else []


def command_of(document: dict[str, Any]) -> str:
    """Return the benchmark that wrote a result, such as "latency"."""
    return str(document["command"]).removeprefix(PREFIX)


def of_command(documents: Sequence[dict[str, Any]], command: str) -> list[dict[str, Any]]:
    """Return the results of one benchmark."""
    return [document for document in documents if command_of(document) == command]


def model_of(document: dict[str, Any]) -> str:
    """Name what ran in a result: engine, precision and, where it is told, the side of its input."""
    size = document["conditions"].get("size")
    provider = document["conditions"].get("provider", "cpu")
    where = "" if provider == "cpu" else f" on {provider}"
    return f"{document.get('engine')}{where} {document.get('precision')}{f' {size} px' if size else ''}"


def figures_of(document: dict[str, Any]) -> Iterator[Figure]:
    """Return the numbers of a result that can be held against another's; none of a benchmark that has no such numbers."""
    command, model = command_of(document), model_of(document)
    if command == "latency":
        for row in document["batches"]:
            for name in ("p50_ms", "p99_ms", "first_ms"):
                yield Figure(f"latency {model} batch {row['batch']}", name, row[name], more_is_better=False)
    elif command == "memory":
        for name in ("loaded_mib", "peak_mib"):
            yield Figure(f"memory {model}", name, document[name], more_is_better=False)
    elif command == "accuracy":
        yield Figure(f"accuracy {model} {document['conditions']['split']}", "top1", document["top1"], more_is_better=True)
    elif command == "pipeline":
        for row in document["sources"]:
            yield Figure(f"pipeline {model} {row['source']}", "fps", row["fps"], more_is_better=True)
            yield Figure(f"pipeline {model} {row['source']}", "age_p99_ms", row["age_ms"]["p99"], more_is_better=False)
            yield Figure(f"pipeline {model} {row['source']}", "peak_rss_mib", row["peak_rss_mib"], more_is_better=False)
    elif command == "detection":
        for part, name in (("find", "recall"), ("find", "precision"), ("name", "f1")):
            yield Figure(f"detection {model} {document['conditions']['split']}, {part}", name, document[part][name], more_is_better=True)
    elif command == "views":
        yield from _figures_of_views(f"views {model} {document['conditions']['split']}", document)
        if "fp32" in document:
            yield from _figures_of_views(f"views fp32 {document['conditions']['split']}", document["fp32"])
    elif command == "tracks":
        flown = f"tracks {model}" + (" of a drone" if document["conditions"].get("view") == "drone" else "")
        yield Figure(flown, "right_share", document["right_share"], more_is_better=True)
        yield Figure(f"{flown} without signs", "sightings", document["silent"]["sightings"], more_is_better=False)
    elif command == "detector":
        for row in document["rows"][1:]:
            yield Figure(f"detector ours to {row['name']}", "ratio", row["ratio"], more_is_better=True)
    elif command == "peers":
        for row in document["rows"]:
            for batch, ratio in row["ratio"].items():
                yield Figure(f"peers {row['name']} batch {batch}", "times_ours", ratio, more_is_better=True)
            for name in ("start_s", "rss_mib"):
                yield Figure(f"peers {row['name']}", name, row[name], more_is_better=False)
            if row["top1"] is not None:
                yield Figure(f"peers {row['name']}", "top1", row["top1"], more_is_better=True)


def _figures_of_views(of: str, found: dict[str, Any]) -> Iterator[Figure]:
    """Return the numbers of one precision; a mean over views of which some were left out is none."""
    for name, row in found["views"].items():
        yield Figure(f"{of}, {name}", "f1", row["name"]["f1"], more_is_better=True)
    for name, row in found.get("crops", {}).items():
        yield Figure(f"{of}, photos {name}", "top1", row["top1"], more_is_better=True)
    for name in ("mean_f1", "mean_top1"):
        if found.get(name) is not None:
            yield Figure(of, name, found[name], more_is_better=True)
