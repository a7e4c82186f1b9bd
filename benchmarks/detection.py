"""What the runtime finds and names in real frames with known signs, through the loop that `edge run` has for a folder of stills."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from edge.recognition.proposals import Proposals, Spotter
from edge.result import Detection
from numpy.typing import NDArray

from benchmarks.measuring.setting import Setting, print_conditions, write_result
from edge.bundle.lineage import now
from edge.bundle.manifest import read_bundle
from edge.datasets.gtsdb import RoadFrame, read_frames, split_by_group
from edge.datasets.gtsrb import LABELS
from edge.errors import DataError
from edge.files import written_beside
from edge.images import read_image
from edge.pipeline import name_boxes, open_spotter
from edge.recognition.classifier import Classifier
from edge.recognition.finding import FALSE_RATES, LEAST_SIDE_PX, figures, judge, match
from edge.recognition.tracking import distinct

SPLITS = ("all", "train", "held-out")
SIZES_PX = (16, 24, 32, 48, 96, 1 << 16)
_TILE_PX, _ACROSS, _SHOWN, _AROUND = 160, 8, 64, 2.2
_RIM, _INPAINT_PX = 0.2, 5.0
"""Share of its sides by which a sign is painted out beyond its box, whose edges the annotation may miss; how far around it the filling looks."""
_MISSED, _FALSE, _MISNAMED = (0, 200, 255), (0, 0, 255), (255, 0, 255)


@dataclass(frozen=True)
class Told:
    """What the runtime said of a frame: accepted detections, the surest first, and for each the place of its sign among the frame's, or -1."""

    frame: RoadFrame
    detections: Sequence[Detection]
    matched: Sequence[int]


def detection(setting: Setting, frames: Path, table: Path | None, split: str, spotter: str, sheet: Path, json_path: Path | None) -> dict[str, Any]:
    """Find and name the signs of frames, print the figures, and draw what went wrong.

    Args:
        setting: what runs.
        frames: folder of the frames, or that above their `images/`.
        table: of their signs; None for `gt.txt` in `frames`.
        split: one of `SPLITS`: "held-out" are the groups that the shipped spotter and its threshold never saw.
        spotter: as `edge run --spotter`.
        sheet: where missed signs, false boxes and wrong names are drawn; it shows photos and is not to be published.
        json_path: where the result goes, or None.

    Returns:
        `frames`, `signs`, `find` (recall, precision, f1, ap50, and recall at each of `edge.recognition.finding.FALSE_RATES`), `name` (recall, precision, f1), `by_size`,
        `painted_out` (of the same frames without their signs: `false` detections, and how many of them are `where_signs_were`), `engine`, `precision`.

    Raises:
        DataError: no `gt.txt`, a damaged one, or no frames on this side of the split.
        InputError: a frame cannot be read.
        BundleError: no bundle, a damaged one, or one without this spotter.
        EngineError: the engine fails.
        OutputError: the sheet or `json_path` cannot be written.
    """
    started_at, conditions = now(), setting.conditions(frames=str(frames), split=split, spotter=spotter)
    chosen = _chosen(read_frames(frames, table), split)
    with ExitStack() as stack:
        bundle = read_bundle(setting.bundle)
        engine = stack.enter_context(setting.open())
        options = {"engine": setting.engine, "precision": setting.precision, "provider": setting.provider}
        found_by = stack.enter_context(open_spotter(spotter, bundle, **options))
        print_conditions(engine.name, engine.precision, setting)
        classifier = Classifier(engine, bundle.manifest.thresholds.confidence)
        told, bare = [], []
        for frame in _shown(chosen):
            image = read_image(frame.path)
            told.append(tell(frame, image, found_by, classifier))
            bare.append(tell(frame, paint_out(image, frame.boxes_xyxy), found_by, classifier))
    painted_out = {"false": sum(len(one.detections) for one in bare), "where_signs_were": sum(place >= 0 for one in bare for place in one.matched)}
    found = {**score(told), "painted_out": painted_out, "engine": engine.name, "precision": engine.precision}
    find, name = found["find"], found["name"]
    print(f"{found['frames']} frames, {found['signs']} signs of {LEAST_SIDE_PX:g} px and more")
    print(f"found: recall {find['recall']:.4f}, precision {find['precision']:.4f}, F1 {find['f1']:.4f}, AP50 {find['ap50']:.4f}")
    print(f"       at {', '.join(f'{rate:g} false boxes a frame {find[key(rate)]:.4f}' for rate in FALSE_RATES)}")
    print(f"named: recall {name['recall']:.4f}, precision {name['precision']:.4f}, F1 {name['f1']:.4f}")
    print("       " + "; ".join(f"{size} px {row['named']} of {row['signs']}" for size, row in found["by_size"].items()))
    print(f"signs painted out: {painted_out['false']} false, {painted_out['where_signs_were']} of them where a sign was")
    draw(told, sheet)
    print(f"what went wrong: {sheet}")
    write_result(json_path, "detection", started_at, conditions, found)
    return found


