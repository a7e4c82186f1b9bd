"""Levelling: pictures turned back by a known roll, boxes in the picture as it came, and telemetry that comes and goes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from banked import FPS, SIZE_WH, Banked, Window, ground, window
from commands import lines
from numpy.typing import ArrayLike, NDArray

from edge.bundle.manifest import ModelSpec, TensorSpec, read_bundle
from edge.datasets.gtsrb import CLASSES, LABELS
from edge.engines.fake import FakeEngine
from edge.frame import FeedState, Frame
from edge.geometry.boxes import iou_matrix
from edge.geometry.pose import Pose
from edge.outputs.annotate import annotate
from edge.outputs.events import EventSink
from edge.outputs.web.sightings import small_crop
from edge.pipeline import open_spotter, run
from edge.recognition.classifier import Classifier, cut_crop
from edge.recognition.proposals import Proposals
from edge.result import Detection, Result
from edge.vehicle.attitudes import MountedAslant
from edge.vehicle.levelling import LEAST_ROLL_DEG, STEEPEST_DEG, Leveller, View

SPEC = ModelSpec("classifier", "none", "", "fp16", "onnxruntime", TensorSpec("images", (-1, 32, 32, 3), "uint8"), TensorSpec("p", (-1, CLASSES), "float32"))
SCHEMA = json.loads((Path(__file__).resolve().parents[3] / "edge" / "outputs" / "events.schema.json").read_text(encoding="utf-8"))
GROUND = 90


class Told:
    """Rolls by a frame's index, as somebody tells them."""

    told, measured = "a made vehicle", True

    def __init__(self, roll_deg: Callable[[int], float | None], pitch_deg: float = -10.0) -> None:
        self._roll_deg, self._pitch_deg = roll_deg, pitch_deg

    def at(self, frame: Frame) -> Pose | None:
        roll = self._roll_deg(frame.index)
        return None if roll is None else Pose(frame.index / FPS, roll_deg=roll, pitch_deg=self._pitch_deg, yaw_deg=90.0)


