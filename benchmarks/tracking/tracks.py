"""What is announced along drawn flights, and as real signs come nearer: passes right, wrong, missed, twice; how early; and silence without signs.

All of it goes through the loop that `edge run` has.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np

from benchmarks.measuring.kept import KeptSource
from benchmarks.measuring.setting import Setting, check_flown, print_conditions, write_result
from benchmarks.tracking.approaches import FRAMES as APPROACH_FRAMES
from benchmarks.tracking.approaches import SWING_DEG, Approach, ApproachSink, approaches
from edge.bundle.lineage import now
from edge.bundle.manifest import read_bundle
from edge.datasets.classes import check_names, with_faces
from edge.outputs.passes import PassSink
from edge.pipeline import open_spotter, run
from edge.recognition.classifier import Classifier
from edge.recognition.proposals import Spotter
from edge.sources.demo import SCHEME
from edge.sources.open import open_source

PASSES = ("all", "right", "wrong", "missed", "twice", "false")
FPS = 30


def tracks(
    setting: Setting,
    spotter: str,
    view: str,
    seeds: Sequence[int],
    frames: int,
    silent_minutes: float,
    data: Path | None,
    json_path: Path | None,
    faces: Path | None = None,
) -> dict[str, Any]:
    """Fly along roads with signs, and along one without, near real signs where there are photos, and print what was announced.

    Args:
        setting: what runs.
        spotter: as `edge run --spotter`.
        view: one of `edge.sources.demo.VIEWS`.
        seeds: of the flights with signs.
        frames: of each of them.
        silent_minutes: of flight without a sign, at 30 frames a second.
        data: where GTSRB's and GTSDB's photos are, for `benchmarks.tracking.approaches`; None leaves these out.
        json_path: where the result goes, or None.
        faces: data set that was prepared with faces, or bundle that carries them, which the flights show; None: GTSRB's signs.

    Returns:
        `passes` (the keys of `PASSES`, over all flights), `right_share`, `delay_frames` (p50 and p90 of the frames from a sign's first visible one, 12 px, to
        its announcement), `flights` (each with its seed), `silent` (frames and sightings without signs), `approaches` (the
        first three of real signs, where there are data), `approaches_rolling` (the same with a camera that rolls), `engine`, `precision`.

    Raises:
        BundleError: no bundle, a damaged one, or one without this spotter.
        DataError: the bundle knows other signs than the flights show.
        EngineError: the engine fails.
        InputError, DataError: as `benchmarks.tracking.approaches.approaches` has them.
        OutputError: `json_path` cannot be written.
    """
    if faces is None:
        check_flown(setting)
    else:
        check_names(read_bundle(setting.bundle).manifest.labels, with_faces(faces).names, faces, str(setting.bundle))
    told = {"spotter": spotter, "view": view, "seeds": list(seeds), "frames": frames, "silent_minutes": silent_minutes}
    told |= {name: None if path is None else str(path) for name, path in (("data", data), ("faces", faces))}
    started_at, conditions = now(), setting.conditions(**told)
    flights: list[dict[str, Any]] = []
    delays: list[int] = []
    with ExitStack() as stack:
        bundle = read_bundle(setting.bundle)
        coming = approaches(bundle, data) if data else []
        engine = stack.enter_context(setting.open())
        options = {"engine": setting.engine, "precision": setting.precision, "provider": setting.provider}
        found_by = stack.enter_context(open_spotter(spotter, bundle, **options))
        classifier = Classifier(engine, bundle.manifest.thresholds.confidence)
        print_conditions(engine.name, engine.precision, setting)
        for seed in _shown(seeds, "flight"):
            flown = f"{SCHEME}?view={view}&seed={seed}&frames={frames}" + (f"&faces={quote(str(faces))}" if faces else "")
            watched = PassSink(flown)
            run(open_source(flown), found_by, classifier, [watched])
            flights.append({"seed": seed, **watched.score()})
            delays += watched.delays()
        silent_frames = round(silent_minutes * 60 * FPS)
        silent = f"{SCHEME}?view={view}&signs=0&frames={silent_frames}"
        sightings = run(open_source(silent), found_by, classifier, []).sightings if silent_frames else 0
        near = _neared(coming, found_by, classifier) if data else {}
        rolled = _neared([replace(approach, rolling=True) for approach in coming], found_by, classifier) if data else {}
    figures: dict[str, Any] = {
        **_together(flights, delays),
        "flights": flights,
        "silent": {"frames": silent_frames, "sightings": sightings},
        **({"approaches": near, "approaches_rolling": rolled} if data else {}),
        "engine": engine.name,
        "precision": engine.precision,
    }
    if seeds:
        print(f"{len(seeds)} flights of {frames} frames, a {view}'s view: {_said(figures)}")
    if silent_frames:
        print(f"{silent_frames} frames without a sign: {sightings} sightings")
    if data:
        print(f"{len(coming)} approaches of real signs, {APPROACH_FRAMES} frames each: {_said(near)}")
        print(f"the same, the camera rolling from {SWING_DEG:g} degrees on one side to as many on the other: {_said(rolled)}")
    write_result(json_path, "tracks", started_at, conditions, figures)
    return figures


def _neared(coming: Sequence[Approach], spotter: Spotter, classifier: Classifier) -> dict[str, Any]:
    """Near real signs; returns what `tracks` tells of approaches."""
    near: list[dict[str, int]] = []
    delays: list[int] = []
    for approach in _shown(coming, "approach"):
        images, boxes = zip(*approach.frames(), strict=True)
        judged = ApproachSink(boxes, approach.class_id)
        run(KeptSource("approach", images), spotter, classifier, [judged])
        near.append({"class_id": approach.class_id, **judged.score()})
        delays += [delay for delay in [judged.delay()] if delay is not None]
    return {**_together(near, delays), "tracks": near}


def _together(scores: Sequence[Mapping[str, int]], delays: Sequence[int]) -> dict[str, Any]:
    passes = {key: sum(score[key] for score in scores) for key in PASSES}
    return {
        "passes": passes,
        "right_share": round(passes["right"] / passes["all"], 4) if passes["all"] else 1.0,
        "delay_frames": {f"p{share}": float(np.percentile(delays, share)) for share in (50, 90)} if delays else {},
    }


def _said(figures: Mapping[str, Any]) -> str:
    delay = figures["delay_frames"]
    early = f"; announced {delay['p50']:.0f} frames after the first that shows it (p90 {delay['p90']:.0f})" if delay else ""
    return ", ".join(f"{count} {name}" for name, count in figures["passes"].items()) + early


T = TypeVar("T")


def _shown(items: Sequence[T], name: str) -> Iterator[T]:
    for place, item in enumerate(items):
        if sys.stderr.isatty():
            print(f"\r{name} {place + 1} of {len(items)}", end="\n" if place + 1 == len(items) else "", file=sys.stderr, flush=True)
        yield item
