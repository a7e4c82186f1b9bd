"""What the runtime finds and names in real frames with known signs, through the loop that `edge run` has for a folder of stills."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring.intervals import f1_interval, shown, wilson
from benchmarks.measuring.setting import Setting, print_conditions, write_result
from benchmarks.measuring.sheet import ACROSS, save, tile_of_box
from edge.bundle.lineage import now
from edge.bundle.manifest import read_bundle
from edge.datasets.classes import check_known
from edge.datasets.gtsdb import RoadFrame, paint_out, read_frames, split_by_group
from edge.engines.contract import Engine
from edge.errors import DataError
from edge.frame import Frame
from edge.images import read_image
from edge.pipeline import name_boxes, open_spotter
from edge.recognition.classifier import Classifier
from edge.recognition.finding import FALSE_RATES, LEAST_SIDE_PX, counted, figures, judge, match
from edge.recognition.proposals import Proposals, Spotter
from edge.recognition.tracking import distinct
from edge.result import Detection
from edge.vehicle.attitudes import MountedAslant
from edge.vehicle.levelling import Leveller, View

SPLITS = ("all", "train", "held-out")
SIZES_PX = (16, 24, 32, 48, 96, 1 << 16)
_SHOWN = 64
_INTERVAL = "_interval"
_RATES = (("recall", "recall", "recall_interval"), ("precision", "precision", "precision_interval"), ("F1", "f1", "interval"))
_MISSED, _FALSE, _MISNAMED = (0, 200, 255), (0, 0, 255), (255, 0, 255)


Item = TypeVar("Item")


@dataclass(frozen=True)
class Told:
    """What the runtime said of a frame.

    Attributes:
        frame: with its signs.
        detections: what was accepted, the surest first.
        matched: of each the place of its sign among the frame's, or -1.
        size_wh: of a view that signs may reach beyond; None: they do not.
    """

    frame: RoadFrame
    detections: Sequence[Detection]
    matched: Sequence[int]
    size_wh: tuple[int, int] | None = None

    def counting(self) -> NDArray[np.bool_]:
        """Tell which of the frame's signs count: (m,) bool."""
        return counted(self.frame.boxes_xyxy, self.size_wh)


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
        `frames`, `signs`, `said` (detections that are not about ignored signs), `find` (as of `rates`, ap50, and recall at each of
        `edge.recognition.finding.FALSE_RATES` with its interval), `name` (as of `rates`), `by_size`, `painted_out` (of the same frames without their
        signs: `false` detections, and how many of them are `where_signs_were`), `engine`, `precision`.

    Raises:
        DataError: no `gt.txt`, a damaged one, or no frames on this side of the split; without `table`, frames of classes that the bundle does not know.
        InputError: a frame cannot be read.
        BundleError: no bundle, a damaged one, or one without this spotter.
        EngineError: the engine fails.
        OutputError: the sheet or `json_path` cannot be written.
    """
    started_at, conditions = now(), setting.conditions(frames=str(frames), split=split, spotter=spotter)
    if table is None:
        check_known(read_bundle(setting.bundle).manifest.labels, frames, str(setting.bundle))
    chosen = _chosen(read_frames(frames, table), split)
    with opened(setting, spotter) as runtime:
        engine = runtime.engine
        print_conditions(engine.name, engine.precision, setting)
        told, bare = [], []
        for frame in progress(chosen, "frames"):
            image = read_image(frame.path)
            told.append(tell(frame, image, runtime))
            bare.append(tell(frame, paint_out(image, frame.boxes_xyxy), runtime))
    painted_out = {"false": sum(len(one.detections) for one in bare), "where_signs_were": sum(place >= 0 for one in bare for place in one.matched)}
    found = {**score(told), "painted_out": painted_out, "engine": engine.name, "precision": engine.precision}
    find, name = found["find"], found["name"]
    print(f"{found['frames']} frames, {found['signs']} signs of {LEAST_SIDE_PX:g} px and more")
    print(f"found: {shown_rates(find)}, AP50 {find['ap50']:.4f}")
    print(f"       at {', '.join(f'{rate:g} false boxes a frame {shown(find[key(rate)], find[key(rate) + _INTERVAL])}' for rate in FALSE_RATES)}")
    print(f"named: {shown_rates(name)}")
    print("       " + "; ".join(f"{size} px {row['named']} of {row['signs']}" for size, row in found["by_size"].items()))
    print(f"signs painted out: {painted_out['false']} false, {painted_out['where_signs_were']} of them where a sign was")
    draw(told, runtime.names, sheet)
    print(f"what went wrong: {sheet}")
    write_result(json_path, "detection", started_at, conditions, found)
    return found


def shown_rates(of: dict[str, Any]) -> str:
    """Return recall, precision and F1, as of `rates`, in words."""
    return ", ".join(f"{name} {shown(of[key], of[of_key])}" for name, key, of_key in _RATES)


def key(rate: float) -> str:
    """Return what the recall at so many false boxes a frame is called."""
    return f"recall_at_{rate:g}"


@dataclass(frozen=True)
class Runtime:
    """What finds and names: the classifier's engine, which tells what runs, the classifier on it, the spotter, and the names of the classes."""

    engine: Engine
    classifier: Classifier
    spotter: Spotter
    names: tuple[str, ...]


