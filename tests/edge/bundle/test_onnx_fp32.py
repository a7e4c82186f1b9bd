"""fp16 to fp32 by hand against the onnx package and ONNX Runtime."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from edge.bundle.manifest import read_bundle
from edge.bundle.onnx_fp32 import widen
from edge.engines.open import open_engine
from edge.errors import EngineError

onnx = pytest.importorskip("onnx", reason="needs the export extra: onnx makes and reads the models here")
ort = pytest.importorskip("onnxruntime")
F16, F32 = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


def outputs(model: bytes, images: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, {"images": images})[0]


def one_constant(tensor: Any) -> bytes:
    node = onnx.helper.make_node("Constant", [], ["out"], value=tensor)
    graph = onnx.helper.make_graph([node], "g", [], [onnx.helper.make_tensor_value_info("out", F16, list(tensor.dims))])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def constant_of(model: bytes) -> np.ndarray:
    widened = onnx.load_from_string(model)
    onnx.checker.check_model(widened, full_check=True)
    return onnx.numpy_helper.to_array(widened.graph.node[0].attribute[0].t)


@pytest.mark.parametrize("keep_io_types", [True, False])
def test_what_onnxconverter_narrowed_is_widened_back(tiny_models: dict[str, bytes], draw_crops: Any, keep_io_types: bool) -> None:
    float16 = pytest.importorskip("onnxconverter_common.float16")
    narrow = float16.convert_float_to_float16(onnx.load_from_string(tiny_models["fp32"]), keep_io_types=keep_io_types).SerializeToString()
    crops, _ = draw_crops(16, 24)
    wide = widen(narrow)
    onnx.checker.check_model(onnx.load_from_string(wide), full_check=True)
    assert F16 in [tensor.data_type for tensor in onnx.load_from_string(narrow).graph.initializer]
    np.testing.assert_allclose(outputs(wide, crops), outputs(tiny_models["fp32"], crops), atol=1e-6)


def test_a_widened_graph_names_float16_nowhere(tiny_models: dict[str, bytes]) -> None:
    graph = onnx.load_from_string(widen(tiny_models["fp16"])).graph
    assert {tensor.data_type for tensor in graph.initializer} == {F32}
    assert {info.type.tensor_type.elem_type for info in [*graph.value_info, *graph.output]} == {F32}
    assert {node.attribute[0].i for node in graph.node if node.op_type == "Cast"} == {F32}


def test_what_holds_no_fp16_comes_back_byte_for_byte(tiny_models: dict[str, bytes]) -> None:
    assert widen(tiny_models["int8-cpu"]) == tiny_models["int8-cpu"]
    assert widen(b"") == b""


def test_fields_that_are_not_known_are_kept(tiny_models: dict[str, bytes]) -> None:
    model = onnx.load_from_string(tiny_models["fp16"])
    model.producer_name, model.doc_string = "someone", "text with \0 and ü"
    onnx.helper.set_model_props(model, {"key": "value"})
    stranger = b"\xfd\x3f\x01\x02\x03\x04" + b"\xf9\x3f12345678"  # fields 1023, of fixed size
    wide = widen(model.SerializeToString() + stranger)
    assert wide.endswith(stranger)
    read = onnx.load_from_string(wide)
    assert (read.producer_name, read.doc_string, read.metadata_props[0].value, read.opset_import[0].version) == ("someone", "text with \0 and ü", "value", 17)


@pytest.mark.parametrize("raw", [True, False])
def test_every_fp16_number_is_widened_exactly(raw: bool) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    values = every[np.isfinite(every)]
    if raw:
        tensor = onnx.numpy_helper.from_array(values, "t")
    else:
        tensor = onnx.TensorProto(dims=values.shape, data_type=F16, name="t", int32_data=values.view(np.uint16).astype(np.int32).tolist())
    wide = constant_of(widen(one_constant(tensor)))
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide.view(np.uint32), values.astype(np.float32).view(np.uint32))


def test_infinities_stay_and_not_a_number_stays_none() -> None:
    wide = constant_of(widen(one_constant(onnx.numpy_helper.from_array(np.array([np.inf, -np.inf, np.nan], np.float16), "t"))))
    np.testing.assert_array_equal(wide, np.array([np.inf, -np.inf, np.nan], np.float32))


def test_numbers_that_stand_one_by_one_are_read() -> None:
    # int32_data may be written unpacked: field 5 as a varint, 0x3c00 being 1.0.
    assert widen(_in_an_initializer(b"\x08\x01\x10\x0a\x28\x80\x78")) == _in_an_initializer(b"\x08\x01\x10\x01\x4a\x04" + np.float32(1).tobytes())


def _in_an_initializer(tensor: bytes) -> bytes:
    graph = bytes([5 << 3 | 2, len(tensor)]) + tensor
    return bytes([7 << 3 | 2, len(graph)]) + graph


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (b"\xff", "does not end"),
        (b"\xff" * 11, "does not end"),
        (b"\x3b", "kind 3"),
        (b"\x00\x01", "field 0"),
        (b"\x3a\x7f\x00", "not whole"),
        (b"\x09\x00", "not whole"),
        (_in_an_initializer(b"\x10\x0a\x4a\x03abc"), "3 bytes"),
        (_in_an_initializer(b"\x10\x0a\x28\x80\x80\x04"), "16 bits"),
        (_in_an_initializer(b"\x10\x0a\x70\x01"), "another file"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(model: bytes, found: str) -> None:
    with pytest.raises(EngineError, match=found) as refused:
        widen(model)
    assert "\n" not in str(refused.value)


def test_damaged_bytes_give_bytes_or_a_refusal_and_nothing_else(tiny_models: dict[str, bytes]) -> None:
    rng = random.Random(0)
    model, refused = tiny_models["fp16"], 0
    for _ in range(300):
        damaged = bytearray(model[: rng.randrange(len(model))] if rng.random() < 0.3 else model)
        for _ in range(rng.randrange(4)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        try:
            assert isinstance(widen(bytes(damaged)), bytes)
        except EngineError:
            refused += 1
    assert 30 < refused < 300


def test_the_engine_in_fp32_computes_what_the_source_computes(tiny_bundle: Any, tiny_models: dict[str, bytes], draw_crops: Any) -> None:
    crops, _ = draw_crops(5, 24)
    with open_engine(read_bundle(tiny_bundle), "classifier", precision="fp32") as engine:
        assert engine.precision == "fp32"
        np.testing.assert_allclose(engine.infer(crops), outputs(tiny_models["fp32"], crops), atol=1e-6)