def key(rate: float) -> str:
    """Return what the recall at so many false boxes a frame is called."""
    return f"recall_at_{rate:g}"


def paint_out(image: NDArray[np.uint8], boxes_xyxy: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a frame, (height, width, 3) uint8, whose signs are filled from what is around them.

    Source: A. Telea, "An image inpainting technique based on the fast marching method", 2004, as OpenCV has it.
    """
    mask = np.zeros(image.shape[:2], np.uint8)
    for box in boxes_xyxy:
        rim = _RIM * (box[2:] - box[:2])
        first, last = np.floor(box[:2] - rim).astype(int), np.ceil(box[2:] + rim).astype(int)
        cv2.rectangle(mask, first.tolist(), last.tolist(), 255, cv2.FILLED)
    return np.asarray(cv2.inpaint(image, mask, _INPAINT_PX, cv2.INPAINT_TELEA), np.uint8)


def tell(frame: RoadFrame, image: NDArray[np.uint8], spotter: Spotter, classifier: Classifier) -> Told:
    """Run the runtime over one still, (height, width, 3) uint8 BGR, and match what it says."""
    detections = sorted(distinct(name_boxes(image, spotter(image), classifier)), key=lambda one: -one.confidence)
    return Told(frame, detections, match(np.array([one.box_xyxy for one in detections]).reshape(-1, 4), frame.boxes_xyxy))


def score(told: Sequence[Told]) -> dict[str, Any]:
    """Score what was said of frames: a detection counts by its confidence; INTERFACES' rules of matching."""
    findings = judge((_proposals(one.detections), one.frame.boxes_xyxy) for one in told)
    right = wrong = 0
    sizes = {f"{low}-{high - 1}" if high < SIZES_PX[-1] else f"{low}+": [0, 0, 0] for low, high in pairwise(SIZES_PX)}
    for one in told:
        hit = {place: detection for detection, place in zip(one.detections, one.matched, strict=True) if place >= 0}
        for place, (box, class_id) in enumerate(zip(one.frame.boxes_xyxy, one.frame.class_ids, strict=True)):
            side = float((box[2:] - box[:2]).min())
            if side < LEAST_SIDE_PX:
                continue
            counts = sizes[next(name for name, high in zip(sizes, SIZES_PX[1:], strict=True) if side < high)]
            named = place in hit and hit[place].class_id == int(class_id)
            counts[0], counts[1], counts[2] = counts[0] + 1, counts[1] + (place in hit), counts[2] + named
            right, wrong = right + named, wrong + (place in hit and not named)
    hits, false = int(findings.hits.sum()), int((~findings.hits).sum())
    told_figures = figures(findings)
    find = _f1(hits, findings.signs, hits + false) | {name: told_figures[name] for name in ("ap50", *map(key, FALSE_RATES))}
    return {
        "frames": findings.frames,
        "signs": findings.signs,
        "find": find,
        "name": _f1(right, findings.signs, hits + false),
        "misnamed": wrong,
        "false_a_frame": round(false / max(findings.frames, 1), 4),
        "by_size": {name: dict(zip(("signs", "found", "named"), counts, strict=True)) for name, counts in sizes.items()},
    }


def _f1(right: int, signs: int, said: int) -> dict[str, float]:
    recall, precision = right / signs if signs else 1.0, right / said if said else 1.0
    return {"recall": round(recall, 4), "precision": round(precision, 4), "f1": round(2 * right / (signs + said), 4) if signs + said else 1.0}


def _proposals(detections: Sequence[Detection]) -> Proposals:
    boxes = np.array([one.box_xyxy for one in detections], np.float32).reshape(-1, 4)
    return Proposals(boxes, np.array([one.confidence for one in detections], np.float32))


def _chosen(frames: list[RoadFrame], split: str) -> list[RoadFrame]:
    chosen = frames if split == "all" else split_by_group(frames)[SPLITS.index(split) - 1]
    if not chosen:
        raise DataError(f"wanted frames of the split {split}, found none: choose --split all")
    return chosen


def _shown(frames: Sequence[RoadFrame]) -> Iterator[RoadFrame]:
    started = time.monotonic()
    for place, frame in enumerate(frames):
        yield frame
        if sys.stderr.isatty():
            left = (time.monotonic() - started) / (place + 1) * (len(frames) - place - 1)
            print(f"\r{place + 1} of {len(frames)} frames, {left:.0f} s left ", end="\n" if place + 1 == len(frames) else "", file=sys.stderr, flush=True)


def draw(told: Sequence[Told], path: Path) -> None:
    """Draw missed signs, false boxes and wrong names, up to `_SHOWN` of them, each with what is around it.

    Raises:
        OutputError: the file cannot be written.
    """
    tiles = [tile for one in told for tile in _faults(one)]
    tiles.sort(key=lambda tile: tile[0])
    pictures = [make() for _, make in tiles[:_SHOWN]] or [np.full((_TILE_PX, _TILE_PX, 3), 255, np.uint8)]
    across = min(_ACROSS, len(pictures))
    pictures += [np.full_like(pictures[0], 255)] * (-len(pictures) % across)
    sheet = np.vstack([np.hstack(pictures[row : row + across]) for row in range(0, len(pictures), across)])
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as beside:
        beside.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())


