"""The whole road for signs of one's own, in a small form: from a folder to a bundle that passes its own check, and on again without doing it twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip("supervision", reason="needs the train extra")
pytest.importorskip("tf2onnx", reason="needs the export extra")

import foreign_signs

from edge import cli
from edge.__main__ import signwing
from edge.bundle.manifest import read_bundle
from edge.errors import InputError, OutputError, SignwingError
from edge.images import read_image
from train.own.prepare import Options, prepare
from train.runs.folder import read_history
from train.teach import _alone, teach

INTERRUPTED = {
    "data": (lambda out: (out / ".data.partial" / "photos").is_dir(), signal.SIGKILL),
    "classifier": (lambda out: (out / "classifier" / "asked.json").is_file(), signal.SIGINT),
    "spotter": (lambda out: (out / "spotter" / "checkpoint.keras").is_file(), signal.SIGKILL),
    "bundle": (lambda out: any((out / ".bundle.partial").glob("*.onnx")), signal.SIGKILL),
}
"""What tells that a stage is at work, and what ends it then, with all that it started: as a power cut does, or Ctrl-C."""


@pytest.fixture(scope="module")
def broken_off() -> dict[str, tuple[int, str]]:
    """Of each stage, how the call that was ended in it ended, and what it said."""
    return {}


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, broken_off: dict[str, tuple[int, str]]) -> tuple[Path, Path]:
    """Photos of twelve signs, and frames of them, taught for one epoch by the word that users type, which is ended in every stage and typed again.

    It takes a minute and more, for each of its steps is a process of its own that loads TensorFlow, as it is for users.
    """
    root = tmp_path_factory.mktemp("own") / "signs"
    foreign_signs.write_photos(root / "photos", 8)
    foreign_signs.write_yolo(root / "frames", 16)
    out = root.parent / "taught"
    for stage, (at_work, number) in INTERRUPTED.items():
        command = cli.child("train", "teach", str(root), str(out), "--epochs", "1")
        with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            end = time.monotonic() + 300
            while not at_work(out):
                assert process.poll() is None, f"over before {stage}"
                assert time.monotonic() < end, f"no {stage}"
                time.sleep(0.005)
            os.killpg(process.pid, number)
            _, said = process.communicate()
        broken_off[stage] = process.returncode, said
    assert signwing(["teach", str(root), str(out), "--epochs", "1"]) == 0
    return root, out


def test_ended_in_every_stage_and_typed_again_it_ends_as_a_whole_one(taught: tuple[Path, Path], broken_off: dict[str, tuple[int, str]], tmp_path: Path) -> None:
    root, out = taught
    assert {stage: code for stage, (code, _) in broken_off.items()} == {"data": -9, "classifier": 130, "spotter": -9, "bundle": -9}
    told = broken_off["classifier"][1]
    assert f"what is done is kept; to go on, type the same again: signwing teach {root} {out}, with the options that you gave" in told
    assert "Traceback" not in told
    assert {path.name for path in out.iterdir()} == {"data", "classifier", "spotter", "bundle", "bundle-worst.png"}
    assert [len(read_history(out / run / "history.csv")) for run in ("classifier", "spotter")] == [1, 1]
    prepare(root, tmp_path / "whole")
    for path in (tmp_path / "whole").rglob("*"):
        if path.is_file() and path.name != "prepared.json":
            assert path.read_bytes() == (out / "data" / path.relative_to(tmp_path / "whole")).read_bytes()


def test_two_calls_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with _alone(tmp_path), pytest.raises(OutputError, match="alone, found that another call, or a step that it left, is at work there"), _alone(tmp_path):
        pass
    with _alone(tmp_path):
        pass


def test_a_folder_becomes_a_bundle_of_its_own_signs(taught: tuple[Path, Path]) -> None:
    _, out = taught
    manifest = read_bundle(out / "bundle").manifest
    assert set(manifest.labels) == set(foreign_signs.NAMES)
    assert {model.role for model in manifest.models} == {"classifier", "spotter"}
    card = (out / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert all(name in card for name in foreign_signs.NAMES)
    assert not any(word in card for word in ("GTSRB", "GTSDB", "German"))
    assert "GTSRB" not in (out / "classifier" / "report.html").read_text(encoding="utf-8")


def test_typed_again_it_only_checks(taught: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root, out = taught
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    capfd.readouterr()
    teach(root, out, epochs=1)
    told = capfd.readouterr().out
    assert [line for line in told.splitlines() if line.startswith("$ ")] == [f"$ python -m edge check {out / 'bundle'}"]
    assert told.splitlines()[-1] == f"use it: signwing run my.mp4 --bundle {out / 'bundle'}"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    with pytest.raises(InputError, match=r"wanted to go on in .* as it was begun, found seed 0 \(now 5\)"):
        teach(root, out, Options(seed=5))
    more = shutil.copytree(root, tmp_path / "more")
    (more / "new.txt").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=r"as it was begun, found root .*: give another OUT"):
        teach(more, out)
    (root / "new.txt").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=r"as it was begun, found other files in ROOT, or of other sizes: give another OUT"):
        teach(root, out)
    (root / "new.txt").unlink()


def test_the_bundle_runs(taught: tuple[Path, Path], tmp_path: Path) -> None:
    root, out = taught
    frame = sorted((root / "frames" / "images").iterdir())[0]
    assert signwing(["run", str(frame), "--bundle", str(out / "bundle"), "--video", str(tmp_path / "seen.mp4"), "--events", str(tmp_path / "e.jsonl")]) == 0
    assert read_image(frame).shape == (540, 960, 3)
    assert (tmp_path / "e.jsonl").is_file()


def test_a_step_that_fails_says_how_to_go_on(taught: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root, out = taught
    copy = shutil.copytree(out, tmp_path / "taught")
    shutil.rmtree(copy / "bundle")
    (copy / "classifier" / "model.keras").write_bytes(b"damaged")
    with pytest.raises(SignwingError, match="wanted `python -m export bundle` to end well, found that it failed"):
        teach(root, copy, epochs=1)
    assert "wanted a Keras model in" in capfd.readouterr().err
