"""Each rule for TensorRT, with a graph that keeps all of them and one that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("onnxruntime", reason="needs the export extra")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edge.bundle.manifest import ModelSpec  # noqa: E402
from edge.errors import BundleError  # noqa: E402
from export.graphs.lint import RULES, check_graph, faults  # noqa: E402
from export.graphs.to_int8 import to_int8  # noqa: E402

Break = Callable[[Any], None]


@pytest.fixture(scope="session")
def graphs(tiny_models: dict[str, bytes]) -> dict[str, bytes]:
    """A legal graph by precision."""
    return {"fp16": tiny_models["fp16"], "int8": to_int8(tiny_models["fp16"], {"nchw": (-1.0, 1.0)})}


def spec_of(spec: ModelSpec, precision: str) -> ModelSpec:
    return replace(spec, precision=precision)


def node(model: Any, op_type: str, input_name: str | None = None) -> Any:
    return next(n for n in model.graph.node if n.op_type == op_type and (input_name is None or input_name in n.input))


def constant(model: Any, name: str) -> Any:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def put(model: Any, name: str, values: Any) -> None:
    constant(model, name).CopyFrom(numpy_helper.from_array(values, name))


def insert(model: Any, before: Any, place: int, op_type: str, **attributes: Any) -> None:
    """Put an operator on the way into a node."""
    made = helper.make_node(op_type, [before.input[place]], [f"{before.input[place]}/inserted"], name="inserted", **attributes)
    before.input[place] = made.output[0]
    at = list(model.graph.node).index(before)
    model.graph.node.insert(at, made)


def older_opset(model: Any) -> None:
    model.opset_import[0].version = 8


def newer_opset(model: Any) -> None:
    model.opset_import[0].version = 21


def opset_without_half_scales(model: Any) -> None:
    model.opset_import[0].version = 17


def another_domain(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def second_input(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch"]))


def float_input(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def free_height(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"


def another_side(model: Any) -> None:
    for place in (1, 2):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_value = 25


def fixed_batch(model: Any) -> None:
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 1


def unnamed_batch(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].Clear()


def another_name(model: Any) -> None:
    model.graph.input[0].name = "input_1"
    node(model, "Cast", "images").input[0] = "input_1"


def half_output(model: Any) -> None:
    node(model, "Cast", "soft").attribute[0].i = TensorProto.FLOAT16
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def shape_chain(model: Any) -> None:
    model.graph.node.append(helper.make_node("Shape", ["relu"], ["sides"], name="sides"))


def unknown_operator(model: Any) -> None:
    node(model, "Relu").op_type = "Elu"


def pixels_reshaped(model: Any) -> None:
    insert(model, node(model, "Cast", "images"), 0, "Identity")


def double_constant(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(2), "unused"))


def float_arithmetic(model: Any) -> None:
    conv = node(model, "Conv")
    for place in (1, 2):
        put(model, conv.input[place], numpy_helper.to_array(constant(model, conv.input[place])).astype(np.float32))
    insert(model, conv, 0, "Cast", to=TensorProto.FLOAT)
    del model.graph.value_info[:]
    insert(model, node(model, "Relu"), 0, "Cast", to=TensorProto.FLOAT16)


def zero_points_not_zero(model: Any) -> None:
    put(model, "nchw/zero_point", np.array(1, np.int8))


def unsigned_activations(model: Any) -> None:
    put(model, "nchw/zero_point", np.array(0, np.uint8))


def zero_points_left_out(model: Any) -> None:
    for kind in ("QuantizeLinear", "DequantizeLinear"):
        del node(model, kind, "nchw/scale").input[2]


def int32_bias(model: Any) -> None:
    """As ONNX Runtime's quantizer does it."""
    conv = node(model, "Conv")
    bias = conv.input[2]
    put(model, bias, np.zeros(numpy_helper.to_array(constant(model, bias)).shape, np.int32))
    model.graph.initializer.append(numpy_helper.from_array(np.float16(0.5).reshape(()), "bias/scale"))
    model.graph.initializer.append(numpy_helper.from_array(np.int32(0).reshape(()), "bias/zero_point"))
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", [bias, "bias/scale", "bias/zero_point"], ["bias/done"], name="bias"))
    conv.input[2] = "bias/done"


