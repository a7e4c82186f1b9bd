"""A trained spotter to its artefacts in a bundle: converted, quantized, and verified by what it finds in frames that it was not trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxslim
from numpy.typing import NDArray
from tqdm import tqdm

from edge.bundle.manifest import Bundle, ModelSpec
from edge.bundle.onnx_fp32 import widen
from edge.datasets.aerial import MIXTURE, mixture
from edge.datasets.classes import classes_of_bundle, read_classes
from edge.datasets.gtsdb import RoadFrame, read_sides
from edge.engines.open import open_engine
from edge.errors import InputError, VerificationError, one_line
from edge.files import sha256_of, written_beside
from edge.images import read_image
from edge.recognition.finding import FALSE_RATES, Findings, judge, merged
from edge.recognition.heatmap import decode
from edge.recognition.spotter_learned import pad, shrink
from export.artefacts import AIR, SPOTTER, TARGETS, spotter_spec
from export.graphs.calibrate import observe
from export.graphs.to_int8 import layers_of, to_int8
from export.graphs.to_int8_cpu import to_int8_cpu
from export.judging.verify import KERAS, REFERENCE, SURE, Budget, Infer, as_record
from export.quantize import Judge, quantize
from export.source import MODEL, RUN

CALIBRATED_ON = 64
"""Frames of the training side."""
RANKED_ON = 8
RECIPES = (SPOTTER, "own-spotter")
CHOSEN_WITHIN = 0.5
"""Share of the budget from the air within which int8 is chosen: other frames are to hold all of it."""
FALSE_A_FRAME = 0.3
"""False boxes a frame at which artefacts are compared."""
BUDGETS: dict[str, Budget] = {
    REFERENCE: Budget(drop=0.0, max_error=0.0),
    KERAS: Budget(drop=0.002, max_error=1e-2),
    "fp16": Budget(drop=0.002),
    "int8": Budget(drop=0.02),
    "int8-cpu": Budget(drop=0.02),
}
"""`drop` is of recall and of AP50, whichever falls more; with 150 signs, one is 0.007."""
AIR_BUDGETS: dict[str, Budget] = {**BUDGETS, "int8": Budget(drop=0.005), "int8-cpu": Budget(drop=0.005)}
"""The same for a drone's views of the frames (`edge.datasets.aerial.MIXTURE`), which show the signs three times as often."""

_LEAST_SCORE, _MOST, _DRAWN = 0.02, 100, 200
_KEPT_KEYS = ("recipe", "metrics", "frames", "parameters", "flop", "lineage")

Image = NDArray[np.uint8]
Maps = NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """An artefact beside a reference on the same `n` frames.

    Attributes:
        n: frames.
        signs: that count in them.
        recall: at `FALSE_A_FRAME` false boxes a frame.
        ap50: average precision at IoU 0.5.
        drop: by how much recall or AP50 is below the reference's, the larger of the two.
        max_error: largest absolute difference of the heat.
        mean_error: mean absolute difference of the heat.
    """

    n: int
    signs: int
    recall: float
    ap50: float
    drop: float
    max_error: float
    mean_error: float


@dataclass(frozen=True)
class Seen:
    """A frame as the spotter sees it, (height, width, 3) uint8 BGR, and the boxes of its signs there, (n, 4) float64 pixels, end-exclusive."""

    image: Image
    boxes_xyxy: NDArray[np.float64]


@dataclass(frozen=True)
class SpotterSource:
    """A trained spotter.

    Attributes:
        fp16: bytes of its ONNX model in float16.
        size_wh: width and height of its frames, pixels.
        train: training's record.
        keras: the model before conversion, from frames to maps with their planes in front.
    """

    fp16: bytes
    size_wh: tuple[int, int]
    train: dict[str, Any]
    keras: Infer


@dataclass(frozen=True)
class Spotter:
    """A spotter's part of a bundle.

    Attributes:
        models: its artefacts, whose files lie in the bundle's folder.
        lineage: records of training and export.
    """

    models: tuple[ModelSpec, ...]
    lineage: dict[str, Any]


