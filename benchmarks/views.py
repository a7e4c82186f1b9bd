"""What the runtime finds and names in a drone's views of annotated frames (`edge.datasets.aerial`), and what its classifier makes of single signs so seen.

The models as they run are the main figure; beside them stand the same weights in fp32, on the very same pictures.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import BATCH
from benchmarks.detection import Runtime, Told, faults, opened, progress, rates, shown_rates, tally, tell
from benchmarks.measuring.intervals import shown, wilson
from benchmarks.measuring.setting import Setting, print_conditions, write_result
from benchmarks.measuring.sheet import ACROSS, Image, save, tile_of_box, tile_of_photo
from edge.bundle.lineage import now
from edge.bundle.manifest import read_bundle
from edge.datasets.aerial import CROP_VIEWS, FRAME_VIEWS, JUDGED, SEED, CropView, through_h265
from edge.datasets.classes import check_known
from edge.datasets.gtsdb import RoadFrame, paint_out, read_sides
from edge.datasets.gtsrb import Photo, read_photo, read_test
from edge.errors import InputError, MissingDependency
from edge.images import fit_crop, read_image

SPLITS = {"train": "train", "tuning": "tuning", "held-out": "held"}
"""A side of the split, and what `edge.datasets.gtsdb.Sides` calls it."""
BESIDE = "fp32"
AS_THEY_ARE = "as they are"
_PAINTED_OUT = (AS_THEY_ARE, *JUDGED)
"""Views in which frames without signs are looked at, too."""
_CROPS = {AS_THEY_ARE: CropView(lambda image, _: image), **CROP_VIEWS}


@dataclass(frozen=True)
class _Ran:
    """A runtime, what it said of each view of the frames, of those with their signs painted out, and what it took the photos for, (n,) int64 each."""

    runtime: Runtime
    told: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))
    bare: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))
    named: dict[str, NDArray[np.int64]] = field(default_factory=dict)


def views(
    setting: Setting,
    frames: Path,
    crops: Path | None,
    split: str,
    names: Sequence[str] | None,
    limit: int | None,
    spotter: str,
    sheet: Path,
    json_path: Path | None,
) -> dict[str, Any]:
    """Find and name signs in every view of frames, and name photos of single signs in every view of those; print the figures, and draw what went wrong.

    A sign counts where its box lies wholly in the view and has a shorter side of 16 px or more; what is said of another is ignored. Views that need an encoder
    which is not there are left out, and named. The same pictures get the same views every time.

    Args:
        setting: what runs. Beside it runs fp32, on ONNX Runtime where the engine has none, unless fp32 is what is asked for.
        frames: GTSDB's folder, or one that holds `gtsdb/`.
        crops: a GTSRB folder, or one that holds `gtsrb/`, whose test photos are looked at; None: no photos.
        split: one of `SPLITS`: "held-out" are the groups that the shipped models never saw.
        names: of views of frames or photos; None: all.
        limit: photos, at most, evenly spread over the list; None: all.
        spotter: as `edge run --spotter`.
        sheet: where missed signs, false boxes and wrong names are drawn, a row for each view; it shows photos and is not to be published.
        json_path: where the result goes, or None.

    Returns:
        `views`: of each view by its name `n` (signs), `said` (detections that are not about ignored signs), `find` and `name` (as of
        `benchmarks.detection.rates`); `mean_f1`: of naming, over `edge.datasets.aerial.JUDGED`, None where one of these is left out; with `crops` also
        `crops`: of each view `n`, `top1` and its `interval`; `mean_top1`: over all views but the photos as they are, None where one is left out; all again as
        `fp32`, of the same weights; `painted_out`: detections in frames whose signs are painted out, of each view so looked at; `frames`, `left_out` (names),
        `engine`, `precision`.

    Raises:
        DataError: no frames or photos, too few, or of classes that the bundle does not know.
        InputError: a name that no view has; a frame or a photo cannot be read.
        BundleError: no bundle, a damaged one, or one without this spotter or precision.
        EngineError: the engine fails.
        OutputError: the sheet or `json_path` cannot be written.
    """
    started_at, conditions = now(), setting.conditions(frames=str(frames), crops=str(crops) if crops else None, split=split, limit=limit, spotter=spotter)
    of_frames, of_photos = _asked(names, crops is not None)
    of_frames, left_out = _possible(of_frames)
    for data in filter(None, (frames, crops)):
        check_known(read_bundle(setting.bundle).manifest.labels, data, str(setting.bundle))
    chosen: list[RoadFrame] = getattr(read_sides(frames), SPLITS[split])
    photos = _spread(read_test(crops), limit) if crops else []
    with ExitStack() as stack:
        main = _Ran(stack.enter_context(opened(setting, spotter)))
        engine = main.runtime.engine
        print_conditions(engine.name, engine.precision, setting)
        ran = {engine.precision: main}
        if engine.precision != BESIDE:
            ran[BESIDE] = _Ran(stack.enter_context(opened(_beside(setting), spotter)))
        if of_frames:
            _look_at_frames(chosen, of_frames, list(ran.values()), main)
        if of_photos:
            _look_at_photos(photos, of_photos, list(ran.values()))
    figures = {precision: _figures(one, of_frames, of_photos, photos) for precision, one in ran.items()}
    _print(figures, len(chosen))
    save(list(_rows(main, chosen, of_frames, photos, of_photos)), sheet)
    print(f"what went wrong: {sheet}")
    found = {**figures.pop(engine.precision), **figures, "frames": len(chosen), "left_out": left_out, "engine": engine.name, "precision": engine.precision}
    write_result(json_path, "views", started_at, conditions | {"size": main.runtime.classifier.size}, found)
    return found


def _asked(names: Sequence[str] | None, with_photos: bool) -> tuple[list[str], list[str]]:
    """Return the views of frames and of photos that are asked for, in their own order."""
    known = [list(FRAME_VIEWS), list(_CROPS) if with_photos else []]
    unknown = [name for name in names or () if not any(name in of for of in known)]
    if unknown:
        raise InputError(f"wanted views out of {', '.join(dict.fromkeys(name for of in known for name in of))}, found {unknown[0]!r}: choose of these")
    of_frames, of_photos = ([name for name in of if names is None or name in names] for of in known)
    return of_frames, of_photos


def _possible(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part views of frames in what can be made here and what cannot, and say so."""
    encoded = [name for name in names if FRAME_VIEWS[name].needs_ffmpeg]
    try:
        if encoded:
            through_h265(np.zeros((16, 16, 3), np.uint8), 30)
    except (MissingDependency, InputError) as refusal:
        print(f"left out {', '.join(encoded)}: {refusal}", file=sys.stderr)
        return [name for name in names if name not in encoded], encoded
    return list(names), []


