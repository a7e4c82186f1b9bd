"""The conversion of inputs that leave more than one pixel before the dense layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs the train and export extras")
onnx = pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("tf2onnx", reason="needs the export extra")

from export.graphs.to_onnx import to_onnx  # noqa: E402
from train.networks import vgg  # noqa: E402


def test_large_input_has_no_transpose_before_its_dense_layer() -> None:
    keras.utils.set_random_seed(0)
    network = vgg.build(64, dense=16, dropout=0.5, batch_norm=False)
    model = to_onnx(network)
    assert [node.op_type for node in model.graph.node].count("Transpose") == 1
    reference = onnx.reference.ReferenceEvaluator(_tail(model))
    features = np.random.default_rng(0).normal(0, 1, (2, 512, 2, 2)).astype(np.float32)
    head = keras.Sequential([network.get_layer(name) for name in ("flatten", "dense", "logits", "probabilities")])
    found = reference.run(None, {"block5_pool/MaxPool": features})[0]
    np.testing.assert_allclose(found, np.asarray(head(features.transpose(0, 2, 3, 1))), atol=1e-5)


def _tail(model: Any) -> Any:
    """The graph from the last pool on."""
    nodes = list(model.graph.node)
    start = next(place for place, node in enumerate(nodes) if node.op_type == "Reshape")
    features = onnx.helper.make_tensor_value_info("block5_pool/MaxPool", onnx.TensorProto.FLOAT, ["batch", 512, 2, 2])
    graph = onnx.helper.make_graph(nodes[start:], "tail", [features], list(model.graph.output), list(model.graph.initializer))
    return onnx.helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
