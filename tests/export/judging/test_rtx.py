"""NVIDIA's own parser and builder on what export makes; it needs no GPU."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("onnxruntime", reason="needs the export extra")

from foreign_bundle import narrowed  # noqa: E402
from onnxruntime.quantization import QDQQuantizer, QuantType  # noqa: E402
from onnxruntime.quantization.calibrate import TensorData  # noqa: E402

from edge.bundle.manifest import ModelSpec, read_bundle  # noqa: E402
from edge.errors import EngineError, MissingDependency  # noqa: E402
from export.graphs.to_int8 import layers_of, to_int8  # noqa: E402
from export.judging.rtx import build_with_rtx  # noqa: E402
from export.judging.verify import ask_nvidia, check_graphs  # noqa: E402


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra, for x86-64 Linux")


@pytest.mark.usefixtures("rtx")
def test_nvidia_takes_the_shipped_network_in_fp16_and_int8(shipped_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = read_bundle(shipped_bundle)
    ask_nvidia(bundle)
    told = capsys.readouterr().out
    assert all(f"classifier.{precision}.onnx: tensorrt-rtx parses and builds it, strongly typed" in told for precision in ("fp16", "int8"))
    spec = bundle.model("classifier", "fp16")
    fp16 = (shipped_bundle / spec.file).read_bytes()
    model = onnx.load_from_string(fp16)
    spans = {node.input[0]: (0.0, 10.0) for node in model.graph.node if node.output[0] in layers_of(model)}
    (tmp_path / "int8.onnx").write_bytes(to_int8(fp16, spans))
    built = build_with_rtx(tmp_path / "int8.onnx", replace(spec, precision="int8"))
    assert (tmp_path / "int8.onnx").stat().st_size < 15.5e6
    assert built < 0.7 * len(fp16)  # the weights stayed int8


@pytest.mark.usefixtures("rtx")
def test_nvidia_and_our_rules_take_a_network_of_other_classes(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = read_bundle(narrowed(tiny_bundle, tmp_path / "own"))
    check_graphs(bundle)
    ask_nvidia(bundle)
    assert "classifier.fp16.onnx: tensorrt-rtx parses and builds it, strongly typed" in capsys.readouterr().out


@pytest.mark.usefixtures("rtx")
def test_nvidia_refuses_what_onnx_runtime_makes_by_default(tiny_models: dict[str, bytes], tiny_spec: ModelSpec, tmp_path: Path) -> None:
    """Its int32 biases are why export has a quantizer of its own."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(tiny_models["fp32"]))
    for node in model.graph.node:
        node.name = node.output[0]
    spans = {name: TensorData(lowest=np.array(-1, np.float32), highest=np.array(1, np.float32)) for name in ("nchw", "conv", "relu")}
    quantizer = QDQQuantizer(model, True, False, QuantType.QInt8, QuantType.QInt8, spans, [], [], ["Conv"], {"ActivationSymmetric": True})
    quantizer.quantize_model()
    path = tmp_path / "default.onnx"
    path.write_bytes(quantizer.model.model.SerializeToString())
    with pytest.raises(EngineError, match=r"its parser refused: DequantizeLinear .*Int32") as refused:
        build_with_rtx(path, replace(tiny_spec, precision="int8"))
    assert "\n" not in str(refused.value)


def test_without_it_the_cure_is_named(monkeypatch: pytest.MonkeyPatch, tiny_spec: ModelSpec, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(MissingDependency, match=r"found none: .*-m pip install .*tensorrt-rtx"):
        build_with_rtx(tmp_path / "any.onnx", tiny_spec)