def _beside(setting: Setting) -> Setting:
    """Return the setting of fp32: on the same engine, but for TensorRT, which has none."""
    return replace(setting, engine="onnxruntime" if setting.engine in ("auto", "tensorrt") else setting.engine, precision=BESIDE)


def _spread(photos: Sequence[Photo], limit: int | None) -> list[tuple[int, Photo]]:
    """Return photos with their places in the list, which their chance goes by: at most so many, evenly spread."""
    places = np.arange(len(photos)) if limit is None or limit >= len(photos) else np.linspace(0, len(photos) - 1, limit).astype(int)
    return [(place, photos[place]) for place in places.tolist()]


def _look_at_frames(frames: Sequence[RoadFrame], names: Sequence[str], ran: Sequence[_Ran], main: _Ran) -> None:
    for place, frame in progress(list(enumerate(frames)), "frames"):
        image = read_image(frame.path)
        bare = paint_out(image, frame.boxes_xyxy) if set(names) & set(_PAINTED_OUT) else image
        for name in names:
            view, boxes = FRAME_VIEWS[name].apply(image, frame.boxes_xyxy, place)
            for one in ran:
                seen, size_wh = replace(frame, boxes_xyxy=boxes), (view.shape[1], view.shape[0])
                one.told[name].append(tell(seen, view, one.runtime, size_wh, FRAME_VIEWS[name].camera_roll(place)))
            if name in _PAINTED_OUT:
                main.bare[name].append(tell(seen, FRAME_VIEWS[name].apply(bare, frame.boxes_xyxy, place)[0], main.runtime, size_wh))


def _look_at_photos(photos: Sequence[tuple[int, Photo]], names: Sequence[str], ran: Sequence[_Ran]) -> None:
    for one in ran:
        one.named.update({name: np.empty(len(photos), np.int64) for name in names})
    for start in progress(range(0, len(photos), BATCH), f"batches of {BATCH} photos"):
        batch = [(place, read_photo(photo)) for place, photo in photos[start : start + BATCH]]
        for name in names:
            seen = [_photo_in(name, image, place) for place, image in batch]
            for one in ran:
                crops = np.stack([fit_crop(image, one.runtime.classifier.size) for image in seen])
                one.named[name][start : start + len(batch)] = one.runtime.engine.infer(crops).argmax(axis=1)


