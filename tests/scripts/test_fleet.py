"""The Ansible collection on three boards, each a real sshd in a root of its own: a canary, the rest in shares, the end at the first that is not well."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from board_root import JETPACK_62, ROOT, BoardRoot, board_root
from commands import rewrite
from packets import wait_for
from stations import free_port

ANSIBLE = shutil.which("ansible-playbook", path=str(Path(sys.executable).parent))
NAMES = ("drone1", "drone2", "drone3")


class Fleet:
    """Three boards and the inventory that names them."""

    def __init__(self, folder: Path, boards: dict[str, BoardRoot], bundle: Path) -> None:
        self.folder, self.boards, self.bundle = folder, boards, bundle
        config = "".join(
            board.config.read_text().replace("Host board pilot flyer", f"Host {name}").split("Host pilot")[0] + " User root\n" for name, board in boards.items()
        )
        (folder / "ssh config").write_text(config)
        self.name_page("drone2")

    def name_page(self, name: str) -> int:
        """Write the inventory that ships, but for the page: these boards share ports, so one alone has it. Returns its port."""
        inventory, port = yaml.safe_load((ROOT / "scripts/fleet/fleet.example.yml").read_text()), free_port(socket.SOCK_STREAM)
        del inventory["boards"]["vars"]["signwing_page"]
        group = next(group["hosts"] for group in inventory["boards"]["children"].values() if name in group["hosts"])
        group[name] = {**(group[name] or {}), "signwing_page": port}
        (self.folder / "fleet.yml").write_text(yaml.safe_dump(inventory))
        return port

    def play(self, book: str, *argv: str) -> tuple[int, str]:
        """Call a playbook where its README says; returns its exit code and what it printed."""
        assert ANSIBLE
        place = ROOT / "scripts/fleet"
        said = {"signwing_ssh_config": self.folder / "ssh config", "signwing_engine": "onnxruntime", "signwing_watch": 1, "signwing_bundle": self.bundle}
        told = [part for name, value in said.items() for part in ("-e", f"{name}='{value}'")]
        mine = {"PWD": str(place), "ANSIBLE_HOME": str(self.folder / "ansible"), "ANSIBLE_SSH_ARGS": "", "ANSIBLE_NOCOLOR": "1"}
        environment = {**{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE")}, **mine}
        command = [ANSIBLE, "-i", str(self.folder / "fleet.yml"), f"signwing.fleet.{book}", *told, *argv]
        done = subprocess.run(command, cwd=place, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False)
        return done.returncode, done.stdout + done.stderr

    def deploy(self, name: str, *argv: str) -> tuple[int, str]:
        """Deploy a bundle of this name: another name is another release."""
        rewrite(self.bundle, name=name)
        return self.play("deploy", *argv)

    @property
    def current(self) -> list[str | None]:
        return [board.current for board in self.boards.values()]

    @property
    def serving(self) -> list[str | None]:
        return [board.serving() for board in self.boards.values()]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, tiny_bundle_master: Path) -> Iterator[Fleet]:
    """Three boards on which a first release runs."""
    if ANSIBLE is None:
        pytest.skip("needs ansible-core: the extra fleet")
    folder = tmp_path_factory.mktemp("fleet")
    bundle = Path(shutil.copytree(tiny_bundle_master, folder / "bundle"))
    with ExitStack() as stack:
        boards = {}
        for name in NAMES:
            (folder / name).mkdir()
            boards[name] = stack.enter_context(board_root(folder / name, JETPACK_62))
        fleet = Fleet(folder, boards, bundle)
        code, told = fleet.deploy("first", "-e", '{"signwing_shares": ["100%"]}')
        assert code == 0, told
        for board in boards.values():
            board.install_unit()
        yield fleet


def rows(told: str) -> dict[str, list[str]]:
    """The table of the status, a board a row."""
    table = [line.strip() for line in told.splitlines() if re.match(r" +(board|drone\d) ", line)]
    return {line.split()[0]: re.split(r"\s{2,}", line) for line in table}


def ran_on(told: str) -> list[str]:
    return re.findall(r"^(\w+) +: ok=", told, re.MULTILINE)


def dying(fleet: Fleet) -> None:
    """The service of the second board ends half a second after it began."""
    unit = fleet.boards["drone2"].files / "etc/systemd/system/signwing.service"
    unit.write_text(unit.read_text().replace("ExecStart=", "ExecStart=/usr/bin/timeout 0.5 "))


def blind(fleet: Fleet) -> None:
    """The page of the second board is well, and will tell of a camera that sends nothing once the service is started again."""
    board, page = fleet.boards["drone2"], fleet.name_page("drone2")
    board.install_unit("demo://?frames=1000000&width=320&height=180", f"--web {page}")
    restart(board)
    wait_for(lambda: well(page), "the page")
    board.install_unit(None, f"--web {page}")


def restart(board: BoardRoot) -> None:
    subprocess.run(["ssh", "-F", board.config, "board", "systemctl restart signwing.service"], check=True)


def well(page: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (dying, "to stay up, found it failed"),
        (blind, "wanted its page to be well within 1 s, as before, found: feed connecting: the release is taken back"),
    ],
)
def test_a_second_board_that_is_not_well_ends_it_and_is_as_before(fleet: Fleet, spoil: Callable[[Fleet], None], reason: str) -> None:
    before = fleet.current
    spoil(fleet)
    try:
        code, told = fleet.deploy(spoil.__name__)
        assert code == 2, told
        assert reason in " ".join(told.split())  # lines are folded
        assert ran_on(told) == ["drone1", "drone2"]
        assert fleet.current[0] not in before
        assert fleet.current[1:] == before[1:]
        assert fleet.boards["drone1"].serving() == fleet.current[0]
        told = fleet.play("status")[1]
        assert [rows(told)[name][1] for name in NAMES] == fleet.current
        assert rows(told)["drone1"][2] == spoil.__name__
    finally:
        fleet.boards["drone2"].install_unit()
        restart(fleet.boards["drone2"])
    assert fleet.boards["drone2"].serving() == before[1]


def test_a_look_then_all_boards_then_nothing_to_do_then_one_back(fleet: Fleet) -> None:
    before = fleet.current
    code, told = fleet.deploy("next", "--check")
    assert code == 0, told
    assert re.findall(r"changed=(\d)", told) == ["1", "1", "1"]
    assert fleet.current == before
    code, told = fleet.deploy("next")
    assert code == 0, told
    assert len({*fleet.current}) == 1
    assert fleet.serving == fleet.current
    code, told = fleet.deploy("next")
    assert code == 0, told
    assert re.findall(r"changed=(\d)", told) == ["0", "0", "0"]
    code, told = fleet.play("rollback", "--limit", "drone3")
    assert code == 0, told
    assert fleet.current[:2] != before[:2]
    assert fleet.current[2] == fleet.boards["drone3"].serving() == before[2]
    table = rows(fleet.play("status")[1])
    assert table["board"] == ["board", "release", "bundle", "since", "engine", "service", "page"]
    assert [table[name][5] for name in NAMES] == ["active"] * 3
