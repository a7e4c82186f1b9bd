"""The Containerfiles: what they copy and install is what the project has; built and run where podman may and a base is named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "scripts/containers"
FILES = {path.suffix.removeprefix("."): path.read_text() for path in FOLDER.glob("Containerfile.*")}
# Containers of a machine whose kernel lends podman's default runtime too little, as one with cgroups of both versions.
RUNTIMES = ([], ["--runtime", "runc"])
LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]


@pytest.mark.parametrize("name", FILES)
def test_they_copy_what_is_there_and_name_no_base(name: str) -> None:
    instructions = re.sub(r"\\\n\s*", "", FILES[name])
    assert set(re.findall(r"^FROM (\S+)", instructions, re.MULTILINE)) <= {"${BASE}", "python"}
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", instructions, re.MULTILINE) for word in line.split()]
    assert copied
    assert all((ROOT / word).exists() for word in copied)


def test_a_board_gets_what_provision_installs_and_pins_hold_for_the_rest() -> None:
    said = dict(re.findall(r'^ARG (\w+)="(.+)"$', FILES["board"], re.MULTILINE))
    provisioned = re.search(r"^PACKAGES = \((.+)\)$", (ROOT / "scripts/board/board_setup.py").read_text(), re.MULTILINE)
    assert provisioned
    assert set(said["PACKAGES"].split()) == set(re.findall(r'"(.+?)"', provisioned[1])) - {"rsync"}  # which a deploy copies with
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert set(said["EXTRAS"].split()) <= pinned
    extras = re.search(r"\.\[(.+)\]", FILES["pc"])
    assert extras
    assert all(f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text() for extra in extras[1].split(","))


@pytest.fixture(scope="module")
def base() -> str:
    """The image to build on."""
    named = os.environ.get("SIGNWING_CONTAINER_BASE")
    if not named or shutil.which("podman") is None:
        pytest.skip("needs podman, and SIGNWING_CONTAINER_BASE: an image of Debian, such as scripts/containers/base makes")
    return named


@pytest.fixture(scope="module")
def podman_run(base: str) -> list[str]:
    """The options with which this machine runs a container."""
    for runtime in RUNTIMES:
        command = ["podman", *runtime, "run", "--rm", "--network=none", *LIMITS]
        done = subprocess.run([*command, base, "true"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return command
    pytest.skip(f"this machine runs no container: {done.stderr.strip()}")


def built(name: str, base: str, folder: Path, *argv: str) -> str:
    """Build an image, on the desk's network and with its own way to the packages; returns its name."""
    command = ["podman", "build", "--isolation=chroot", "--network=host", *argv, "--build-arg", f"BASE={base}", "-t", f"signwing-test-{name}"]
    authorities = Path("/etc/ssl/certs/ca-certificates.crt")
    if authorities.is_file():
        (folder / "pip.conf").write_text("[global]\ncert = /desk.crt\n")
        command += ["-v", f"{authorities}:/desk.crt:ro", "-v", f"{folder / 'pip.conf'}:/etc/pip.conf:ro"]
    done = subprocess.run([*command, "-f", str(FOLDER / f"Containerfile.{name}"), str(ROOT)], capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return f"signwing-test-{name}"


def told_by(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_for_a_pc_is_built_checks_its_model_and_flies(base: str, podman_run: list[str], tmp_path: Path) -> None:
    """Minutes: packages are fetched and installed."""
    image = built("pc", base, tmp_path)
    assert told_by(*podman_run, image, "check").count("  ok\n") == 8
    flight = ["run", "demo://?view=car&width=640&height=360&frames=60", "--events", "/work/events.jsonl"]
    assert "sightings     2\n" in told_by(*podman_run, "-v", f"{tmp_path}:/work", image, *flight)
    assert '"label": "Stop"' in (tmp_path / "events.jsonl").read_text()


def test_one_for_a_board_holds_what_a_deploy_carries_and_checks_its_model(base: str, podman_run: list[str], tmp_path: Path) -> None:
    """Minutes, too. A PC plays the board: ONNX Runtime in TensorRT's place."""
    instead = ["--build-arg", "PACKAGES=python3-opencv python3-venv", "--build-arg", "EXTRAS=starlette uvicorn prometheus-client onnxruntime"]
    image = built("board", base, tmp_path, *instead)
    assert told_by(*podman_run, image, "edge", "check", "--engine", "onnxruntime").count("  ok\n") == 8
    (tmp_path / "release").mkdir()
    layout = [sys.executable, ROOT / "scripts/board/release.py", ROOT / "edge/models", tmp_path / "release"]
    subprocess.run(layout, capture_output=True, check=True)
    sums = told_by(*podman_run, "--entrypoint", "cat", image, "/opt/signwing/SHA256SUMS")
    assert sums == (tmp_path / "release/SHA256SUMS").read_text()
    assert "GStreamer" in told_by(*podman_run, "--entrypoint", "/opt/signwing/venv/bin/python", image, "-c", "import cv2; print(cv2.getBuildInformation())")