def _photo_in(name: str, image: Image, place: int) -> Image:
    return _CROPS[name].apply(image, np.random.default_rng([SEED, place]))


def _figures(ran: _Ran, of_frames: Sequence[str], of_photos: Sequence[str], photos: Sequence[tuple[int, Photo]]) -> dict[str, Any]:
    found: dict[str, Any] = {"views": {}}
    if ran.bare:
        found["painted_out"] = {name: sum(len(one.detections) for one in told) for name, told in ran.bare.items()}
    for name in of_frames:
        counts = tally(ran.told[name])
        found["views"][name] = {"n": counts.signs, "said": counts.said, "find": rates(counts.found, counts), "name": rates(counts.named, counts)}
    whole = set(JUDGED) <= set(of_frames)
    found["mean_f1"] = round(fmean(found["views"][name]["name"]["f1"] for name in JUDGED), 4) if whole else None
    if of_photos:
        wanted = np.array([photo.class_id for _, photo in photos])
        right = {name: int((ran.named[name] == wanted).sum()) for name in of_photos}
        found["crops"] = {name: {"n": len(wanted), "top1": round(hits / len(wanted), 4), "interval": wilson(hits, len(wanted))} for name, hits in right.items()}
        whole = set(CROP_VIEWS) <= set(of_photos)
        found["mean_top1"] = round(fmean(found["crops"][name]["top1"] for name in CROP_VIEWS), 4) if whole else None
    return found


def _print(figures: Mapping[str, dict[str, Any]], frames: int) -> None:
    for precision, found in figures.items():
        if found["views"]:
            print(f"{precision}, {frames} frames, found and named:")
        for name, row in found["views"].items():
            print(f"  {name:16}{row['n']:5} signs   found: F1 {shown(row['find']['f1'], row['find']['interval'])}   named: {shown_rates(row['name'])}")
        if found.get("painted_out"):
            false = ", ".join(f"{count} in {name}" for name, count in found["painted_out"].items() if count)
            print(f"  signs painted out, in {len(found['painted_out'])} views of each frame: {false or 'none'} false")
        if found["mean_f1"] is not None:
            print(f"  mean F1, named, of the {len(JUDGED)} views that are judged: {found['mean_f1']:.4f}")
        for name, row in found.get("crops", {}).items():
            print(f"  {name:16}{row['n']:5} photos  top-1 {shown(row['top1'], row['interval'])}")
        if found.get("mean_top1") is not None:
            print(f"  mean top-1 of the {len(CROP_VIEWS)} views: {found['mean_top1']:.4f}")


def _rows(
    ran: _Ran, frames: Sequence[RoadFrame], of_frames: Sequence[str], photos: Sequence[tuple[int, Photo]], of_photos: Sequence[str]
) -> Iterator[list[Image]]:
    """Draw what went wrong, a row of tiles for each view where something did, evenly spread over all of it."""
    for name in of_frames:
        wrong = [(place, fault) for place, one in enumerate(ran.told[name]) for fault in faults(one, ran.runtime.names)]
        wrong.sort(key=lambda pair: pair[1].rank)
        row = []
        for place, fault in (wrong[index] for index in _some(len(wrong))):
            view = FRAME_VIEWS[name].apply(read_image(frames[place].path), frames[place].boxes_xyxy, place)[0]
            row.append(tile_of_box(view, fault.box_xyxy, (f"{name}: {frames[place].path.name}", fault.said), fault.colour))
        if row:
            yield row
    for name in of_photos:
        missed = [index for index, (_, photo) in enumerate(photos) if ran.named[name][index] != photo.class_id]
        row = []
        for place, photo, told in ((*photos[index], int(ran.named[name][index])) for index in (missed[some] for some in _some(len(missed)))):
            lines = (f"{name}: {photo.path.name}", f"is {ran.runtime.names[photo.class_id]}", f"not {ran.runtime.names[told]}")
            row.append(tile_of_photo(_photo_in(name, read_photo(photo), place), lines))
        if row:
            yield row


def _some(count: int) -> list[int]:
    """Return `ACROSS` places of so many, evenly spread, or all of fewer."""
    return np.unique(np.linspace(0, count - 1, min(count, ACROSS)).round().astype(int)).tolist() if count else []
