"""Sinks: what they write, what they refuse, and that nothing half-written stands under its final name."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from commands import lines
from media import picture, small_disk

from edge.datasets.gtsrb import LABELS
from edge.errors import OutputError
from edge.frame import UNTOLD, Frame
from edge.outputs.annotate import annotate
from edge.outputs.console import ConsoleSink
from edge.outputs.events import EventSink
from edge.outputs.passes import PassSink
from edge.outputs.video import CODECS, VideoSink
from edge.result import Detection, Report, Result, Sink
from edge.sources.open import open_source
from edge.sources.video import count_frames

BOX = (10.0, 20.25, 30.5, 40.123)
KEYS = ["schema", "event", "frame", "still", "received_ns", "age_ms", "track", "class_id", "label", "confidence", "box_xyxy", "state"]
KEYS += ["time", "media_s", "quad_xy", "pose", "where", "time_unknown", "picture"]


def result(index: int, *reports: Report, still: str | None = None, size_wh: tuple[int, int] = (96, 64), final: bool = False) -> Result:
    return Result(Frame(index, picture(index, size_wh), 1_000_000, still), reports, (), (), 22_400_000, final)


def sighting(track: int | None = 3) -> Report:
    return Report("sighting", track, 14, 0.98765, BOX)


def write_all(sink: Sink, results: Sequence[Result], error: Exception | None = None) -> None:
    with sink:
        for each in results:
            sink.write(each)
        if error is not None:
            raise error


def test_an_event_line_holds_what_is_promised_and_can_be_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "events.jsonl"
    with EventSink(path, LABELS) as sink:
        sink.write(result(16))
        sink.write(result(17, sighting()))
        (line,) = path.read_text(encoding="utf-8").splitlines()
        sink.write(result(18, sighting(None), Report("gone", 3, 14, 0.9, BOX), still="a/18.jpg"))
    event = json.loads(line)
    assert list(event) == KEYS
    assert event == {
        "schema": 2,
        "event": "sighting",
        "frame": 17,
        "still": None,
        "received_ns": 1_000_000,
        "age_ms": 21.4,
        "track": 3,
        "class_id": 14,
        "label": "Stop",
        "confidence": 0.9877,
        "box_xyxy": [10.0, 20.25, 30.5, 40.12],
        "state": "live",
        "time": None,
        "media_s": None,
        "quad_xy": None,
        "pose": None,
        "where": None,
        "time_unknown": UNTOLD,
        "picture": None,
    }
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(e["event"], e["track"], e["still"]) for e in events] == [("sighting", 3, None), ("sighting", None, "a/18.jpg"), ("gone", 3, "a/18.jpg")]


@pytest.mark.parametrize("moved", [True, False])
def test_a_file_that_somebody_takes_away_gives_way_to_a_new_one(tmp_path: Path, moved: bool) -> None:
    path = tmp_path / "events.jsonl"
    with EventSink(path, LABELS) as sink:
        sink.write(result(1, sighting()))
        if moved:
            path.rename(tmp_path / "old")
        else:
            path.unlink()
        sink.write(result(2, sighting()))
    assert [event["frame"] for event in lines(path)] == [2]
    assert sink.missed == 0
    if moved:
        assert [event["frame"] for event in lines(tmp_path / "old")] == [1]


def test_what_nobody_reads_is_missed_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "fifo")
    with EventSink(tmp_path / "fifo", LABELS) as sink:
        for index in range(5000):
            sink.write(result(index, sighting()))
        assert 500 < sink.missed < 4000
        assert [record.getMessage() for record in caplog.records] == [f"events in {tmp_path / 'fifo'} wait for space: nobody reads on"]
        with (tmp_path / "fifo").open("rb", buffering=0) as reading:
            first = json.loads(reading.readline())
        assert first["frame"] == 0
    assert 5000 > sink.missed > 1000


@pytest.mark.parametrize("suffix", sorted(CODECS))
@pytest.mark.parametrize("fps", [29.97, 25.0, None])
def test_a_video_holds_every_frame_once_and_stands_only_when_it_is_whole(tmp_path: Path, suffix: str, fps: float | None) -> None:
    path = tmp_path / "new" / f"annotated{suffix}"
    with VideoSink(path, fps, LABELS) as sink:
        for index in range(20):
            sink.write(result(index, sighting(None)))
        sink.write(result(19, final=True))
        assert not path.exists()
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    assert count_frames(path) == 20
    with open_source(str(path)) as source:
        frames = list(source)
    assert (len(frames), source.unreadable, frames[0].image.shape) == (20, 0, (64, 96, 3))
    assert source.fps == pytest.approx(fps or 1.0, rel=0.01)


def test_a_failing_run_leaves_no_video_and_its_own_error_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_text("the old one")
    with pytest.raises(OSError, match="cable"):
        write_all(VideoSink(path, 25.0, LABELS), [result(0)], OSError("cable"))
    assert path.read_text() == "the old one"
    assert [found.name for found in tmp_path.iterdir()] == ["x.mp4"]


def test_a_video_of_no_frames_is_no_file(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "x.mp4", 25.0, LABELS):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_a_frame_of_another_size_is_fitted_into_the_first_ones(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    sizes = (96, 64), (64, 64), (32, 200), (960, 640)
    write_all(VideoSink(path, 25.0, LABELS), [result(index, size_wh=size) for index, size in enumerate(sizes)])
    with open_source(str(path)) as source:
        frames = [frame for frame in source if isinstance(frame, Frame)]
    assert [frame.image.shape for frame in frames] == [(64, 96, 3)] * 4
    beside, within = ([int(frame.image[20:44, columns].mean()) for frame in frames] for columns in (slice(4, 12), slice(46, 50)))
    assert [edge < middle / 2 for edge, middle in zip(beside, within, strict=True)] == [False, True, True, False]  # black beside what is narrower


@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_any_rate_can_be_written(tmp_path: Path, suffix: str) -> None:
    for fps in (119.867, 59.94005994, 1000 / 33):
        path = tmp_path / f"{fps}{suffix}"
        write_all(VideoSink(path, fps, LABELS), [result(index) for index in range(12)])
        with open_source(str(path)) as source:
            assert source.fps == pytest.approx(fps, rel=0.005)
            assert len(list(source)) == 12


@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_a_full_disk_is_no_video(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)  # noise: what an encoder cannot make small
    frames = [Frame(index, rng.integers(0, 256, (240, 320, 3), np.uint8), 1_000_000, None) for index in range(60)]
    results = [Result(frame, (), (), (), 22_400_000, False) for frame in frames]
    sink = VideoSink(tmp_path / f"x{suffix}", 25.0, LABELS)
    with small_disk(50_000):
        write_all(sink, results)  # names are never lost for the sake of a video
    assert "the disk may be full" in str(sink.failure)
    assert sink.missed == 60
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_once_and_events_go_on_when_there_is_space(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "events.jsonl"
    with caplog.at_level(logging.WARNING), EventSink(path, LABELS) as sink:
        with small_disk(1000):
            for index in range(20):
                sink.write(result(index, sighting(), sighting()))
            kept = [event["frame"] for event in lines(path)]
            assert kept == [index for index in range(len(kept) // 2) for _ in range(2)]
            assert len(kept) >= 2
            assert sink.missed == 40 - len(kept)
        for index in (50, 51):
            sink.write(result(index, sighting()))
    assert [event["frame"] for event in lines(path)] == [*kept, 50, 51]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "wait for space: " in told[0]
    assert f"after {40 - len(kept)} lines" in told[1]


def test_events_rotate_by_size_and_the_newest_lines_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventSink(path, LABELS, max_bytes=1000, keep=3) as sink:
        for index in range(40):
            sink.write(result(index, sighting()))
    files = [path.with_name(f"events.jsonl{suffix}") for suffix in (".2", ".1", "")]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    kept = [event["frame"] for file in files for event in lines(file)]
    assert kept == list(range(kept[0], 40))
    assert all(file.stat().st_size <= 1000 for file in files)
    assert all(file.stat().st_size > 500 for file in files[:2])


def test_a_bounded_events_file_keeps_what_an_earlier_run_wrote_but_not_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write_all(EventSink(path, LABELS, max_bytes=1 << 20), [result(1, sighting())])
    with path.open("ab") as file:
        file.write(b'{"schema": 1, "eve')
    write_all(EventSink(path, LABELS, max_bytes=1 << 20), [result(2, sighting())])
    assert [event["frame"] for event in lines(path)] == [1, 2]
    write_all(EventSink(path, LABELS), [result(3, sighting())])
    assert [event["frame"] for event in lines(path)] == [3]


@pytest.mark.parametrize("place", ["file/x.mp4", "folder.mp4", "/proc/x.mp4"])
@pytest.mark.parametrize("kind", [EventSink, VideoSink])
def test_a_place_that_cannot_be_written_is_refused_before_the_first_frame(tmp_path: Path, place: str, kind: type) -> None:
    (tmp_path / "file").write_text("a file where a folder is wanted")
    (tmp_path / "folder.mp4").mkdir()
    path = tmp_path / place
    sink: Sink = VideoSink(path, 25.0, LABELS) if kind is VideoSink else EventSink(path, LABELS)
    with pytest.raises(OutputError, match="wanted to write"), sink:
        pytest.fail("it opened")


def test_a_video_without_a_known_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\*\.mp4"):
        VideoSink(tmp_path / "x.gif", 25.0, LABELS)


def test_the_console_tells_sightings_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleSink(LABELS) as sink:
        sink.write(result(17, sighting(), Report("update", 2, 1, 0.5, BOX)))
        sink.write(result(18, sighting(None), still="18.jpg"))
    assert capsys.readouterr() == ("frame 17: Stop 0.99\n18.jpg: Stop 0.99\n", "")


def test_announced_signs_are_drawn_with_a_plate_and_others_with_a_thin_box() -> None:
    image = np.full((540, 960, 3), 90, np.uint8)
    frame = Frame(0, image, 0, None)
    announced = Result(frame, [Report("sighting", None, 14, 0.9, (400, 200, 460, 260))], [Detection((400, 200, 460, 260), 14, 0.9)], (), 0)
    unsure = Result(frame, (), [Detection((400, 200, 460, 260), 14, 0.9)], (), 0)
    plain, first, second = (annotate(r, LABELS) for r in (Result(frame, (), (), (), 0), announced, unsure))
    assert (image == 90).all()
    changed = [int((drawn != plain).any(axis=2)[:500].sum()) for drawn in (first, second)]
    assert changed[0] > 2000 > changed[1] > 200
    # The sign itself stays as it was.
    assert (first[200:260, 400:460] == 90).all()
    assert (second[200:260, 400:460] == 90).all()


def test_plates_cover_neither_each_other_nor_another_sign() -> None:
    image = np.full((540, 960, 3), 90, np.uint8)
    boxes = [(400 + 30 * n, 250, 412 + 30 * n, 262) for n in range(5)]
    reports = [Report("sighting", None, 14, 0.9, box) for box in boxes]
    drawn = annotate(Result(Frame(0, image, 0, None), reports, (), (), 0), LABELS)
    assert all((drawn[y1:y2, x1:x2] == 90).all() for x1, y1, x2, y2 in boxes)
    alone = [annotate(Result(Frame(0, image, 0, None), [report], (), (), 0), LABELS) for report in reports]
    green = [int((picture[:500] == (80, 220, 60)).all(axis=2).sum()) for picture in (drawn, *alone)]
    assert green[0] == pytest.approx(sum(green[1:]), rel=0.03)


@pytest.mark.parametrize("box", [(0, 0, 5, 5), (-20, -20, 4, 4), (90, 60, 96, 64), (0, 0, 96, 64)])
@pytest.mark.parametrize("size_wh", [(96, 64), (8, 8), (1, 1)])
def test_boxes_at_the_edge_and_tiny_frames_can_be_drawn(box: tuple[float, float, float, float], size_wh: tuple[int, int]) -> None:
    drawn = annotate(result(0, Report("sighting", None, 14, 1.0, box), size_wh=size_wh), LABELS)
    assert drawn.shape == (size_wh[1], size_wh[0], 3)


@pytest.mark.parametrize("view", ["drone", "car"])
def test_a_flight_of_which_nothing_was_seen_has_a_score_of_zeros(view: str) -> None:
    assert PassSink(f"demo://?frames=5&view={view}").score() == dict.fromkeys(("all", "right", "wrong", "missed", "twice", "false"), 0)


def test_only_what_was_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "v.avi").write_bytes(b"of an earlier run")
    video, events = VideoSink(tmp_path / "v.avi", 25.0, LABELS), EventSink(tmp_path / "e.jsonl", LABELS)
    assert (video.product, events.product) == ("", "")
    with video, events:
        assert events.product == str(tmp_path / "e.jsonl")
    assert video.product == ""
    with video:
        video.write(Result(Frame(0, picture(0), 0, None), (), (), (), 0))
    assert video.product == str(tmp_path / "v.avi")
