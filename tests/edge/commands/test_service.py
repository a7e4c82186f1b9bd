"""The service: a unit that systemd accepts and calls safe, whose own command runs, tells that it is ready, and stops feeding its watchdog when it hangs."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import done, refused
from edge.sources.open import open_source
from packets import lacking

from edge.commands.service import NAME, install, remove, unit
from edge.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
MOST_EXPOSURE = 4.0
"""Of systemd's scale from 0 (safe) to 10: cameras, the GPU and the network it needs."""


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        lacking("needs systemd-analyze (Debian, Ubuntu: apt install systemd)")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    install(unit("rtp://@:5600?codec=h265&forward=127.0.0.1:5601", "root", None, ["--web", "8080"], ["video"]), apply=True, units=tmp_path)
    return tmp_path / NAME


def test_systemd_accepts_the_unit(written: Path) -> None:
    told = analyze("verify", str(written))
    assert told.returncode == 0, told.stderr
    assert NAME not in told.stderr, told.stderr


def test_systemd_calls_it_safe(written: Path) -> None:
    told = analyze("security", "--offline=true", "--no-pager", str(written))
    found = re.search(r"exposure level for .*?: ([\d.]+)", told.stdout)
    assert found is not None, told.stdout + told.stderr
    assert float(found[1]) <= MOST_EXPOSURE


def test_what_systemd_would_expand_is_quoted() -> None:
    text = unit('rtsp://host/%40$x/a b?c="d"', "root", None, [], [])
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    assert '"rtsp://host/%%40$$x/a b?c=\\"d\\""' in line


def test_a_password_stands_in_a_file_and_never_in_the_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "service", "install", "--source", "rtsp://user:secret@127.0.0.1/stream").startswith(
        "python -m edge: wanted a source without a password"
    )
    monkeypatch.chdir(tmp_path)
    Path("camera").write_text("rtsp://user:secret@127.0.0.1:1/stream\nfor the front camera\n", encoding="utf-8")
    done("service", "install", "--source", "@camera")
    told = capsys.readouterr().out
    assert f" run @{tmp_path}/camera\n" in told
    assert "secret" not in told
    with open_source("@camera") as source:
        assert source.uri == "rtsp://127.0.0.1:1/stream"
    assert "found nothing" in refused(capsys, "service", "install", "--source", "@/dev/null")
    assert "cannot read it" in refused(capsys, "run", "@/nowhere/camera")


@pytest.mark.parametrize(("source", "private"), [("csi://0", "no"), ("rtp://@:5600", "yes")])
def test_a_csi_camera_keeps_the_socket_of_its_daemon(source: str, private: str) -> None:
    assert f"PrivateTmp={private}\n" in unit(source, "root", None, [], [])


def test_a_line_break_cannot_smuggle_in_a_setting() -> None:
    with pytest.raises(InputError, match="line break"):
        unit("demo://\nExecStartPre=/bin/true", "root", None, [], [])


def test_it_prints_by_default_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(unit("demo://", "root", None, [], []), apply=False, units=tmp_path)
    assert "ExecStart=" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_it_is_written_once_and_removed(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = written.stat().st_mtime_ns
    install(written.read_text(), apply=True, units=written.parent)
    assert written.stat().st_mtime_ns == before
    remove(apply=False, units=written.parent)
    assert written.exists()
    remove(apply=True, units=written.parent)
    assert not written.exists()
    remove(apply=True, units=written.parent)
    assert "there is no" in capsys.readouterr().out


def test_the_command_refuses_what_would_only_fail_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--source" in refused(capsys, "service", "install")
    assert "HOST:PORT" in refused(capsys, "service", "install", "--source", "rtp://@")
    assert "wanted a bundle" in refused(capsys, "service", "install", "--source", "rtp://@:5600", "--bundle", tmp_path)
    done("service", "install", "--source", "rtp://@:5600", "--user", "pilot", "--options=--web 8080")
    printed = capsys.readouterr().out
    assert "User=pilot" in printed
    assert "--web 8080" in printed


@contextmanager
def running(folder: Path, source: str, bundle: Path, watchdog_s: float = 1.0) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """Run the unit's own command line as systemd would, and listen as systemd does."""
    text = unit(source, "root", bundle, ["--engine", "fake", "--spotter", "none"], [])
    line = next(line for line in text.splitlines() if line.startswith("ExecStart=")).removeprefix("ExecStart=")
    command = [part.replace("%%", "%").replace("$$", "$") for part in shlex.split(line)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(folder / "notify"))
        listening.settimeout(30)
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": str(round(watchdog_s * 1e6))}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process, listening
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


def heard(listening: socket.socket, wanted: str, within_s: float = 30) -> bool:
    """Whether a message that starts so comes in time."""
    end = time.monotonic() + within_s
    while (left := end - time.monotonic()) > 0:
        listening.settimeout(left)
        try:
            if listening.recv(4096).decode().startswith(wanted):
                return True
        except TimeoutError:
            return False
    return False


def drained(listening: socket.socket) -> None:
    listening.setblocking(False)
    try:
        while True:
            listening.recv(4096)
    except BlockingIOError:
        listening.setblocking(True)


def test_it_tells_that_it_is_ready_lives_and_ends(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path, "demo://?width=160&height=96&frames=1000000", tiny_bundle) as (process, listening):
        assert heard(listening, "READY=1")
        assert heard(listening, "STATUS=live, ")
        assert heard(listening, "WATCHDOG=1")
        assert heard(listening, "WATCHDOG=1")
        process.terminate()
        assert heard(listening, "STOPPING=1")
        assert process.wait(30) == 0


def test_a_loop_that_hangs_stops_feeding_the_watchdog(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path, "demo://?width=160&height=96&frames=1000000", tiny_bundle) as (process, listening):
        assert heard(listening, "WATCHDOG=1")
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        drained(listening)
        assert not heard(listening, "WATCHDOG=1", 2)


def test_a_camera_that_is_not_there_is_no_reason_to_be_killed(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tmp_path, "v4l2:///dev/video77", tiny_bundle) as (process, listening):
        assert heard(listening, "READY=1")
        assert heard(listening, "STATUS=connecting, ")
        for _ in range(4):
            assert heard(listening, "WATCHDOG=1", 5)
        assert process.poll() is None


def test_without_systemd_nothing_is_told(tiny_bundle: Path) -> None:
    from edge.outputs.notify import ServiceSink

    assert "NOTIFY_SOCKET" not in os.environ
    assert not ServiceSink().wanted
    assert sys.executable in unit("demo://", "root", tiny_bundle, [], [])
