"""Float32 ONNX to the int8 artefact for ONNX Runtime's CPU provider, by ONNX Runtime's own quantizer."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnxruntime.quantization import QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import TensorData

from export.graphs.calibrate import Range
from export.graphs.for_cpu import hasten
from export.graphs.to_int8 import LAYERS, layers_of

QUANTIZED = ("Add", "Conv", "Gemm", "MatMul", "MaxPool", "Relu", "Reshape", "Resize")
WEIGHT_BITS = 7


def to_int8_cpu(fp32: onnx.ModelProto, ranges: Mapping[str, Range], kept: Collection[str] = ()) -> bytes:
    """Quantize for ONNX Runtime: uint8 asymmetric activations, int8 weights by output channel, int32 biases.

    Weights keep to 7 bits (`reduce_range`): processors without VNNI add two products of uint8 and int8 in 16 bits and would saturate.

    Args:
        fp32: an ONNX model in float32, slimmed; not changed.
        ranges: what each activation spans, by the tensor's name.
        kept: layers that stay in float32, some of `export.graphs.to_int8.layers_of`.
    """
    model = onnx.shape_inference.infer_shapes(fp32)
    quantized_layers = set(layers_of(model)) - set(kept)
    float_nodes = {node.output[0] for node in model.graph.node if node.op_type in LAYERS} - quantized_layers | _around(model.graph) | _biases(model.graph)
    for node in model.graph.node:
        node.name = node.output[0]  # by which the quantizer is told of layers; another's graph may have none, or the same twice
    rectified = {node.input[0]: ranges[node.output[0]] for node in model.graph.node if node.op_type == "Relu"}
    spans = {name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32)) for name, (low, high) in {**ranges, **rectified}.items()}
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=True,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=spans,
        nodes_to_quantize=[],
        nodes_to_exclude=sorted(float_nodes),
        op_types_to_quantize=list(QUANTIZED),
        extra_options={},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized = quantizer.model.model
    hasten(quantized)
    onnx.checker.check_model(quantized, full_check=True)
    return bytes(quantized.SerializeToString(deterministic=True))


def _around(graph: onnx.GraphProto) -> set[str]:
    """Return what is ahead of the first layer or behind the last ones, which computes in float32, by the tensor that each node gives."""
    seen = {name for node in graph.node if node.op_type in LAYERS for name in node.output}
    fed: set[str] = set()
    for node in graph.node:
        if seen.intersection(node.input):
            seen.update(node.output)
    for node in reversed(graph.node):
        if node.op_type in LAYERS or fed.intersection(node.output):
            fed.update(node.input)
    return {node.output[0] for node in graph.node if node.op_type not in LAYERS and not (node.output[0] in seen and node.output[0] in fed)}


def _biases(graph: onnx.GraphProto) -> set[str]:
    """Return the additions of a constant, which a matrix product takes with it in float32, by the tensor that each gives."""
    constants = {tensor.name for tensor in graph.initializer}
    return {node.output[0] for node in graph.node if node.op_type == "Add" and constants.intersection(node.input)}
