"""A bundle by the protocols that others use, beside the best figures that are published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy import with_intervals
from benchmarks.detection import Runtime, progress
from benchmarks.measuring.intervals import shown
from benchmarks.measuring.setting import Setting, print_conditions, write_result
from benchmarks.proof import rejection
from benchmarks.proof.anchors import ANCHORS
from benchmarks.proof.corruptions import PUBLISHED, corrupted
from benchmarks.proof.frames import CATEGORIES, detected
from edge.bundle.lineage import now
from edge.bundle.manifest import read_bundle
from edge.datasets.gtsdb import read_sides
from edge.datasets.gtsrb import Photo, read_photo, read_test, score
from edge.engines.open import open_engine
from edge.errors import BundleError, InputError
from edge.images import SUFFIXES, fit_crop, read_image
from edge.recognition.classifier import Classifier
from edge.recognition.spotter_learned import LearnedSpotter

FP32 = "fp32"
LEAST_SCORE = 0.03
"""Of the spotter's boxes that are told here: a curve wants those as well that the runtime would not tell."""


def proof(setting: Setting, data: Path, parts: Sequence[str], limit: int, unknown: Path | None, json_path: Path | None) -> dict[str, Any]:
    """Measure, print each part, and the table beside the published figures.

    Args:
        setting: what runs.
        data: a folder with `gtsrb/` and `gtsdb/`, as far as the parts need them: all test photos, and the frames of the held-out groups.
        parts: some of `benchmarks.proof.PARTS`.
        limit: photos that are corrupted, evenly spread.
        unknown: a folder with photos of signs that the bundle does not know, for the rejection; None: there are none.
        json_path: where the result goes, or None.

    Returns:
        each part by its name: `photos` (`n`, `errors`, `top1`, `interval`, `per_class`, `ece`), `corruptions` (as of `corruptions.corrupted`), `frames` (as of
        `frames.detected`), `rejection` (`far`, `near`, and with `unknown` `unknown`, each as of `rejection.separation`); `engine`, `precision`.

    Raises:
        DataError: photos or frames are missing.
        InputError: a picture cannot be read.
        BundleError: no bundle, a damaged one, or one without a learned spotter where frames are looked at.
        EngineError: an engine fails.
        MissingDependency: supervision is not installed, which judges boxes.
        OutputError: `json_path` cannot be written.
    """
    started_at, conditions = now(), setting.conditions(data=str(data), parts=list(parts), limit=limit, unknown=str(unknown) if unknown else None)
    figures: dict[str, Any] = {}
    with ExitStack() as stack:
        engine = stack.enter_context(setting.open())
        print_conditions(engine.name, engine.precision, setting)
        runtime = Runtime(engine, Classifier(engine, read_bundle(setting.bundle).manifest.thresholds.confidence), _unasked, ())
        if {"frames", "rejection"} & set(parts):
            runtime = replace(runtime, spotter=stack.enter_context(_telling_all(setting)))
        photos = read_test(data) if set(parts) - {"frames"} else []
        known = _on_photos(runtime, photos) if {"photos", "rejection"} & set(parts) else {}
        if "photos" in parts:
            figures["photos"] = known["figures"]
        if "corruptions" in parts:
            beside = {} if engine.precision == FP32 else {FP32: stack.enter_context(replace(setting, engine="onnxruntime", precision=FP32).open())}
            some = [photos[place] for place in np.unique(np.linspace(0, len(photos) - 1, min(limit, len(photos))).astype(int)).tolist()]
            figures["corruptions"] = corrupted({**beside, engine.precision: engine}, some)
        if "frames" in parts:
            figures["frames"] = detected(runtime, read_sides(data).held)
        if "rejection" in parts:
            figures["rejection"] = _rejected(runtime, known["confidences"], data, unknown)
    for part in figures:
        _PRINT[part](figures[part])
    _print_beside(figures)
    write_result(json_path, "proof", started_at, conditions, {**figures, "engine": engine.name, "precision": engine.precision})
    return figures


def _unasked(_: Any) -> Any:
    raise BundleError("wanted a learned spotter, found none: export one with --spotter RUN")


