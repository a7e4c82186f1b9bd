"""An int8 graph as ONNX Runtime's CPU kernels are fast with it: the same numbers by another way, where a way of their own takes longer than a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

_MOST = 255
_TURNED, _BACK = [0, 3, 1, 2], [0, 2, 3, 1]
"""Channels before rows and columns, as ONNX's layers have them, and behind them, as pictures lie in memory."""


def hasten(model: onnx.ModelProto) -> None:
    """Rewrite a model in the form that ONNX Runtime's quantizer gives, in place.

    An input of bytes that is only scaled and shifted to whole steps goes to the first layer as it is, instead of through float32 and back: exact, where the
    range of the calibration was near enough. There, a first convolution that halves the picture takes four pixels of a row as one of twelve channels and gives
    two columns at a time: kernels that gather three bytes at a time wait for memory. Nearest upsampling by two copies bytes instead of interpolating them. Last
    layers of 1 x 1 in float32 that read the same become one matrix product: the same to the rounding of float32; all else is exact.
    """
    graph = _Graph(model)
    for node in list(model.graph.node):
        if node.op_type == "QuantizeLinear":
            _take_bytes(graph, node)
        elif node.op_type == "Resize":
            _double_by_copies(graph, node)
    for node in list(model.graph.node):
        if node.op_type == "Conv":
            _give_two_columns(graph, node)
        elif node.op_type == "DequantizeLinear":
            _join_last_layers(graph, node)
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
            helper.make_node("Transpose", [quantized], [f"{name}/cells"], perm=_BACK),
            helper.make_node("Concat", [f"{name}/cells"] * 2, [f"{name}/twice"], axis=3),
            helper.make_node("Reshape", [f"{name}/twice", rows], [f"{name}/row"]),
            helper.make_node("Concat", [f"{name}/row"] * 2, [f"{name}/row/twice"], axis=2),
            helper.make_node("Reshape", [f"{name}/row/twice", whole], [f"{name}/square"]),
            helper.make_node("Transpose", [f"{name}/square"], [f"{name}/doubled"], perm=_TURNED),
        ],
    )


