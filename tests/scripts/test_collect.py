"""scripts/deploy --collect against a real sshd: what a run kept on a board comes here, resumed where it was cut short, and is deleted there only when asked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from board_root import JETPACK_62, ROOT, BoardRoot, board_root
from packets import wait_for

KEPT = Path("var/lib/signwing/kept it's")
RUN = "20310506T070809Z-0000ab"
UNIT = """[Service]
ExecStart=/opt/signwing/current/venv/bin/python -m edge run rtp://@:5600 --keep "/var/lib/signwing/kept it's,64" --web 8080
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardRoot]:
    with board_root(tmp_path_factory.mktemp("board"), JETPACK_62) as board:
        (board.files / "etc/systemd/system/signwing.service").write_text(UNIT)
        yield board


@pytest.fixture
def board(running: BoardRoot) -> BoardRoot:
    shutil.rmtree(running.files / KEPT, ignore_errors=True)
    fill(running, 3)
    return running


def fill(board: BoardRoot, items: int, owner: int = 0, size: int = 40_000) -> Path:
    folder = board.files / KEPT
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".keep.lock").touch()
    for number in range(items):
        (folder / f"{RUN}-{number:04d}.json").write_text(json.dumps({"number": number}))
        for kind in ("jpg", "png"):
            (folder / f"{RUN}-{number:04d}-1.{kind}").write_bytes(os.urandom(size))
    for path in (folder, *folder.iterdir()):
        os.chown(path, owner, owner)
        path.chmod(0o700 if path.is_dir() else 0o600)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def test_what_the_service_kept_comes_and_stays_there(board: BoardRoot, tmp_path: Path) -> None:
    here = tmp_path / "our board's"
    told = board.deployed("--collect", here)
    assert "board keeps 3 items in /var/lib/signwing/kept it's, 0 MiB" in told
    assert "3 items in" in told
    assert "3 of them new: signwing review '" in told
    assert contents(here) == contents(board.files / KEPT)
    assert len(contents(here)) == 9
    # Again: what is judged here meanwhile stays, what changed there comes, and what went there stays here.
    (here / "reviewed").mkdir()
    (board.files / KEPT / f"{RUN}-0000.json").unlink()
    (board.files / KEPT / f"{RUN}-0001.json").write_text('{"number": 1, "more": true}')
    fill_one = board.files / KEPT / f"{RUN}-0009.json"
    fill_one.write_text("{}")
    assert "1 of them new" in board.deployed("--collect", here)
    assert "more" in (here / f"{RUN}-0001.json").read_text()
    assert len(list(here.glob("*.json"))) == 4
    assert (here / "reviewed").is_dir()


def test_what_has_come_is_deleted_there_when_asked(board: BoardRoot, tmp_path: Path) -> None:
    before = contents(board.files / KEPT)
    board.deployed("--collect", tmp_path / "here", "--clear")
    assert contents(tmp_path / "here") == before
    assert [path.name for path in (board.files / KEPT).iterdir()] == [".keep.lock"]
    assert "keeps 0 items" in board.deployed("--collect", tmp_path / "here", "--clear")
    assert contents(tmp_path / "here") == before


def test_another_folder_and_another_users(board: BoardRoot, tmp_path: Path) -> None:
    (board.files / KEPT).rename(board.files / "home/pilot/it")
    assert "no such" not in board.deployed("--collect", tmp_path / "a", "--from", "/home/pilot/it")
    told = board.refused("--collect", tmp_path / "b", "--from", "/home/pilot/it", host="pilot")
    assert "another user's" in told
    board.deployed("--collect", tmp_path / "c", "--from", "/home/pilot/it", host="flyer")  # who may sudo
    assert contents(tmp_path / "c") == contents(tmp_path / "a")
    assert "found none at /home/pilot/none" in board.refused("--collect", tmp_path / "d", "--from", "/home/pilot/none")
    assert not (tmp_path / "b").exists()
    shutil.rmtree(board.files / "home/pilot/it")


def test_a_service_that_keeps_nothing_is_told(board: BoardRoot, tmp_path: Path) -> None:
    unit = board.files / "etc/systemd/system/signwing.service"
    try:
        unit.write_text(UNIT.replace("--keep", "--pictures"))
        assert "found no --keep" in board.refused("--collect", tmp_path / "here")
        unit.unlink()
        assert "--from" in board.refused("--collect", tmp_path / "here")
    finally:
        unit.write_text(UNIT)


def test_a_place_that_cannot_be_written_is_told(board: BoardRoot, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    assert "name another folder" in board.refused("--collect", tmp_path / "file")


def test_a_copy_that_is_killed_leaves_no_half_of_a_file_and_goes_on(board: BoardRoot, tmp_path: Path) -> None:
    there, here = fill(board, 40, size=2_000_000), tmp_path / "here"
    copying = board.deploy("--collect", here, "--clear")
    wait_for(lambda: here.is_dir() and len(contents(here)) > 5, "some files", 60)
    copying.send_signal(signal.SIGTERM)
    copying.communicate(timeout=60)
    whole = {**contents(there), **contents(here)}
    assert len(contents(here)) < 120
    assert len(whole) == 120  # nothing is deleted there that has not come
    assert {len(content) for name, content in contents(here).items() if not name.endswith(".json")} == {2_000_000}
    board.deployed("--collect", here, "--clear")
    assert contents(here) == whole
    assert not contents(there)


def test_usage() -> None:
    for words in (["--collect"], ["board", "--from", "/x", "--status"], ["board", "--clear"]):
        done = subprocess.run([ROOT / "scripts/deploy", *words], capture_output=True, text=True, check=False)
        assert done.returncode != 0
