"""What is announced along drawn flights, through the loop that `edge run` has: passes right, wrong, missed, twice; how early; and silence without signs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.setting import Setting, print_conditions, write_result
from edge.classifier import Classifier
from edge.demo_source import PassSink
from edge.lineage import now
from edge.manifest import read_bundle
from edge.pipeline import open_spotter, run
from edge.sources import open_source

PASSES = ("all", "right", "wrong", "missed", "twice", "false")
FPS = 30


def tracks(setting: Setting, spotter: str, seeds: Sequence[int], frames: int, silent_minutes: float, json_path: Path | None) -> dict[str, Any]:
    """Fly along roads with signs, and along one without, and print what was announced.

    Args:
        setting: what runs.
        spotter: as `edge run --spotter`.
        seeds: of the flights with signs.
        frames: of each of them.
        silent_minutes: of flight without a sign, at 30 frames a second.
        json_path: where the result goes, or None.

    Returns:
        `passes` (the keys of `PASSES`, over all flights), `right_share`, `delay_frames` (p50 and p90 of the frames from a sign's first visible one, 12 px, to
        its announcement), `flights` (each with its seed), `silent` (frames and sightings without signs), `engine`, `precision`.

    Raises:
        BundleError: no bundle, a damaged one, or one without this spotter.
        EngineError: the engine fails.
        OutputError: `json_path` cannot be written.
    """
    started_at, conditions = now(), setting.conditions(spotter=spotter, seeds=list(seeds), frames=frames, silent_minutes=silent_minutes)
    flights: list[dict[str, Any]] = []
    delays: list[int] = []
    with ExitStack() as stack:
        bundle = read_bundle(setting.bundle)
        engine = stack.enter_context(setting.open())
        options = {"engine": setting.engine, "precision": setting.precision, "provider": setting.provider}
        found_by = stack.enter_context(open_spotter(spotter, bundle, **options))
        classifier = Classifier(engine, bundle.manifest.thresholds.confidence)
        print_conditions(engine.name, engine.precision, setting)
        for seed in _shown(seeds):
            watched = PassSink(f"demo://?seed={seed}&frames={frames}")
            run(open_source(f"demo://?seed={seed}&frames={frames}"), found_by, classifier, [watched])
            flights.append({"seed": seed, **watched.score()})
            delays += watched.delays()
        silent_frames = round(silent_minutes * 60 * FPS)
        sightings = run(open_source(f"demo://?signs=0&frames={silent_frames}"), found_by, classifier, []).sightings if silent_frames else 0
    passes = {key: sum(flight[key] for flight in flights) for key in PASSES}
    delay = {f"p{share}": float(np.percentile(delays, share)) for share in (50, 90)} if delays else {}
    figures: dict[str, Any] = {
        "passes": passes,
        "right_share": round(passes["right"] / passes["all"], 4) if passes["all"] else 1.0,
        "delay_frames": delay,
        "flights": flights,
        "silent": {"frames": silent_frames, "sightings": sightings},
        "engine": engine.name,
        "precision": engine.precision,
    }
    print(f"{len(seeds)} flights of {frames} frames: {', '.join(f'{count} {name}' for name, count in passes.items())}")
    if delay:
        print(f"announced {delay['p50']:.0f} frames after a sign is 12 px (p90 {delay['p90']:.0f})")
    print(f"{silent_frames} frames without a sign: {sightings} sightings")
    write_result(json_path, "tracks", started_at, conditions, figures)
    return figures


def _shown(seeds: Sequence[int]) -> Iterator[int]:
    for place, seed in enumerate(seeds):
        if sys.stderr.isatty():
            print(f"\rflight {place + 1} of {len(seeds)}", end="\n" if place + 1 == len(seeds) else "", file=sys.stderr, flush=True)
        yield seed
