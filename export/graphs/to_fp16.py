"""Float32 ONNX to the fp16 artefact: float16 weights and arithmetic between the mean subtraction and the softmax (a spotter's sigmoid), which stay in float32.

The mean does not fit float16, and neither do small probabilities. No weight may change, so that float32 is derived from this file exactly.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from edge.errors import VerificationError

LAST_OPERATORS = frozenset({"Sigmoid", "Softmax"})
_SCALED = "Resize"  # of its inputs only the first is of the type that it works on


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a float32 model in float16, with Cast nodes where float32 ends and begins.

    Raises:
        VerificationError: a weight is not exact in float16.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    in_float = _stays_float(graph)
    inner = [node for node in graph.node if node.name not in in_float]
    taken_in_half = {name for node in inner for name in (node.input[:1] if node.op_type == _SCALED else node.input)}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name in taken_in_half:
            tensor.CopyFrom(_exact_half(tensor))
    _cast_at_borders(graph, in_float)
    onnx.checker.check_model(half, full_check=True)
    return half


def _stays_float(graph: onnx.GraphProto) -> set[str]:
    """Names of the nodes ahead of the first convolution, of those that make probabilities, and of what comes after these."""
    first = next(place for place, node in enumerate(graph.node) if node.op_type == "Conv")
    names = {node.name for node in graph.node[:first]}
    behind: set[str] = set()
    for node in graph.node:
        if node.op_type in LAST_OPERATORS or behind.intersection(node.input):
            names.add(node.name)
            behind.update(node.output)
    return names


def _exact_half(tensor: TensorProto) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    changed = int((half.astype(np.float32) != values).sum())
    if changed:
        raise VerificationError(
            f"wanted weights that are exact in float16, found {changed} of {values.size} in {tensor.name} that are not: python -m train fit rounds them"
        )
    return numpy_helper.from_array(half, tensor.name)


def _cast_at_borders(graph: onnx.GraphProto, in_float: set[str]) -> None:
    """Put a Cast on every edge between a float32 node and a float16 one."""
    producers = {name: node for node in graph.node for name in node.output}
    nodes = []
    for node in graph.node:
        for place, name in enumerate(node.input):
            producer = producers.get(name)
            if producer is not None and (producer.name in in_float) != (node.name in in_float):
                kind = TensorProto.FLOAT if node.name in in_float else TensorProto.FLOAT16
                cast = onnx.helper.make_node("Cast", [name], [f"{name}/cast"], name=f"{name}/Cast", to=kind)
                nodes.append(cast)
                node.input[place] = cast.output[0]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
