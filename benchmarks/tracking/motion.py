"""What a camera that pans, banks and shakes costs: the picture's motion as it is estimated, levelling, and the signs that keep their one track.

A drawn road is seen through a window that moves as such a camera does, at 30 frames a second, so that the truth is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring.kept import KeptSource
from benchmarks.measuring.setting import Setting, check_flown, print_conditions, write_result
from benchmarks.tracking.approaches import ApproachSink
from edge.bundle.lineage import now
from edge.bundle.manifest import read_bundle
from edge.drawn.scenes import Flight
from edge.geometry.similarity import Similarity
from edge.pipeline import open_spotter, run
from edge.recognition.classifier import Classifier
from edge.recognition.ego_motion import EgoMotion
from edge.vehicle.levelling import warp

SIZE_WH, GROUND_WH = (1280, 720), (1920, 1080)
FPS, FAST_DEG = 30, 120.0
FAST_PX = 0.93 * SIZE_WH[0] * float(np.tan(np.radians(FAST_DEG / FPS)))
"""What a turn of 120 degrees a second moves the middle of the picture by in a frame, through the drawn flight's lens."""
_GROUND = 88
_SHAKE_PX, _SHAKE_DEG = 25.0, 2.0
_LEAST_PX = 24.0
"""Shorter side of a sign that is scored: a little above what may be announced."""
_POINTS = [(x, y) for x in (320, 640, 960) for y in (180, 360, 540)]

Image = NDArray[np.uint8]
Move = Callable[[int], Similarity]


@dataclass(frozen=True)
class Seen:
    """A window on the road: (height, width, 3) uint8 BGR, and what takes places of the road's picture to it."""

    image: Image
    place: Similarity


