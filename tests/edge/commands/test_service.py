"""The service: a unit that systemd accepts and calls safe, whose own command runs, tells that it is ready, and stops feeding its watchdog when it hangs."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import done, refused
from packets import lacking

from edge.commands.service import NAME, install, remove
from edge.commands.service import unit as unit_of
from edge.commands.service_options import Stored, StoredParser, stored
from edge.commands.words import add_run
from edge.errors import InputError, SourceError
from edge.sources.open import open_source

ROOT = Path(__file__).resolve().parents[3]
MOST_EXPOSURE = 2.0
"""Of systemd's scale from 0 (safe) to 10: cameras, the GPU and the network it needs."""


def unit(source: str, user: str, bundle: Path | None, more: str, groups: list[str]) -> str:
    parser = StoredParser(prog="edge run", add_help=False)
    add_run(parser)
    return unit_of(stored(parser, source, bundle, more), user, groups)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        lacking("needs systemd-analyze (Debian, Ubuntu: apt install systemd)")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    install(unit("rtp://@:5600?codec=h265&forward=127.0.0.1:5601", "root", None, "--web 8080", ["video"]), apply=True, units=tmp_path)
    return tmp_path / NAME


def test_systemd_accepts_the_unit(written: Path) -> None:
    told = analyze("verify", str(written))
    assert told.returncode == 0, told.stderr
    assert NAME not in told.stderr, told.stderr


@pytest.mark.parametrize(("source", "user"), [("rtp://@:5600", "root"), ("rtsp://host/s", "root"), ("rtsp://host/s", "pilot"), ("csi://0", "pilot")])
def test_systemd_calls_it_safe(tmp_path: Path, source: str, user: str) -> None:
    install(unit_of(Stored([source], [], [], source), user, ["video"]), apply=True, units=tmp_path)
    told = analyze("security", "--offline=true", "--no-pager", str(tmp_path / NAME))
    found = re.search(r"exposure level for .*?: ([\d.]+)", told.stdout)
    assert found is not None, told.stdout + told.stderr
    assert float(found[1]) <= MOST_EXPOSURE


def test_what_systemd_would_expand_is_quoted() -> None:
    text = unit('rtsp://host/%40$x/a b?type="d"', "root", None, "", [])
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    assert '"rtsp://host/%%40$$x/a b?type=\\"d\\""' in line


def test_a_password_stands_in_a_file_and_never_in_the_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "service", "install", "--source", "rtsp://user:secret@127.0.0.1/stream")
    assert told.startswith("python -m edge: wanted no password in what a unit keeps")
    assert "secret" not in told
    assert "wanted no password" in refused(capsys, "service", "install", "--source", "rtp://@:5600", "--options=--mavlink tcp://pilot:secret@h:1")
    monkeypatch.chdir(tmp_path)
    Path("camera").write_text("rtsp://user:secret@127.0.0.1:1/stream\nfor the front camera\n", encoding="utf-8")
    done("service", "install", "--source", "@camera")
    told = capsys.readouterr().out
    assert f" run @{tmp_path}/camera\n" in told
    assert "secret" not in told
    with open_source("@camera") as source:
        assert source.uri == "rtsp://127.0.0.1:1/stream"
    Path("empty").touch()
    assert "found nothing" in refused(capsys, "service", "install", "--source", "@empty")
    os.mkfifo("camera.fifo")
    assert "it is a FIFO" in refused(capsys, "service", "install", "--source", "@camera.fifo")
    assert "cannot read it" in refused(capsys, "run", "@/nowhere/camera")


def test_a_file_that_the_user_could_not_read_is_told_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera = tmp_path / "camera"
    camera.write_text("rtsp://user:secret@127.0.0.1:1/stream\n")
    camera.chmod(0o600)
    me, other = pwd.getpwuid(os.getuid()).pw_name, "nobody" if os.getuid() == 0 else "root"
    told = refused(capsys, "service", "install", "--source", f"@{camera}", "--user", other)
    assert told.endswith(f"wanted {camera} to be readable by {other}, whom the service runs as, found it is not: sudo chown {other} {camera}\n")
    done("service", "install", "--source", f"@{camera}", "--user", me)
    camera.chmod(0o644)
    done("service", "install", "--source", f"@{camera}", "--user", other)