def _give_two_columns(graph: _Graph, conv: NodeProto) -> None:
    """Let a convolution of stride two on an input of bytes, DequantizeLinear before and QuantizeLinear behind, give two columns from a cell of four pixels."""
    told, name = _told(conv), conv.output[0]
    entry, readers = graph.giver(conv.input[0]), graph.readers(conv.output[0])
    turned = graph.giver(entry.input[0]) if entry is not None and entry.op_type == "DequantizeLinear" else None
    weights, biases = (graph.giver(one) for one in conv.input[1:]) if len(conv.input) == 3 else (None, None)
    if turned is None or turned.op_type != "Transpose" or turned.input[0] not in graph.bytes_in or [node.op_type for node in readers] != ["QuantizeLinear"]:
        return
    before, after = (graph.shapes.get(name, []) for name in (conv.input[0], conv.output[0]))
    if entry is None or weights is None or biases is None or len(before) != 4 or not all(before[1:]):
        return
    _, channels, height, width = before
    if told["strides"] != [2, 2] or told["dilations"] != [1, 1] or told["group"] != 1 or width % 4 or after[3] != width // 2:
        return
    kernel, shift, (top, left, bottom, _) = graph.constants[weights.input[0]], graph.constants[biases.input[0]], told["pads"]
    wide, first = _paired(kernel, left)
    count, columns = len(kernel), wide.shape[3]
    shape = {
        "cells": graph.constant(f"{name}/cells", np.array([0, height, width // 4, 4 * channels])),
        "columns": graph.constant(f"{name}/columns", np.array([0, after[2], after[3], count])),
    }
    steps = [[graph.constant(f"{key}/twice", np.tile(graph.constants[key], 2)) for key in node.input[1:]] for node in (weights, biases)]
    kernels, shifts = graph.constant(f"{weights.input[0]}/paired", wide), graph.constant(f"{biases.input[0]}/twice", np.tile(shift, 2))
    form: dict[str, Any] = {"strides": [2, 1], "pads": [top, -first, bottom, columns - 1 + first], "kernel_shape": wide.shape[2:]}
    quantize = readers[0]
    graph.replace(
        conv,
        [
            helper.make_node("Reshape", [turned.input[0], shape["cells"]], [f"{name}/four"]),
            helper.make_node("Transpose", [f"{name}/four"], [f"{name}/four/turned"], perm=_TURNED),
            helper.make_node("DequantizeLinear", [f"{name}/four/turned", *entry.input[1:]], [f"{name}/four/real"]),
            helper.make_node("DequantizeLinear", [kernels, *steps[0]], [f"{name}/kernels"], axis=0),
            helper.make_node("DequantizeLinear", [shifts, *steps[1]], [f"{name}/shifts"], axis=0),
            helper.make_node("Conv", [f"{name}/four/real", f"{name}/kernels", f"{name}/shifts"], [f"{name}/two"], **form),
        ],
    )
    graph.replace(
        quantize,
        [
            helper.make_node("QuantizeLinear", [f"{name}/two", *quantize.input[1:]], [f"{name}/two/bytes"]),
            helper.make_node("Transpose", [f"{name}/two/bytes"], [f"{name}/two/back"], perm=_BACK),
            helper.make_node("Reshape", [f"{name}/two/back", shape["columns"]], [f"{name}/one"]),
            helper.make_node("Transpose", [f"{name}/one"], quantize.output, perm=_TURNED),
        ],
    )


def _paired(kernel: NDArray[np.int8], left: int) -> tuple[NDArray[np.int8], int]:
    """Return what a kernel of stride two, (count, channels, rows, columns) with `left` columns of padding, is for cells of four pixels, and its first cell.

    It is (2 x count, 4 x channels, rows, cells) and gives the left column's channels before the right one's; cells count from that of the two columns.
    """
    count, channels, rows, columns = kernel.shape
    pixels = 2 * np.arange(2)[:, None] + np.arange(columns) - left
    first, last = int(pixels.min()) // 4, int(pixels.max()) // 4
    cells = np.zeros((2, count, 4, channels, rows, last - first + 1), kernel.dtype)
    for column, reads in enumerate(pixels):
        for at, pixel in enumerate(reads):
            cells[column, :, pixel % 4, :, :, pixel // 4 - first] = kernel[:, :, :, at]
    return cells.reshape(2 * count, 4 * channels, rows, -1), first


def _join_last_layers(graph: _Graph, dequantize: NodeProto) -> None:
    """Let convolutions of 1 x 1 in float32 that all read one DequantizeLinear, and nothing else does, be a matrix product."""
    readers = graph.readers(dequantize.output[0])
    if len(readers) < 2 or any(node.op_type != "Conv" or not set(node.input[1:]) <= set(graph.constants) for node in readers):
        return
    kernels = [graph.constants[node.input[1]] for node in readers]
    plain = all(told["strides"] == [1, 1] and told["group"] == 1 and not any(told["pads"]) for told in map(_told, readers))
    if not plain or any(kernel.shape[2:] != (1, 1) for kernel in kernels) or not all(graph.shapes.get(dequantize.output[0], [0])[1:]):
        return
    biases = [
        np.zeros(len(kernel), np.float32) if len(node.input) < 3 else graph.constants[node.input[2]] for kernel, node in zip(kernels, readers, strict=True)
    ]
    name, (channels, height, width), count = dequantize.output[0], graph.shapes[dequantize.output[0]][1:], sum(len(kernel) for kernel in kernels)
    flat, square = (graph.constant(f"{name}/{key}", np.array(shape)) for key, shape in (("flat", [-1, channels]), ("square", [-1, height, width, count])))
    matrix = graph.constant(f"{name}/matrix", np.concatenate([kernel[:, :, 0, 0] for kernel in kernels]).T.copy())
    shift, counts = graph.constant(f"{name}/shift", np.concatenate(biases)), graph.constant(f"{name}/counts", np.array([len(kernel) for kernel in kernels]))
    for node in readers[1:]:
        graph.graph.node.remove(node)
    graph.replace(
        readers[0],
        [
            helper.make_node("Transpose", [dequantize.input[0]], [f"{name}/back"], perm=_BACK),
            helper.make_node("DequantizeLinear", [f"{name}/back", *dequantize.input[1:]], [f"{name}/real"]),
            helper.make_node("Reshape", [f"{name}/real", flat], [f"{name}/rows"]),
            helper.make_node("Gemm", [f"{name}/rows", matrix, shift], [f"{name}/product"]),
            helper.make_node("Reshape", [f"{name}/product", square], [f"{name}/places"]),
            helper.make_node("Transpose", [f"{name}/places"], [f"{name}/turned"], perm=_TURNED),
            helper.make_node("Split", [f"{name}/turned", counts], [node.output[0] for node in readers], axis=1),
        ],
    )


def _told(conv: NodeProto) -> dict[str, Any]:
    """Return a convolution's attributes, ONNX's own values for what it does not say."""
    said = {attribute.name: helper.get_attribute_value(attribute) for attribute in conv.attribute}
    return {"strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0], "group": 1, **said}
