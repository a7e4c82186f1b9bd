"""scripts/deploy against a real sshd in a root of its own: deploy, again, rollback, status; faults at each step; refusals that change nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from board_root import JETPACK_51, JETPACK_62, MODEL, ROOT, BoardRoot, board_root
from commands import rehash, rewrite
from foreign_bundle import narrowed

from edge.files import sha256_of

ENGINE = ("--engine", "onnxruntime", "--watch", "1")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[BoardRoot]:
    with board_root(tmp_path / "board", JETPACK_62) as running:
        yield running


def other(bundle: Path, name: str) -> Path:
    """The same bundle under another name: another release."""
    changed = Path(shutil.copytree(bundle, bundle.with_name(name)))
    rewrite(changed, name=name)
    return changed


def write_wheel(folder: Path, name: str, file: str, content: bytes) -> None:
    """Write a wheel of pure Python that holds one file."""
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(file, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{file},,\n{info}/METADATA,,\n{info}/WHEEL,,\n")


def until(true: Callable[[], object], seconds: float = 150) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_deploy_again_another_rollback_and_status(board: BoardRoot, tiny_bundle: Path) -> None:
    assert "would copy it" in board.deployed(tiny_bundle, *ENGINE, "--dry-run")
    assert "would copy it" in board.deployed(narrowed(tiny_bundle, tiny_bundle.with_name("own")), *ENGINE, "--dry-run")
    assert not board.opt.exists()
    told = board.deployed(tiny_bundle, *ENGINE)
    first = board.current
    assert first
    assert f"{first} is current" in told
    assert "no signwing.service here" in told
    assert not (board.files / "root/.cache/signwing" / first).exists()
    board.install_unit()
    assert "nothing to do" in board.deployed(tiny_bundle, *ENGINE)
    board.deployed(other(tiny_bundle, "second"), *ENGINE)
    second = board.current
    assert second != first
    assert board.serving() == second
    board.deployed("--rollback", "--watch", "1")
    assert board.current == board.serving() == first
    told = board.deployed("--status")
    assert f"* {first}  tiny " in told
    assert f"  {second}  second " in told
    assert "signwing.service: active" in told
    board.deployed(other(tiny_bundle, "third"), *ENGINE)
    board.deployed(other(tiny_bundle, "fourth"), *ENGINE)
    assert len(list((board.opt / "releases").iterdir())) == 3
    assert board.serving() == board.current


def test_without_rsync_only_what_is_missing_or_damaged_is_carried(board: BoardRoot, tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "none").touch(mode=0o644)
    inside = board.folder / "root/usr/bin/rsync"
    subprocess.run(["nsenter", "-m", "-t", str(board.process.pid), "mount", "--bind", tmp_path / "none", inside], check=True)
    (tmp_path / "release").mkdir()
    layout = [sys.executable, ROOT / "scripts/board/release.py", tiny_bundle, tmp_path / "release"]
    release = subprocess.run(layout, capture_output=True, text=True, check=True).stdout.strip()
    upload = Path(shutil.copytree(tmp_path / "release", board.files / "root/.cache/signwing" / release))
    (upload / "edge/cli.py").write_text("cut sho")
    (upload / "edge/engines/self_test.py").unlink()
    assert f"{release} is current" in board.deployed(tiny_bundle, *ENGINE)


def test_wheels_are_carried_and_those_of_one_machine_refused(board: BoardRoot, tiny_bundle: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    write_wheel(wheels, "carried", "carried.py", b"")
    board.deployed(tiny_bundle, *ENGINE, "--wheels", wheels)
    assert list(board.opt.glob(f"releases/{board.current}/venv/lib/*/site-packages/carried.py"))
    (wheels / "other-1.0-cp310-cp310-linux_aarch64.whl").touch()
    assert "wheels of pure Python" in board.refused(tiny_bundle, *ENGINE, "--wheels", wheels)


def test_a_user_with_sudo_deploys(board: BoardRoot, tiny_bundle: Path) -> None:
    done = board.deploy(tiny_bundle, *ENGINE, host="flyer")
    out, err = done.communicate(timeout=180)
    assert done.returncode == 0, out + err
    assert board.current


def test_a_release_holds_what_the_board_runs_and_no_more(tmp_path: Path, tiny_bundle: Path) -> None:
    for name in ("token", "MODEL_CARD.md"):
        shutil.copy(ROOT / "CHANGELOG.md", tiny_bundle / name)
    command = [sys.executable, "-I", "-S", ROOT / "scripts/board/release.py", tiny_bundle, tmp_path / "release"]  # the desk may have no package
    (tmp_path / "release").mkdir()
    release = tmp_path / "release"
    one = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert {path.name for path in release.iterdir()} == {"edge", "export", "bundle", "LICENSE", "SHA256SUMS"}
    named = json.loads((tiny_bundle / "manifest.json").read_text())
    assert {path.name for path in (release / "bundle").iterdir()} == {"manifest.json", named["golden"]["file"], *(model["file"] for model in named["models"])}
    assert {path.stem for path in (release / "export").iterdir()} == {"__init__", "__main__", "engines"}
    held = [path.relative_to(release) for path in release.rglob("*.py") if path.stem not in ("__init__", "__main__")]
    assert set(held) == {
        path.relative_to(ROOT) for part in ("edge", "export/engines") for path in (ROOT / part).rglob("*.py") if not path.stem.startswith("__")
    }
    assert {path.name for path in (release / "edge/outputs/web/page").iterdir()} == {path.name for path in (ROOT / "edge/outputs/web/page").iterdir()}
    modules = [".".join(path.with_suffix("").parts) for path in held]
    code = f"import sys, importlib; [importlib.import_module(m) for m in {modules!r}]; print({{'tensorflow', 'keras', 'onnx', 'train'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=release, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stderr
    shutil.rmtree(release)
    release.mkdir()
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == one


@pytest.mark.parametrize("part", ["classifier.fp16.onnx", "golden.npz", "manifest.json", "MODEL_CARD.md", "wheel", "hash"])
def test_nothing_of_the_desk_is_carried_by_a_link_or_unproved(tmp_path: Path, tiny_bundle: Path, part: str) -> None:
    key, release = tmp_path / "id_ed25519", tmp_path / "release"
    key.write_text("PRIVATE")
    (tmp_path / "wheels").mkdir()
    if part == "hash":
        shutil.copy(key, tiny_bundle / "golden.npz")
    elif part == "wheel":
        (tmp_path / "wheels/x-1-py3-none-any.whl").symlink_to(key)
    else:
        target = key if part in ("classifier.fp16.onnx", "golden.npz", "MODEL_CARD.md") else shutil.copy(tiny_bundle / part, tmp_path)
        (tiny_bundle / part).unlink(missing_ok=True)
        (tiny_bundle / part).symlink_to(target)
    release.mkdir()
    layout = [sys.executable, ROOT / "scripts/board/release.py", tiny_bundle, release, tmp_path / "wheels"]
    done = subprocess.run(layout, capture_output=True, text=True, check=False)
    assert not [path for path in release.rglob("*") if path.is_file() and path.read_bytes() == key.read_bytes()]
    assert (done.returncode, done.stderr.count("\n")) == ((0, 0) if part == "MODEL_CARD.md" else (1, 1)), done.stderr


def in_copy(board: BoardRoot, deploy: subprocess.Popen[str]) -> None:
    until(lambda: [path for path in (board.files / "root/.cache/signwing").glob("*") if path.name != "kit"])


def in_transfer(board: BoardRoot, deploy: subprocess.Popen[str]) -> None:
    until(lambda: board.transfers())


def in_build(board: BoardRoot, deploy: subprocess.Popen[str]) -> None:
    assert deploy.stdout
    until(lambda: "whole" in deploy.stdout.readline())


def in_watch(board: BoardRoot, deploy: subprocess.Popen[str]) -> None:
    assert deploy.stdout
    until(lambda: "watching" in deploy.stdout.readline())


def kill_client(board: BoardRoot, deploy: subprocess.Popen[str]) -> None:
    deploy.send_signal(signal.SIGTERM)


def kill_server(board: BoardRoot, deploy: subprocess.Popen[str]) -> None:
    for pid in board.agents():
        os.kill(pid, signal.SIGKILL)


def cut_connection(board: BoardRoot, deploy: subprocess.Popen[str]) -> None:
    for pid in subprocess.run(["pgrep", "-P", str(board.process.pid)], capture_output=True, text=True, check=False).stdout.split():
        for grandchild in [*subprocess.run(["pgrep", "-P", pid], capture_output=True, text=True, check=False).stdout.split(), pid]:
            if "sshd" in Path(f"/proc/{grandchild}/comm").read_text():
                os.kill(int(grandchild), signal.SIGKILL)


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        (in_copy, kill_client),
        (in_transfer, kill_client),
        (in_transfer, cut_connection),
        (in_build, kill_client),
        (in_build, kill_server),
        (in_build, cut_connection),
        (in_watch, kill_client),
        (in_watch, kill_server),
        (in_watch, cut_connection),
    ],
)
def test_after_a_fault_the_former_runs_and_the_next_deploy_succeeds(
    board: BoardRoot, tiny_bundle: Path, tmp_path: Path, step: Callable[..., None], fault: Callable[..., None]
) -> None:
    board.deployed(tiny_bundle, *ENGINE)
    board.install_unit()
    first = board.current
    second = other(tiny_bundle, "second")
    write_wheel(tmp_path, "large", "large.bin", os.urandom(60 << 20))  # so that the copy takes a while
    deploy = board.deploy(second, *ENGINE[:2], "--watch", "4", "--wheels", tmp_path)
    step(board, deploy)
    fault(board, deploy)
    out, err = deploy.communicate(timeout=60)
    assert deploy.returncode != 0, out + err
    until(lambda: not board.agents())
    if (step, fault) != (in_watch, kill_server):  # then nobody is left to take it back, but whoever comes next
        assert board.current == first
    if (step, fault) == (in_transfer, cut_connection):
        assert "the copy to board was cut short: deploy again, it goes on where it stopped" in err
    told = board.deployed(second, *ENGINE, "--wheels", tmp_path)
    if (step, fault) == (in_build, kill_server):
        assert "taking over from a deploy that was killed (pid " in told
    if (step, fault) == (in_watch, kill_server):
        assert f"was cut short, {first} is current again" in told
    assert board.current != first
    assert board.serving() == board.current


def test_a_service_that_dies_brings_the_former_release_back(board: BoardRoot, tiny_bundle: Path) -> None:
    board.deployed(tiny_bundle, *ENGINE)
    board.install_unit()
    first = board.current
    unit = board.files / "etc/systemd/system/signwing.service"
    good = unit.read_text()
    unit.write_text(good.replace("ExecStart=", "ExecStart=/usr/bin/timeout 0.5 "))
    assert "to stay up, found it failed" in board.refused(other(tiny_bundle, "second"), *ENGINE)
    assert board.current == first


def test_a_bundle_that_computes_otherwise_is_not_switched_to(board: BoardRoot, tiny_bundle: Path) -> None:
    board.deployed(tiny_bundle, *ENGINE)
    first = board.current
    bad = other(tiny_bundle, "bad")
    with (bad / "classifier.int8-cpu.onnx").open("ab") as model:
        model.write(b"x")
    assert "the file is damaged or of another bundle" in board.refused(bad, *ENGINE)
    rehash(bad)
    assert "edge check to succeed" in board.refused(bad, *ENGINE)
    assert board.current == first


def test_a_full_disk_is_told_and_gone_when_there_is_room(tmp_path: Path, tiny_bundle: Path) -> None:
    with board_root(tmp_path / "board", JETPACK_62, disk="256k") as board:
        assert "MiB of disk" in board.refused(tiny_bundle, *ENGINE)
        assert "No space left" in board.refused(tiny_bundle, *ENGINE, "--force")
        assert board.current is None
        assert not list((board.opt / "releases").iterdir())
        subprocess.run(["nsenter", "-m", "-t", str(board.process.pid), "mount", "-o", "remount,size=700m", tmp_path / "board/root/opt"], check=True)
        board.deployed(tiny_bundle, *ENGINE)
        assert board.current


def test_refusals_change_nothing(board: BoardRoot, tiny_bundle: Path, tmp_path: Path) -> None:
    assert "found a user without sudo" in board.refused(tiny_bundle, *ENGINE, host="pilot")
    assert "to reach nobody" in board.refused(tiny_bundle, *ENGINE, host="nobody")
    assert "found none that can be imported" in board.refused(tiny_bundle)
    assert board.deployed("--status") == "nothing is deployed here\n"
    assert "found none: deploy one" in board.refused("--rollback")
    (tmp_path / "meminfo").write_text("MemTotal: 7800000 kB\nMemAvailable: 512000 kB\n")
    little = ["mount", "--bind", tmp_path / "meminfo", board.folder / "root/proc/meminfo"]
    subprocess.run(["nsenter", "-m", "-t", str(board.process.pid), *little], check=True)
    assert "wanted 1024 MiB of memory to build engines in, found 500" in board.refused(tiny_bundle)
    (board.files / "etc/nv_tegra_release").write_text(JETPACK_51)
    assert "found JetPack 5.1" in board.refused(tiny_bundle, *ENGINE)
    schema = Path(shutil.copytree(tiny_bundle, tiny_bundle.with_name("schema")))
    manifest = schema / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema": 1', '"schema": 99'))
    assert "schema" in board.refused(schema, *ENGINE)
    known = board.folder / "keys/known"
    good = known.read_text()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", board.folder / "keys/impostor"], check=True)
    known.write_text(f"[127.0.0.1]:{board.port} {(board.folder / 'keys/impostor.pub').read_text()}")
    assert "the key that is known, found another" in board.refused(tiny_bundle, *ENGINE)
    known.write_text(good)
    assert board.current is None


def test_a_damaged_upload_is_carried_again(board: BoardRoot, tiny_bundle: Path) -> None:
    board.deployed(tiny_bundle, *ENGINE)
    damaged = board.opt / "releases" / str(board.current) / "edge/cli.py"
    digest = sha256_of(damaged)
    damaged.write_text("")
    board.deployed(tiny_bundle, *ENGINE)
    assert sha256_of(board.opt / "releases" / str(board.current) / "edge/cli.py") == digest


def test_a_board_is_measured_into_one_file(board: BoardRoot, tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "measured.json"
    assert f"found none: scripts/deploy -F {board.config} board BUNDLE" in board.refused(out, "latency", script="measure")
    board.deployed(tiny_bundle, *ENGINE)
    before = sorted((board.opt / "current/").rglob("*"))
    told = board.deployed(out, "latency", "--runs", "5", "--engine", "onnxruntime", script="measure")
    assert "cores, load" in told
    result = json.loads(out.read_text())
    assert (result["command"], result["runs"], result["machine"]["board"]) == ("benchmarks latency", 5, MODEL)
    assert result["conditions"]["before"]["l4t"] == "36.4.3"
    assert sorted((board.opt / "current/").rglob("*")) == before
    assert not (board.files / "root/.cache/signwing/kit/measured.json").exists()
    assert "wanted a folder" in board.refused(tmp_path / "none/x.json", script="measure")
    assert "they did not" in refusal(board.deploy(tmp_path / "other.json", "latency", "--engine", "tensorrt", script="measure"))
    assert not (tmp_path / "other.json").exists()


def refusal(measure: subprocess.Popen[str]) -> str:
    out, err = measure.communicate(timeout=180)
    assert measure.returncode == 1, out
    return err
