"""The part of scripts/deploy that runs on the board, on a small disk of its own: power cuts, damaged state, and what a killed deploy leaves running."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import power_cut
import pytest
from power_cut import BOARD, MAKER, make_upload

ROOT = Path(__file__).resolve().parents[2]


class SmallBoard:
    """A mount namespace with an empty /opt, in which the board's code runs; `opt` is that folder as this machine sees it."""

    def __init__(self, folder: Path) -> None:
        lacking = [tool for tool in ("unshare", "nsenter", "strace") if not shutil.which(tool)]
        if lacking or os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
            reason = f"needs {', '.join(lacking) or 'root that may mount in a namespace of its own'}"
            pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
        self.folder = folder
        place = ["unshare", "-m", "sh", "-c", "mount -t tmpfs tmpfs /opt && echo there && exec sleep 600"]
        self.process = subprocess.Popen(place, stdout=subprocess.PIPE)
        assert self.process.stdout
        assert self.process.stdout.readline() == b"there\n"
        self.opt = Path(f"/proc/{self.process.pid}/root/opt")
        (folder / "bin").mkdir()
        self.stand_in(MAKER)

    def stand_in(self, script: str) -> None:
        """Set what stands in for the board's python3, and so for each virtual environment, build and check."""
        (self.folder / "bin/python3").write_text(script)
        (self.folder / "bin/python3").chmod(0o755)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        environment = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"}
        command = [str(shutil.which("nsenter")), "-m", "-t", str(self.process.pid), *argv]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __call__(self, *argv: str) -> str:
        """Run a step of the board's code, which must go well."""
        process = self.start(sys.executable, str(BOARD / "board.py"), *argv)
        told = process.communicate(timeout=60)[0]
        assert process.returncode == 0, told
        return told

    def upload(self, name: str) -> list[str]:
        """Lay out a release and return the step that installs it."""
        release = make_upload(self.folder, name)
        return ["install", "--id", release, "--upload", str(self.folder / release), "--engine", "onnxruntime"]

    @property
    def current(self) -> str:
        return (self.opt / "signwing/current").readlink().name


@pytest.fixture
def board(tmp_path: Path) -> Iterator[SmallBoard]:
    small = SmallBoard(tmp_path)
    yield small
    end(small.process)


def end(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize("what", ["first", "second", "rollback"])
def test_a_power_cut_at_any_write_leaves_a_whole_release_and_the_next_call_succeeds(board: SmallBoard, tmp_path: Path, what: str) -> None:
    """Some 40 ways in which a disk may be found after a cut, each with a deploy after it: this takes its seconds."""
    place = tmp_path / "cut"
    place.mkdir()
    cut = board.start(sys.executable, power_cut.__file__, str(place), what)
    told = cut.communicate(timeout=180)[0]
    assert cut.returncode == 0, told
    result = json.loads((place / "told.json").read_text())
    assert result["faults"] == []
    assert result["states"] > 15


DAMAGED = (b"", b'{"from": ', b"\xff\xfe\0", b"[]", b"null", b"{}", b'{"from": 3, "to": []}', b'{"from": "../../etc", "to": "x"}', b'{"at": 3}')
DAMAGED += (b"\0" * 4096, b"[" * 100_000, b'{"from": {"a": 1}, "to": null}', b'{"count": "x", "at": [], "bundle": {}}', b'{"count": 1e999}')


def test_damaged_state_reads_as_unknown(board: SmallBoard) -> None:
    releases = []
    for name in ("first", "second"):
        board(*(step := board.upload(name)))
        releases.append(step[2])
    home = board.opt / "signwing"
    for damaged in DAMAGED:
        former, current = releases if board.current == releases[1] else releases[::-1]
        for place in (home / "switching.json", home / "lock", home / "releases" / former / "release.json"):
            place.write_bytes(damaged)
        if damaged == DAMAGED[0]:
            told = board("status")
            assert "a switch was cut short" in told
            assert f"  {former}  unknown  since " in told
        assert f"{former} is current, {current} is kept" in board("rollback"), damaged
        assert board.current == former
    assert "unknown  since" not in board("status")


def test_a_release_whose_list_of_files_is_lost_is_taken_anew(board: SmallBoard) -> None:
    first = board.upload("first")
    shutil.copytree(board.folder / first[2], board.folder / "again" / first[2])
    board(*first)
    (board.opt / "signwing/releases" / first[2] / "SHA256SUMS").write_bytes(b"")
    board(*first[:4], str(board.folder / "again" / first[2]), *first[5:])
    assert (board.opt / "signwing/current/SHA256SUMS").read_bytes() != b""


def test_what_a_killed_deploy_left_is_ended_and_nobody_else(board: SmallBoard) -> None:
    board(*board.upload("first"))
    second = board.upload("second")
    board.stand_in(MAKER.replace("echo '#!/bin/sh'", "printf '#!/bin/sh\\nsleep 600 &\\nwait\\n'"))  # a check that takes its time, in a child of its own
    killed = board.start(sys.executable, str(BOARD / "board.py"), *second)
    assert killed.stdout
    while "whole" not in killed.stdout.readline():
        pass
    release = board.opt / "signwing/releases" / second[2]
    left = waited_for(lambda: [pid for pid in standing_in(release) if b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()])
    killed.send_signal(signal.SIGKILL)
    shell = board.start("sh", "-c", f"cd /opt/signwing/releases/{second[2]} && echo there && exec sleep 600")
    assert shell.stdout
    assert shell.stdout.readline() == "there\n"
    board.stand_in(MAKER)
    (release / "venv/bin/python").write_text("#!/bin/sh\n")
    told = board(*second)
    assert "taking over from a deploy that was killed (pid " in told
    assert f"ended process {left[0]}, which that deploy left" in told
    assert not Path(f"/proc/{left[0]}/exe").exists()
    assert shell.poll() is None
    end(shell)
    killed.communicate()
    assert board.current == second[2]


def standing_in(release: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").samefile(release):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def waited_for(found: Callable[[], list[int]]) -> list[int]:
    last = time.monotonic() + 60
    while not (pids := found()):
        assert time.monotonic() < last, "it never came"
        time.sleep(0.02)
    return pids


def test_what_a_bundle_calls_itself_is_shown_and_not_obeyed(board: SmallBoard) -> None:
    board(*board.upload("x\n\x1b[31mERROR: forged"))
    told = board("status")
    assert "\x1b" not in told
    assert "x\\n\\x1b[31mERROR: forged" in told