def _faults(one: Told) -> Iterator[tuple[int, Callable[[], NDArray[np.uint8]]]]:
    """Yield what went wrong in a frame: a rank by kind, and how its tile is drawn."""
    found = set(one.matched)
    for place, (box, class_id) in enumerate(zip(one.frame.boxes_xyxy, one.frame.class_ids, strict=True)):
        if place not in found and float((box[2:] - box[:2]).min()) >= LEAST_SIDE_PX:
            yield 0, partial(_tile, one.frame, box, f"missed {LABELS[class_id]}", _MISSED)
    for detection, place in zip(one.detections, one.matched, strict=True):
        said = f"{LABELS[detection.class_id]} {detection.confidence:.2f}"
        if place < 0:
            yield 2, partial(_tile, one.frame, np.array(detection.box_xyxy), f"false {said}", _FALSE)
        elif one.frame.class_ids[place] != detection.class_id:
            yield 1, partial(_tile, one.frame, np.array(detection.box_xyxy), f"not {said}", _MISNAMED)


def _tile(frame: RoadFrame, box: NDArray[np.float64], said: str, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    image = read_image(frame.path)
    centre, reach = (box[:2] + box[2:]) / 2, max(_AROUND * float((box[2:] - box[:2]).max()) / 2, 24.0)
    scale = _TILE_PX / (2 * reach)
    shift = np.array([[scale, 0, _TILE_PX / 2 - scale * centre[0]], [0, scale, _TILE_PX / 2 - scale * centre[1]]])
    tile = np.asarray(cv2.warpAffine(image, shift, (_TILE_PX, _TILE_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    corners = np.rint((box.reshape(2, 2) - centre) * scale + _TILE_PX / 2).astype(int)
    cv2.rectangle(tile, corners[0].tolist(), corners[1].tolist(), colour, 1)
    for line, text in enumerate((frame.path.name, said)):
        cv2.putText(tile, text[:24], (3, 12 + 12 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(tile, text[:24], (3, 12 + 12 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (255, 255, 255), 1, cv2.LINE_AA)
    return tile
