"""What a graph costs, against sums by hand."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the export extra")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from export.graphs.cost import count  # noqa: E402


def test_counts_convolutions_and_products_of_one_image() -> None:
    weights = {"w": (8, 3, 3, 3), "b": (8,), "wide": (4, 2, 1, 1), "dense": (4, 5)}
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "wide"], ["c"], group=4),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "dense"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT16, ["batch", 3, 16, 10])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT16, ["batch", 5])],
        [numpy_helper.from_array(np.zeros(shape, np.float16), name) for name, shape in weights.items()],
    )
    cost = count(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    first, second, last = 8 * 8 * 5, 4 * 8 * 5, 5
    assert cost == {
        "operations": 2 * (first * 27 + second * 2 + last * 4),
        "parameters": 8 * 27 + 8 + 8 + 20,
        "values": (480 + first) + (first + second) + (4 + last),
    }
