"""Scripts beside a shell that speaks to every Python, as one in which a ROS 2 workspace was sourced does: nothing of it reaches ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = """#!/bin/bash
# A Python that can do three things: tell its version, make a virtual environment of its own kind, and note what else it was called for.
case $* in
    --version | "-c import sys;"*) exec {python} -I "$@" ;;
    *"-m venv"*) mkdir -p "${{@: -1}}/bin" && cp "$0" "${{@: -1}}/bin/python" && exit ;;
    *"-m pytest"*) [ ! -e {folder}/real ] || exec {python} "$@" ;;
esac
{{ echo "$@"; compgen -e | grep -xE 'PYTHON.+|PYTEST.*|MYPYPATH|PIP_(USER|TARGET)'; }} >> {folder}/told
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The scripts in a folder of their own, and a workspace beside them that spoils what it reaches."""
    place = tmp_path / "my checkout"
    shutil.copytree(ROOT / "scripts", place / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / ".ci", place / ".ci")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, place)
    (place / "tests").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/shellcheck").symlink_to("/bin/true")
    (tmp_path / "python").write_text(STAND_IN.format(python=sys.executable, folder=tmp_path))
    (tmp_path / "python").chmod(0o755)
    plugin = tmp_path / "ros/launch_testing-1.0.dist-info"
    plugin.mkdir(parents=True)
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: launch-testing\nVersion: 1.0\n")
    (plugin / "entry_points.txt").write_text("[pytest11]\nlaunch = launch_testing\n")
    for module in ("launch_testing", "numpy", "cv2"):
        (tmp_path / f"ros/{module}.py").write_text("raise SystemExit('the workspace has got in')\n")
    return place


def call(checkout: Path, script: str, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
    folder = checkout.parent
    spoiled = {"PYTHONPATH": str(folder / "ros"), "PYTEST_ADDOPTS": "--ros", "PYTEST_PLUGINS": "launch_testing", "PYTHONSTARTUP": "/ros", "PYTHONOPTIMIZE": "2"}
    spoiled |= {"PIP_USER": "1", "PIP_TARGET": "/ros", "MYPYPATH": "/ros", **more}
    environment = {**os.environ, **spoiled, "PYTHON": str(folder / "python"), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run([checkout / script, *argv], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("script", "argv"), [("demo", ()), ("check", ()), ("docs", ()), ("test", ()), ("pipeline", ("root", "out")), ("soak", ()), ("pictures", ())]
)
def test_no_call_of_python_hears_of_the_shell(checkout: Path, script: str, argv: tuple[str, ...]) -> None:
    done = call(checkout, f"scripts/{script}", *argv, PYTHONHOME="/ros")
    assert done.returncode == 0, done.stderr
    calls, heard = [], set()
    for line in (checkout.parent / "told").read_text().splitlines():
        (heard.add if line.isidentifier() and line.isupper() else calls.append)(line)
    assert len(calls) >= 3, calls  # twice pip, then what the script is for
    assert heard - {"PYTHONNOUSERSITE", "PYTHONPATH"} == set()
    assert "PYTHONPATH" not in heard or script == "pictures"  # which sets its own


def test_a_plugin_of_the_workspace_does_not_end_the_tests(checkout: Path) -> None:
    (checkout.parent / "real").touch()
    (checkout / "tests/test_it.py").write_text(
        "import os, sys, numpy, cv2\ndef test_it():\n    assert not [each for each in sys.path if 'ros' in each]\n    assert 'PYTHONPATH' not in os.environ\n"
    )
    done = call(checkout, "scripts/test", "-n", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