def scale_that_underflows(model: Any) -> None:
    put(model, "nchw/scale", np.array(2.0**-15, np.float16))


def negative_scale(model: Any) -> None:
    put(model, "nchw/scale", np.array(-1, np.float16))


def infinite_scale(model: Any) -> None:
    put(model, "nchw/scale", np.array(np.inf, np.float16))


def float_scale(model: Any) -> None:
    put(model, "nchw/scale", np.array(1, np.float32))
    del model.graph.value_info[:]
    insert(model, node(model, "QuantizeLinear"), 0, "Cast", to=TensorProto.FLOAT)
    insert(model, node(model, "Conv"), 0, "Cast", to=TensorProto.FLOAT16)


def scale_that_is_computed(model: Any) -> None:
    for pair in (node(model, "QuantizeLinear"), node(model, "DequantizeLinear", "nchw/scale")):
        pair.input[1] = "computed"
    model.graph.node.insert(0, helper.make_node("Identity", ["nchw/scale"], ["computed"], name="computed"))


def scales_along_another_axis(model: Any) -> None:
    dequantize = node(model, "DequantizeLinear", "conv_w")
    next(attribute for attribute in dequantize.attribute if attribute.name == "axis").i = 1
    put(model, "conv_w/scale", np.ones(3, np.float16))
    put(model, "conv_w/zero_point", np.zeros(3, np.int8))


def one_scale_for_all_weights(model: Any) -> None:
    put(model, "conv_w/scale", np.array(1, np.float16))
    put(model, "conv_w/zero_point", np.array(0, np.int8))


def scales_by_channel_of_an_activation(model: Any) -> None:
    put(model, "nchw/scale", np.ones(3, np.float16))
    put(model, "nchw/zero_point", np.zeros(3, np.int8))


def dequantized_into_another_operator(model: Any) -> None:
    model.graph.node.insert(list(model.graph.node).index(node(model, "Conv")), helper.make_node("Neg", ["nchw/dequantized"], ["nowhere"], name="negative"))


def dequantized_into_float(model: Any) -> None:
    conv = node(model, "Conv")
    insert(model, conv, 0, "Cast", to=TensorProto.FLOAT)
    insert(model, conv, 0, "Cast", to=TensorProto.FLOAT16)


def quantized_into_another_operator(model: Any) -> None:
    insert(model, node(model, "DequantizeLinear", "nchw/scale"), 0, "Identity")


