"""The notebook for Colab: run whole on drawn photos, and cell by cell where the machine has not what a cell is for."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import zipfile
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from edge.bundle.manifest import read_bundle
from edge.drawn.signs import draw_sign

nbformat = pytest.importorskip("nbformat", reason="needs the dev group")
nbclient = pytest.importorskip("nbclient", reason="needs the dev group")
h5py = pytest.importorskip("h5py", reason="needs the train extra")
pytest.importorskip("tf2onnx", reason="needs the export extra")

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="the notebook reads pyproject.toml with tomllib, which every Python of Colab's has")

ROOT = Path(__file__).resolve().parents[2]
CLASS_ID = 14


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(ROOT / "train" / "colab.ipynb", as_version=4)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One class in the csv layout: one epoch must be enough for int8 to agree with fp32 on what the signs are."""
    draw(tmp_path / "data", "Train", [f"{track:05}_{frame:05}" for track in range(8) for frame in range(12)])
    draw(tmp_path / "data", "Test", [f"{number:05}" for number in range(4)])
    return tmp_path / "data"


def draw(root: Path, kind: str, names: list[str]) -> None:
    rng = np.random.default_rng(0)
    face = draw_sign(CLASS_ID, 40).astype(np.float32)
    alpha = face[:, :, 3:] / 255
    (root / kind).mkdir(parents=True)
    for name in names:
        photo = rng.uniform(90, 130, 3) * (1 - alpha) + face[:, :, :3] * alpha * rng.uniform(0.8, 1)
        cv2.imwrite(str(root / kind / f"{CLASS_ID:05}_{name}.png"), photo.astype(np.uint8))
    rows = [f"{CLASS_ID},{kind}/{CLASS_ID:05}_{name}.png" for name in names]
    (root / f"{kind}.csv").write_text("\n".join(["ClassId,Path", *rows]) + "\n", encoding="utf-8")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Random convolutions of VGG-16 in Keras's notop layout: without batch norm, whose statistics one epoch cannot settle."""
    rng = np.random.default_rng(0)
    inputs, names = 3, []
    with h5py.File(tmp_path / "vgg.h5", "w") as file:
        for block, (filters, convolutions) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], 1):
            for convolution in range(1, convolutions + 1):
                names.append(f"block{block}_conv{convolution}")
                group = file.create_group(names[-1])
                group.attrs["weight_names"] = ["kernel", "bias"]
                group["kernel"] = rng.normal(0, np.sqrt(2 / (9 * inputs)), (3, 3, inputs, filters)).astype(np.float32)
                group["bias"] = np.zeros(filters, np.float32)
                inputs = filters
        file.attrs["layer_names"] = names
    return tmp_path / "vgg.h5"


def cell_of(notebook: Any, name: str) -> Any:
    return next(cell for cell in notebook.cells if cell.id == name)


def execute(cells: list[Any]) -> None:
    book = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()


