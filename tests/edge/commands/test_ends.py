"""A run that nobody reads, whose disk is full or whose caller goes away: it goes on, and it ends in order within seconds of being asked to."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import command, lines, started
from media import picture, write_image
from packets import wait_for
from streams import sending

from edge.sources.live.rtp.sockets import free_ports
from edge.sources.video import count_frames

ROOT = Path(__file__).resolve().parents[3]
PROMISED_S = 3.0
SLACK_S = 2.0
"""For this test machine, which does other things."""


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Stills for some seconds, each announced with a name so long that a pipe is soon full."""
    first = write_image(tmp_path / "in" / f"{'n' * 200}.png", picture(0))
    for number in range(6000):
        os.link(first, first.with_name(f"{'n' * 200}{number}.png"))
    return first.parent


def ended(running: subprocess.Popen[str], within_s: float = PROMISED_S + SLACK_S) -> int:
    try:
        return running.wait(within_s)
    except subprocess.TimeoutExpired:
        running.kill()
        pytest.fail(f"not ended within {within_s:g} s")


@contextmanager
def running(*argv: object, stdout: int, stderr: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command(*argv), cwd=ROOT, stdout=stdout, stderr=stderr, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def unread_pipe() -> Iterator[int]:
    reading, writing = os.pipe()
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


def test_a_reader_that_stalls_does_not_hold_the_run_up(bundle: Path, many: Path, tmp_path: Path) -> None:
    with unread_pipe() as pipe, running("run", many, "--bundle", bundle, "--spotter", "none", "--json", tmp_path / "s.json", stdout=pipe, stderr=pipe) as run:
        assert run.wait(120) == 0
    assert json.loads((tmp_path / "s.json").read_text())["frames"] == 6001


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order_though_nobody_reads(bundle: Path, many: Path, tmp_path: Path, sent: int) -> None:
    os.mkfifo(tmp_path / "e.fifo")
    video, summary = tmp_path / "v.avi", tmp_path / "s.json"
    outputs = ("--events", tmp_path / "e.fifo", "--video", video, "--json", summary)
    with unread_pipe() as pipe, running("run", many, "--bundle", bundle, "--spotter", "none", *outputs, stdout=pipe, stderr=pipe) as run:
        wait_for(lambda: (tmp_path / ".v.partial.avi").exists(), "the video", 60)
        time.sleep(2)
        run.send_signal(sent)
        # Lines that nobody read are missed events: the exit code tells.
        assert ended(run) in (0, 1)
    figures = json.loads(summary.read_text())
    assert 0 < figures["frames"] < 6001
    assert abs(count_frames(video) - figures["frames"]) <= 1
    assert not list(tmp_path.glob(".*partial*"))


@pytest.mark.parametrize("kind", ["stalled", "full", "gone"])
def test_a_live_run_goes_on_whatever_becomes_of_its_console(bundle: Path, tmp_path: Path, kind: str) -> None:
    port, events = free_ports(), tmp_path / "e.jsonl"
    reading, writing = os.pipe()
    full = os.open("/dev/full", os.O_WRONLY)
    if kind == "gone":
        os.close(reading)
    events.write_text('{"event": "earlier"}\n')
    outputs = ("--events", events, "--video", tmp_path / "v.mkv", "--json", tmp_path / "s.json")
    console = full if kind == "full" else writing
    with running(
        "run", f"rtp://@:{port}?codec=h264", "--bundle", bundle, "--engine", "fake", "--spotter", "none", *outputs, stdout=console, stderr=console
    ) as run:
        if kind == "stalled":
            fill(writing)
        with sending(port, "h264"):
            wait_for(lambda: '"live"' in events.read_text(), "the camera", 60)
            time.sleep(1)
            run.send_signal(signal.SIGHUP)
            assert ended(run) == 0
    # What an earlier run saw is still there, as after a service is started anew.
    assert [event["event"] for event in lines(events)][:2] == ["earlier", "state"]
    assert json.loads((tmp_path / "s.json").read_text())["frames"] > 0
    (video,) = tmp_path.glob("v-*.mkv")
    assert count_frames(video) > 0 or video.stat().st_size > 1000


def waiting_in(pipe: int) -> int:
    """Bytes that nobody has read."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def fill(pipe: int) -> None:
    os.set_blocking(pipe, False)
    try:
        while os.write(pipe, b"\n" * 4096):
            pass
    except BlockingIOError:
        pass
    os.set_blocking(pipe, True)


def test_sighup_that_is_ignored_stays_so(bundle: Path, many: Path, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        run = started(command("run", many, "--bundle", bundle, "--spotter", "none", "--events", tmp_path / "e.jsonl"), ROOT, subprocess.DEVNULL)
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for(lambda: (tmp_path / "e.jsonl").exists() and (tmp_path / "e.jsonl").stat().st_size > 0, "events", 60)
    run.send_signal(signal.SIGHUP)
    count = len(lines(tmp_path / "e.jsonl"))
    wait_for(lambda: len((tmp_path / "e.jsonl").read_bytes().splitlines()) > count + 200, "more events")
    run.send_signal(signal.SIGTERM)
    assert ended(run) == 0
    assert run.stderr is not None
    run.stderr.close()


@pytest.mark.parametrize("argv", [("run", "x.mp4"), ("classify", "x.png"), ("doctor", "x.png"), ("run", "zero.png")])
def test_a_fifo_or_a_device_is_no_picture_and_no_film(bundle: Path, tmp_path: Path, argv: tuple[str, str]) -> None:
    for name in ("x.mp4", "x.png"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    ran = subprocess.run(command(argv[0], tmp_path / argv[1], "--bundle", bundle), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert any(word in ran.stdout + ran.stderr for word in ("a FIFO", "a device", "no plain file"))


def test_events_on_the_standard_output_are_json_alone(bundle: Path, many: Path, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/dev/stdout")
    for name in ("-", tmp_path / "out"):
        argv = command("run", many, "--bundle", bundle, "--spotter", "none", "--max-frames", 40, "--events", name, "--json", tmp_path / "s.json")
        ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
        assert [json.loads(line)["frame"] for line in ran.stdout.splitlines()] == list(range(40))
        assert "sightings     40" in ran.stderr
    assert (tmp_path / "out").is_symlink()


def test_a_fifo_of_events_is_read_from_any_time_on(bundle: Path, many: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "e.fifo")
    with running("run", many, "--bundle", bundle, "--spotter", "none", "--events", tmp_path / "e.fifo", stdout=subprocess.DEVNULL) as run:
        with (tmp_path / "e.fifo").open() as reading:
            assert [json.loads(reading.readline())["frame"] for _ in range(50)] == list(range(50))
        run.send_signal(signal.SIGTERM)
        assert ended(run) in (0, 1)


def test_figures_that_nobody_reads_are_told_and_the_summary_is_printed(bundle: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "s.fifo"
    os.mkfifo(fifo)
    argv = command("run", "demo://?frames=2&width=96&height=64", "--bundle", bundle, "--spotter", "none", "--json", fifo, "--events", tmp_path / "e.jsonl")
    ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (1, f"python -m edge: wanted to write {fifo}, found nobody who reads it: read it, or write to a file\n")
    assert "frames        2\n" in ran.stdout
    assert ran.stdout.endswith(f"written       {tmp_path}/e.jsonl\n")


def test_a_signal_does_not_wait_for_who_may_read_the_figures(bundle: Path, many: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s.fifo")
    outputs = ("--json", tmp_path / "s.fifo", "--events", tmp_path / "e.jsonl")
    with running("run", many, "--bundle", bundle, "--spotter", "none", *outputs, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        run.stdout.readline()
        run.send_signal(signal.SIGTERM)
        assert ended(run) == 1
        assert f"written       {tmp_path}/e.jsonl\n" in run.stdout.read()


@pytest.mark.parametrize(("closed", "code"), [("full", 1), (">&-", 0)])
def test_an_answer_that_cannot_be_printed_is_told(bundle: Path, tmp_path: Path, closed: str, code: int) -> None:
    photo = write_image(tmp_path / "x.png", picture(0))
    target = ">/dev/full" if closed == "full" else closed
    shell = f'exec "$@" {target}'
    ran = subprocess.run(
        ["sh", "-c", shell, "sh", *command("classify", photo, "--bundle", bundle)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == code
    assert ("No space left on device" in ran.stderr) == (closed == "full")
    assert "Traceback" not in ran.stderr


def test_a_stalled_reader_of_a_table_is_waited_for_and_a_signal_ends_that(bundle: Path, many: Path) -> None:
    with unread_pipe() as pipe, running("classify", many, "--bundle", bundle, stdout=pipe) as naming:
        wait_for(lambda: waiting_in(pipe) > 60_000, "a full pipe", 60)
        assert naming.poll() is None
        naming.send_signal(signal.SIGTERM)
        assert ended(naming) == 130


def test_a_long_flight_that_is_interrupted_is_not_looked_through_before_the_end(bundle: Path, tmp_path: Path) -> None:
    demo, summary = "demo://?frames=1000000&width=320&height=180&realtime=1&fps=1000", tmp_path / "s.json"
    outputs = ("--events", tmp_path / "e.jsonl", "--video", tmp_path / "v.mp4", "--json", summary)
    with running("run", demo, "--bundle", bundle, "--engine", "fake", "--spotter", "none", *outputs, stdout=subprocess.DEVNULL) as run:
        wait_for(lambda: (tmp_path / "e.jsonl").exists(), "the flight", 60)
        time.sleep(4)  # some thousand frames
        run.send_signal(signal.SIGTERM)
        assert ended(run) == 0
    assert json.loads(summary.read_text())["frames"] > 0
    assert count_frames(tmp_path / "v.mp4") > 0
