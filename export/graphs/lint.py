"""The rules that make a graph legal for TensorRT 10.3 to 11, strongly typed, and that its board's builder is known to need. Nothing is run here.

Each rule yields what is wrong, in words, and knows nothing of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, numpy_helper

from edge.bundle.manifest import ModelSpec, TensorSpec
from edge.errors import BundleError, one_line
from export.graphs.to_int8 import LAYERS, LEAST_SCALE, weight_axis

OPSETS = range(9, 21)
FP16_SCALES_FROM = 19
PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear"})
KINDS = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}
WEIGHTS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64})
ARITHMETIC = LAYERS | {"Add", "Concat", "Div", "Max", "Min", "Mul", "Sub"}
RESHAPING = frozenset({"Constant", "Flatten", "Identity", "Pad", "Reshape", "Resize", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
POOLING = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReduceMax", "ReduceMean"})
OPERATORS = PAIRS | ARITHMETIC | RESHAPING | POOLING | {"BatchNormalization", "Cast", "Clip", "LeakyRelu", "Relu", "Sigmoid", "Softmax", "Tanh"}
"""What finds and names signs is made of these; each is in the parser's list of operators for 10.1 and later."""

_TOLD = 3


@dataclass(frozen=True)
class _Graph:
    """A model with what the rules look up in it."""

    model: onnx.ModelProto
    spec: ModelSpec

    @cached_property
    def nodes(self) -> list[NodeProto]:
        return list(self.model.graph.node)

    @cached_property
    def constants(self) -> dict[str, TensorProto]:
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def makers(self) -> dict[str, NodeProto]:
        return {name: node for node in self.nodes for name in node.output}

    @cached_property
    def kinds(self) -> dict[str, int]:
        """Element types by tensor."""
        graph = onnx.shape_inference.infer_shapes(self.model, check_type=True, strict_mode=True).graph
        values = {info.name: info.type.tensor_type.elem_type for info in (*graph.value_info, *graph.input, *graph.output)}
        return values | {name: tensor.data_type for name, tensor in self.constants.items()}

    @cached_property
    def pairs(self) -> list[NodeProto]:
        return [node for node in self.nodes if node.op_type in PAIRS]

    def users(self, name: str) -> list[NodeProto]:
        return [node for node in self.nodes if name in node.input]

    def value(self, name: str) -> NDArray | None:
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None


def _kind(element: int) -> str:
    return TensorProto.DataType.Name(element).lower()


def _opset(graph: _Graph) -> Iterator[str]:
    found = [(opset.domain or "ai.onnx", opset.version) for opset in graph.model.opset_import]
    if len(found) != 1 or found[0][0] != "ai.onnx" or found[0][1] not in OPSETS:
        yield f"opset {found}, wanted ai.onnx {OPSETS[0]} to {OPSETS[-1]} alone"
    elif found[0][1] < FP16_SCALES_FROM and graph.pairs:
        yield f"opset {found[0][1]}, which has no float16 scales: {FP16_SCALES_FROM} is the first"


def _borders(graph: _Graph) -> Iterator[str]:
    inside = graph.model.graph
    inputs = [tensor for tensor in inside.input if tensor.name not in graph.constants]
    for what, found, wanted in (("input", inputs, graph.spec.input), ("output", list(inside.output), graph.spec.output)):
        if [_described(tensor) for tensor in found] != [_wanted(wanted)]:
            yield f"{what} {', '.join(map(_described, found)) or 'none'}, wanted {_wanted(wanted)} alone"


def _described(tensor: ValueInfoProto) -> str:
    kind = tensor.type.tensor_type
    sides = ["batch" if place == 0 and side.dim_param else side.dim_param or str(side.dim_value) for place, side in enumerate(kind.shape.dim)]
    return f"{tensor.name} {_kind(kind.elem_type)} ({', '.join(sides)})"


def _wanted(spec: TensorSpec) -> str:
    return f"{spec.name} {_kind(KINDS[spec.dtype])} ({', '.join(['batch', *map(str, spec.shape[1:])])})"


