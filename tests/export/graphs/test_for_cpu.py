"""Graphs for ONNX Runtime's CPU kernels: the same numbers as before, and only where that is so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx", reason="needs the export extra")
ort = pytest.importorskip("onnxruntime", reason="needs the export extra")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from export.graphs import to_int8_cpu as module  # noqa: E402
from export.graphs.for_cpu import hasten  # noqa: E402

BYTES = (-2.0, 127 / 64)
"""What bytes less 128, in 64ths, span: with it the quantizer comes to the same steps as the bytes themselves."""
SPANS = {
    "turned": BYTES,
    "relu": (0.0, 3.0),
    "small": (0.0, 3.0),
    "large": (0.0, 3.0),
    "sum": (0.0, 6.0),
    "out": (-4.0, 4.0),
    "heat": (-4.0, 4.0),
    "boxes": (-4.0, 4.0),
}


def model(scale: float = 1 / 64, shift: float = -2.0, mode: str = "nearest", factor: float = 2.0) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    constants: dict[str, NDArray[Any]] = {
        "scale": np.array(scale, np.float32),
        "shift": np.array(shift, np.float32),
        "w1": rng.normal(0, 0.2, (6, 3, 3, 3)).astype(np.float32),
        "w2": rng.normal(0, 0.2, (6, 6, 3, 3)).astype(np.float32),
        "w3": rng.normal(0, 0.2, (4, 6, 3, 3)).astype(np.float32),
        "w4": rng.normal(0, 0.2, (2, 4, 1, 1)).astype(np.float32),
        "scales": np.array([1, 1, factor, factor], np.float32),
    }
    pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Cast", ["frames"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["centred"]),
        helper.make_node("Transpose", ["centred"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["turned", "w1"], ["conv"], **pads),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Conv", ["relu", "w2"], ["down"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["down"], ["small"]),
        helper.make_node("Resize", ["small", "", "scales"], ["large"], mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        helper.make_node("Add", ["large", "relu"], ["sum"]) if factor == 2 else helper.make_node("Relu", ["large"], ["sum"]),
        helper.make_node("Conv", ["sum", "w3"], ["out"], **pads),
        helper.make_node("Conv", ["out", "w4"], ["maps"], kernel_shape=[1, 1]),
    ]
    frames = helper.make_tensor_value_info("frames", TensorProto.UINT8, ["n", 12, 20, 3])
    maps = helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", 2, *(round(side * factor / 2) for side in (12, 20))])
    graph = helper.make_graph(nodes, "small", [frames], [maps], [numpy_helper.from_array(values, name) for name, values in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def quantized(float_model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch | None = None, kept: Sequence[str] = ()) -> bytes:
    if monkeypatch is not None:
        monkeypatch.setattr(module, "hasten", lambda model: None)
    return module.to_int8_cpu(float_model, SPANS, kept)


def halving(pads: list[int], width: int = 20, columns: int = 3) -> onnx.ModelProto:
    """A first layer that halves the picture, another, and two last layers that read the same."""
    rng = np.random.default_rng(0)
    constants = {
        "scale": np.array(1 / 64, np.float32),
        "shift": np.array(-2.0, np.float32),
        "w1": rng.normal(0, 0.2, (6, 3, 3, columns)).astype(np.float32),
        "b1": rng.normal(0, 0.2, 6).astype(np.float32),
        "w2": rng.normal(0, 0.2, (5, 6, 1, 1)).astype(np.float32),
        "w3": rng.normal(0, 0.2, (1, 5, 1, 1)).astype(np.float32),
        "w4": rng.normal(0, 0.2, (4, 5, 1, 1)).astype(np.float32),
        "b4": rng.normal(0, 0.2, 4).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["frames"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["centred"]),
        helper.make_node("Transpose", ["centred"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["turned", "w1", "b1"], ["conv"], kernel_shape=[3, columns], pads=pads, strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Conv", ["relu", "w2"], ["small"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["small", "w3"], ["heat"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["small", "w4", "b4"], ["boxes"], kernel_shape=[1, 1]),
        helper.make_node("Concat", ["heat", "boxes"], ["maps"], axis=1),
    ]
    sides = [(12 + pads[0] + pads[2] - 3) // 2 + 1, (width + pads[1] + pads[3] - columns) // 2 + 1]
    frames = helper.make_tensor_value_info("frames", TensorProto.UINT8, ["n", 12, width, 3])
    maps = helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", 5, *sides])
    graph = helper.make_graph(nodes, "halving", [frames], [maps], [numpy_helper.from_array(values, name) for name, values in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def run(content: bytes, width: int = 20) -> NDArray[np.float32]:
    frames = np.random.default_rng(1).integers(0, 256, (3, 12, width, 3), np.uint8)
    return np.asarray(ort.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"frames": frames})[0])


def kinds(content: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(content).graph.node]


def strides(content: bytes) -> list[int]:
    """Of the first convolution."""
    first = next(node for node in onnx.load_from_string(content).graph.node if node.op_type == "Conv")
    return next(list(attribute.ints) for attribute in first.attribute if attribute.name == "strides")


def test_bytes_go_in_as_they_are_and_upsampling_copies_with_the_same_result_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    fast, plain = quantized(model()), quantized(model(), monkeypatch)
    assert not {"Cast", "Mul", "Resize"}.intersection(kinds(fast))
    assert {"Cast", "Mul", "Resize"}.issubset(kinds(plain))
    np.testing.assert_array_equal(run(fast), run(plain))
    onnx.checker.check_model(onnx.load_from_string(fast), full_check=True)


@pytest.mark.parametrize(("pads", "columns"), [([0, 0, 1, 1], 3), ([1, 1, 1, 1], 3), ([1, 2, 1, 1], 5), ([0, 0, 1, 0], 2)])
def test_two_columns_come_at_a_time_and_last_layers_as_one_with_the_same_result(pads: list[int], columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ends_in_float = ("heat", "boxes")
    fast, plain = quantized(halving(pads, columns=columns), kept=ends_in_float), quantized(halving(pads, columns=columns), monkeypatch, ends_in_float)
    assert strides(fast) == [2, 1]
    assert kinds(fast).count("Gemm") == 1
    assert kinds(fast).count("Conv") == kinds(plain).count("Conv") - 2
    np.testing.assert_allclose(run(fast), run(plain), rtol=0, atol=1e-6)
    onnx.checker.check_model(onnx.load_from_string(fast), full_check=True)


@pytest.mark.parametrize(("pads", "width"), [([0, 0, 1, 1], 22), ([0, 0, 1, 3], 20)])  # no whole cells; a column more than half of the picture's
def test_columns_that_do_not_pair_stay_as_they_are(pads: list[int], width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, plain = quantized(halving(pads, width)), quantized(halving(pads, width), monkeypatch)
    assert strides(fast) == strides(plain) == [2, 2]
    np.testing.assert_allclose(run(fast, width), run(plain, width), rtol=0, atol=1e-6)


def test_what_nobody_reads_any_more_is_dropped() -> None:
    graph = onnx.load_from_string(quantized(model())).graph
    read = {name for node in graph.node for name in node.input} | {info.name for info in graph.output}
    assert {tensor.name for tensor in graph.initializer} <= read
    assert {name for node in graph.node for name in node.output} <= read


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"shift": -1.99}, "Cast"),  # 127.4 is no whole step
        ({"shift": 1.0}, "Cast"),  # zero would be no byte
        ({"mode": "linear"}, "Resize"),
        ({"factor": 4.0}, "Resize"),
    ],
)
def test_what_would_be_other_numbers_stays(options: dict[str, Any], kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = quantized(model(**options))
    assert kept in kinds(fast)
    np.testing.assert_array_equal(run(fast), run(quantized(model(**options), monkeypatch)))


def test_a_float_model_is_left_alone() -> None:
    plain = model()
    hasten(plain)
    assert plain == model()
