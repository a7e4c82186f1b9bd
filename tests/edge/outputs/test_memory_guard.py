"""The guard of memory: what it gives up, in which order, what it says, and when it takes things up again."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from commands import command, started
from media import picture

from edge.board.machine import rss_mib
from edge.board.telemetry import Monitor, Telemetry
from edge.datasets.gtsrb import LABELS
from edge.frame import Frame
from edge.outputs.memory_guard import CALM_S, REMIND_S, MemoryGuard, Relief
from edge.outputs.segments import SegmentedVideoSink
from edge.result import Result

ROOT = Path(__file__).resolve().parents[3]


class Scene:
    """A guard of 400 MiB with two things to give up, and samples a second apart."""

    def __init__(self) -> None:
        self.done: list[tuple[str, bool]] = []
        self.guard = MemoryGuard(400, [Relief(name, lambda on, name=name: self.done.append((name, on))) for name in ("pictures", "video")])  # type: ignore[misc]
        self.now_s = 0

    def see(self, rss: float, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.now_s += 1
            self.guard.note(Telemetry(self.now_s * 10**9, None, None, rss, None, {}, None, {}, None, None))


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_little_memory_is_nothing_to_speak_of(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.see(339, 100)
    assert (scene.done, messages(caplog), scene.guard.warning) == ([], [], "")


def test_it_warns_then_gives_up_pictures_then_the_video_and_then_says_that_nothing_is_left(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.see(345, 50)
    assert (len(caplog.records), scene.done) == (1, [])
    scene.see(370, 50)
    assert scene.done == [("pictures", True)]
    scene.see(401, 10)
    assert scene.done == [("pictures", True), ("video", True)]
    assert scene.guard.given_up == 2
    scene.see(410, round(REMIND_S) * 3)
    told = messages(caplog)
    assert told[0] == "memory 345 MiB (RSS) of --memory-limit 400"
    assert told[1].endswith("400: given up pictures")
    assert told[2].endswith("400: given up pictures, video")
    assert len(told) in (5, 6)
    assert all("nothing more can be given up" in each for each in told[3:])
    assert scene.guard.warning == told[-1]


def test_a_leap_gives_up_one_thing_a_second(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    steps = []
    for _ in range(4):
        scene.see(900)
        steps.append((len(caplog.records), list(scene.done)))
    assert steps == [(1, []), (2, [("pictures", True)]), (3, [("pictures", True), ("video", True)]), (3, [("pictures", True), ("video", True)])]


def test_when_it_is_calm_things_are_taken_up_again_in_turn(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.see(401, 5)
    scene.see(300, round(CALM_S) - 2)
    scene.see(330)
    scene.see(300, round(CALM_S) - 2)
    assert scene.guard.given_up == 2
    scene.see(300, 5)
    assert scene.done[2:] == [("video", False)]
    scene.see(300, round(CALM_S))
    assert scene.done[2:] == [("video", False), ("pictures", False)]
    assert scene.guard.warning == ""
    assert messages(caplog)[-1].endswith("pictures again")
    scene.see(345)
    assert messages(caplog)[-1].startswith("memory 345 MiB")


def test_memory_that_is_really_taken_pauses_a_real_recording(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video = SegmentedVideoSink(tmp_path / "x.mkv", 25.0, LABELS)
    guard = MemoryGuard(round(rss_mib()) + 100, [Relief("the video", video.pause)])
    with video, Monitor(period_s=0.02) as monitor:
        monitor.tell(guard.note)
        block = np.ones(150 << 20, np.uint8)
        end = time.monotonic() + 20
        while not video.paused:
            assert time.monotonic() < end
            time.sleep(0.02)
        for index in range(5):
            video.write(Result(Frame(index, picture(index), index, None), (), (), (), index))
    assert video.missed == 5
    assert "given up the video" in messages(caplog)[1]
    assert block.nbytes == 150 << 20


def test_a_run_over_its_limit_says_so_and_goes_on_to_the_end(tiny_bundle: Path, tmp_path: Path) -> None:
    argv = command(
        "run", "demo://?frames=100000&width=480&height=270&realtime=1", "--bundle", tiny_bundle, "--memory-limit", "10", "--json", tmp_path / "s.json"
    )
    with started(argv, ROOT) as process:
        assert process.stderr is not None
        assert any("(RSS) of --memory-limit 10" in line for line in process.stderr)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in said
    assert (tmp_path / "s.json").is_file()