@pytest.mark.parametrize(("source", "private"), [("csi://0", "no"), ("rtp://@:5600", "yes")])
def test_a_csi_camera_keeps_the_socket_of_its_daemon(source: str, private: str) -> None:
    assert f"PrivateTmp={private}\n" in unit_of(Stored([source], [], [], source), "root", [])


def test_it_sees_of_the_homes_what_it_needs() -> None:
    needed = {"yes": "/opt/camera", "tmpfs": "/home/pilot/camera"}
    if not any(str(place).startswith(("/home", "/root")) for place in (sys.prefix, sys.base_prefix, ROOT.resolve())):
        assert "ProtectHome=yes\n" in unit_of(Stored([], [], [Path(needed["yes"])], ""), "pilot", [])
    text = unit_of(Stored([], [Path("/home/pilot/log")], [Path(needed["tmpfs"])], ""), "pilot", [])
    assert "ProtectHome=tmpfs\n" in text
    assert 'BindPaths="/home/pilot/log"\n' in text
    assert '"/home/pilot/camera"' in text


@pytest.mark.parametrize(("word", "user"), [("demo://\nExecStartPre=/bin/true", "root"), ("demo://", "root\nGroup=disk"), ("demo://\\", "root")])
def test_a_line_break_cannot_smuggle_in_a_setting(word: str, user: str) -> None:
    with pytest.raises(InputError, match="line break"):
        unit_of(Stored([word], [], [], word), user, [])


def test_it_prints_by_default_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(unit("demo://", "root", None, "", []), apply=False, units=tmp_path)
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


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--nonsense 3", "found: unrecognized arguments: --nonsense 3:"),
        ("--web x", "found: argument --web: wanted a port from 0 to 65535, found 'x':"),
        ("--engine magic", "argument --engine: invalid choice: 'magic'"),
        ("--max-frames 0", "wanted a whole number from 1 up"),
        ("--web", "argument --web: expected one argument"),
        ("--help", "found: unrecognized arguments: --help"),
        ('--events "x', "(No closing quotation): close what is open"),
        ("--events 'x", "(No closing quotation): close what is open"),
        ("--events x\\", "(No escaped character): close what is open"),
        ("--web 8080 --web-host 0.0.0.0", "wanted --web-token-file with --web-host 0.0.0.0"),
        ("--web 8080 --web-host :: --web-token-file /dev/null", "/dev/null"),
        ("--web-host 127.0.0.2", "wanted --web PORT with --web-host"),
        ("--mavlink nowhere", "wanted udpout:HOST:PORT"),
        ("--mavlink-system 3", "wanted --mavlink ADDRESS with --mavlink-system"),
        ("--level mavlink", "wanted --mavlink ADDRESS with --level mavlink"),
        ("--level nothing.csv", "which is none of these: check the path"),
        ("--bundle nowhere", "wanted a bundle"),
        ("demo://", "unrecognized arguments: demo://"),
        ("--video v.gif", "wanted a video of a live source named *.mkv, found v.gif"),
        ("--video v.mp4", "other formats do not outlive a power cut"),
        ("--camera hfov=999 --mavlink udpin:0.0.0.0:14550", "wanted NAME=DEGREES in --camera, found 'hfov=999'"),
        ("--camera hfov=200 --mavlink udpin:0.0.0.0:14550", "wanted hfov=DEGREES from 1 to 179"),
        ("--camera hfov=90", "wanted --pose FILE, or --mavlink ADDRESS beside a live camera, with --camera"),
        ("--camera nothing.yml --mavlink udpin:0.0.0.0:14550", "found nothing at nothing.yml"),
        ("--pose nothing.csv", "wanted --pose mavlink or a file, found 'nothing.csv'"),
        ("--pose mavlink", "wanted --mavlink ADDRESS with --pose mavlink"),
        ("--level 999", "wanted --level DEGREES from -180 to 180"),
        ("--json /etc", "wanted to write /etc, found a folder of that name"),
        ("--events e.jsonl --json e.jsonl.1", "found --json e.jsonl.1 in the same place"),
        ("--provider cuda --engine fake", "wanted a provider with engine onnxruntime alone, found cuda with fake"),
        ("--events nowhere/e.jsonl", "wanted a folder for --events that is there"),
        ("--json /opt/signwing/releases/1/s.json", "wanted a place for --json that outlives this release"),
    ],
)
def test_options_are_read_as_run_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in refused(capsys, "service", "install", "--source", "rtp://@:5600", f"--options={options}")


