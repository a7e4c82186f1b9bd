"""What a model costs by its graph alone: operations and numbers moved, counted from the ONNX, which a measured time is held against."""

from __future__ import annotations

from math import prod

import onnx

from edge.bundle.manifest import Bundle
from export.graphs.to_int8 import LAYERS

COST = "cost"
"""Of export's record: the role of each model -> what `count` returns."""


def costs_of(bundle: Bundle) -> dict[str, dict[str, int]]:
    """Count what an image costs in each model of a bundle, by role, from its fp16 graph: the same layers in every precision."""
    lossless = [model for model in bundle.manifest.models if model.precision == "fp16"]
    return {model.role: count(bundle.verified_path(model.file, model.sha256).read_bytes()) for model in lossless}


def count(content: bytes) -> dict[str, int]:
    """Count what one image costs in a serialized ONNX model.

    Returns:
        `operations`, two for each multiplication and addition of a convolution or matrix product; `parameters`, numbers that the graph holds for them;
        `values`, numbers that they read and write for an image.
    """
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(content), strict_mode=True).graph
    held = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes = {info.name: tuple(side.dim_value for side in info.type.tensor_type.shape.dim) for info in (*graph.value_info, *graph.input, *graph.output)}
    operations = parameters = values = 0
    for layer in (node for node in graph.node if node.op_type in LAYERS):
        images, weights = layer.input[:2]
        written = prod(shapes[layer.output[0]][1:])
        sides = held[weights]
        outputs = sides[0] if layer.op_type == "Conv" else shapes[layer.output[0]][-1]
        operations += 2 * written * prod(sides) // outputs
        parameters += sum(prod(held[name]) for name in layer.input if name in held)
        values += written + prod(shapes[images][1:])
    return {"operations": operations, "parameters": parameters, "values": values}
