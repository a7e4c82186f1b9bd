"""Source to sink: `python -m edge run` as users start it, in a process of its own, for so many seconds; where a frame's time goes, and how old it gets."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring.children import last_line
from benchmarks.measuring.setting import Setting, print_conditions, write_result
from edge import cli
from edge.bundle.lineage import now
from edge.errors import SourceError

FLAT_OUT = "demo://?view=car&width=1280&height=720&frames=1000000"
SOURCES = (FLAT_OUT, f"{FLAT_OUT}&fps=30&realtime=1")
"""As many frames as go through, and 30 a second as a camera gives them, where what is not worked on in time gives way to newer ones.

They are a car's view: it takes less time to draw, and earlier figures were measured on it.
"""
END_WITHIN_S = 30
NOBODY = "udpout:127.0.0.1:9"
"""The port that discards what it gets (RFC 863)."""
RUN_KEYS = ("frames", "dropped", "unreadable", "sightings", "fps", "age_ms", "stage_ms", "peak_rss_mib", "engine", "precision")


def pipeline(setting: Setting, sources: Sequence[str], spotter: str, seconds: int, json_path: Path | None, *, outputs: bool = False) -> dict[str, Any]:
    """Run the runtime over each source for `seconds` and print how fast, how old and where the time went.

    Args:
        setting: bundle and engine.
        sources: what `edge run` takes, one after the other.
        spotter: as `edge run --spotter`.
        seconds: of each, the start of the process included.
        json_path: where the result goes, or None.
        outputs: whether events, the page and MAVLink go out, too; nobody looks.

    Returns:
        The figures of the first source, as `measure` gives them, and under `sources` those of every one.

    Raises:
        SourceError: a run that ended in a refusal; its own line is in the message.
        OutputError: `json_path` cannot be written.
    """
    started_at, conditions = now(), setting.conditions(spotter=spotter, seconds=seconds, outputs=outputs)
    rows: list[dict[str, Any]] = []
    for source in sources:
        rows.append(measure(setting, source, spotter, seconds, outputs=outputs))
        if len(rows) == 1:
            print_conditions(rows[0]["engine"], rows[0]["precision"], setting)
        print(f"\n{as_text(rows[-1])}", flush=True)
    write_result(json_path, "pipeline", started_at, conditions, {**rows[0], "sources": rows})
    return {**rows[0], "sources": rows}


def measure(setting: Setting, source: str, spotter: str, seconds: int, *, outputs: bool = False) -> dict[str, Any]:
    """Run `edge run` over a source, end it after `seconds` as a service is ended, and read its figures; `outputs` as in `pipeline`.

    Returns:
        `source`; of the run `RUN_KEYS`; `stage_share`, each stage's share of the time; `fps_without_source`, the frames a second that all stages but the
        source allow: the loop's own pace, where a recorded source draws or decodes the next frame beside it.

    Raises:
        SourceError: the run ended in a refusal; its own line is in the message.
    """
    with tempfile.TemporaryDirectory(prefix="signwing-") as folder:
        told = Path(folder) / "run.json"
        options = ["--bundle", setting.bundle, "--engine", setting.engine, "--precision", setting.precision, "--provider", setting.provider]
        command = cli.child("edge", "run", source, *map(str, options), "--spotter", spotter, "--json", str(told))
        if outputs:
            command += ["--events", str(Path(folder) / "events.jsonl"), "--web", "0", "--mavlink", NOBODY]
        _run_for(source, command, seconds)
        run = json.loads(told.read_text(encoding="utf-8"))
    spent = run["stage_ms"]
    whole = sum(spent.values()) or 1.0
    without = whole - spent["source"]
    return {
        "source": source,
        **{key: run[key] for key in RUN_KEYS},
        "stage_share": {stage: round(ms / whole, 4) for stage, ms in spent.items()},
        "fps_without_source": round(1000 / without, 1) if without > 0 else None,
    }


def as_text(row: dict[str, Any]) -> str:
    """Tell a source's figures in five lines."""
    age = row["age_ms"]
    stages = ", ".join(f"{stage} {ms:.1f} ms ({row['stage_share'][stage]:.0%})" for stage, ms in row["stage_ms"].items())
    lost = "".join(f", {row[key]} {key}" for key in ("dropped", "unreadable") if row[key])
    return (
        f"{row['source']}\n"
        f"  speed   {row['fps']:.1f} frames a second, {row['fps_without_source']} without waiting for the source; {row['frames']} frames{lost}\n"
        f"  age     p50 {age['p50']:.1f} ms, p90 {age['p90']:.1f}, p99 {age['p99']:.1f}, max {age['max']:.1f}\n"
        f"  stages  {stages}\n"
        f"  memory  {row['peak_rss_mib']:.0f} MiB at most (RSS)"
    )


def _run_for(source: str, command: Sequence[str], seconds: int) -> None:
    """Run a command on a source; one that has not ended by itself is told to after `seconds`."""
    # This Python, running this project's runtime.
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:  # noqa: S603
        try:
            _, said = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGTERM)
            try:
                _, said = child.communicate(timeout=END_WITHIN_S)
            finally:
                child.kill()
        except BaseException:
            child.kill()
            raise
    if child.returncode != 0:
        line = last_line(said, child.returncode)
        raise SourceError(f"wanted to measure edge run {source}, which ended early: {line}")
