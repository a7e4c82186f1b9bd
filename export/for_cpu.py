"""An int8 graph as ONNX Runtime's CPU kernels are fast with it: the same numbers by another way, where a way of their own takes longer than a convolution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

_MOST = 255


def hasten(model: onnx.ModelProto) -> None:
    """Rewrite a model in the form that ONNX Runtime's quantizer gives, in place.

    An input of bytes that is only scaled and shifted to whole steps goes to the first layer as it is, instead of through float32 and back: exact, where the
    range of the calibration was near enough. Nearest upsampling by two copies bytes instead of interpolating them: exact.
    """
    graph = _Graph(model)
    for node in list(model.graph.node):
        if node.op_type == "QuantizeLinear":
            _take_bytes(graph, node)
        elif node.op_type == "Resize":
            _double_by_copies(graph, node)
    graph.drop_what_nobody_reads()


class _Graph:
    """A graph's nodes by what they read and give, and its constants."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.graph.initializer}
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self.shapes = {info.name: [size.dim_value for size in info.type.tensor_type.shape.dim] for info in inferred.value_info}
        self.bytes_in = {info.name for info in self.graph.input if info.type.tensor_type.elem_type == TensorProto.UINT8}

    def giver(self, name: str) -> NodeProto | None:
        return next((node for node in self.graph.node if name in node.output), None)

    def readers(self, name: str) -> list[NodeProto]:
        return [node for node in self.graph.node if name in node.input]

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def replace(self, old: NodeProto, new: Sequence[NodeProto]) -> None:
        at = list(self.graph.node).index(old)
        self.graph.node.remove(old)
        for offset, node in enumerate(new):
            node.name = node.output[0]
            self.graph.node.insert(at + offset, node)

    def drop_what_nobody_reads(self) -> None:
        wanted = {info.name for info in self.graph.output}
        for node in reversed(list(self.graph.node)):
            if wanted.intersection(node.output):
                wanted.update(node.input)
            else:
                self.graph.node.remove(node)
        for tensor in [tensor for tensor in self.graph.initializer if tensor.name not in wanted]:
            self.graph.initializer.remove(tensor)


def _take_bytes(graph: _Graph, quantize: NodeProto) -> None:
    """Let Cast, Mul, Add, Transpose and QuantizeLinear of an input of bytes be a Transpose, and the DequantizeLinear behind them undo nothing but scale."""
    transpose = graph.giver(quantize.input[0])
    if transpose is None or transpose.op_type != "Transpose":
        return
    add = graph.giver(transpose.input[0])
    multiply = graph.giver(add.input[0]) if add is not None and add.op_type == "Add" else None
    cast = graph.giver(multiply.input[0]) if multiply is not None and multiply.op_type == "Mul" else None
    if add is None or multiply is None or cast is None or cast.op_type != "Cast" or cast.input[0] not in graph.bytes_in:
        return
    scale, shift = (graph.constants.get(node.input[1], np.zeros(0)) for node in (multiply, add))
    if scale.size != 1 or shift.size != 1:
        return
    zero = -float(shift.item()) / float(scale.item())
    if zero != round(zero) or not 0 <= zero <= _MOST:
        return
    turned = f"{transpose.output[0]}/bytes"
    steps = graph.constant(f"{turned}/scale", np.array(scale.item(), np.float32)), graph.constant(f"{turned}/zero", np.array(zero, np.uint8))
    (dequantize,) = graph.readers(quantize.output[0])
    graph.replace(dequantize, [helper.make_node("DequantizeLinear", [turned, *steps], dequantize.output)])
    graph.replace(quantize, [helper.make_node("Transpose", [cast.input[0]], [turned], perm=next(a.ints for a in transpose.attribute if a.name == "perm"))])


def _double_by_copies(graph: _Graph, resize: NodeProto) -> None:
    """Let nearest upsampling of (n, channels, height, width) by two, between DequantizeLinear and QuantizeLinear, be copies along rows and then of rows."""
    mode = next((attribute.s for attribute in resize.attribute if attribute.name == "mode"), b"nearest")
    dequantize, readers = graph.giver(resize.input[0]), graph.readers(resize.output[0])
    before, after = (graph.shapes.get(name, []) for name in (resize.input[0], resize.output[0]))
    if mode != b"nearest" or dequantize is None or dequantize.op_type != "DequantizeLinear" or [node.op_type for node in readers] != ["QuantizeLinear"]:
        return
    if len(before) != 4 or not all(before[1:]) or after[1:] != [before[1], 2 * before[2], 2 * before[3]]:
        return
    _, channels, height, width = before
    (again,) = graph.readers(readers[0].output[0])
    name, quantized = resize.output[0], dequantize.input[0]
    rows = graph.constant(f"{name}/rows", np.array([0, height, 1, 2 * width * channels]))
    whole = graph.constant(f"{name}/whole", np.array([0, 2 * height, 2 * width, channels]))
    graph.replace(again, [helper.make_node("DequantizeLinear", [f"{name}/doubled", *dequantize.input[1:]], again.output)])
    graph.replace(
        resize,
        [
            helper.make_node("Transpose", [quantized], [f"{name}/cells"], perm=[0, 2, 3, 1]),
            helper.make_node("Concat", [f"{name}/cells"] * 2, [f"{name}/twice"], axis=3),
            helper.make_node("Reshape", [f"{name}/twice", rows], [f"{name}/row"]),
            helper.make_node("Concat", [f"{name}/row"] * 2, [f"{name}/row/twice"], axis=2),
            helper.make_node("Reshape", [f"{name}/row/twice", whole], [f"{name}/square"]),
            helper.make_node("Transpose", [f"{name}/square"], [f"{name}/doubled"], perm=[0, 3, 1, 2]),
        ],
    )