def _telling_all(setting: Setting) -> LearnedSpotter:
    bundle = read_bundle(setting.bundle)
    thresholds = bundle.manifest.thresholds
    if thresholds.spotter is None:
        raise BundleError(f"wanted a learned spotter in {bundle.folder}, found none: export one with --spotter RUN, or choose --parts photos corruptions")
    options = {"engine": setting.engine, "precision": setting.precision, "provider": setting.provider}
    return LearnedSpotter(open_engine(bundle, "spotter", **options), LEAST_SCORE, thresholds.fusion)


def _on_photos(runtime: Runtime, photos: Sequence[Photo]) -> dict[str, Any]:
    """Name photos as they are: `figures`, and `confidences` of the first choices, (n,)."""
    outputs = np.stack(
        [runtime.engine.infer(fit_crop(read_photo(photo), runtime.classifier.size)[None])[0].astype(np.float64) for photo in progress(photos, "photos")]
    )
    wanted, confidences = np.array([photo.class_id for photo in photos]), outputs.max(axis=1)
    scored = with_intervals(score(outputs.argmax(axis=1), wanted, tuple(map(str, range(outputs.shape[1])))))
    right = outputs.argmax(axis=1) == wanted
    error = round(rejection.calibration_error(confidences, right), 5)
    return {"figures": {**scored, "errors": int((~right).sum()), "ece": error}, "confidences": confidences}


def _rejected(runtime: Runtime, known: Any, data: Path, unknown: Path | None) -> dict[str, Any]:
    held = read_sides(data).held
    crops = {"far": rejection.far_crops(held), "near": rejection.near_crops(runtime, held)}
    if unknown is not None:
        crops["unknown"] = [read_image(path) for path in sorted(unknown.rglob("*")) if path.suffix.lower() in SUFFIXES]
        if not crops["unknown"]:
            raise InputError(f"wanted photos of unknown signs in {unknown}, found none: give a folder with some")
    return {name: rejection.separation(known, rejection.confidences_of(runtime, some, runtime.classifier.size)) for name, some in crops.items() if some}


def _print_photos(told: dict[str, Any]) -> None:
    print(f"photos: {told['errors']} errors of {told['n']}, top-1 {shown(told['top1'], told['interval'])}; expected calibration error {told['ece']:.4f}")


def _print_corruptions(told: dict[str, Any]) -> None:
    precisions = list(told["mean_highest"])
    print(f"corruptions, {told['n']} photos, top-1 at strengths 1 to 5:")
    for name, kind in told["kinds"].items():
        print(f"  {name:24}" + "   ".join(f"{precision} " + " ".join(f"{top1:.3f}" for top1 in kind[precision]["top1"]) for precision in precisions))
    for key, strength in (("mean_published", PUBLISHED), ("mean_highest", PUBLISHED + 1)):
        print(f"  mean at strength {strength}: " + ", ".join(f"{precision} {told[key][precision]:.3f}" for precision in precisions))


def _print_frames(told: dict[str, Any]) -> None:
    print("frames, signs of all sizes, average precision at IoU 0.5 and at 0.5:0.95:")
    for name in (*CATEGORIES, "categories", "classes"):
        row = told[name]
        ap50, ap50_95 = ("none" if row[key] is None else f"{row[key]:.4f}" for key in ("ap50", "ap50_95"))
        print(f"  {name:12}{row.get('n', ''):>5}   {ap50}   {ap50_95}")


def _print_rejection(told: dict[str, Any]) -> None:
    for name, row in told.items():
        print(f"rejection, {name}: AUROC {row['auroc']:.4f} of {row['n']}; where 95% of the known pass, {shown(row['passing'], row['interval'])} of these do")


_PRINT: dict[str, Callable[[dict[str, Any]], None]] = {
    "photos": _print_photos,
    "corruptions": _print_corruptions,
    "frames": _print_frames,
    "rejection": _print_rejection,
}


def _print_beside(figures: dict[str, Any]) -> None:
    print("\n| what | here | best published | by | what differs |\n|---|---|---|---|---|")
    for anchor in ANCHORS:
        ours = anchor.ours(figures)
        if ours is not None:
            print(f"| {anchor.what} | {ours:.4f} | {'none' if anchor.best is None else anchor.best} | {anchor.source or 'nobody'} | {anchor.differs} |")
