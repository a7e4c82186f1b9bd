"""Results as Markdown tables, a group for each machine: what the README shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.report.reference import name_of
from benchmarks.report.results import model_of, of_command
from edge.datasets.aerial import CROP_VIEWS, JUDGED

Document = dict[str, Any]
WARNINGS = "warnings"


def as_markdown(documents: Sequence[Document]) -> str:
    """Return the tables of each machine, one after the other, with when and on what they were measured."""
    machines = dict.fromkeys(name_of(document) for document in documents)
    return "\n".join(_of_machine([document for document in documents if name_of(document) == name]) for name in machines)


def warnings_of(documents: Sequence[Document]) -> list[str]:
    """Say what makes the results doubtful: the first of warnings that differ in their numbers alone, and how many more there are of each."""
    kinds: dict[str, list[str]] = {}
    for warning in dict.fromkeys(str(warning) for document in documents for warning in document["conditions"].get(WARNINGS, [])):
        kinds.setdefault(re.sub(r"[\d.]+", "", warning), []).append(warning)
    return [first + (f" (and {len(more)} more like this)" if more else "") for first, *more in kinds.values()]


def _of_machine(documents: Sequence[Document]) -> str:
    machine = documents[0]["machine"]
    flags = ", ".join(machine.get("cpu_flags") or [])
    mode = (documents[0]["conditions"].get("before") or {}).get("power_mode")
    place = f"{machine.get('board') or machine.get('cpu')}{f' ({flags})' if flags else ''}, {machine.get('cores')} cores"
    place += f"{f', power mode {mode}' if mode else ''}, {str(machine.get('system')).partition('-')[0]}"
    days = sorted({document["started_at"][:10] for document in documents})
    parts = [f"**{place}**, {' to '.join(dict.fromkeys((days[0], days[-1])))}", *_tables(documents), *warnings_of(documents)]
    return "\n\n".join(parts) + "\n"


def _tables(documents: Sequence[Document]) -> Iterator[str]:
    tables = (
        (("the classifier alone", "top-1", "one crop, p50 / p99 ms", "eight, p50 ms", "of the peak, one / eight", "peak RSS, MiB"), _models(documents)),
        (("the whole runtime", "frames a second", "age p50 / p99 ms", "finding / naming ms", "peak RSS, MiB"), _runtime(documents)),
        (("real frames", "recall", "precision", "F1, named", "false, signs painted out"), _frames(documents)),
        (("as a drone sees them", "n", "rate", "95% interval", "in fp32"), _views(documents)),
        (("along the way", "right", "wrong", "missed", "twice", "false", "announced after, p50 / p90 frames"), _passes(documents)),
        (("beside detectors that only find", "frames a second", "ours is times as fast"), _detectors(documents)),
        (("the same weights elsewhere", "top-1", "one crop, p50 ms", "eight, p50 ms", "first answer, s", "RSS, MiB"), _peers(documents)),
    )
    for head, rows in tables:
        lines = [f"| {' | '.join(cells)} |" for cells in rows]
        if lines:
            yield "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines])


def _models(documents: Sequence[Document]) -> Iterator[tuple[str, ...]]:
    top1 = {model_of(document): f"{document['top1']:.4f}" for document in of_command(documents, "accuracy")}
    latency = {model_of(document): {row["batch"]: row for row in document["batches"]} for document in of_command(documents, "latency")}
    memory = {model_of(document): f"{document['peak_mib']:.0f}" for document in of_command(documents, "memory")}
    for model in dict.fromkeys((*latency, *top1, *memory)):
        one, eight = (latency.get(model, {}).get(batch) for batch in (1, 8))
        share = " / ".join(f"{row['roofline']['share']:.0%}" for row in (one, eight) if row and "roofline" in row)
        calls = (f"{one['p50_ms']:.2f} / {one['p99_ms']:.2f}" if one else "", f"{eight['p50_ms']:.1f}" if eight else "")
        yield model, top1.get(model, ""), *calls, share, memory.get(model, "")


def _runtime(documents: Sequence[Document]) -> Iterator[tuple[str, ...]]:
    for document in of_command(documents, "pipeline"):
        for row in document["sources"]:
            age, stages = row["age_ms"], row["stage_ms"]
            times = (f"{age['p50']:.0f} / {age['p99']:.0f}", f"{stages['spot']:.1f} / {stages['classify']:.1f}")
            yield f"{document['engine']}, `{row['source']}`", f"{row['fps']:.1f}", *times, f"{row['peak_rss_mib']:.0f}"


def _frames(documents: Sequence[Document]) -> Iterator[tuple[str, ...]]:
    for document in of_command(documents, "detection"):
        find, name = document["find"], document["name"]
        bare = f"{document['painted_out']['false']} in {document['frames']} frames" if "painted_out" in document else ""
        what = f"{document['conditions']['split']}, {document['signs']} signs"
        yield what, f"{find['recall']:.4f}", f"{find['precision']:.4f}", f"{name['f1']:.4f}", bare


def _views(documents: Sequence[Document]) -> Iterator[tuple[str, ...]]:
    for document in of_command(documents, "views"):
        split, beside = document["conditions"]["split"], document.get("fp32", {})
        for name, row in document["views"].items():
            fp32 = beside["views"][name]["name"]["f1"] if beside else None
            yield _view(f"{split} frames, {name}: F1, named", row["n"], row["name"]["f1"], row["name"]["interval"], fp32)
        for name, row in document.get("crops", {}).items():
            yield _view(f"photos, {name}: top-1", row["n"], row["top1"], row["interval"], beside["crops"][name]["top1"] if beside else None)
        for key, what in (("mean_f1", f"mean F1 of {len(JUDGED)} views"), ("mean_top1", f"mean top-1 of {len(CROP_VIEWS)} views")):
            if document.get(key) is not None:
                yield _view(what, "", document[key], None, beside.get(key))


def _view(what: str, n: int | str, rate: float, interval: list[float] | None, fp32: float | None) -> tuple[str, ...]:
    between = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
    return what, str(n), f"{rate:.4f}", between, f"{fp32:.4f}" if fp32 is not None else ""


def _passes(documents: Sequence[Document]) -> Iterator[tuple[str, ...]]:
    for document in of_command(documents, "tracks"):
        silent = document["silent"]
        by_drone = " of a drone" if document["conditions"].get("view") == "drone" else ""
        if document["flights"]:
            yield _pass(f"{len(document['flights'])} drawn flights{by_drone}", document)
        if silent["frames"]:
            yield f"{silent['frames']} drawn frames{by_drone} without a sign", *[""] * 4, str(silent["sightings"]), ""
        if "approaches" in document:
            yield _pass("real signs that come nearer", document["approaches"])
        if "approaches_rolling" in document:
            yield _pass("the same, the camera rolling", document["approaches_rolling"])


def _pass(what: str, figures: Document) -> tuple[str, ...]:
    passes, delay = figures["passes"], figures["delay_frames"]
    counts = (f"{passes['right']} of {passes['all']}", *(str(passes[key]) for key in ("wrong", "missed", "twice", "false")))
    return what, *counts, f"{delay['p50']:.0f} / {delay['p90']:.0f}" if delay else ""


def _detectors(documents: Sequence[Document]) -> Iterator[tuple[str, ...]]:
    for document in of_command(documents, "detector"):
        for row in document["rows"]:
            yield row["name"], f"{row['fps']:.1f}", f"{row['ratio']:.2f}"


def _peers(documents: Sequence[Document]) -> Iterator[tuple[str, ...]]:
    for document in of_command(documents, "peers"):
        for row in document["rows"]:
            top1 = f"{row['top1']:.4f}" if row["top1"] is not None else ""
            calls = (f"{row['ms'][batch]:.2f}" if batch in row["ms"] else "" for batch in ("1", "8"))
            yield row["name"], top1, *calls, f"{row['start_s']:.2f}", f"{row['rss_mib']:.0f}"
