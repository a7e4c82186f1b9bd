"""The live feed without a camera: states by the clock, the newest frame, cameras that break, hang and come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from packets import wait_for

from edge.bundle.manifest import ModelSpec, TensorSpec
from edge.datasets.gtsrb import CLASSES, LABELS
from edge.engines.fake import FakeEngine
from edge.errors import SourceError
from edge.frame import FeedState, Frame
from edge.outputs.events import EventSink, state_event
from edge.pipeline import run
from edge.recognition.classifier import Classifier
from edge.recognition.proposals import Proposals
from edge.sources.live import feed as feeds
from edge.sources.live.feed import LiveSource
from edge.sources.live.watch import LOST_NS, STALLED_NS, FeedWatch

Image = NDArray[np.uint8]
S = 1_000_000_000


def test_states_follow_the_clock() -> None:
    watch = FeedWatch()
    assert watch.state == "connecting"
    assert not watch.tick(100 * S)
    assert watch.frame(100 * S)
    assert not watch.frame(100 * S + 1)
    assert not watch.tick(100 * S + 1)
    assert watch.tick(100 * S + 1 + STALLED_NS)
    assert watch.state == "stalled"
    assert not watch.tick(100 * S + 2 + STALLED_NS)
    assert watch.tick(100 * S + 1 + LOST_NS)
    assert watch.state == "lost"
    assert watch.frame(200 * S)
    assert watch.state == "live"


def test_a_stall_that_ends_before_it_is_lost_is_live_again() -> None:
    watch = FeedWatch()
    watch.frame(S)
    watch.tick(S + STALLED_NS)
    assert watch.frame(S + STALLED_NS + 1)
    assert watch.state == "live"


def test_promised_times_hold() -> None:
    assert STALLED_NS + feeds.TICK_S * S < 1 * S
    assert LOST_NS + feeds.TICK_S * S < 2 * S


@dataclass
class Made:
    """A camera whose openings a test writes: each a function that gives frames, or raises."""

    openings: list[Callable[[], Iterator[Image | None]]]
    doing: str = "made"
    why: str = ""
    opens: str = "made"
    damaged: int = 0
    foreign: int = 0
    sending: bool = True
    opened: int = 0
    closed: int = 0
    entered: int = 0
    readings: list[Iterator[Image | None]] = field(default_factory=list)

    def wait(self, stopping: threading.Event) -> bool:
        return not stopping.is_set()

    def open(self) -> Reading:
        at = min(self.opened, len(self.openings) - 1)
        self.opened += 1
        return Reading(self, self.openings[at]())

    def __enter__(self) -> Made:
        self.entered += 1
        return self

    def __exit__(self, *exc: object) -> None:
        self.entered -= 1


@dataclass
class Reading:
    camera: Made
    images: Iterator[Image | None]

    def read(self) -> Image | None:
        return next(self.images, None)

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *exc: object) -> None:
        self.camera.closed += 1


def pictures(count: int, pause_s: float = 0.01) -> Callable[[], Iterator[Image]]:
    def give() -> Iterator[Image]:
        for index in range(count):
            time.sleep(pause_s)
            yield np.full((8, 8, 3), index, np.uint8)

    return give


def refused() -> Iterator[Image]:
    raise SourceError("wanted a camera, found none: plug it in")


def hung(until: threading.Event) -> Callable[[], Iterator[Image]]:
    def give() -> Iterator[Image]:
        until.wait(60)
        yield np.full((8, 8, 3), 99, np.uint8)

    return give


def taken(source: LiveSource, ended: Callable[[list[Frame], list[FeedState]], bool]) -> tuple[list[Frame], list[FeedState]]:
    """Frames and states until `ended`, which must come within 20 s."""
    frames: list[Frame] = []
    states: list[FeedState] = []
    end = time.monotonic() + 20
    with source:
        for came in source:
            (states if isinstance(came, FeedState) else frames).append(came)  # type: ignore[arg-type]
            if ended(frames, states):
                return frames, states
            assert time.monotonic() < end, states
    raise AssertionError("ended by itself")


def test_frames_come_with_their_number_and_the_state_before_them() -> None:
    camera = Made([pictures(1000)])
    order: list[str] = []
    with LiveSource("made://", camera, None) as source:
        for came in source:
            order.append(came.state if isinstance(came, FeedState) else "frame")
            if isinstance(came, Frame) and came.index >= 5:
                assert int(came.image[0, 0, 0]) == came.index % 256
                assert came.still is None
                break
    assert order[:3] == ["connecting", "live", "frame"]
    assert (camera.entered, camera.closed) == (0, 1)


def test_a_slow_loop_gets_the_newest_frame_and_every_other_is_counted() -> None:
    source = LiveSource("made://", Made([pictures(10_000, 0.001)]), None)
    seen = []
    with source:
        for came in source:
            if isinstance(came, Frame):
                seen.append(came)
                time.sleep(0.05)
                assert (time.monotonic_ns() - came.received_ns) / S < 5
            if len(seen) == 8:
                break
    assert source.dropped > 8
    assert source.captured == len(seen) + source.dropped
    assert [frame.index for frame in seen] == sorted({frame.index for frame in seen})


def test_a_camera_that_ends_or_is_refused_is_opened_again_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "LONGEST_PAUSE_S", 0.05)
    camera = Made([refused, pictures(3), refused, refused, pictures(3)])
    frames, states = taken(LiveSource("made://", camera, None), lambda frames, _: len(frames) >= 7)
    assert camera.opened >= 6
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert states[0].state == "connecting"
    assert LiveSource("made://", Made([pictures(1)]), None).feed.reconnects == 0


def test_why_it_waits_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    source = LiveSource("made://", Made([refused]), None)
    with source:
        coming = iter(source)
        assert isinstance(next(coming), FeedState)
        waiting = threading.Thread(target=lambda: next(coming, None), daemon=True)
        waiting.start()
        wait_for(lambda: "plug it in" in source.feed.detail, "the reason")
    waiting.join(5)


def test_silence_is_stalled_and_then_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()

    def silent() -> Iterator[Image]:
        yield np.zeros((8, 8, 3), np.uint8)
        held.wait(30)

    try:
        _, states = taken(LiveSource("made://", Made([silent]), None), lambda _, states: states[-1].state == "lost")
    finally:
        held.set()
    assert [state.state for state in states] == ["connecting", "live", "stalled", "lost"]
    assert (states[2].at_ns - states[1].at_ns) < 1 * S
    assert (states[3].at_ns - states[1].at_ns) < 2 * S


def test_a_reader_that_hangs_is_left_behind_and_gives_nothing_any_more(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(feeds, "STUCK_S", 0.3)
    held = threading.Event()
    camera = Made([hung(held), pictures(10_000)])
    source = LiveSource("made://", camera, None)
    seen: list[int] = []
    with source:
        for came in source:
            if isinstance(came, Frame):
                seen.append(int(came.image[0, 0, 0]))
                held.set()
            if len(seen) > 30:
                break
    wait_for(lambda: camera.closed == 2, "both readers closed")
    assert 99 not in seen[:5]
    assert "left behind" in caplog.text
    assert source.feed.reconnects == 1


def test_readers_that_never_come_back_are_bounded_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    held = threading.Event()
    camera = Made([hung(held)])
    source = LiveSource("made://", camera, None, longest_stuck_s=0.01)
    before = threading.active_count()
    with source:
        loop = threading.Thread(target=lambda: list(source), daemon=True)
        loop.start()
        wait_for(lambda: camera.opened == feeds.MOST_LEFT + 1, "readers")
        time.sleep(0.5)  # ten looks
        assert camera.opened == feeds.MOST_LEFT + 1
        assert threading.active_count() <= before + 1 + feeds.MOST_LEFT + 1
        held.set()
        wait_for(lambda: camera.opened > feeds.MOST_LEFT + 1, "another reader")
        wait_for(lambda: source.feed.reconnects >= feeds.MOST_LEFT + 1, "the count of those that have gone")
    loop.join(5)


def test_a_reader_that_waits_while_nobody_sends_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "STUCK_S", 0.1)
    held = threading.Event()
    camera = Made([hung(held)], sending=False)  # and gives one picture as it gives up
    source = LiveSource("made://", camera, None)
    with source:
        loop = threading.Thread(target=lambda: list(source), daemon=True)
        loop.start()
        time.sleep(0.5)
        assert camera.opened == 1
        held.set()
        wait_for(lambda: camera.closed > 0, "the reader closed")
    loop.join(5)
    assert source.captured == 0


def test_closing_does_not_wait_for_a_reader_that_hangs() -> None:
    held = threading.Event()
    source = LiveSource("made://", Made([hung(held)]), None)
    with source:
        next(iter(source))
        started = time.monotonic()
    assert time.monotonic() - started < 10
    held.set()


def test_what_a_back_end_raises_does_not_end_the_feed() -> None:
    def broken() -> Iterator[Image]:
        raise RuntimeError("decoder")

    frames, _ = taken(LiveSource("made://", Made([broken, pictures(5)]), None), lambda frames, _: len(frames) >= 3)
    assert len(frames) == 3


def test_frames_are_changed_as_asked() -> None:
    frames, _ = taken(LiveSource("made://", Made([pictures(5)]), None, lambda image: 255 - image), lambda frames, _: bool(frames))
    assert int(frames[0].image[0, 0, 0]) == 255


SPEC = ModelSpec("classifier", "c.onnx", "0" * 64, "fp16", "tensorrt", TensorSpec("images", (-1, 8, 8, 3), "uint8"), TensorSpec("p", (-1, CLASSES), "float32"))


def test_the_loop_tells_its_sinks_and_ends_with_the_figures(tmp_path: Path) -> None:
    def nothing(image: Image) -> Proposals:
        return Proposals(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    source = LiveSource("made://", Made([pictures(10_000)]), None)
    with Classifier(FakeEngine(SPEC, "fp16"), 0.5) as classifier:
        summary = run(source, nothing, classifier, [EventSink(tmp_path / "e.jsonl", LABELS)], max_frames=5)
    assert summary.frames == 5
    assert summary.feed is not None
    assert summary.feed["captured"] == summary.frames + summary.dropped
    assert summary.feed["state"] == "live"
    told = (tmp_path / "e.jsonl").read_text().splitlines()
    assert ['"state": "connecting"' in told[0], '"state": "live"' in told[1]] == [True, True]


def test_a_state_has_the_keys_of_every_event() -> None:
    event = state_event(FeedState("lost", 5, 10, 2, 1, 3, "made"))
    assert {"schema", "event", "frame", "still", "received_ns", "age_ms", "track", "class_id", "label", "confidence", "box_xyxy", "state"} <= set(event)
    assert (event["event"], event["state"], event["received_ns"], event["frame"]) == ("state", "lost", 5, None)
    assert event["feed"] == {"captured": 10, "dropped": 2, "damaged": 1, "foreign": 0, "reconnects": 3, "detail": "made"}