@contextmanager
def opened(setting: Setting, spotter: str) -> Iterator[Runtime]:
    """Open a bundle's classifier and a spotter, by its name as `edge run --spotter`, as the runtime does.

    Raises:
        BundleError: no bundle, a damaged one, or one without this spotter.
        EngineError: the engine refuses a model or an option.
        MissingDependency: the engine's library is not installed.
    """
    bundle = read_bundle(setting.bundle)
    options = {"engine": setting.engine, "precision": setting.precision, "provider": setting.provider}
    with setting.open() as engine, open_spotter(spotter, bundle, **options) as found_by:
        yield Runtime(engine, Classifier(engine, bundle.manifest.thresholds.confidence), found_by, bundle.manifest.labels)


def tell(frame: RoadFrame, image: NDArray[np.uint8], runtime: Runtime, size_wh: tuple[int, int] | None = None, camera_roll: float | None = None) -> Told:
    """Run the runtime over one still, (height, width, 3) uint8 BGR, and match what it says.

    Args:
        frame: with its signs as they are in the still.
        image: the still.
        runtime: what finds and names.
        size_wh: as of `Told`.
        camera_roll: degrees by which the runtime levels the still first; None leaves it as it is.
    """
    view = View(Frame(0, image, 0, None), image)
    if camera_roll is not None:
        view = Leveller(MountedAslant(camera_roll)).view(view.frame)
    named = name_boxes(view.image, runtime.spotter(view.image), runtime.classifier)
    detections = sorted(view.in_frame(distinct(view.mark(named))), key=lambda one: -one.confidence)
    boxes = np.array([one.box_xyxy for one in detections]).reshape(-1, 4)
    return Told(frame, detections, match(boxes, frame.boxes_xyxy, size_wh), size_wh)


@dataclass(frozen=True)
class Tally:
    """What was right in some frames.

    Attributes:
        signs: those that count.
        found: of them.
        named: of these, those whose name was right.
        said: detections, but for those that are about ignored signs.
        by_size: signs, found and named of each range of the shorter side.
    """

    signs: int
    found: int
    named: int
    said: int
    by_size: dict[str, list[int]]


def tally(told: Sequence[Told]) -> Tally:
    """Count what was right."""
    said = 0
    sizes = {f"{low}-{high - 1}" if high < SIZES_PX[-1] else f"{low}+": [0, 0, 0] for low, high in pairwise(SIZES_PX)}
    for one in told:
        counting = one.counting()
        said += sum(place < 0 or bool(counting[place]) for place in one.matched)
        hit = {place: detection.class_id for detection, place in zip(one.detections, one.matched, strict=True) if place >= 0}
        for place in np.flatnonzero(counting).tolist():
            box = one.frame.boxes_xyxy[place]
            counts = sizes[next(name for name, high in zip(sizes, SIZES_PX[1:], strict=True) if float((box[2:] - box[:2]).min()) < high)]
            for column, holds in enumerate((True, place in hit, hit.get(place) == int(one.frame.class_ids[place]))):
                counts[column] += holds
    signs, found, named = (sum(column) for column in zip(*sizes.values(), strict=True))
    return Tally(signs, found, named, said, sizes)