def film(name: str, frames: int) -> Iterator[Seen]:
    """Draw frames of one of `MOVES` over a still road."""
    road = Flight(3, GROUND_WH, 200).frame(_GROUND).image
    middle = Similarity(right=(SIZE_WH[0] - GROUND_WH[0]) / 2, down=(SIZE_WH[1] - GROUND_WH[1]) / 2)
    for index in range(frames):
        place = middle.then(MOVES[name](index))
        seen = cv2.warpAffine(road, place.matrix(), SIZE_WH, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        yield Seen(np.asarray(seen, np.uint8), place)


def _swing(index: int, step: float, most: float) -> float:
    return most - abs((index * step + most) % (4 * most) - 2 * most)


def _shaken(index: int) -> Similarity:
    right, down, degrees = np.random.default_rng([index, 17]).normal(0, (_SHAKE_PX, _SHAKE_PX, _SHAKE_DEG)).tolist()
    return _turned(degrees).then(Similarity(right=right, down=down))


def _turned(degrees: float) -> Similarity:
    return Similarity.turned(degrees, (SIZE_WH[0] / 2, SIZE_WH[1] / 2))


MOVES: dict[str, Move] = {
    "still": lambda index: Similarity(),
    "yaw of 120 degrees a second": lambda index: Similarity(right=_swing(index, FAST_PX, 300)),
    "roll of 120 degrees a second": lambda index: _turned(_swing(index, FAST_DEG / FPS, 20)),
    "shaking": _shaken,
}


def motion(setting: Setting, spotter: str, frames: int, json_path: Path | None) -> dict[str, Any]:
    """Film each of `MOVES`, and print what was estimated, what became of the signs, and what it took on one thread of OpenCV.

    Args:
        setting: what runs.
        spotter: as `edge run --spotter`.
        frames: of each film.
        json_path: where the result goes, or None.

    Returns:
        `moves` (for each `name`, `told` frames whose motion was told, `error_px` {p50, p95} at nine places of the picture, `signs` {all, right, wrong, missed,
        twice}), `estimate_ms` and `level_ms` {p50, p90, min}, `engine`, `precision`.

    Raises:
        BundleError: no bundle, a damaged one, or one without this spotter.
        EngineError: the engine fails.
        OutputError: `json_path` cannot be written.
    """
    check_flown(setting)
    started_at, conditions = now(), setting.conditions(spotter=spotter, frames=frames, size_wh=list(SIZE_WH))
    bundle = read_bundle(setting.bundle)
    options = {"engine": setting.engine, "precision": setting.precision, "provider": setting.provider}
    moves: list[dict[str, Any]] = []
    spent_ms: list[float] = []
    with setting.open() as engine, open_spotter(spotter, bundle, **options) as found_by:
        print_conditions(engine.name, engine.precision, setting)
        classifier = Classifier(engine, bundle.manifest.thresholds.confidence)
        for name in MOVES:
            seen = list(film(name, frames))
            told, errors = _estimated(seen, spent_ms)
            moves.append({"name": name, "told": told, "error_px": errors, "signs": _followed(seen, found_by, classifier)})
            signs = ", ".join(f"{count} {what}" for what, count in moves[-1]["signs"].items())
            print(f"{name}: motion told in {told} of {frames - 1} frames, error p50 {errors['p50']} px, p95 {errors['p95']} px; signs: {signs}")
    figures: dict[str, Any] = {
        "moves": moves,
        "estimate_ms": _summed_up(spent_ms),
        "level_ms": _summed_up(_levelled_ms(seen[0].image, frames)),
        "engine": engine.name,
        "precision": engine.precision,
    }
    for what in ("estimate_ms", "level_ms"):
        print(f"{what.removesuffix('_ms')} at {SIZE_WH[0]}x{SIZE_WH[1]}, one thread: " + ", ".join(f"{key} {ms} ms" for key, ms in figures[what].items()))
    write_result(json_path, "motion", started_at, conditions, figures)
    return figures


def _estimated(seen: list[Seen], spent_ms: list[float]) -> tuple[int, dict[str, float]]:
    """Return how often the motion was told and how far it was off, and add what each frame took to `spent_ms`."""
    ego, told, errors = EgoMotion(), 0, [0.0]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    for before, after in zip([None, *seen], seen, strict=False):
        started = time.perf_counter()
        found = ego.see(after.image)
        if before is None:
            continue
        spent_ms.append((time.perf_counter() - started) * 1000)
        if found is not None:
            told += 1
            true = before.place.inverse().then(after.place)
            errors += [float(np.hypot(*np.subtract(found.point(*point), true.point(*point)))) for point in _POINTS]
    cv2.setNumThreads(threads)
    return told, {f"p{share}": round(float(np.percentile(errors, share)), 2) for share in (50, 95)}


def _followed(seen: list[Seen], spotter: Any, classifier: Classifier) -> dict[str, int]:
    """Score every sign that stands wholly in most frames of a film."""
    scores = {}
    for sign in Flight(3, GROUND_WH, 200).truths(_GROUND):
        boxes = [np.array(each.place.upright(sign.box_xyxy)) for each in seen]
        whole = [bool((box[:2] >= 0).all() and (box[2:] <= SIZE_WH).all()) for box in boxes]
        if sum(whole) > len(seen) / 2 and min(boxes[0][2:] - boxes[0][:2]) >= _LEAST_PX:
            scores[sign.pass_id] = ApproachSink(boxes, sign.class_id)
    run(KeptSource("film", [each.image for each in seen]), spotter, classifier, list(scores.values()))
    told = [sink.score() for sink in scores.values()]
    return {key: sum(score[key] for score in told) for key in ("all", "right", "wrong", "missed", "twice")}


def _levelled_ms(image: Image, times: int) -> list[float]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    spent = []
    for place in range(times):
        started = time.perf_counter()
        warp(image, _turned(20 + place % 20))
        spent.append((time.perf_counter() - started) * 1000)
    cv2.setNumThreads(threads)
    return spent


def _summed_up(spent_ms: list[float]) -> dict[str, float]:
    values = np.array(spent_ms or [0.0])
    return {f"p{share}": round(float(np.percentile(values, share)), 3) for share in (50, 90)} | {"min": round(float(values.min()), 3)}