def test_paths_hold_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("50% off", "log"):
        (tmp_path / name).mkdir()
    Path("token").write_text("asecretofsomelength\n")
    more = "--events '50% off/e.jsonl' --web=8080 --web-token-file token --json s.json --vid /var/lib/signwing/v.mkv --level -3 --keep kept,9"
    text = unit("rtp://@:5600?record=log/f%20l.h265&codec=h265", "pilot", None, f"{more} --bundle tiny_bundle", [])
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    here = str(tmp_path).replace("%", "%%")
    assert shlex.split(lines["ExecStart"])[4:] == [
        *(f"rtp://@:5600?record={here}/log/f%%20l.h265&codec=h265", "--bundle", f"{here}/tiny_bundle", "--events", f"{here}/50%% off/e.jsonl"),
        *("--video", "/var/lib/signwing/v.mkv", "--keep", f"{here}/kept,9"),
        *("--json", f"{here}/s.json", "--level=-3", "--web", "8080", "--web-token-file", f"{here}/token"),
    ]
    assert lines["BindPaths"] == f'"{here}" "{here}/50%% off" "{here}/log"'  # its own /tmp would hide them
    assert f'"{here}/tiny_bundle" "{here}/token"' in lines["BindReadOnlyPaths"]
    assert 'ReadWritePaths="/var/log"\n' in unit("rtp://@:5600", "pilot", None, "--events /var/log/e.jsonl", [])
    (tmp_path / "film.mp4").touch()
    with pytest.raises(SourceError, match=str(tmp_path / "film.mp4")):
        unit("film.mp4", "pilot", None, "", [])


def test_systemd_accepts_a_checkout_of_any_name(tmp_path: Path) -> None:
    place = tmp_path / "my %h $HOME checkout"
    shutil.copytree(ROOT / "edge", place / "edge", ignore=shutil.ignore_patterns("__pycache__"))
    python = place / "%n python"
    python.symlink_to(sys.executable)
    line = [python, "-m", "edge", "service", "install", "--source", "demo://", "--user", "root", "--options=--events 'e %i.jsonl'"]
    text = subprocess.run(
        line, cwd=place, env={**os.environ, "PYTHONPATH": sysconfig.get_paths()["purelib"]}, capture_output=True, text=True, check=True
    ).stdout
    doubled = str(place).replace("%", "%%")
    assert f"WorkingDirectory={doubled}\n" in text
    assert f'BindPaths="{doubled}"\n' in text
    assert re.sub("%%", "", text).count("%") == 0
    (tmp_path / NAME).write_text(text)
    told = analyze("verify", str(tmp_path / NAME))
    assert (told.returncode, NAME in told.stderr) == (0, False), told.stderr


@contextmanager
def running(folder: Path, source: str, bundle: Path, watchdog_s: float = 1.0) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """Run the unit's own command line as systemd would, and listen as systemd does."""
    text = unit(source, "root", bundle, "--engine fake --spotter none", [])
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
    assert sys.executable in unit("demo://", "root", tiny_bundle, "", [])


def test_a_broker_with_a_password_stands_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("paho.mqtt", reason="the extra mqtt is not installed")
    monkeypatch.chdir(tmp_path)
    told = refused(capsys, "service", "install", "--source", "rtp://@:5600", "--options=--mqtt mqtt://me:s3cret@host/drone")
    assert "--mqtt @FILE" in told
    assert "s3cret" not in told
    Path("broker").write_text("mqtt://me:s3cret@host/drone\n", encoding="utf-8")
    Path("broker").chmod(0o600)
    done("service", "install", "--source", "rtp://@:5600", "--options=--mqtt @broker")
    told = capsys.readouterr().out
    assert f"--mqtt @{tmp_path}/broker" in told
    assert "s3cret" not in told
