"""The whole road for signs of one's own, in a small form: from a folder to a bundle that passes its own check, and on again without doing it twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("supervision", reason="needs the train extra")
pytest.importorskip("tf2onnx", reason="needs the export extra")

import foreign_signs

from edge.__main__ import signwing
from edge.bundle.manifest import read_bundle
from edge.errors import InputError, SignwingError
from edge.images import read_image
from train.own.prepare import Options
from train.recipes import OWN
from train.teach import LEAST_STEPS, classifier_epochs, teach


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Photos of twelve signs, and frames of them, taught for one epoch by the word that users type."""
    root = tmp_path_factory.mktemp("own") / "signs"
    foreign_signs.write_photos(root / "photos", 8)
    foreign_signs.write_yolo(root / "frames", 16)
    out = root.parent / "taught"
    assert signwing(["teach", str(root), str(out), "--epochs", "1"]) == 0
    return root, out


def test_a_folder_becomes_a_bundle_of_its_own_signs(taught: tuple[Path, Path]) -> None:
    _, out = taught
    manifest = read_bundle(out / "bundle").manifest
    assert set(manifest.labels) == set(foreign_signs.NAMES)
    assert {model.role for model in manifest.models} == {"classifier", "spotter"}
    card = (out / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert all(name in card for name in foreign_signs.NAMES)
    assert not any(word in card for word in ("GTSRB", "GTSDB", "German"))
    assert "GTSRB" not in (out / "classifier" / "report.html").read_text(encoding="utf-8")


def test_typed_again_it_only_checks(taught: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    root, out = taught
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    capfd.readouterr()
    teach(root, out, epochs=1)
    told = capfd.readouterr().out
    assert [line for line in told.splitlines() if line.startswith("$ ")] == [f"$ python -m edge check {out / 'bundle'}"]
    assert told.splitlines()[-1] == f"use it: signwing run my.mp4 --bundle {out / 'bundle'}"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    with pytest.raises(InputError, match=r"wanted to go on in .* as it was begun"):
        teach(root, out, Options(seed=5))


def test_the_bundle_runs(taught: tuple[Path, Path], tmp_path: Path) -> None:
    root, out = taught
    frame = sorted((root / "frames" / "images").iterdir())[0]
    assert signwing(["run", str(frame), "--bundle", str(out / "bundle"), "--video", str(tmp_path / "seen.mp4"), "--events", str(tmp_path / "e.jsonl")]) == 0
    assert read_image(frame).shape == (540, 960, 3)
    assert (tmp_path / "e.jsonl").is_file()


def test_few_photos_are_looked_at_more_often() -> None:
    assert classifier_epochs({"photos": {"train": 3000}}) == OWN.epochs
    assert classifier_epochs({"photos": {"train": 32}}) == LEAST_STEPS
    assert classifier_epochs({"photos": {"train": 6}}) == LEAST_STEPS


def test_a_step_that_fails_says_how_to_go_on(taught: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root, out = taught
    copy = shutil.copytree(out, tmp_path / "taught")
    shutil.rmtree(copy / "bundle")
    (copy / "classifier" / "model.keras").write_bytes(b"damaged")
    with pytest.raises(SignwingError, match="wanted `python -m export bundle` to end well, found that it failed"):
        teach(root, copy, epochs=1)
    assert "wanted a Keras model in" in capfd.readouterr().err
