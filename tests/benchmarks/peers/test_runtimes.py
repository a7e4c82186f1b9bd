"""Other runtimes get the bundle's own weights, each in a process of its own; what is missing or fails is named, and the rest is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("onnxruntime")

from test_benchmarks_accuracy import write_photos  # noqa: E402

from benchmarks.__main__ import main  # noqa: E402
from benchmarks.peers import child as peer_child  # noqa: E402
from benchmarks.peers import models as peer_models
from benchmarks.peers import runtimes as peers
from edge.bundle.manifest import SHIPPED  # noqa: E402
from edge.bundle.onnx_fp32 import widen  # noqa: E402


def test_the_shipped_weights_run_everywhere_and_agree(tmp_path: Path, draw_crops: Any) -> None:
    pytest.importorskip("tensorflow", reason="needs the train extra")
    crops, classes = draw_crops(24, 64)
    entries = [(int(class_id), f"{number:05}.png") for number, class_id in enumerate(classes)]
    write_photos(tmp_path / "gtsrb", "Train.csv", [(class_id, f"Train/{class_id}/{class_id:05}_00000_{path}") for class_id, path in entries], crops)
    write_photos(tmp_path / "gtsrb", "Test.csv", [(class_id, f"Test/{path}") for class_id, path in entries], crops)
    arguments = ["peers", "--data", str(tmp_path), "--rounds", "1", "--runs", "2", "--json", str(tmp_path / "out.json")]
    assert main(arguments) == 0
    document = json.loads((tmp_path / "out.json").read_text())
    rows = {row["name"]: row for row in document["rows"]}
    there = {name for name, peer in peer_child.PEERS.items() if all(peer_models.there(module) for module in peer.needs)}
    assert {"Keras predict", "tf.function", "OpenCV DNN fp32"} <= there
    assert there == {name for name in rows if not name.startswith("Signwing")}
    assert set(document["missing"]) == set(peer_child.PEERS) - there
    first = document["rows"][0]
    assert first["name"] == "Signwing, onnxruntime"
    for row in rows.values():
        assert abs(row["top1"] - first["top1"]) <= 2 / 24
        assert row["ratio"]["1"] == pytest.approx(row["ms"]["1"] / first["ms"]["1"], abs=1e-3)
        assert 0 < row["start_s"] < 300
        assert 20 < row["rss_mib"] <= row["peak_mib"]


def test_a_bundle_of_another_making_leaves_out_what_cannot_take_it(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorflow", reason="needs the train extra")
    assert main(["peers", "--bundle", str(tiny_bundle), "--engine", "onnxruntime", "--rounds", "1", "--runs", "2"]) == 0
    printed = capsys.readouterr().out
    assert "left out: Keras predict: wanted an operator of our classifiers, found Sub" in printed
    assert "OpenCV DNN fp32" in printed
    assert " nan" not in printed


def test_an_engine_of_ours_that_fails_is_an_error(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peers", "--bundle", str(tiny_bundle), "--engine", "tensorrt"]) == 1
    error = capsys.readouterr().err
    assert "wanted an answer of Signwing, tensorrt, its process ended: wanted" in error
    assert error.count("\n") == 1


def test_other_weights_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorflow", reason="needs the train extra")
    (tmp_path / peer_models.FP32).write_bytes(widen((SHIPPED / "classifier.fp16.onnx").read_bytes()))
    np.save(tmp_path / peer_models.CALIBRATION, np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8))
    honest = peer_models.keras_model

    def other(model: Any) -> Any:
        network = honest(model)
        network.layers[-2].set_weights([-values for values in network.layers[-2].get_weights()])
        return network

    monkeypatch.setattr(peer_models, "keras_model", other)
    monkeypatch.setattr(peer_models, "openvino_int8", lambda *_: None)
    assert "apart" in peer_models.make(tmp_path)[peer_models.KERAS]
    assert not (tmp_path / peer_models.KERAS).exists()


def test_a_peer_whose_process_ends_says_why() -> None:
    with pytest.raises(peers.EngineError, match=r"its process ended: .*/nothing") as told:
        peers._Peer("OpenCV DNN fp32", {"peer": "OpenCV DNN fp32", "folder": "/nothing"})
    assert "\n" not in str(told.value)