def printed(cell: Any) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def test_it_goes_from_photos_to_a_zip_with_a_bundle(notebook: Any, data: Path, weights: Path, tmp_path: Path) -> None:
    settings = {"DATA": str(data), "WORK": str(tmp_path / "work"), "WEIGHTS": str(weights), "SIZE": 32, "EPOCHS": 1, "NEEDS_GPU": False}
    place = notebook.cells.index(cell_of(notebook, "parameters")) + 1
    notebook.cells.insert(place, nbformat.v4.new_code_cell("\n".join(f"{name} = {value!r}" for name, value in settings.items())))
    execute(notebook.cells)
    assert re.search(r"kept: numpy 2.* tensorflow(_cpu)? 2.* keras 3", printed(cell_of(notebook, "packages")))
    shown = [output for output in cell_of(notebook, "evaluate").outputs if "image/png" in output.get("data", {})]
    assert len(shown) == len(list((tmp_path / "work" / "run").glob("*.png"))) >= 3
    assert (tmp_path / "work" / "test.json").is_file()
    assert str(tmp_path / "work" / "bundle.zip") in printed(cell_of(notebook, "download"))
    with zipfile.ZipFile(tmp_path / "work" / "bundle.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    bundle = read_bundle(tmp_path / "unpacked" / "bundle")
    assert bundle.manifest.models[0].input.shape[1] == 32
    assert bundle.manifest.lineage["train"]["recipe"]["epochs"] == 1


def test_a_step_that_fails_stops_the_notebook(notebook: Any) -> None:
    failing = nbformat.v4.new_code_cell("run(PYTHON, '-c', 'print(2 * 21); raise SystemExit(3)')")
    after = nbformat.v4.new_code_cell("print('went on')")
    with pytest.raises(nbclient.exceptions.CellExecutionError, match=r"wanted exit code 0 of .*found 3"):
        execute([cell_of(notebook, "steps"), failing, after])
    assert "42" in printed(failing)
    assert not after.outputs


def test_it_is_kept_without_outputs_and_every_command_is_checked(notebook: Any) -> None:
    nbformat.validate(notebook)
    assert [cell.id for cell in notebook.cells][-2:] == ["download", "release"]
    assert notebook.metadata.colab.private_outputs is True  # a copy that a user keeps holds no photo either
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        assert (cell.outputs, cell.execution_count) == ([], None)
        assert not re.search(r"^\s*[!%]", cell.source, re.MULTILINE)  # `!` goes on after a failure
        assert cell.id in ("steps", "gpu") or not re.search(r"\bsystem\(|\bsubprocess\b|\bgetoutput\(", cell.source)


def play(notebook: Any, name: str, **names: Any) -> list[list[str]]:
    """Run a cell's source here, with names as the cells before it would have left them, and return the commands it wanted, a file of pins read in."""
    commands: list[list[str]] = []

    def run(*words: object) -> None:
        commands.append([Path(word).read_text(encoding="utf-8") if str(word).endswith(".txt") else str(word) for word in map(str, words)])

    exec(compile(cell_of(notebook, name).source, name, "exec"), {"run": run, "PYTHON": "python", "Path": Path, "IN_COLAB": True, **names})
    return commands


def extras(folder: Path, *lines: str) -> None:
    (folder / "pyproject.toml").write_text(f"[project.optional-dependencies]\ntrain = {list(lines)}\nexport = {list(lines)}\n", encoding="utf-8")


def test_only_what_is_missing_is_installed(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    extras(tmp_path, "numpy>=99", "keras>=99", "tensorflow>=99; python_version < '3.14'", "onnx>=1", "tqdm>=99", "no-such-package>=2,<3")
    ((*install, constraint, pins, first, second),) = play(notebook, "packages")
    assert install == ["python", "-m", "pip", "install", "--quiet"]
    assert (first, second) == ("tqdm>=99", "no-such-package<3,>=2")
    assert constraint == "--constraint"
    assert {f"{name}=={version(name)}" for name in ("numpy", "keras", "onnx", "protobuf")} < set(pins.split())
    assert "tqdm==" not in pins
    assert re.search("^tensorflow(_cpu)?==", pins, re.MULTILINE)


def test_a_runtime_that_lacks_tensorflow_is_refused_and_nothing_installed(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    extras(tmp_path, "no-such-package", "keras")
    monkeypatch.setattr("importlib.metadata.packages_distributions", dict)
    with pytest.raises(RuntimeError, match="wanted a runtime with keras, found none"):
        play(notebook, "packages")


@pytest.mark.parametrize(("given", "commands"), [("", 1), ("/content/drive/MyDrive/gtsrb", 0)])
def test_photos_are_fetched_unless_a_folder_is_given(notebook: Any, given: str, commands: int) -> None:
    assert play(notebook, "data", DATA=given) == [["python", "-m", "train", "fetch", "gtsrb", "out/gtsrb"]][:commands]


def test_without_a_gpu_it_says_where_to_get_one(notebook: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="Change runtime type"):
        play(notebook, "gpu", NEEDS_GPU=True)
    assert play(notebook, "gpu", NEEDS_GPU=False) == []
    assert "training on the CPU" in capsys.readouterr().out


def test_a_gpu_is_told_with_its_memory_and_tried(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'Tesla T4, 15360, 900'\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tried,) = play(notebook, "gpu", NEEDS_GPU=True)
    assert "list_physical_devices" in tried[-1]
    told = capsys.readouterr().out
    assert "Tesla T4: 15360 MiB, 900 MiB of it free" in told
    assert "Manage sessions" in told


class Colab(ModuleType):
    """Colab's modules as far as the notebook calls them: notes each call."""

    def __init__(self) -> None:
        super().__init__("google.colab")
        self.calls: list[tuple[Any, ...]] = []
        self.released = threading.Event()
        self.files = self.drive = self.runtime = self

    def download(self, path: str) -> None:
        self.calls.append(("download", path))

    def upload(self) -> dict[str, bytes]:
        self.calls.append(("upload",))
        return {str(path): path.read_bytes() for path in Path().glob("*.zip")}

    def flush_and_unmount(self) -> None:
        self.calls.append(("flush",))
        raise ValueError("flush_and_unmount failed")

    def unassign(self) -> None:
        self.calls.append(("unassign",))
        self.released.set()


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> Colab:
    colab = Colab()
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    return colab


def test_in_colab_without_an_address_the_project_is_taken_from_a_zip(notebook: Any, colab: Colab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"PROJECT": "", "WEIGHTS": "none", "DATA": "", "WORK": "out", "os": os, "shutil": shutil}
    with pytest.raises(RuntimeError, match=r"wanted the project, found none in .*signwing: set PROJECT"):
        play(notebook, "project", **names)
    with zipfile.ZipFile(tmp_path / "signwing.zip", "w") as archive:
        archive.writestr("signwing/train/__main__.py", "")
    assert play(notebook, "project", **names) == []
    assert Path.cwd() == tmp_path / "signwing"
    assert colab.calls == [("upload",)] * 2


def test_the_project_is_cloned_from_its_address(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cloned: list[tuple[str, ...]] = []

    def clone(*words: str) -> None:
        cloned.append(words)
        (tmp_path / "signwing" / "train").mkdir(parents=True)
        (tmp_path / "signwing" / "train" / "__main__.py").touch()

    names = {"WEIGHTS": "none", "DATA": "", "WORK": "out", "os": os, "shutil": shutil, "IN_COLAB": False, "run": clone}
    with pytest.raises(RuntimeError, match="set PROJECT to the address to clone it from"):
        play(notebook, "project", PROJECT="", **names)
    for _ in range(2):
        monkeypatch.chdir(tmp_path)
        play(notebook, "project", PROJECT="https://host/signwing.git", **names)
        assert Path.cwd() == tmp_path / "signwing"
    assert cloned == [("git", "clone", "--depth", "1", "https://host/signwing.git", "signwing")]  # once: then it is there


def test_in_colab_the_bundle_is_downloaded_first_and_the_runtime_released_later(notebook: Any, colab: Colab, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}", encoding="utf-8")
    play(notebook, "download", WORK=str(tmp_path), BUNDLE=tmp_path / "bundle", shutil=shutil)
    play(notebook, "release", RELEASE_MINUTES=0.005)
    assert colab.calls == [("download", str(tmp_path / "bundle.zip"))]
    assert colab.released.wait(30)
    assert colab.calls[1:] == [("flush",), ("unassign",)]


@pytest.mark.parametrize("names", [{"IN_COLAB": False, "RELEASE_MINUTES": 5}, {"RELEASE_MINUTES": 0}])
def test_elsewhere_and_where_it_is_to_be_kept_nothing_is_released(notebook: Any, colab: Colab, names: dict[str, Any]) -> None:
    threads = threading.active_count()
    play(notebook, "release", **names)
    assert threading.active_count() == threads
    assert not colab.calls
