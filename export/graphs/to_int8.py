"""The fp16 artefact to the int8 one for TensorRT: weights by output channel and activations by tensor in int8, both symmetric, float16 in between.

TensorRT gives what leaves a DequantizeLinear the type of its scale. So scales are float16, which ONNX knows from opset 19 on; biases stay float16, as TensorRT
takes no int32; and QuantizeLinear stands before Conv and MatMul alone, since TensorRT moves it through Relu and MaxPool by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from export.graphs.calibrate import Range

OPSET, IR = 19, 9
LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
MOST = 127
LEAST_SCALE = float(np.finfo(np.float16).tiny)
"""Below it float16 loses digits, and a scale soon is zero, which TensorRT refuses."""


def layers_of(model: onnx.ModelProto) -> list[str]:
    """Return what to quantize, by the tensor that each gives: all with weights but the last of each branch, which cost nothing and decide.

    A classifier's last tells signs apart that are alike, a spotter's two tell where a sign is and how large.
    """
    feeding: set[str] = set()
    for node in reversed(model.graph.node):
        if node.op_type in LAYERS or feeding.intersection(node.output):
            feeding.update(node.input)
    return [node.output[0] for node in model.graph.node if node.op_type in LAYERS and node.output[0] in feeding]


def weight_axis(node: NodeProto) -> int:
    """Return the axis of the output channels in a layer's weights, its second input."""
    if node.op_type == "Gemm":
        return 0 if any(attribute.name == "transB" and attribute.i for attribute in node.attribute) else 1
    return 0 if node.op_type == "Conv" else 1


def to_int8(fp16: bytes, ranges: Mapping[str, Range], kept: Collection[str] = ()) -> bytes:
    """Quantize for TensorRT, strongly typed.

    Args:
        fp16: an ONNX model in float16.
        ranges: what the input of each layer to quantize spans, by the tensor's name.
        kept: layers that stay in float16, some of `layers_of`.
    """
    model = onnx.version_converter.convert_version(onnx.load_from_string(fp16), OPSET)
    model.ir_version = IR
    graph = model.graph
    chosen = set(layers_of(model)) - set(kept)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    dequantized: dict[str, str] = {}
    for node in graph.node:
        if node.output[0] in chosen:
            activation, weight = node.input[:2]
            if activation not in dequantized:
                dequantized[activation] = _quantize_activation(graph, nodes, activation, ranges[activation])
            node.input[0] = dequantized[activation]
            node.input[1] = _quantize_weight(graph, nodes, weights[weight], weight_axis(node))
        nodes.append(node)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _quantize_activation(graph: onnx.GraphProto, nodes: list[NodeProto], name: str, span: Range) -> str:
    scale = _scale(np.array(max(-span[0], span[1])))
    quantized = f"{name}/quantized"
    others = _parameters(graph, name, scale)
    nodes.append(helper.make_node("QuantizeLinear", [name, *others], [quantized], name=f"{name}/QuantizeLinear"))
    return _dequantize(nodes, quantized, name, others, axis=None)


def _quantize_weight(graph: onnx.GraphProto, nodes: list[NodeProto], tensor: TensorProto, axis: int) -> str:
    """Put int8 values in the place of a float16 tensor: a DequantizeLinear alone is legal, and a quarter of the size of a pair around float32 weights."""
    values = numpy_helper.to_array(tensor).astype(np.float32)
    others = tuple(place for place in range(values.ndim) if place != axis)
    scale = _scale(np.abs(values).max(axis=others))
    steps = np.rint(values / np.expand_dims(scale.astype(np.float32), others))
    tensor.CopyFrom(numpy_helper.from_array(np.clip(steps, -MOST, MOST).astype(np.int8), tensor.name))
    return _dequantize(nodes, tensor.name, tensor.name, _parameters(graph, tensor.name, scale), axis=axis)


def _scale(reach: NDArray[np.floating]) -> NDArray[np.float16]:
    return np.maximum(reach / MOST, LEAST_SCALE).astype(np.float16)


def _parameters(graph: onnx.GraphProto, name: str, scale: NDArray[np.float16]) -> list[str]:
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}/scale"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(scale.shape, np.int8), f"{name}/zero_point"))
    return [f"{name}/scale", f"{name}/zero_point"]


def _dequantize(nodes: list[NodeProto], quantized: str, name: str, others: list[str], axis: int | None) -> str:
    result = f"{name}/dequantized"
    nodes.append(helper.make_node("DequantizeLinear", [quantized, *others], [result], name=f"{name}/DequantizeLinear", axis=axis))
    return result
