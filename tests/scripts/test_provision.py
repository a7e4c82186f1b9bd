"""scripts/provision against a real sshd in a root of its own: a plan that changes nothing, changes that are recorded, and all of it taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from board_root import MODEL, BoardRoot, board_root
from test_scripts_deploy import JETPACK_51, JETPACK_62

PACKAGES = ("python3-libnvinfer", "python3-opencv", "python3-venv", "rsync")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[BoardRoot]:
    with board_root(tmp_path / "board", JETPACK_62) as running:
        dpkg = running.files / "var/lib/dpkg"
        dpkg.mkdir(parents=True)
        (dpkg / "status").write_text("".join(map(installed, PACKAGES)))
        (running.files / "var/signwing.swap").touch()  # swap belongs to the kernel that this root shares with the machine
        yield running


def installed(package: str) -> str:
    return f"Package: {package}\nStatus: install ok installed\nMaintainer: N\nArchitecture: all\nVersion: 1\nDescription: d\n\n"


def state(board: BoardRoot) -> tuple[str, ...]:
    return tuple((board.files / name).read_text() for name in ("etc/group", "etc/default-target"))


def test_plan_apply_again_and_undo(board: BoardRoot) -> None:
    def provision(*argv: str) -> str:
        return board.deployed(*argv, host="flyer", script="provision")

    before = state(board)
    told = provision("--headless")
    assert "would add flyer to video, dialout" in told
    assert "would start without a desktop" in told
    assert "nothing was changed" in told
    assert MODEL in told  # the doctor, on the board
    assert "36.4.3 (JetPack 6.1 or 6.2)" in told
    assert "no TensorRT" in told
    assert "not in the group video" in told
    assert "bundle" not in told
    assert "offer: --headless" in provision()
    assert state(board) == before
    provision("--headless", "--apply")
    assert "video:x:44:flyer" in state(board)[0]
    assert "not in the group" not in provision()
    assert state(board)[1] == "multi-user.target\n"
    assert (board.files / "var/lib/signwing/provision.json").exists()
    assert "as it should be" in provision("--headless", "--apply")
    assert "would take back" in provision("--undo")
    assert "multi-user" in state(board)[1]
    provision("--undo", "--apply")
    assert state(board) == before
    assert "nothing is left" in provision("--undo")


def test_refusals_change_nothing(board: BoardRoot) -> None:
    before = state(board)
    assert "it has none" in board.refused("--power", "MAXN_SUPER", host="flyer", script="provision")
    assert "a user without sudo" in board.refused("--apply", host="pilot", script="provision")
    (board.files / "etc/nv_tegra_release").write_text(JETPACK_51)
    assert "found JetPack 5.1" in board.refused("--apply", host="flyer", script="provision")
    assert state(board) == before


def test_packages_that_cannot_be_installed_are_one_line(board: BoardRoot) -> None:
    status = board.files / "var/lib/dpkg/status"
    status.write_text("".join(map(installed, PACKAGES[1:])))
    assert "would install python3-libnvinfer" in board.deployed(host="flyer", script="provision")
    assert "wanted apt-get" in board.refused("--apply", host="flyer", script="provision")
    assert "installed" in status.read_text()