def no_layer_quantized(model: Any) -> None:
    dequantized = {n.output[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    conv = node(model, "Conv")
    conv.input[0] = "nchw"
    put(model, "conv_w", numpy_helper.to_array(constant(model, "conv_w")).astype(np.float16))
    conv.input[1] = "conv_w"
    for pair in (*dequantized.values(), node(model, "QuantizeLinear")):
        model.graph.node.remove(pair)


BROKEN: list[tuple[str, Break, str]] = [
    ("fp16", older_opset, "opset"),
    ("fp16", newer_opset, r"opset \[\('ai.onnx', 21\)\], wanted ai.onnx 9 to 20 alone"),
    ("fp16", another_domain, "com.microsoft"),
    ("int8", opset_without_half_scales, "opset 17, which has no float16 scales|no whole ONNX model"),
    ("fp16", second_input, r"input images uint8 \(batch, 24, 24, 3\), mask float \(batch\), wanted images uint8 \(batch, 24, 24, 3\) alone"),
    ("fp16", float_input, "input images float "),
    ("fp16", free_height, r"input images uint8 \(batch, height, 24, 3\)"),
    ("fp16", another_side, r"input images uint8 \(batch, 25, 25, 3\)"),
    ("fp16", fixed_batch, r"input images uint8 \(1, 24, 24, 3\)"),
    ("fp16", unnamed_batch, r"input images uint8 \(0, 24, 24, 3\)"),
    ("fp16", another_name, "input input_1 uint8"),
    ("fp16", half_output, r"output probabilities float16 \(batch, 43\), wanted probabilities float \(batch, 43\)"),
    ("fp16", shape_chain, "operator Shape at sides: a shape that is computed at run time"),
    ("fp16", unknown_operator, "operator Elu"),
    ("fp16", pixels_reshaped, "uint8 pixels into Identity"),
    ("fp16", double_constant, "constant unused of type double"),
    ("fp16", float_arithmetic, "Conv .* in float, wanted float16"),
    ("int8", zero_points_not_zero, "zero points of nchw/QuantizeLinear"),
    ("int8", unsigned_activations, "of uint8, TensorRT takes int8 alone"),
    ("int8", zero_points_left_out, "of uint8, TensorRT takes int8 alone"),
    ("int8", int32_bias, "bias of int32, TensorRT takes int8 alone"),
    ("int8", scale_that_underflows, r"scale 3\.05.*e-05 of nchw/QuantizeLinear, wanted 6\.1.*e-05 or more"),
    ("int8", negative_scale, "scale -1 of nchw/QuantizeLinear"),
    ("int8", infinite_scale, "scale inf of nchw/QuantizeLinear"),
    ("int8", float_scale, "scale of nchw/QuantizeLinear float32, wanted float16"),
    ("int8", scale_that_is_computed, "scale of nchw/QuantizeLinear not a constant"),
    ("int8", scales_along_another_axis, "3 scales along axis 1 of the weights of .*, wanted one for each output, along axis 0"),
    ("int8", one_scale_for_all_weights, "1 scales along axis 0"),
    ("int8", scales_by_channel_of_an_activation, "3 scales of the activation at nchw/QuantizeLinear, wanted one"),
    ("int8", dequantized_into_another_operator, "DequantizeLinear nchw/DequantizeLinear before Neg negative, wanted Conv or Gemm or MatMul"),
    ("int8", dequantized_into_float, "DequantizeLinear nchw/DequantizeLinear before Cast inserted"),
    ("int8", quantized_into_another_operator, "nchw/QuantizeLinear before Identity inserted, wanted DequantizeLinear"),
    ("int8", no_layer_quantized, "0 nodes that quantize or dequantize in an int8 model"),
]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_legal_graph_has_no_faults(graphs: dict[str, bytes], tiny_spec: ModelSpec, precision: str) -> None:
    assert faults(graphs[precision], spec_of(tiny_spec, precision)) == []
    check_graph(graphs[precision], spec_of(tiny_spec, precision), "here")


@pytest.mark.parametrize(("precision", "spoil", "told"), BROKEN, ids=[spoil.__name__ for _, spoil, _ in BROKEN])
def test_a_broken_rule_is_told(graphs: dict[str, bytes], tiny_spec: ModelSpec, precision: str, spoil: Break, told: str) -> None:
    model = onnx.load_from_string(graphs[precision])
    spoil(model)
    with pytest.raises(BundleError, match=told) as refused:
        check_graph(model.SerializeToString(), spec_of(tiny_spec, precision), "classifier.onnx")
    assert str(refused.value).startswith("wanted a graph that TensorRT takes in classifier.onnx, found ")
    assert "\n" not in str(refused.value)


def test_quantized_nodes_in_an_fp16_model_are_told(graphs: dict[str, bytes], tiny_spec: ModelSpec) -> None:
    assert faults(graphs["int8"], spec_of(tiny_spec, "fp16")) == ["3 nodes that quantize or dequantize in an fp16 model"]


def test_what_is_no_model_is_told(tiny_spec: ModelSpec) -> None:
    for content in (b"", b"no model", b"\x08\x08"):
        assert "no whole ONNX model" in faults(content, tiny_spec)[0]


def test_every_rule_has_a_graph_that_it_alone_sees(graphs: dict[str, bytes], tiny_spec: ModelSpec) -> None:
    """A rule that could be dropped without any of the graphs above passing would not be tested."""
    from export.graphs import lint

    needed = set()
    for precision, spoil, _ in BROKEN:
        model = onnx.load_from_string(graphs[precision])
        spoil(model)
        try:
            onnx.checker.check_model(model, full_check=True)
        except Exception:
            continue
        seen = [rule for rule in RULES if list(rule(lint._Graph(model, spec_of(tiny_spec, precision))))]
        needed |= set(seen) if len(seen) == 1 else set()
    assert needed == set(RULES)
