"""The loop: stills and videos, counts and figures, Ctrl-C, and errors on the way."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns, sleep
from typing import Any

import numpy as np
import pytest
from media import picture
from numpy.typing import ArrayLike, NDArray

from edge.bundle.fusion import Fusion, SecondLook
from edge.bundle.manifest import ModelSpec, TensorSpec, read_bundle
from edge.datasets.gtsrb import CLASSES, LABELS
from edge.engines.fake import FakeEngine
from edge.engines.open import open_engine
from edge.errors import BundleError, OutputError, SourceError
from edge.frame import Frame
from edge.outputs.events import EventSink
from edge.pipeline import STAGES, name_boxes, open_spotter, run
from edge.recognition.classifier import Classifier
from edge.recognition.proposals import Proposals, spot_whole
from edge.recognition.spotter_colour import spot_by_colour
from edge.recognition.tracking import Tracker, TrackerSettings
from edge.result import Result
from edge.sources.open import open_source

SPEC = ModelSpec("classifier", "none", "", "fp16", "onnxruntime", TensorSpec("images", (-1, 16, 16, 3), "uint8"), TensorSpec("p", (-1, CLASSES), "float32"))


@dataclass
class Frames:
    """A source of the same picture again and again, as a sign that stands still."""

    count: int
    stills: bool = False
    pause_s: float = 0.0
    uri: str = "frames"
    fps: float | None = 25.0
    dropped: int = 0
    unreadable: int = 2
    live: bool = False
    feed: None = None
    closed: bool = False

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *exc: object) -> None:
        self.closed = True

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.count):
            sleep(self.pause_s)
            yield Frame(index, picture(5), monotonic_ns(), f"{index}.png" if self.stills else None)


class Keeping:
    """A sink that keeps results, and fails or interrupts at a frame if told to."""

    def __init__(self, fail_at: int = -1, error: BaseException | None = None) -> None:
        self.results: list[Result] = []
        self.fail_at, self.error = fail_at, error
        self.finished = False

    def __enter__(self) -> Keeping:
        return self

    def __exit__(self, *exc: object) -> None:
        self.finished = True

    def write(self, result: Result) -> None:
        self.results.append(result)
        if result.frame.index == self.fail_at and self.error is not None:
            error, self.error = self.error, None
            raise error

    def events(self) -> list[tuple[int, str, int | None]]:
        return [(r.frame.index, report.event, report.track) for r in self.results for report in r.reports]


@pytest.fixture
def classifier() -> Iterator[Classifier]:
    with Classifier(FakeEngine(SPEC, "fp16"), 0.0) as opened:
        yield opened


def two_boxes(image: np.ndarray) -> Proposals:
    return Proposals(np.array([[5, 5, 30, 30], [50, 20, 80, 50]], np.float32), np.array([0.9, 0.4], np.float32))


def no_boxes(image: np.ndarray) -> Proposals:
    return Proposals(np.empty((0, 4), np.float32), np.empty(0, np.float32))


def test_every_detection_of_a_still_is_announced_without_a_track(classifier: Classifier) -> None:
    sink = Keeping()
    summary = run(Frames(3, stills=True), two_boxes, classifier, [sink])
    assert sink.events() == [(index, "sighting", None) for index in (0, 0, 1, 1, 2, 2)]
    assert [report.box_xyxy for report in sink.results[0].reports] == [(5, 5, 30, 30), (50, 20, 80, 50)]
    assert (summary.frames, summary.sightings, summary.unreadable) == (3, 6, 2)


def test_a_sign_in_a_video_is_announced_once_and_takes_its_leave(classifier: Classifier) -> None:
    sink = Keeping()
    summary = run(Frames(40), spot_whole, classifier, [sink])
    events = sink.events()
    assert [event for _, event, _ in events if event != "update"] == ["sighting", "gone"]
    assert events[-1][0] == 39
    assert [r.final for r in sink.results] == [False] * 40 + [True]
    assert len({track for _, _, track in events}) == 1
    assert (summary.frames, summary.sightings) == (40, 1)


def test_the_figures_are_measured(classifier: Classifier) -> None:
    sink = Keeping()
    summary = run(Frames(10, pause_s=0.01), no_boxes, classifier, [sink])
    assert sink.events() == []
    assert tuple(summary.stage_ms) == STAGES
    assert 10 <= summary.stage_ms["source"] < 200
    assert summary.fps == pytest.approx(1000 / sum(summary.stage_ms.values()), rel=0.05)
    ages = [r.age_ms for r in sink.results]
    assert 0 < min(ages) <= summary.age_ms["p50"] <= summary.age_ms["p90"] <= summary.age_ms["p99"] <= summary.age_ms["max"] == round(max(ages), 3)
    assert set(summary.figures()) == {"frames", "dropped", "unreadable", "sightings", "fps", "age_ms", "stage_ms", "feed"}
    json.dumps(summary.figures(), allow_nan=False)


@pytest.mark.parametrize(("wanted", "done"), [(1, 1), (4, 4), (99, 6), (None, 6)])
def test_max_frames_ends_a_run(classifier: Classifier, wanted: int | None, done: int) -> None:
    source = Frames(6)
    assert run(source, no_boxes, classifier, [], max_frames=wanted).frames == done
    assert source.closed


def test_an_interrupt_finishes_the_sinks(classifier: Classifier, tmp_path: Path) -> None:
    source, sink = Frames(1000), Keeping(fail_at=30, error=KeyboardInterrupt())
    summary = run(source, spot_whole, classifier, [sink, EventSink(tmp_path / "events.jsonl", LABELS)])
    assert summary.interrupted
    assert summary.frames == 30
    assert source.closed
    assert sink.finished
    last = json.loads((tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert last["event"] == "gone"


def test_a_failing_sink_ends_the_run_with_its_error(classifier: Classifier) -> None:
    source, failing, other = Frames(10), Keeping(fail_at=3, error=OutputError("full")), Keeping()
    with pytest.raises(OutputError, match="full"):
        run(source, no_boxes, classifier, [failing, other])
    assert source.closed
    assert other.finished
    assert len(other.results) == 3


def test_a_source_without_frames_is_an_error_and_leaves_the_outputs_alone(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("old")
    with pytest.raises(SourceError, match="found none"):
        run(Frames(0), no_boxes, classifier, [EventSink(tmp_path / "events.jsonl", LABELS)])
    assert (tmp_path / "events.jsonl").read_text() == "old"


def test_rejected_boxes_are_no_detections() -> None:
    proposals = two_boxes(picture(5))
    none = Proposals(proposals.boxes_xyxy[:0], proposals.scores[:0])
    for threshold, found in ((0.0, 2), (1.0, 0)):
        with Classifier(FakeEngine(SPEC, "fp16"), threshold) as classifier:
            detections = name_boxes(picture(5), proposals, classifier)
            assert len(detections) == found
            assert name_boxes(picture(5), none, classifier) == []


def test_a_fusion_decides_on_what_it_came_with() -> None:
    proposals = two_boxes(picture(5))  # scores 0.9 and 0.4; the fake engine is sure of nothing
    with Classifier(FakeEngine(SPEC, "fp16"), 1.0) as classifier:
        for bias, found in ((-100.0, 0), (0.0, 1), (100.0, 2)):
            judged = dataclasses.replace(proposals, fusion=Fusion(score=1.0, confidence=0.0, bias=bias))
            assert len(name_boxes(picture(5), judged, classifier)) == found


def test_a_second_look_decides_on_stills_and_on_what_is_to_be_announced(classifier: Classifier) -> None:
    judge = Fusion(score=1.0, confidence=0.0, bias=0.0, second=SecondLook(score=0.0, closer=1.0, confidence=0.0, bias=0.0))
    for nearer, still, moving in (((0.9, 0.9), [0, 1], 1), ((0.1, 0.9), [1], 0), ((0.9, 0.1), [0], 1), ((0.1, 0.1), [], 0)):
        asked: list[int] = []

        def closer(boxes: ArrayLike, scores: ArrayLike, nearer: tuple[float, float] = nearer, asked: list[int] = asked) -> NDArray[np.float32]:
            asked.append(len(np.asarray(scores)))
            at = [(5.0, 5.0, 30.0, 30.0), (50.0, 20.0, 80.0, 50.0)]
            return np.array([nearer[at.index(tuple(box))] for box in np.asarray(boxes).tolist()], np.float32)

        def spotter(image: NDArray[np.uint8], closer: Any = closer) -> Proposals:
            return dataclasses.replace(two_boxes(image), fusion=judge, closer=closer)

        proposals = spotter(picture(5))
        boxes = [proposals.boxes_xyxy[place].tolist() for place in still]
        assert [list(one.box_xyxy) for one in name_boxes(picture(5), proposals, classifier)] == boxes
        assert asked == [2]
        # The first look takes the box with a score of 0.9 alone; nearer, it is looked at when it has its votes.
        asked.clear()
        sink = Keeping()
        votes = TrackerSettings().entry_votes
        run(Frames(votes), spotter, classifier, [sink])
        assert [event for _, event, _ in sink.events() if event == "sighting"] == ["sighting"] * moving
        assert asked == [1]


def test_what_is_clearly_no_sign_is_not_classified_in_every_frame(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[int] = []
    name = classifier.name
    monkeypatch.setattr(classifier, "name", lambda crops: named.append(len(crops)) or name(crops))
    every, settings = 12, TrackerSettings()
    assert 1 + settings.ask_every + 2 * settings.ask_every >= every
    for bias, wanted in ((-100.0, [1, 1 + settings.ask_every]), (-0.5, range(1, every))):  # clearly none, and hardly one: both wait a frame
        named.clear()
        judge = Fusion(score=0.0, confidence=0.0, bias=bias)
        run(Frames(every), lambda image, judge=judge: dataclasses.replace(spot_whole(image), fusion=judge), classifier, [])
        assert [index for index, count in enumerate(named) if count] == list(wanted)


def test_what_the_tracker_knows_is_not_classified_again(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[int] = []
    name = classifier.name
    monkeypatch.setattr(classifier, "name", lambda crops: named.append(len(crops)) or name(crops))
    sink = Keeping()
    run(Frames(40), spot_whole, classifier, [sink])
    assert len(named) == 40
    assert sum(named) <= 5 + 35 / TrackerSettings().ask_every + 1
    assert all(len(result.detections) == 1 for result in sink.results[:40])
    assert [event for _, event, _ in sink.events() if event != "update"] == ["sighting", "gone"]


def test_what_is_too_small_to_be_announced_is_not_named_on_the_way(classifier: Classifier) -> None:
    boxes = np.array([[5, 5, 30, 30], [50, 20, 62, 32]], np.float32)
    proposals = Proposals(boxes, np.array([0.9, 0.4], np.float32))
    assert len(name_boxes(picture(5), proposals, classifier)) == 2
    (named,) = name_boxes(picture(5), proposals, classifier, Tracker())
    assert named.box_xyxy == (5, 5, 30, 30)


def test_spotters_by_name(tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    for name, wanted in (("auto", spot_by_colour), ("colour", spot_by_colour), ("none", spot_whole)):
        with open_spotter(name, bundle) as spotter:
            assert spotter is wanted
    with pytest.raises(BundleError, match="--spotter colour"), open_spotter("learned", bundle):
        pass


def test_a_sign_that_has_left_the_picture_is_not_shown_at_its_edge(tiny_bundle: Path) -> None:
    keeping, width, height = Keeping(), 480, 270
    source = open_source(f"demo://?view=car&frames=150&width={width}&height={height}")
    turns = itertools.count()

    def blinking(image: NDArray[np.uint8]) -> Proposals:
        found = spot_by_colour(image)
        return found if next(turns) % 5 else dataclasses.replace(found, boxes_xyxy=found.boxes_xyxy[:0], scores=found.scores[:0])

    with Classifier(open_engine(read_bundle(tiny_bundle), "classifier"), 0.0) as classifier:
        run(source, blinking, classifier, [keeping])
    shown = [(one, result) for result in keeping.results for one in result.tracks]
    over = [(one, result) for one, result in shown if min(one.box_xyxy) < 0 or one.box_xyxy[2] > width or one.box_xyxy[3] > height]
    assert len(shown) > 30
    assert all(any(one.box_xyxy == seen.box_xyxy for seen in result.detections) for one, result in over)
    # One that stands within the picture and is not seen for a frame is still shown where it should be.
    assert any(not any(one.box_xyxy == seen.box_xyxy for seen in result.detections) for one, result in shown)