def read_spotter(run: Path) -> SpotterSource:
    """Read a finished run of the recipe spotter.

    Raises:
        InputError: no finished run, another recipe's, or a model with another input or output.
        VerificationError: weights that are not exact in float16.
    """
    run = Path(run)
    cure = "give the folder that python -m train fit --recipe spotter wrote"
    try:
        record = json.loads((run / RUN).read_text(encoding="utf-8"))
        train = {key: record[key] for key in _KEPT_KEYS}
        name = train["recipe"]["name"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"wanted a finished run of the spotter in {run}, found a fault ({error!r}): {cure}") from error
    if name not in RECIPES:
        raise InputError(f"wanted a run of recipe {SPOTTER} in {run}, found {name}: {cure}")
    import keras

    from export.graphs.to_fp16 import to_fp16
    from export.graphs.to_onnx import to_onnx

    try:
        network = keras.models.load_model(run / MODEL, compile=False)
    except Exception as error:  # Keras raises a different class for each of archive, layer and configuration
        raise InputError(f"wanted a Keras model in {run / MODEL}, Keras refused: {one_line(error)}: {cure}") from error
    _, height, width, channels = network.input_shape
    if None in (height, width) or channels != 3 or tuple(network.output_shape[1:]) != (height // 4, width // 4, 5):
        raise InputError(f"wanted a spotter's model in {run / MODEL}, found {network.input_shape} to {network.output_shape}: {cure}")

    def infer(frames: Image) -> Maps:
        return np.asarray(network(frames, training=False), np.float32).transpose(0, 3, 1, 2)

    return SpotterSource(to_fp16(to_onnx(network, SPOTTER)).SerializeToString(deterministic=True), (width, height), train, infer)


def make_spotter(
    made: SpotterSource,
    data: Path,
    folder: Path,
    draft: Callable[[ModelSpec], Bundle],
    budgets: Mapping[str, Budget] = BUDGETS,
    air_budgets: Mapping[str, Budget] = AIR_BUDGETS,
) -> Spotter:
    """Write a spotter's artefacts into a bundle's folder and verify them on frames that it was not trained on.

    The calibration is chosen on the tuning groups and on other views of the frames that calibrate: what rounding costs shows on trained frames too, and the
    tuning groups alone show few signs. The budgets hold on the tuning and the held-out groups together, as they are and as a drone sees them.

    Args:
        made: the source.
        data: where GTSDB's frames are found.
        folder: of the bundle.
        draft: describes a bundle of one artefact, to run it.
        budgets: what each artefact may lose.
        air_budgets: what it may lose on the drone's views.

    Raises:
        DataError: no frames.
        InputError: a frame that cannot be read.
        VerificationError: an artefact is beyond its budget.
    """
    sides = read_sides(data)
    trained = see(sides.train[:: max(1, len(sides.train) // CALIBRATED_ON)], made.size_wh, "reading frames to calibrate on")
    calibrating = seen_from_the_air(trained, views=slice(1))
    level = see(sides.tuning, made.size_wh, "reading frames to choose by")
    unseen = [*level, *see(sides.held, made.size_wh, "reading frames held out")]
    from_the_air, more = seen_from_the_air(unseen), seen_from_the_air(trained, views=slice(1, None))
    tuning = [*level, *from_the_air[: len(level) * len(MIXTURE[0])]]
    choosing = [*tuning, *more]
    specs: dict[str, ModelSpec] = {}

    def run(precision: str, frames: Sequence[Seen], content: bytes) -> Maps:
        path = folder / f"{SPOTTER}.{precision}.onnx"
        with written_beside(path) as beside:
            beside.write_bytes(content)
        specs[precision] = spotter_spec(precision, made.size_wh, sha256_of(path))
        return _run(draft(specs[precision]), precision, frames)

    def compared(frames: Sequence[Seen], reference: Maps) -> Callable[[Maps], Found]:
        return partial(compare, reference=reference, frames=frames)

    found = {"fp16": run("fp16", unseen, made.fp16)}
    found = {REFERENCE: _run(draft(specs["fp16"]), REFERENCE, unseen), KERAS: _infer(made.keras, unseen, f"running the spotter in {KERAS}"), **found}
    aloft = {REFERENCE: _run(draft(specs["fp16"]), REFERENCE, from_the_air)}
    of_tuning = np.concatenate([found[REFERENCE][: len(level)], aloft[REFERENCE][: len(tuning) - len(level)]])
    wanted = np.concatenate([of_tuning, _run(draft(specs["fp16"]), REFERENCE, more)])
    fp32 = onnxslim.slim(onnx.load_from_string(widen(made.fp16)))
    histograms = observe(fp32, (frame.image[None] for frame in tqdm(calibrating, "calibrating the spotter", unit="frame", disable=None)))
    makers = {"int8": partial(to_int8, made.fp16), "int8-cpu": partial(to_int8_cpu, fp32)}
    quantized = {}
    for precision, make in makers.items():
        by_all, by_few = (Judge(partial(run, precision, frames), compared(frames, wanted[: len(frames)])) for frames in (choosing, choosing[:RANKED_ON]))
        strict = replace(air_budgets[precision], drop=air_budgets[precision].drop * CHOSEN_WITHIN)
        quantized[precision] = quantize(make, histograms, layers_of(fp32), by_all, by_few, strict)
        found[precision] = run(precision, unseen, quantized[precision].content)
        aloft[precision] = run(precision, from_the_air, quantized[precision].content)
    figures = {name: compare(maps, found[REFERENCE], unseen) for name, maps in found.items()}
    views = {name: compare(maps, aloft[REFERENCE], from_the_air) for name, maps in aloft.items()}
    print(as_table(figures))
    print(as_table(views, "from the air"))
    own = read_classes(data).own
    _check(figures, _widened(budgets, found, unseen) if own else budgets)
    _check(views, _widened(air_budgets, aloft, from_the_air) if own else _bearable(air_budgets, views), "views from the air")
    findings = findings_of(of_tuning, tuning)
    export = {
        "calibration": {"frames": len(calibrating)},
        "quantization": {precision: result.as_record() for precision, result in quantized.items()},
        "verification": as_record(figures),
        AIR: as_record(views),
        "tuning": {f"recall_at_{rate:g}": round(findings.recall_at(rate), 4) for rate in FALSE_RATES},
    }
    return Spotter(tuple(specs[precision] for precision in TARGETS), {"train": made.train, "export": export})


def verify_spotter(bundle: Bundle, data: Path) -> dict[str, Found]:
    """Hold each precision of a finished bundle's spotter against fp32 on the frames that it was not trained on.

    Raises:
        BundleError: a damaged or missing artefact.
        DataError: no frames, or too few.
        InputError: a frame that cannot be read.
        VerificationError: an artefact is beyond its budget.
    """
    _, height, width, _ = bundle.model(SPOTTER, "fp16").input.shape
    sides = read_sides(data)
    unseen = see([*sides.tuning, *sides.held], (width, height), "reading frames")
    precisions = [model.precision for model in bundle.manifest.models if model.role == SPOTTER]
    found = {precision: _run(bundle, precision, unseen) for precision in (REFERENCE, *precisions)}
    figures = {name: compare(maps, found[REFERENCE], unseen) for name, maps in found.items()}
    own = classes_of_bundle(bundle.manifest).own
    _check(figures, _widened(BUDGETS, found, unseen) if own else BUDGETS)
    from_the_air = seen_from_the_air(unseen)
    aloft = {precision: _run(bundle, precision, from_the_air) for precision in (REFERENCE, *precisions)}
    views = {name: compare(maps, aloft[REFERENCE], from_the_air) for name, maps in aloft.items()}
    _check(views, _widened(AIR_BUDGETS, aloft, from_the_air) if own else _bearable(AIR_BUDGETS, views), "views from the air")
    return figures


def compare(maps: Maps, reference: Maps, frames: Sequence[Seen]) -> Found:
    """Compare two artefacts' maps, (n, 5, height, width) float32 each, of the same frames."""
    found, wanted = (findings_of(each, frames) for each in (maps, reference))
    recall, ap50 = found.recall_at(FALSE_A_FRAME), found.ap50()
    drop = max(wanted.recall_at(FALSE_A_FRAME) - recall, wanted.ap50() - ap50)
    error = np.abs(maps[:, 0] - reference[:, 0])
    return Found(len(frames), found.signs, recall, ap50, drop, float(error.max()), float(error.mean()))


def findings_of(maps: Maps, frames: Sequence[Seen]) -> Findings:
    """Judge what is found in frames by their maps, (n, 5, height, width) float32."""
    decoded = (decode(each.transpose(1, 2, 0), least_score=_LEAST_SCORE, most=_MOST) for each in maps)
    height, width = frames[0].image.shape[:2]
    return judge(zip(decoded, (frame.boxes_xyxy for frame in frames), strict=True), repeat((width, height)))


def seen_from_the_air(frames: Sequence[Seen], views: slice = slice(None)) -> list[Seen]:
    """Show frames as a drone sees them: each in its views of `edge.datasets.aerial.MIXTURE`, or in some of them."""
    shown = (islice(mixture(frame.image, frame.boxes_xyxy, place), views.start, views.stop) for place, frame in enumerate(frames))
    return [Seen(*view) for of_one in shown for view in of_one]


def see(frames: Sequence[RoadFrame], size_wh: tuple[int, int], name: str) -> list[Seen]:
    """Read frames as the runtime gives them to a spotter of an input size; `name` is of the bar.

    Raises:
        InputError: a frame that cannot be read.
    """
    seen = []
    for frame in tqdm(frames, name, unit="frame", disable=None):
        image, scale = shrink(read_image(frame.path), size_wh)
        seen.append(Seen(pad(image, size_wh), frame.boxes_xyxy * scale))
    return seen


def as_table(figures: Mapping[str, Found], title: str = f"spotter against {REFERENCE}") -> str:
    """Lay figures out for people: a line for each artefact."""
    head = f"{title:22}{'frames':>8}{'signs':>7}{'recall':>9}{'AP50':>9}{'drop':>9}{'max error':>11}{'mean error':>12}"
    rows = [f"{name:22}{f.n:8}{f.signs:7}{f.recall:9.4f}{f.ap50:9.4f}{f.drop:9.4f}{f.max_error:11.2g}{f.mean_error:12.2g}" for name, f in figures.items()]
    return "\n".join([head, *rows])


def _bearable(budgets: Mapping[str, Budget], figures: Mapping[str, Found]) -> dict[str, Budget]:
    """Widen budgets to one sign, where so few were looked at that one is more than the budget."""
    return {name: replace(budgets[name], drop=max(budgets[name].drop, 1.001 / max(found.signs, 1))) for name, found in figures.items()}


def _widened(budgets: Mapping[str, Budget], maps: Mapping[str, Maps], frames: Sequence[Seen]) -> dict[str, Budget]:
    """Widen budgets to what chance takes or gives with so few frames.

    Who has some hundred frames of their own is judged by some thirty, in which two signs on the brink are more than any budget.
    """
    return {name: replace(budgets[name], drop=max(budgets[name].drop, chance_of(each, maps[REFERENCE], frames))) for name, each in maps.items()}


def chance_of(maps: Maps, reference: Maps, frames: Sequence[Seen]) -> float:
    """Return how large a drop of recall or AP50 may be by chance, one time in twenty: 1.64 standard deviations of it over frames that are drawn anew.

    Method: the bootstrap (B. Efron, The Annals of Statistics 1979), of pairs: both artefacts on the same frames.
    """
    judged = [[findings_of(each[place : place + 1], frames[place : place + 1]) for place in range(len(frames))] for each in (maps, reference)]
    rng, drops = np.random.default_rng(0), []
    for _ in range(_DRAWN):
        found, wanted = (merged([of_one[place] for place in drawn]) for drawn in [rng.integers(len(frames), size=len(frames))] for of_one in judged)
        drops.append([wanted.recall_at(FALSE_A_FRAME) - found.recall_at(FALSE_A_FRAME), wanted.ap50() - found.ap50()])
    return SURE * float(np.std(drops, axis=0).max())


def _check(figures: Mapping[str, Found], budgets: Mapping[str, Budget], shown: str = "frames") -> None:
    for name, found in figures.items():
        if not budgets[name].holds(found):
            raise VerificationError(
                f"wanted the spotter's {name} within {budgets[name].drop:.3f} of {REFERENCE}'s recall and AP50 on {found.n} {shown}, "
                f"found a drop of {found.drop:.4f} and an error of {found.max_error:.2g}: train longer, or export again"
            )


def _run(bundle: Bundle, precision: str, frames: Sequence[Seen]) -> Maps:
    with open_engine(bundle, SPOTTER, engine="onnxruntime", precision=precision) as engine:
        return _infer(engine.infer, frames, f"running the spotter in {precision}")


def _infer(infer: Infer, frames: Sequence[Seen], name: str) -> Maps:
    return np.concatenate([infer(frame.image[None]) for frame in tqdm(frames, name, unit="frame", disable=None)])
