"""The rules that keep the house: contracts that can be seen to fail, modules that import alone, libraries that stay in their rooms."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("train", "export", "edge", "benchmarks")
MOST_LINES, MOST_FILES = 400, 13
NEVER_ON_THE_BOARD = {"tensorflow", "keras", "onnx", "torch", "matplotlib", "tqdm", "train", "export", "benchmarks"}


def modules_below(folder: str) -> list[str]:
    """All modules below a folder of the repository, packages and `__main__` left out."""
    paths = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / folder).rglob("*.py")]
    return sorted(".".join(path.parts) for path in paths if path.name not in ("__init__", "__main__"))


BUILD_MODULES, EDGE_MODULES = modules_below("export/engines"), modules_below("edge")


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


def test_the_contracts_hold(copy_of_the_house: Path) -> None:
    whole = run(tool("lint-imports"), "--no-cache", cwd=copy_of_the_house)
    assert whole.returncode == 0, whole.stdout


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
        ("edge/outputs/mavlink/sink.py", "import pymavlink", "MAVLink and serial"),
        ("edge/outputs/mavlink/sink.py", "import serial", "MAVLink and serial"),
        ("edge/outputs/mqtt/sink.py", "import paho.mqtt.client", "MQTT stays"),
        ("export/engines/child.py", "import keras", "What builds an engine"),
        ("export/engines/build.py", "import tensorrt", "TensorRT stays"),
        ("edge/recognition/tracking.py", "import edge.outputs.events", "Floors of edge"),
        ("edge/frame.py", "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import edge.sources.open", "Floors of edge"),
        ("edge/pipeline.py", "import edge.sources.open", "Floors of edge"),
        ("train/networks/vgg.py", "import train.photos.data", "Floors of train"),
        ("export/engines/build.py", "import export.artefacts", "Floors of export"),
        ("benchmarks/measuring/state.py", "import benchmarks.report.tables", "Floors of benchmarks"),
    ],
)
def test_a_contract_breaks_where_it_is_violated(copy_of_the_house: Path, file: str, line: str, contract: str) -> None:
    with (copy_of_the_house / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    broken = run(tool("lint-imports"), "--no-cache", cwd=copy_of_the_house)
    assert broken.returncode == 1
    assert any(contract in row and "BROKEN" in row for row in broken.stdout.splitlines()), broken.stdout


@pytest.mark.parametrize(("line", "checker"), [("x: int = 'text'", ["mypy", "edge/files.py"]), ("import os, sys", ["ruff", "check", "edge"])])
def test_lint_and_types_fail_where_they_should(copy_of_the_house: Path, line: str, checker: list[str]) -> None:
    assert run(tool(checker[0]), *checker[1:], cwd=copy_of_the_house).returncode == 0
    with (copy_of_the_house / "edge" / "files.py").open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    assert run(tool(checker[0]), *checker[1:], cwd=copy_of_the_house).returncode == 1


# Each module is imported by a child of its own; NumPy and OpenCV, which every board has, are loaded once before: they take most of the time.
_IMPORT_EACH = """
import importlib, json, os, sys, traceback
import cv2, numpy
never, modules = json.load(sys.stdin)
for module in modules:
    child = os.fork()
    if not child:
        try:
            importlib.import_module(module)
            told = sorted(set(never) & set(sys.modules))
        except BaseException:
            told = traceback.format_exc()
        print(json.dumps([module, told]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, object]:
    """Of each module of edge what it loads that no board has, or its traceback."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}  # a process with threads must not fork
    asked = json.dumps([sorted(NEVER_ON_THE_BOARD), EDGE_MODULES])
    command = [sys.executable, "-W", "error", "-c", _IMPORT_EACH]
    done = subprocess.run(command, cwd=ROOT, env=environment, input=asked, capture_output=True, text=True, timeout=300, check=True)
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize("module", EDGE_MODULES)
def test_each_edge_module_imports_alone_and_light(imported: dict[str, object], module: str) -> None:
    assert imported[module] == []


@pytest.mark.parametrize("module", BUILD_MODULES)
def test_what_builds_on_the_board_needs_numpy_and_edge_alone(module: str) -> None:
    code = (
        f"import sys; before = set(sys.modules); import {module}; "
        "roots = {name.partition('.')[0] for name in set(sys.modules) - before if getattr(sys.modules[name], '__file__', None)}; "
        "print(sorted(roots - sys.stdlib_module_names), sorted(name for name in sys.modules if name.startswith('export.') and 'engines' not in name))"
    )
    done = run(sys.executable, "-W", "error", "-c", code)
    found, stages = done.stdout.strip().rsplit(" ", 1)
    assert set(ast.literal_eval(found)) <= {"edge", "export", "numpy"}, done.stdout + done.stderr
    assert stages == "[]"


def first_circle(root: Path) -> list[str]:
    """Modules that import each other in a circle, imports for types included; none if there is no circle."""
    code = (
        "import grimp, graphlib, sys\n"
        f"graph = grimp.build_graph({', '.join(map(repr, STAGES))}, exclude_type_checking_imports=False, cache_dir=None)\n"
        "assert len(graph.modules) > 200, len(graph.modules)\n"
        "try:\n"
        "    graphlib.TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}).prepare()\n"
        "except graphlib.CycleError as error:\n"
        "    print(*error.args[1])\n"
    )
    done = run(sys.executable, "-c", code, cwd=root)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_no_module_imports_itself_through_others(copy_of_the_house: Path) -> None:
    pytest.importorskip("grimp", reason="scripts/test brings it")
    assert first_circle(copy_of_the_house) == []
    with (copy_of_the_house / "edge/sources/uri.py").open("a", encoding="utf-8") as source:
        source.write("\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from edge.sources.open import open_source\n")
    assert {"edge.sources.uri", "edge.sources.open"} <= set(first_circle(copy_of_the_house))


def listed() -> list[str]:
    """The files that belong to the project, as git knows them."""
    told = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\n")
    if told == [""]:
        pytest.skip("this is no git checkout: nothing says which files belong to the project")
    return [name for name in told if name and (ROOT / name).is_file()]


def test_no_file_is_long_and_no_folder_full() -> None:
    written = [name for name in listed() if name.endswith((".py", ".sh", ".js", ".css", ".html")) or name.startswith("scripts/")]
    assert {name: lines for name in written if (lines := (ROOT / name).read_text(encoding="utf-8").count("\n")) > MOST_LINES} == {}
    named = [Path(name) for name in listed() if Path(name).name not in ("__init__.py", "py.typed", "README.md")]
    in_folders = Counter(str(path.parent) for path in named if path.parent != Path())
    assert {folder: files for folder, files in in_folders.items() if files > MOST_FILES} == {}


def test_libraries_of_devices_stay_in_their_files() -> None:
    homes = {"VideoCapture": {"edge/sources/capture.py"}}
    for name, allowed in homes.items():
        users = {
            str(path.relative_to(ROOT))
            for stage in STAGES
            for path in (ROOT / stage).rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute) and node.attr == name
        }
        assert users == allowed


def test_the_top_level_is_what_it_is_meant_to_be() -> None:
    top = {name.split("/")[0] for name in listed() if not name.startswith(".")}
    pages = {"README.md", "README.zh-CN.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE"}
    assert top <= {*STAGES, *pages, "tests", "scripts", "pyproject.toml", "constraints.txt", "constraints-system.txt"}


def test_constraints_are_plain_pins() -> None:
    for file in ("constraints.txt", "constraints-system.txt"):
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
            pin, _, marker = line.partition("; ")
            name, equals, version = pin.partition("==")
            assert name, line
            assert equals, line
            assert version[0].isdigit(), line
            assert not marker or marker.startswith("python_version"), line
