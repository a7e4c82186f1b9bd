"""The rules that keep the house: contracts that can be seen to fail, modules that import alone, libraries that stay in their rooms."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("train", "export", "edge", "benchmarks")
NEVER_ON_THE_BOARD = {"tensorflow", "keras", "onnx", "torch", "matplotlib", "tqdm", "train", "export", "benchmarks"}
BUILD_MODULES = sorted(f"export.{path.stem}" for path in (ROOT / "export").glob("build_*.py"))
EDGE_MODULES = sorted(f"edge.{path.stem}" for path in (ROOT / "edge").glob("*.py") if path.stem not in ("__init__", "__main__"))


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(cwd)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


def tool(name: str) -> str:
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        pytest.skip(f"{name} is not installed: scripts/test brings it")
    return str(path)


@pytest.fixture
def copy_of_the_house(tmp_path: Path) -> Path:
    for stage in STAGES:
        shutil.copytree(ROOT / stage, tmp_path / stage, ignore=shutil.ignore_patterns("__pycache__", "*.onnx", "*.npz"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("edge/images.py", "import tensorflow", "The board's runtime"),
        ("edge/files.py", "import train.recipes", "The board's runtime"),
        ("train/report/plots.py", "import export.graphs.to_onnx", "Train and export"),
        ("export/judging/verify.py", "import train.networks.vgg", "Train and export"),
        ("benchmarks/accuracy.py", "import train.recipes", "Benchmarks measure"),
        ("edge/pipeline.py", "import onnxruntime", "ONNX Runtime stays"),
        ("edge/outputs/events.py", "import starlette", "The page's server"),
        ("edge/outputs/web/state.py", "import prometheus_client", "Prometheus stays"),
        ("edge/outputs/notices.py", "import pymavlink", "MAVLink and serial"),
        ("edge/outputs/mavlink.py", "import serial", "MAVLink and serial"),
        ("export/engines/child.py", "import keras", "What builds an engine"),
        ("export/engines/build.py", "import tensorrt", "TensorRT stays"),
    ],
)
def test_a_contract_breaks_where_it_is_violated(copy_of_the_house: Path, file: str, line: str, contract: str) -> None:
    lint = tool("lint-imports")
    whole = run(lint, "--no-cache", cwd=copy_of_the_house)
    assert whole.returncode == 0, whole.stdout
    with (copy_of_the_house / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    broken = run(lint, "--no-cache", cwd=copy_of_the_house)
    assert broken.returncode == 1
    assert any(contract in row and "BROKEN" in row for row in broken.stdout.splitlines()), broken.stdout


@pytest.mark.parametrize(("line", "checker"), [("x: int = 'text'", ["mypy", "edge/files.py"]), ("import os, sys", ["ruff", "check", "edge"])])
def test_lint_and_types_fail_where_they_should(copy_of_the_house: Path, line: str, checker: list[str]) -> None:
    assert run(tool(checker[0]), *checker[1:], cwd=copy_of_the_house).returncode == 0
    with (copy_of_the_house / "edge" / "files.py").open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    assert run(tool(checker[0]), *checker[1:], cwd=copy_of_the_house).returncode == 1


@pytest.mark.parametrize("module", EDGE_MODULES)
def test_each_edge_module_imports_alone_and_light(module: str) -> None:
    code = f"import sys, {module}; print(sorted({NEVER_ON_THE_BOARD!r} & set(sys.modules)))"
    done = run(sys.executable, "-W", "error", "-c", code)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("module", BUILD_MODULES)
def test_what_builds_on_the_board_needs_numpy_and_edge_alone(module: str) -> None:
    code = (
        f"import sys; before = set(sys.modules); import {module}; "
        "roots = {name.partition('.')[0] for name in set(sys.modules) - before if getattr(sys.modules[name], '__file__', None)}; "
        "print(sorted(roots - sys.stdlib_module_names), sorted(name for name in sys.modules if name.startswith('export.') and 'build_' not in name))"
    )
    done = run(sys.executable, "-W", "error", "-c", code)
    found, stages = done.stdout.strip().rsplit(" ", 1)
    assert set(ast.literal_eval(found)) <= {"edge", "export", "numpy"}, done.stdout + done.stderr
    assert stages == "[]"


def test_libraries_of_devices_stay_in_their_files() -> None:
    homes = {"VideoCapture": {"edge/sources/capture.py"}}
    for name, allowed in homes.items():
        users = {
            str(path.relative_to(ROOT))
            for stage in STAGES
            for path in (ROOT / stage).glob("*.py")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute) and node.attr == name
        }
        assert users == allowed


def test_the_top_level_is_what_it_is_meant_to_be() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\n")
    if listed == [""]:
        pytest.skip("this is no git checkout: nothing says which files belong to the project")
    top = {name.split("/")[0] for name in listed if name and not name.startswith(".")}
    assert top <= {*STAGES, "tests", "scripts", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt", "constraints-system.txt"}


def test_constraints_are_plain_pins() -> None:
    for file in ("constraints.txt", "constraints-system.txt"):
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
            pin, _, marker = line.partition("; ")
            name, equals, version = pin.partition("==")
            assert name, line
            assert equals, line
            assert version[0].isdigit(), line
            assert not marker or marker.startswith("python_version"), line
