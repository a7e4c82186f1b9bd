"""Both int8 artefacts of a small graph: what is stored, how far it is from the fp16 one, and what a layer that stays in float changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx", reason="needs the export extra")
ort = pytest.importorskip("onnxruntime", reason="needs the export extra")

from onnx import numpy_helper  # noqa: E402

from edge.bundle.onnx_fp32 import widen  # noqa: E402
from export.graphs.calibrate import Range  # noqa: E402
from export.graphs.to_int8 import LEAST_SCALE, layers_of, to_int8, weight_axis  # noqa: E402
from export.graphs.to_int8_cpu import to_int8_cpu  # noqa: E402

CHANNELS, SIZE = 8, 24
SPANS: dict[str, Range] = {"nchw": (-1.0, 1.2), "relu": (0.0, 4.0)}


def tensors(content: bytes) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(content).graph.initializer}


def run(content: bytes) -> NDArray[np.float32]:
    crops = np.random.default_rng(0).integers(0, 256, (16, SIZE, SIZE, 3), np.uint8)
    return np.asarray(ort.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"images": crops})[0])


def test_weights_are_int8_by_channel_and_within_half_a_step(tiny_models: dict[str, bytes]) -> None:
    made, plain = tensors(to_int8(tiny_models["fp16"], SPANS)), tensors(tiny_models["fp16"])
    steps, scale = made["conv_w"], made["conv_w/scale"]
    assert (steps.dtype, scale.dtype, scale.shape) == (np.int8, np.float16, (CHANNELS,))
    assert np.abs(steps.astype(int)).max() == 127
    wide = scale.astype(np.float64)[:, None, None, None]
    assert (np.abs(steps * wide - plain["conv_w"]) <= wide * 0.51 + 127 * wide * 2**-11).all()
    for name in ("conv_b", "dense_w", "dense_b"):
        np.testing.assert_array_equal(made[name], plain[name])
        assert made[name].dtype == np.float16


def test_activations_have_one_symmetric_half_scale(tiny_models: dict[str, bytes]) -> None:
    made = tensors(to_int8(tiny_models["fp16"], SPANS))
    assert made["nchw/scale"] == np.float16(1.2 / 127)
    assert (made["nchw/zero_point"].dtype, made["nchw/zero_point"].shape) == (np.int8, ())
    model = onnx.load_from_string(to_int8(tiny_models["fp16"], SPANS))
    assert ([(o.domain, o.version) for o in model.opset_import], model.ir_version) == ([("", 19)], 9)
    assert [node.op_type for node in model.graph.node].count("QuantizeLinear") == 1


def test_scales_do_not_underflow(tiny_models: dict[str, bytes]) -> None:
    model = onnx.load_from_string(tiny_models["fp16"])
    kernel = next(tensor for tensor in model.graph.initializer if tensor.name == "conv_w")
    values = numpy_helper.to_array(kernel).copy()
    values[0], values[1] = 0, values[1] * np.float16(1e-4)
    kernel.CopyFrom(numpy_helper.from_array(values, "conv_w"))
    made = tensors(to_int8(model.SerializeToString(), {"nchw": (0.0, 0.0)}))
    assert made["nchw/scale"] == made["conv_w/scale"][0] == made["conv_w/scale"][1] == np.float16(LEAST_SCALE)
    assert not made["conv_w"][0].any()


def test_int8_runs_near_fp16(tiny_models: dict[str, bytes]) -> None:
    reference = run(tiny_models["fp16"])
    for content in (widen(to_int8(tiny_models["fp16"], SPANS)), to_int8_cpu(onnx.load_from_string(tiny_models["fp32"]), SPANS)):
        error = np.abs(run(content) - reference)
        assert 0 < error.max() < 0.1


def test_a_layer_that_is_kept_stays_as_it_was(tiny_models: dict[str, bytes]) -> None:
    model = onnx.load_from_string(tiny_models["fp16"])
    assert layers_of(model) == ["conv"]
    kept = to_int8(tiny_models["fp16"], SPANS, ["conv"])
    np.testing.assert_array_equal(run(kept), run(tiny_models["fp16"]))
    np.testing.assert_array_equal(tensors(kept)["conv_w"], tensors(tiny_models["fp16"])["conv_w"])
    fp32 = onnx.load_from_string(tiny_models["fp32"])
    assert tensors(to_int8_cpu(fp32, SPANS, ["conv"]))["conv_w"].dtype == np.float32
    quantized = tensors(to_int8_cpu(fp32, SPANS))
    assert np.abs(quantized["conv_w_quantized"].astype(int)).max() <= 64
    assert quantized["conv_b_quantized"].dtype == np.int32


@pytest.mark.parametrize(
    ("op_type", "attributes", "axis"), [("Conv", {}, 0), ("MatMul", {}, 1), ("Gemm", {}, 1), ("Gemm", {"transB": 0}, 1), ("Gemm", {"transB": 1}, 0)]
)
def test_output_channels_lie_along_the_axis_of_the_operator(op_type: str, attributes: dict[str, int], axis: int) -> None:
    assert weight_axis(onnx.helper.make_node(op_type, ["x", "w"], ["y"], **attributes)) == axis