class Kept:
    """A sink that keeps results."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def write(self, result: Result) -> None:
        self.results.append(result)

    def feed(self, state: FeedState) -> None:
        pass


def frame_of(seen: Window, index: int = 0) -> Frame:
    return Frame(index, seen.image, 0, None)


def largest(seen: Window) -> tuple[float, float, float, float]:
    boxes = [box for sign in seen.signs if (box := seen.box(sign)) is not None]
    return max(boxes, key=lambda box: box[2] - box[0])


@pytest.mark.parametrize("roll_deg", [-60, -30, 5, 20, 45, 170])
def test_a_banked_picture_becomes_the_level_one(roll_deg: float) -> None:
    level, banked = window(ground(GROUND)), window(ground(GROUND), roll_deg)
    view = Leveller(MountedAslant(roll_deg)).view(frame_of(banked))
    middle = (slice(180, 360), slice(380, 580))  # inside of what both show
    assert np.abs(view.image[middle].astype(int) - level.image[middle]).mean() < 4
    assert view.image.shape == level.image.shape


def ellipse_box(quad_xy: ArrayLike) -> list[float]:
    """Return the box of the ellipse that fills a turned box, within the picture."""
    corners = np.asarray(quad_xy, float)
    middle, (along, down) = corners.mean(axis=0), (corners[[1, 3]] - corners[0]) / 2
    turns = np.linspace(0, 2 * np.pi, 3600)[:, None]
    rim = np.clip(middle + along * np.cos(turns) + down * np.sin(turns), 0, SIZE_WH)
    return [*rim.min(axis=0), *rim.max(axis=0)]


@pytest.mark.parametrize("roll_deg", [-45, 20])
def test_corners_lie_where_the_sign_is_in_the_picture_as_it_came(roll_deg: float) -> None:
    scene = ground(GROUND)
    level, banked = window(scene), window(scene, roll_deg)
    view = Leveller(MountedAslant(roll_deg)).view(frame_of(banked))
    sign = next(sign for sign in scene.truths if level.box(sign) == largest(level))
    (found,) = view.in_frame(view.mark([Detection(largest(level), 1, 0.9)]))
    assert found.quad_xy is not None
    assert np.array(found.quad_xy) == pytest.approx(np.array(banked.place.quad(sign.box_xyxy)), abs=0.01)
    assert found.box_xyxy == pytest.approx(ellipse_box(found.quad_xy))


@pytest.mark.parametrize(("roll_deg", "pitch_deg"), [(0.0, 0.0), (LEAST_ROLL_DEG - 0.1, 0.0), (30.0, -STEEPEST_DEG - 1)])
def test_what_is_level_or_looks_straight_down_stays_as_it_came(roll_deg: float, pitch_deg: float) -> None:
    frame = frame_of(window(ground(GROUND), roll_deg))
    view = Leveller(Told(lambda _: roll_deg, pitch_deg)).view(frame)
    assert view.image is frame.image
    assert view.turn is None
    assert view.mark([Detection((1, 2, 3, 4), 1, 0.9)])[0].quad_xy is None
    assert view.frame.pose is not None
    assert view.frame.pose.roll_deg == roll_deg


def test_how_a_camera_is_mounted_is_no_pose() -> None:
    assert Leveller(MountedAslant(20)).view(frame_of(window(ground(GROUND), 20))).frame.pose is None


def spots(boxes: Sequence[tuple[float, float, float, float]]) -> Callable[[NDArray[np.uint8]], Proposals]:
    rest = iter(boxes)
    return lambda image: Proposals(np.array([next(rest)], np.float32), np.array([0.9], np.float32))


def rolled(rolls: Sequence[float]) -> list[Window]:
    return [window(ground(GROUND), roll) for roll in rolls]


def test_the_classifier_sees_upright_crops_and_events_tell_both_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="the dev group is not installed")
    rolls = [10.0 * math.sin(index / 3) + 25 for index in range(20)]
    level, windows = window(ground(GROUND)), rolled(rolls)
    box = largest(level)
    crops: list[NDArray[np.uint8]] = []
    with Classifier(FakeEngine(SPEC, "fp16"), 0.0) as classifier:
        name = classifier.name
        monkeypatch.setattr(classifier, "name", lambda cut: crops.extend(cut) or name(cut))
        sink, leveller = Kept(), Leveller(Told(lambda index: rolls[index]))
        run(Banked(windows), spots([box] * len(rolls)), classifier, [sink, EventSink(tmp_path / "e.jsonl", LABELS)], leveller=leveller)
    upright = cut_crop(level.image, box, 32)
    assert len(crops) >= 5
    assert max(np.abs(crop.astype(int) - upright).mean() for crop in crops) < 12
    assert np.abs(cut_crop(windows[0].image, box, 32).astype(int) - upright).mean() > 20
    events = lines(tmp_path / "e.jsonl")
    assert [event["event"] for event in events if event["event"] != "update"] == ["sighting", "gone"]
    sign = next(sign for sign in level.signs if level.box(sign) == box)
    for event in events:
        jsonschema.validate(event, SCHEMA)
        seen = windows[event["frame"]]
        quad = np.array(seen.place.quad(sign.box_xyxy))
        assert np.array(event["quad_xy"]) == pytest.approx(quad, abs=0.02)
        assert event["box_xyxy"] == pytest.approx(ellipse_box(quad), abs=0.02)
        assert event["pose"] == {"lat": None, "lon": None, "alt_m": None, "roll_deg": round(rolls[event["frame"]], 2), "pitch_deg": -10.0, "yaw_deg": 90.0}
        assert event["media_s"] == round(event["frame"] / FPS, 3)
        assert event["where"] is None
    assert leveller.figures() == {"by": "a made vehicle", "levelled": 20, "missed": 0}


def test_telemetry_that_stops_and_comes_back_is_told_once_each_and_the_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="the dev group is not installed")
    from edge.outputs.console import ConsoleSink

    lost = range(8, 16)
    windows = rolled([20.0] * 24)
    sink, leveller = Kept(), Leveller(Told(lambda index: None if index in lost else 20.0))
    with Classifier(FakeEngine(SPEC, "fp16"), 0.0) as classifier:
        sinks = [sink, ConsoleSink(LABELS), EventSink(tmp_path / "e.jsonl", LABELS)]
        summary = run(Banked(windows), spots([(0, 0, 0, 0)] * 24), classifier, sinks, leveller=leveller)
    assert summary.frames == 24
    states = [event for event in lines(tmp_path / "e.jsonl") if event["event"] == "state"]
    for event in states:
        jsonschema.validate(event, SCHEMA)
    assert [(event["frame"], event["level"]["known"], event["state"]) for event in states] == [(8, False, "live"), (16, True, "live")]
    assert capsys.readouterr().out.count("level ") == 2
    assert (leveller.levelled, leveller.missed) == (16, 8)
    assert [result.frame.pose is None for result in sink.results[:24]] == [index in lost for index in range(24)]


def test_a_vehicle_that_never_told_is_told_with_the_first_frame() -> None:
    leveller = Leveller(Told(lambda _: None))
    assert leveller.warning == ""
    first, second = (leveller.view(frame_of(window(ground(GROUND)), index)) for index in range(2))
    assert first.change is not None
    assert not first.change.known
    assert second.change is None
    assert "a made vehicle" in leveller.warning


def test_a_track_outlives_telemetry_that_comes_and_goes() -> None:
    """The boxes of a sign jump as the picture is levelled or not; its track does not."""
    level, windows = window(ground(GROUND)), rolled([20.0] * 30)
    sign = next(sign for sign in level.signs if level.box(sign) == largest(level))
    known = [index % 10 < 6 for index in range(30)]
    boxes = [level.box(sign) if yes else windows[0].place.upright(sign.box_xyxy) for yes in known]
    sink = Kept()
    with Classifier(FakeEngine(SPEC, "fp16"), 0.0) as classifier:
        run(Banked(windows), spots(boxes), classifier, [sink], leveller=Leveller(Told(lambda index: 20.0 if known[index] else None)))  # type: ignore[arg-type]
    events = [report.event for result in sink.results for report in result.reports if report.event != "update"]
    assert events == ["sighting", "gone"]


def test_what_is_drawn_stands_on_its_corners(tmp_path: Path) -> None:
    view = Leveller(MountedAslant(30)).view(Frame(0, np.zeros((540, 960, 3), np.uint8), 0, None))
    (found,) = view.in_frame(view.mark([Detection((440, 230, 520, 310), 14, 0.9)]))
    drawn = annotate(Result(view.frame, (), [found], (), 0), LABELS)
    assert found.quad_xy is not None
    for x, y in found.quad_xy:
        assert drawn[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3].max() > 100
    x1, y1, x2, y2 = (round(side) for side in found.box_xyxy)
    assert all(drawn[y, x].max() == 0 for x, y in ((x1, y1), (x2 - 1, y1), (x2 - 1, y2 - 1), (x1, y2 - 1)))


def test_the_pages_crop_is_upright() -> None:
    level, banked = window(ground(GROUND)), window(ground(GROUND), 40)
    sign = next(sign for sign in level.signs if level.box(sign) == largest(level))
    quad = banked.place.quad(sign.box_xyxy)
    turned, upright = small_crop(banked.image, (0, 0, 1, 1), quad), small_crop(level.image, largest(level))
    assert np.abs(np.subtract(turned.shape, upright.shape)).max() <= 2
    height, width = np.minimum(turned.shape, upright.shape)[:2]
    assert np.abs(turned[:height, :width].astype(int) - upright[:height, :width]).mean() < 20
    huge = small_crop(banked.image, (0, 0, 1, 1), banked.place.quad((700, 300, 1300, 800)))
    assert max(huge.shape) == 192


@pytest.mark.parametrize("roll_deg", [-60, 45])
def test_a_bank_is_level_flight_for_the_models_that_ship(shipped_bundle: Path, roll_deg: float) -> None:
    bundle = read_bundle(shipped_bundle)
    if bundle.manifest.thresholds.spotter is None:
        pytest.skip("the shipped bundle has no learned spotter")
    from edge.engines.open import open_engine

    level, banked = Banked([window(ground(GROUND))], stills=True), Banked([window(ground(GROUND), roll_deg)], stills=True)
    flat, sink = Kept(), Kept()
    with (
        Classifier(open_engine(bundle, "classifier", engine="onnxruntime"), bundle.manifest.thresholds.confidence) as classifier,
        open_spotter("learned", bundle, engine="onnxruntime") as spotter,
    ):
        # Small signs count too: with few boxes in the second look a sign of 17 px is now found, now not.
        run(level, spotter, classifier, [flat], min_side_px=0.0)
        run(banked, spotter, classifier, [sink], leveller=Leveller(MountedAslant(roll_deg)), min_side_px=0.0)
    rolled_by = level.windows[0].place.inverse().then(banked.windows[0].place)
    found = {report.class_id: report for report in sink.results[0].reports}
    compared = 0
    for report in flat.results[0].reports:
        quad = np.array(rolled_by.quad(report.box_xyxy))
        if (quad >= 0).all() and (quad <= SIZE_WH).all():  # the bank took the others out of the picture
            compared += 1
            assert iou_matrix(ellipse_box(quad), found[report.class_id].box_xyxy)[0, 0] > 0.6
    assert compared >= 2


def test_a_frame_without_a_leveller_is_told_as_before() -> None:
    box = largest(window(ground(GROUND)))
    sink = Kept()
    with Classifier(FakeEngine(SPEC, "fp16"), 0.0) as classifier:
        run(replace(Banked([window(ground(GROUND))]), stills=True), spots([box]), classifier, [sink])
    (report,) = sink.results[0].reports
    assert report.quad_xy is None
    assert report.box_xyxy == pytest.approx(box)
    assert View(sink.results[0].frame, sink.results[0].frame.image).in_frame([report]) == [report]
    assert sink.results[0].frame.image.shape[1::-1] == SIZE_WH
