"""The general detectors are what was published, in every respect that decides their time; the comparison runs and keeps its figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the export extra")
onnxruntime = pytest.importorskip("onnxruntime")

from benchmarks.__main__ import main  # noqa: E402
from benchmarks.peers import detector, yolox  # noqa: E402


@pytest.mark.parametrize(("name", "parameters_m", "gflop"), [("nano", 0.91, 1.08), ("tiny", 5.06, 6.45)])
def test_the_network_has_the_published_size(name: str, parameters_m: float, gflop: float) -> None:
    model = yolox.build(name)
    # Published counts have batch norm's scales, which are folded here.
    assert yolox.count_parameters(model) / 1e6 == pytest.approx(parameters_m, rel=0.02)
    assert yolox.count_flop(model) / 1e9 == pytest.approx(gflop, rel=0.04)


def test_it_runs_and_finds_nothing() -> None:
    session = onnxruntime.InferenceSession(yolox.build("nano").SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    boxes, scores, classes = yolox.decode(session.run(None, {yolox.INPUT: detector.letterbox(image, yolox.SIZE)})[0][0])
    assert boxes.shape == (3549, 4)
    assert np.isfinite(boxes).all()
    assert 0 < scores.max() < detector._SCORE
    assert (classes >= 0).all()
    assert (classes < yolox.CLASSES).all()


def test_decoding_puts_a_prediction_where_its_cell_is() -> None:
    predictions = np.zeros((3549, 85), np.float32)
    last = 3549 - 1
    predictions[last, :4] = 0.5, -0.5, np.log(2), 0
    predictions[last, [4, 5 + 7]] = 0.9, 0.8
    boxes, scores, classes = yolox.decode(predictions)
    # The last cell of stride 32 is (12, 12): centre (12.5, 11.5) cells, 64 by 32 px.
    np.testing.assert_allclose(boxes[last], [400 - 32, 368 - 16, 400 + 32, 368 + 16], rtol=1e-5)
    assert (scores[last], classes[last]) == (pytest.approx(0.72), 7)


def test_letterbox_keeps_the_shape_and_pads_with_grey() -> None:
    data = detector.letterbox(np.zeros((360, 640, 3), np.uint8), 416)
    assert (data.shape, data.dtype) == ((1, 3, 416, 416), np.float32)
    assert (data[..., :234, :] == 0).all()
    assert (data[..., 234:, :] == 114).all()


def test_ours_and_the_detectors_take_turns(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "KEPT", 6)
    monkeypatch.setattr(detector, "SIZE_WH", (320, 180))
    assert main(["detector", "--bundle", str(tiny_bundle), "--engine", "fake", "--rounds", "2", "--json", str(tmp_path / "out.json")]) == 0
    document = json.loads((tmp_path / "out.json").read_text())
    rows = {row["name"]: row for row in document["rows"]}
    assert {f"YOLOX-{name} {precision}, onnxruntime" for name in yolox.STEMS for precision in ("fp32", "int8")} < set(rows)
    assert all(len(row["fps_rounds"]) == 2 and min(row["fps_rounds"]) > 0 for row in rows.values())
    first = document["rows"][0]
    assert (first["ratio"], first["fps"]) == (1, document["fps"])
    for row in rows.values():
        assert row["ratio"] == pytest.approx(document["fps"] / row["fps"], abs=1e-3)
