"""Float32 ONNX to the int8 artefact for ONNX Runtime's CPU provider, by ONNX Runtime's own quantizer."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnxruntime.quantization import QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import TensorData

from export.calibrate import Range
from export.to_int8 import LAYERS, layers_of

QUANTIZED = ("Conv", "Gemm", "MatMul", "MaxPool", "Relu", "Reshape")
WEIGHT_BITS = 7


def to_int8_cpu(fp32: onnx.ModelProto, ranges: Mapping[str, Range], kept: Collection[str] = ()) -> bytes:
    """Quantize for ONNX Runtime: uint8 asymmetric activations, int8 weights by output channel, int32 biases.

    Weights keep to 7 bits (`reduce_range`): processors without VNNI add two products of uint8 and int8 in 16 bits and would saturate.

    Args:
        fp32: an ONNX model in float32, slimmed; not changed.
        ranges: what each activation spans, by the tensor's name.
        kept: layers that stay in float32, some of `export.to_int8.layers_of`.
    """
    model = onnx.shape_inference.infer_shapes(fp32)
    float_layers = {node.output[0] for node in model.graph.node if node.op_type in LAYERS} - set(layers_of(model)) | set(kept)
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
        nodes_to_exclude=sorted(float_layers),
        op_types_to_quantize=list(QUANTIZED),
        extra_options={},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized = quantizer.model.model
    onnx.checker.check_model(quantized, full_check=True)
    return bytes(quantized.SerializeToString(deterministic=True))
