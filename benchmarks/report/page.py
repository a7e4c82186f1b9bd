"""One page of results: what was measured, in which conditions, by which commands; and the same as a Markdown table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.report.results import figures_of, model_of, of_command, read_results
from benchmarks.report.tables import as_markdown, warnings_of
from edge import page
from edge.board.extras import install
from edge.bundle.lineage import now
from edge.datasets.aerial import FRAME_VIEWS, JUDGED
from edge.files import write_text

Document = dict[str, Any]
_CAUSES = {
    "roll": "degrees",
    "levelled roll": "degrees",
    "pitch": "degrees",
    "yaw": "degrees",
    "blur": "pixels",
    "light": "share lost",
    "quantiser": "of H.265",
}
"""What F1 is drawn over, and the unit of its strength."""
Section = tuple[str, str, Callable[[Any], bytes]]
"""A title, what to look for, and the picture, drawn by the module that is given: `benchmarks.report.charts`."""


def report(paths: Sequence[Path], out: Path, markdown: Path | None) -> None:
    """Write the page of results to `out`, and their table to `markdown`; without matplotlib the page has no pictures and says so.

    Raises:
        InputError: a file that is no result of a benchmark.
        OutputError: a file cannot be written.
    """
    documents = read_results(paths)
    charts = _charts()
    body = [
        "<h1>Signwing: benchmarks</h1>",
        f"<p>{len(documents)} results, gathered {escape(now())}. A figure holds for the machine and the conditions below, and for no others.</p>",
        page.tiles(_headline(documents)),
        *(f"<p><strong>{escape(warning)}</strong></p>" for warning in warnings_of(documents)),
        *([page.picture(title, hint, draw(charts), charts.WIDTH_PX) for title, hint, draw in _sections(documents)] if charts else []),
        "<h2>Figures</h2>",
        f'<div class="wide">{page.table(("of", "figure", "value"), _rows(documents))}</div>',
        "<h2>Machines</h2>",
        *(page.facts(machine) for machine in _different(document["machine"] for document in documents)),
        "<h2>Conditions and commands</h2>",
        *(f"<p>python -m {escape(document['command'])}, {escape(document['started_at'])}</p>{page.facts(document['conditions'])}" for document in documents),
    ]
    write_text(out, page.document("Signwing: benchmarks", body))
    print(f"page in {out}")
    if markdown is not None:
        write_text(markdown, as_markdown(documents))
        print(f"table in {markdown}")


def _charts() -> Any | None:
    try:
        from benchmarks.report import charts
    except ImportError:
        print(f"no pictures: wanted matplotlib, found none: {install('draw')}", file=sys.stderr)
        return None
    return charts


def _headline(documents: Sequence[Document]) -> Iterator[tuple[str, str, str]]:
    for document in of_command(documents, "accuracy"):
        yield f"top-1, {document['conditions']['split']}", f"{document['top1']:.4f}", f"{model_of(document)}, {document['n']} photos"
    for document in of_command(documents, "views"):
        if document["mean_f1"] is not None:
            yield "from the air, mean F1", f"{document['mean_f1']:.4f}", f"{model_of(document)}, {document['frames']} frames, {len(JUDGED)} views"
    for document in of_command(documents, "latency"):
        yield "one crop, p50", f"{document['p50_ms']:.2f} ms", f"{model_of(document)}, batch {document['batch']}"
    for document in of_command(documents, "pipeline"):
        yield "source to sink", f"{document['fps']:.1f} fps", f"{model_of(document)}, age p99 {document['age_ms']['p99']:.0f} ms"
    for document in of_command(documents, "memory"):
        yield "peak memory", f"{document['peak_mib']:.0f} MiB", f"{model_of(document)}, RSS"


def _rows(documents: Sequence[Document]) -> list[tuple[str, str, str]]:
    return [(figure.of, figure.name, f"{figure.value:.4g}") for document in documents for figure in figures_of(document)]


def _different(machines: Iterator[Document]) -> list[Document]:
    """Return machines that differ in more than their load."""
    return list({str({key: value for key, value in machine.items() if key != "load_1min"}): machine for machine in machines}.values())


def _sections(documents: Sequence[Document]) -> Iterator[Section]:
    points = _trade(documents)
    if points:
        hint = "Up and to the left is better: as right in less time."
        yield "Accuracy against latency", hint, lambda charts: charts.scatter(points, "one crop, p50, ms", "top-1")
    for document in of_command(documents, "views"):
        if document["views"]:
            yield _from_the_air(document)
    latency = {
        f"{model_of(document)}, batch {row['batch']}": {key: row[f"{key}_ms"] for key in ("p50", "p90", "p99")}
        for document in of_command(documents, "latency")
        for row in document["batches"]
    }
    if latency:
        yield "Latency", "p99 far behind p50 is a machine with something else to do.", lambda charts: charts.bars(latency, "ms a call")
    floors = {
        f"{model_of(document)}, batch {row['batch']}": {"floor": row["roofline"]["floor_ms"], "p50": row["p50_ms"]}
        for document in of_command(documents, "latency")
        for row in document["batches"]
        if "roofline" in row
    }
    if floors:
        hint = "The least time that operations and bytes allow at the peak under Conditions, and the time taken: what lies between is to be won."
        yield "Roofline", hint, lambda charts: charts.bars(floors, "ms a call")
    memory = {
        model_of(document): {key: document[f"{key}_mib"] for key in ("idle", "loaded", "running", "peak", "closed") if f"{key}_mib" in document}
        for document in of_command(documents, "memory")
    }
    if memory:
        yield "Memory", "Resident, of a process that does nothing else, in the order of its life.", lambda charts: charts.bars(memory, "MiB")
    for document in of_command(documents, "memory"):
        if "budget" in document:
            yield _budget(document)
    stages = {row["source"]: row["stage_ms"] for document in of_command(documents, "pipeline") for row in document["sources"]}
    if stages:
        hint = "Where a frame's time goes. A source in real time waits for its next frame, demo:// flat out draws it."
        yield "Stages", hint, lambda charts: charts.stacked(stages, "ms a frame")
    fps = {row["name"]: {"fps": row["fps"]} for document in of_command(documents, "detector") for row in document["rows"]}
    if fps:
        yield "Beside general detectors", "Frames a second without a source; ours also names.", lambda charts: charts.bars(fps, "frames a second")
    calls = {row["name"]: {f"batch {batch}": ms for batch, ms in row["ms"].items()} for document in of_command(documents, "peers") for row in document["rows"]}
    if calls:
        hint = "The same weights, each in a process of its own, asked in turn; host to host."
        yield "Beside other runtimes", hint, lambda charts: charts.bars(calls, "ms a call, p50")


def _from_the_air(document: Document) -> Section:
    """Draw F1 over each cause's strength, from the frames as they are, at 0, on; views of a later or earlier version are left out."""
    sides = {document["precision"]: document["views"], **({"fp32": document["fp32"]["views"]} if "fp32" in document else {})}
    panels: dict[str, dict[str, list[tuple[float, float, float, float]]]] = {}
    for cause, unit in _CAUSES.items():
        named = [(view.strength, name) for name, view in FRAME_VIEWS.items() if view.cause in ("none", cause)]
        lines = {
            side: [(at, rows[name]["name"]["f1"], *rows[name]["name"]["interval"]) for at, name in sorted(named) if name in rows]
            for side, rows in sides.items()
        }
        panels[f"{cause}, {unit}"] = lines
    what = f"{model_of(document)}, {document['conditions']['split']} frames"
    hint = f"{what}: F1 of finding and naming, with 95% intervals, over how strong a cause is; 0 is the frames as they are."
    return "As a drone sees them", hint, lambda charts: charts.curves(panels, "F1, named")


def _budget(document: Document) -> Section:
    shares = document["budget"]
    known = ", ".join(f"{name} {'measured' if here else 'estimated'}" for name, here in shares["measured"].items())
    hint = f"{model_of(document)}: {shares['verdict']}. {known}."
    limit = ("all of it", float(shares["total_mib"]))
    return "The memory of a Jetson Orin Nano (8 GB)", hint, lambda charts: charts.stacked(shares["rows"], "MiB", limit)


def _trade(documents: Sequence[Document]) -> list[tuple[str, float, float]]:
    """Return name, p50 of one crop and top-1 of each model that both were measured of."""
    p50 = {model_of(document): row["p50_ms"] for document in of_command(documents, "latency") for row in document["batches"] if row["batch"] == 1}
    ours = [(name, p50[name], document["top1"]) for document in of_command(documents, "accuracy") if (name := model_of(document)) in p50]
    beside = [(row["name"], row["ms"]["1"], row["top1"]) for document in of_command(documents, "peers") for row in document["rows"] if row["top1"] is not None]
    return ours + beside
