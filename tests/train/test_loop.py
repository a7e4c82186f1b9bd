"""The loop from a flight to a better model, small: one sign with a new face flies by, is kept, judged on the page, and learnt.

The whole of it, with export, another flight and `compare`, is `tests/support/own/flight_loop.py`. A minute on 2 cores that others use too: a drawn flight, a
browser and a training, none of which a smaller stand-in could show.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")
pytest.importorskip("uvicorn", reason="the extra web is not installed")

import keras
from browser import PROGRAM
from commands import done
from flight_loop import NO_ENTRY, fly, judge, new_face, true_label
from training import main

from edge.bundle.manifest import SHIPPED, read_bundle
from edge.datasets.gtsrb_labels import LABELS
from edge.drawn.drone.flight import DroneFlight
from edge.engines.open import open_engine
from edge.images import fit_crop
from edge.recognition.classifier import cut_out
from train.own import added

if PROGRAM is None:
    pytest.skip("no Chromium here (Debian, Ubuntu: apt install chromium)", allow_module_level=True)

SEED, SIZE_PX = 21, 64


def passing() -> range:
    """The frames in which the first sign with the new face is seen, until it is largest."""
    with new_face():
        flight = DroneFlight(seed=SEED, frames=900)
        one = next(each for each in flight.passes() if each.class_id == NO_ENTRY)
    return range(max(0, one.last_frame - 60), one.last_frame)


def test_a_new_face_that_flies_by_is_kept_judged_and_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    film = fly(tmp_path / "flown", SEED, passing())
    truth = json.loads((tmp_path / "flown" / "truth.json").read_text())
    kept = tmp_path / "kept"
    done("run", film, "--keep", kept, "--quiet")
    told = [json.loads(path.read_text()) for path in kept.glob("*.json")]
    ours = [item for item in told if true_label(truth, item["views"][0]["frame"], item["views"][0]["box_xyxy"]) == LABELS[NO_ENTRY]]
    assert ours
    assert set(ours[0]["reasons"]) & {"votes", "unsure"}

    given = judge(kept, truth, tmp_path / "profile")
    assert given.total() == len(told)
    assert given["corrected"] >= 1
    assert len(list((kept / "reviewed" / LABELS[NO_ENTRY]).rglob("*.png"))) >= len(ours)

    monkeypatch.setattr(added, "OLD", {"train": 3, "valid": 1, "test": 1})
    words = ("fit", "--add", kept, "--out", tmp_path / "run", "--epochs", "2", "--precision", "float32", "--size", SIZE_PX, "--rate", "0.01")
    assert main(*words) == 0
    assert "make it a bundle, unless it is worse: signwing export bundle" in capsys.readouterr().out
    kept_of = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (kept_of["recipe"]["size"], kept_of["recipe"]["width"], kept_of["recipe"]["teacher_sure"]) == (SIZE_PX, 0.5, 0.9)
    assert kept_of["taught_by"]["name"] == read_bundle(SHIPPED).manifest.name
    crops = seen(film, truth)
    assert len(crops) > 20
    with open_engine(read_bundle(SHIPPED), "classifier", engine="onnxruntime", precision="int8-cpu") as engine:
        before = np.concatenate([engine.infer(crop[None]) for crop in crops])
    after = keras.models.load_model(tmp_path / "run" / "model.keras", compile=False).predict(np.stack(crops), verbose=0)
    assert after[:, NO_ENTRY].mean() > before[:, NO_ENTRY].mean() + 0.1

    table = (tmp_path / "run" / "data" / "Train.csv").read_bytes()
    assert main(*words) == 1
    assert "--resume" in capsys.readouterr().err
    assert main(*words, "--resume") == 0
    assert (tmp_path / "run" / "data" / "Train.csv").read_bytes() == table


def seen(film: Path, truth: list[list[tuple[int, int, list[float]]]]) -> list[np.ndarray]:
    """Crops of the new face in each frame, (64, 64, 3) uint8 BGR each."""
    crops, capture = [], cv2.VideoCapture(str(film))
    for frame in truth:
        image = capture.read()[1]
        crops += [fit_crop(cut_out(image, box), SIZE_PX) for _, class_id, box in frame if class_id == NO_ENTRY]
    return crops