def score(told: Sequence[Told]) -> dict[str, Any]:
    """Score what was said of frames: a detection counts by its confidence; INTERFACES' rules of matching."""
    findings = judge((_proposals(one.detections), one.frame.boxes_xyxy) for one in told)
    counts, figured = tally(told), figures(findings)
    find = rates(counts.found, counts) | {"ap50": figured["ap50"]}
    for rate in FALSE_RATES:
        recall = figured[key(rate)]
        find |= {key(rate): recall, key(rate) + _INTERVAL: wilson(round(recall * counts.signs), counts.signs)}
    return {
        "frames": len(told),
        "signs": counts.signs,
        "said": counts.said,
        "find": find,
        "name": rates(counts.named, counts),
        "misnamed": counts.found - counts.named,
        "false_a_frame": round((counts.said - counts.found) / max(len(told), 1), 4),
        "by_size": {name: dict(zip(("signs", "found", "named"), row, strict=True)) for name, row in counts.by_size.items()},
    }


def rates(right: int, counts: Tally) -> dict[str, Any]:
    """Return `recall`, `precision` and `f1`, with `recall_interval`, `precision_interval` and `interval`, that of F1, of what was right of a tally."""
    signs, said = counts.signs, counts.said
    recall, precision = right / signs if signs else 1.0, right / said if said else 1.0
    return {
        "recall": round(recall, 4),
        "recall_interval": wilson(right, signs),
        "precision": round(precision, 4),
        "precision_interval": wilson(right, said),
        "f1": round(2 * right / (signs + said), 4) if signs + said else 1.0,
        "interval": f1_interval(right, signs, said),
    }


def _proposals(detections: Sequence[Detection]) -> Proposals:
    boxes = np.array([one.box_xyxy for one in detections], np.float32).reshape(-1, 4)
    return Proposals(boxes, np.array([one.confidence for one in detections], np.float32))


def _chosen(frames: list[RoadFrame], split: str) -> list[RoadFrame]:
    chosen = frames if split == "all" else split_by_group(frames)[SPLITS.index(split) - 1]
    if not chosen:
        raise DataError(f"wanted frames of the split {split}, found none: choose --split all")
    return chosen


def progress(items: Sequence[Item], unit: str) -> Iterator[Item]:
    """Yield items, and tell who looks on how many are done and how long the rest will take."""
    started = time.monotonic()
    for place, item in enumerate(items):
        yield item
        if sys.stderr.isatty():
            left = (time.monotonic() - started) / (place + 1) * (len(items) - place - 1)
            print(f"\r{place + 1} of {len(items)} {unit}, {left:.0f} s left ", end="\n" if place + 1 == len(items) else "", file=sys.stderr, flush=True)


def draw(told: Sequence[Told], names: Sequence[str], path: Path) -> None:
    """Draw missed signs, false boxes and wrong names of classes of these names, up to `_SHOWN` of them, each with what is around it.

    Raises:
        OutputError: the file cannot be written.
    """
    found = sorted(((one.frame.path, fault) for one in told for fault in faults(one, names)), key=lambda pair: pair[1].rank)[:_SHOWN]
    tiles = [tile_of_box(read_image(path), fault.box_xyxy, (path.name, fault.said), fault.colour) for path, fault in found]
    save([tiles[start : start + ACROSS] for start in range(0, len(tiles), ACROSS)], path)


@dataclass(frozen=True)
class Fault:
    """What went wrong at a box, (4,) pixels: a rank by kind, missed signs in front, and how it is drawn."""

    rank: int
    box_xyxy: NDArray[np.float64]
    said: str
    colour: tuple[int, int, int]


def faults(one: Told, names: Sequence[str]) -> Iterator[Fault]:
    """Yield what went wrong in a frame, but not with signs that are ignored."""
    counting = one.counting()
    found = set(one.matched)
    for place, (box, class_id) in enumerate(zip(one.frame.boxes_xyxy, one.frame.class_ids, strict=True)):
        if place not in found and counting[place]:
            yield Fault(0, box, f"missed {names[class_id] if class_id < len(names) else class_id}", _MISSED)
    for detection, place in zip(one.detections, one.matched, strict=True):
        box, said = np.array(detection.box_xyxy), f"{names[detection.class_id]} {detection.confidence:.2f}"
        if place < 0:
            yield Fault(2, box, f"false {said}", _FALSE)
        elif counting[place] and one.frame.class_ids[place] != detection.class_id:
            yield Fault(1, box, f"not {said}", _MISNAMED)
