"""What scripts/deploy, scripts/provision and scripts/measure share, against a real sshd: each host that ssh takes, shells that talk, true reasons."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from board_root import JETPACK_62, ROOT, BoardRoot, board_root

from edge.files import sha256_of

SHARED = """set -euo pipefail
root=$1 host=$2 config=(-F "$3") folder=$4
usage() { exit 2; }
. "$root/scripts/board/connection.sh"
connect
copy "$folder" ".cache/signwing/$(sha256sum "$folder/SHA256SUMS" | cut -c 1-12)"
board board.py status
"""
LOUD = "echo 'welcome to the drone'; printf 'no line end'\n"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardRoot]:
    folder = tmp_path_factory.mktemp("board")
    with board_root(folder, JETPACK_62) as running:
        (folder / "my conf").mkdir()
        keys = f" Port {running.port}\n User root\n IdentityFile {folder}/keys/user\n IdentitiesOnly yes\n UserKnownHostsFile {folder}/keys/known\n"
        (folder / "my conf/ssh config").write_text(
            f"Host drone\n HostName 127.0.0.1\nHost *\n{keys} GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking yes\n"
        )
        (folder / "my conf/tmp dir").mkdir()
        (folder / "copied").mkdir()
        (folder / "copied/a file").write_bytes(os.urandom(2 << 20))
        (folder / "copied/SHA256SUMS").write_text(f"{sha256_of(folder / 'copied/a file')}  a file\n")
        yield running


@pytest.fixture(autouse=True)
def clean(board: BoardRoot) -> None:
    shutil.rmtree(board.files / "root/.cache", ignore_errors=True)
    (board.files / "root/.bashrc").unlink(missing_ok=True)


def shared(board: BoardRoot, host: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    """Connect, copy a folder and ask for the status, as the scripts do; the configuration is named from the folder above it."""
    command = ["bash", "-c", SHARED, "scripts/deploy", str(ROOT), host, "my conf/ssh config", str(board.folder / "copied")]
    environment = {**os.environ, "TMPDIR": "my conf/tmp dir", "PATH": path}
    return subprocess.run(command, cwd=board.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.parametrize(("host", "rsync"), [("::1", True), ("root@::1", True), ("ssh://root@127.0.0.1:{port}", True), ("drone", True), ("::1", False)])
def test_what_ssh_takes_is_copied_to_past_a_shell_that_talks(board: BoardRoot, tmp_path: Path, host: str, rsync: bool) -> None:
    (board.files / "root/.bashrc").write_text(LOUD)
    path = os.environ["PATH"]
    if not rsync:
        for tool in ("bash", "ssh", "tar", "mktemp", "realpath", "rm", "cat", "grep", "tail", "tr", "paste", "sha256sum", "cut"):
            (tmp_path / tool).symlink_to(str(shutil.which(tool)))
        path = str(tmp_path)
    done = shared(board, host.format(port=board.port), path)
    assert (done.returncode, done.stdout) == (0, "nothing is deployed here\n"), done.stderr
    [copied] = board.files.glob("root/.cache/signwing/*/a file")
    assert copied.read_bytes() == (board.folder / "copied/a file").read_bytes()
    assert list((board.folder / "my conf/tmp dir").iterdir()) == []


def test_what_lies_there_is_believed_by_its_hash_alone(board: BoardRoot) -> None:
    """After a power cut a file may have its size and its time, and nothing in it."""
    assert shared(board, "127.0.0.1").returncode == 0
    [copied] = board.files.glob("root/.cache/signwing/*/a file")
    told = copied.stat()
    copied.write_bytes(bytes(told.st_size))
    os.utime(copied, ns=(told.st_atime_ns, told.st_mtime_ns))
    assert shared(board, "127.0.0.1").returncode == 0
    assert copied.read_bytes() == (board.folder / "copied/a file").read_bytes()


@pytest.mark.parametrize("inside", ["rsync", "tar"])
def test_a_full_disk_is_told_as_one(board: BoardRoot, inside: str) -> None:
    (board.files / "root/.cache").mkdir()
    cache = board.folder / "root/root/.cache"
    room = ["nsenter", "-m", "-t", str(board.process.pid)]
    subprocess.run([*room, "mount", "-t", "tmpfs", "-o", "size=1m" if inside == "rsync" else "size=4k", "tmpfs", cache], check=True)
    try:
        done = shared(board, "127.0.0.1")
    finally:
        subprocess.run([*room, "umount", "--lazy", cache], check=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert {"rsync": "No space left on device", "tar": "tar: board.py: Wrote only"}[inside] in done.stderr


@pytest.mark.parametrize(
    ("bashrc", "config", "told"),
    [
        ("echo closed for repair >&2; exit 3\n", "my conf/ssh config", "its shell ended with exit code 3 (closed for repair)"),
        ("", "my conf/none", "ssh says: Can't open user config file my conf/none: No such file or directory: cure that until ssh -F"),
        ("", "my conf/odd", "Bad configuration option: nonsense"),
    ],
)
def test_the_true_reason_is_told(board: BoardRoot, bashrc: str, config: str, told: str) -> None:
    (board.files / "root/.bashrc").write_text(bashrc)
    (board.folder / "my conf/odd").write_text("nonsense yes\n")
    command = [ROOT / "scripts/deploy", "-F", config, "127.0.0.1", "--status"]
    done = subprocess.run(command, cwd=board.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert "on this network" not in done.stderr


@pytest.mark.parametrize("script", ["deploy", "provision", "measure"])
@pytest.mark.parametrize("host", ["-oProxyCommand=touch {mark}", "-F{mark}", "--", "-", ""])
def test_an_option_is_no_host(tmp_path: Path, script: str, host: str) -> None:
    mark = tmp_path / "mark"
    command = [ROOT / f"scripts/{script}", host.format(mark=mark), tmp_path / "o.json", "latency"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert f"scripts/{script} HOST" in done.stderr
    assert not mark.exists()
