"""The video of a live source: segments that play whatever ended them, and that never hold the loop up."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from media import picture
from packets import wait_for

from edge.datasets.gtsrb import LABELS
from edge.errors import OutputError
from edge.frame import Frame
from edge.outputs.segments import SegmentedVideoSink
from edge.result import Result
from edge.sources.open import open_source

ROOT = Path(__file__).resolve().parents[3]
SYSTEM_PYTHON = "/usr/bin/python3"
NOON = datetime(2026, 5, 4, 12, 0, 0, tzinfo=timezone.utc)
SECOND = 1_000_000_000


def result(index: int, received_s: float, size_wh: tuple[int, int] = (320, 240)) -> Result:
    return Result(Frame(index, picture(index, size_wh), round(received_s * SECOND), None), (), (), (), round(received_s * SECOND))


def write_paced(sink: SegmentedVideoSink, results: list[Result]) -> None:
    """Write as fast as the encoder goes: no frame is to be left out."""
    for each in results:
        wait_for(lambda: sink._queue.qsize() < 2, "the encoder")
        sink.write(each)


def shown(path: Path) -> int:
    with open_source(str(path)) as source:
        return sum(1 for _ in source)


def test_a_segment_is_named_by_utc_and_holds_every_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with SegmentedVideoSink(tmp_path / "new" / "seen.mkv", 25.0, LABELS, wall=lambda: NOON) as sink:
        write_paced(sink, [result(index, 5 + index / 25) for index in range(30)])
    (path,) = (tmp_path / "new").iterdir()
    assert path.name == "seen-20260504T120000Z.mkv"
    assert shown(path) == 30
    assert sink.missed == 0
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    assert "MJPG" in told or "H.264" in told


def test_the_pace_is_the_clocks(tmp_path: Path) -> None:
    with SegmentedVideoSink(tmp_path / "seen.mkv", 30.0, LABELS) as sink:
        write_paced(sink, [result(index, index / 6) for index in range(12)])  # two seconds at 6 a second
    assert shown(sink.written[0]) == pytest.approx(60, abs=8)
    with SegmentedVideoSink(tmp_path / "seen.mkv", 30.0, LABELS) as sink:
        write_paced(sink, [result(index, index / 60) for index in range(120)])  # two seconds at 60 a second
    assert shown(sink.written[0]) == pytest.approx(60, abs=8)


def test_a_pause_another_size_and_a_wall_clock_set_back_begin_new_segments(tmp_path: Path) -> None:
    wall = iter([NOON, NOON.replace(year=1970), NOON.replace(year=1970)])
    times = [*(index / 25 for index in range(10)), *(5 + index / 25 for index in range(10))]
    frames = [result(index, at) for index, at in enumerate(times)] + [result(20 + index, 5.4 + index / 25, (96, 64)) for index in range(10)]
    with SegmentedVideoSink(tmp_path / "seen.mkv", 25.0, LABELS, wall=lambda: next(wall)) as sink:
        write_paced(sink, frames)
    assert [path.name for path in sink.written] == ["seen-20260504T120000Z.mkv", "seen-19700504T120000Z.mkv", "seen-19700504T120000Z-2.mkv"]
    assert [shown(path) for path in sink.written] == [10, 10, 10]


def test_a_slow_encoder_loses_its_own_frames_counted_and_never_holds_the_loop(tmp_path: Path) -> None:
    hold = threading.Event()

    def free(folder: Path) -> int:
        hold.wait(20)
        return 1 << 40

    with SegmentedVideoSink(tmp_path / "seen.mkv", 25.0, LABELS, free=free) as sink:
        for index in range(50):
            sink.write(result(index, index / 25))
        missed = sink.missed
        hold.set()
    assert missed >= 40
    assert shown(sink.written[0]) >= 50 - missed


def test_a_full_disk_is_told_once_and_the_video_goes_on_when_there_is_space(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    left = [1 << 40]
    with caplog.at_level(logging.WARNING), SegmentedVideoSink(tmp_path / "seen.mkv", 25.0, LABELS, free=lambda folder: left[0]) as sink:
        index = 0
        for free, until in ((1 << 40, lambda: len(sink.written) == 1), (1 << 20, lambda: sink.missed > 3), (1 << 40, lambda: len(sink.written) == 2)):
            left[0] = free
            end = time.monotonic() + 20
            while not until():
                assert time.monotonic() < end
                sink.write(result(index, index / 25))
                index += 1
                time.sleep(0.04)
    assert len([record for record in caplog.records if "waits: 1 MiB" in record.getMessage()]) == 1
    assert len([record for record in caplog.records if "goes on" in record.getMessage()]) == 1
    assert all(shown(path) > 0 for path in sink.written)


@pytest.mark.parametrize("name", ["x.mp4", "x.avi", "x"])
def test_what_does_not_outlive_a_power_cut_is_refused(name: str) -> None:
    with pytest.raises(OutputError, match=r"\.mkv"):
        SegmentedVideoSink(Path(name), 25.0, LABELS)


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from edge.datasets.gtsrb import LABELS
from edge.result import Result
from edge.frame import Frame
from edge.outputs.segments import SegmentedVideoSink
chance = np.random.default_rng(0)
image = chance.integers(0, 255, (360, 640, 3), np.uint8)
with SegmentedVideoSink(Path(sys.argv[1]), 25.0, LABELS) as sink:
    for index in range(100):
        while sink._queue.qsize() > 1:
            time.sleep(0.002)
        sink.write(Result(Frame(index, np.roll(image, 8 * index, 1), index * 40_000_000, None), (), (), (), 0))
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("python", [sys.executable, SYSTEM_PYTHON])
def test_a_segment_plays_after_a_kill(tmp_path: Path, python: str) -> None:
    if python == SYSTEM_PYTHON:
        asked = "import cv2, sys; sys.exit('GStreamer:                   YES' not in cv2.getBuildInformation())"
        if subprocess.run([python, "-c", asked], capture_output=True, check=False).returncode:
            pytest.skip("the system's Python has no OpenCV with GStreamer")
        if not shutil.which("gst-inspect-1.0") or subprocess.run(["gst-inspect-1.0", "--exists", "x264enc"], check=False).returncode:
            pytest.skip("GStreamer has no x264enc")
    with subprocess.Popen([python, "-c", KILLED, str(tmp_path / "seen.mkv")], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline(), process.stdout.readline()]
        process.kill()
    assert told[1] == "written\n"
    assert (python == SYSTEM_PYTHON) == ("H.264" in told[0])
    (path,) = tmp_path.iterdir()
    # What FFmpeg's writer keeps back is 256 KiB and the frames of one cluster.
    assert shown(path) >= 60


def test_a_segment_that_is_removed_gives_way_to_another_at_once(tmp_path: Path) -> None:
    with SegmentedVideoSink(tmp_path / "seen.mkv", 25.0, LABELS) as sink:
        write_paced(sink, [result(index, index / 25) for index in range(10)])
        wait_for(lambda: sink._queue.empty() and sink._frames == 10, "the encoder")
        sink.written[0].unlink()
        write_paced(sink, [result(index, index / 25) for index in range(10, 20)])
    assert [path.name for path in tmp_path.iterdir()] == [sink.written[-1].name]
    assert shown(sink.written[-1]) == 10
    assert sink.missed == 0


def test_an_encoder_that_hangs_does_not_keep_a_run_from_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hold = threading.Event()

    def free(folder: Path) -> int:
        hold.wait(60)
        return 1 << 40

    with SegmentedVideoSink(tmp_path / "seen.mkv", 25.0, LABELS, free=free) as sink:
        for index in range(50):
            sink.write(result(index, index / 25))
    assert "hangs: the video ends before the run" in caplog.text
    hold.set()
    wait_for(lambda: not sink._thread.is_alive(), "the thread")


def test_a_video_whose_thread_fails_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with SegmentedVideoSink(tmp_path / "seen.mkv", 25.0, LABELS) as sink:
        sink._queue.put("no result")  # type: ignore[arg-type]
        write_paced(sink, [result(index, index / 25) for index in range(10)])
    assert "the thread video failed" in caplog.text
    assert shown(sink.written[-1]) == 10


def test_what_was_written_is_told_by_its_own_names(tmp_path: Path) -> None:
    wall = iter([NOON, NOON.replace(hour=13), NOON.replace(hour=14)])
    with SegmentedVideoSink(tmp_path / "none.mkv", 25.0, LABELS) as sink:
        pass
    assert sink.product == ""
    with SegmentedVideoSink(tmp_path / "seen.mkv", 25.0, LABELS, wall=lambda: next(wall)) as sink:
        write_paced(sink, [result(0, 0.0)])
        wait_for(lambda: sink.product, "the first segment")
        assert sink.product == str(tmp_path / "seen-20260504T120000Z.mkv")
        write_paced(sink, [result(1, 5.0), result(2, 10.0)])
    assert sink.product == f"3 segments from {tmp_path}/seen-20260504T120000Z.mkv to seen-20260504T140000Z.mkv"