def _operators(graph: _Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            yield f"operator {node.op_type} at {node.name}" + (": a shape that is computed at run time" if node.op_type == "Shape" else "")


def _constants(graph: _Graph) -> Iterator[str]:
    for name, tensor in graph.constants.items():
        if tensor.data_type not in WEIGHTS or tensor.data_location == TensorProto.EXTERNAL:
            yield f"constant {name} of type {_kind(tensor.data_type)}" + (", in another file" if tensor.data_location else "")
    for sparse in graph.model.graph.sparse_initializer:
        yield f"sparse constant {sparse.values.name}"


def _pixels(graph: _Graph) -> Iterator[str]:
    for node in graph.users(graph.spec.input.name):
        if node.op_type != "Cast":
            yield f"uint8 pixels into {node.op_type} {node.name}: TensorRT takes them into Cast alone"


def _types(graph: _Graph) -> Iterator[str]:
    for node in graph.nodes:
        kinds = {_kind(graph.kinds[name]) for name in node.input if name in graph.kinds}
        wanted = "float16" if node.op_type in LAYERS else "one type"
        if node.op_type in ARITHMETIC and (len(kinds) > 1 or (node.op_type in LAYERS and kinds != {"float16"})):
            yield f"{node.op_type} {node.name} in {' and '.join(sorted(kinds))}, wanted {wanted}"


def _zero_points(graph: _Graph) -> Iterator[str]:
    for node in graph.pairs:
        quantized = graph.kinds.get(node.input[0] if node.op_type == "DequantizeLinear" else node.output[0], TensorProto.UNDEFINED)
        zero = graph.value(node.input[2]) if len(node.input) > 2 else None
        if quantized != TensorProto.INT8:
            yield f"{node.name} of {_kind(quantized)}, TensorRT takes int8 alone"
        elif zero is None or zero.any():
            yield f"zero points of {node.name} that are not constant zeros"


def _scales(graph: _Graph) -> Iterator[str]:
    for node in graph.pairs:
        scale = graph.value(node.input[1])
        if scale is None or scale.dtype != np.float16:
            yield f"scale of {node.name} {'not a constant' if scale is None else scale.dtype}, wanted float16"
        elif not (np.isfinite(scale).all() and (scale.astype(np.float64) >= LEAST_SCALE).all()):
            yield f"scale {scale.min():g} of {node.name}, wanted {LEAST_SCALE:g} or more"
        elif node.op_type == "QuantizeLinear" and graph.kinds.get(node.input[0]) != TensorProto.FLOAT16:
            yield f"{node.name} of another type than its scale"


def _channels(graph: _Graph) -> Iterator[str]:
    for node in graph.pairs:
        weights, scale = graph.value(node.input[0]), graph.value(node.input[1])
        if scale is None or (weights is None and scale.size == 1):
            continue
        if weights is None:
            yield f"{scale.size} scales of the activation at {node.name}, wanted one"
            continue
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        layers = [user for user in graph.users(node.output[0]) if user.op_type in LAYERS]
        for layer in layers:
            if axis != weight_axis(layer) or scale.shape != weights.shape[axis : axis + 1]:
                yield f"{scale.size} scales along axis {axis} of the weights of {layer.name}, wanted one for each output, along axis {weight_axis(layer)}"


def _placement(graph: _Graph) -> Iterator[str]:
    outputs = {tensor.name for tensor in graph.model.graph.output}
    for node in graph.pairs:
        wanted = {"DequantizeLinear"} if node.op_type == "QuantizeLinear" else LAYERS
        users = graph.users(node.output[0])
        if not users or node.output[0] in outputs or {user.op_type for user in users} - wanted:
            found = sorted({f"{user.op_type} {user.name}" for user in users if user.op_type not in wanted}) or ["nothing"]
            yield f"{node.op_type} {node.name} before {', '.join(found)}, wanted {' or '.join(sorted(wanted))}"
        maker = graph.makers.get(node.input[0])
        if node.op_type == "DequantizeLinear" and node.input[0] not in graph.constants and (maker is None or maker.op_type != "QuantizeLinear"):
            yield f"{node.name} behind {'nothing' if maker is None else maker.op_type}, wanted QuantizeLinear or a constant"


def _precision(graph: _Graph) -> Iterator[str]:
    if bool(graph.pairs) != (graph.spec.precision == "int8"):
        yield f"{len(graph.pairs)} nodes that quantize or dequantize in an {graph.spec.precision} model"


RULES: tuple[Callable[[_Graph], Iterator[str]], ...] = (
    _opset,
    _borders,
    _operators,
    _constants,
    _pixels,
    _types,
    _zero_points,
    _scales,
    _channels,
    _placement,
    _precision,
)


def faults(content: bytes, spec: ModelSpec) -> list[str]:
    """Return what speaks against a serialized ONNX model as the one that its manifest describes, in words; none for a legal one."""
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # protobuf and the checker raise a class each for bytes that are no model
        return [f"no whole ONNX model ({one_line(error)})"]
    graph = _Graph(model, spec)
    return [fault for rule in RULES for fault in rule(graph)]


def check_graph(content: bytes, spec: ModelSpec, where: str) -> None:
    """Refuse a serialized ONNX model that TensorRT would refuse or that is not what its manifest says.

    Raises:
        BundleError: a rule is broken; the message names the first few.
    """
    found = faults(content, spec)
    if found:
        more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        raise BundleError(f"wanted a graph that TensorRT takes in {where}, found {'; '.join(found[:_TOLD])}{more}: export the bundle again from its run")
