"""Keras to ONNX: chosen names, a dynamic batch, one Transpose (at the input), and the weights bit for bit.

Names and order follow from the network alone, so that the same weights always give the same bytes.
"""

from __future__ import annotations

import re
from collections import Counter

import keras
import numpy as np
import onnx
import onnxslim
import tensorflow as tf
import tf2onnx
from onnx import numpy_helper

from edge.errors import InputError
from export.artefacts import ROLE, SPOTTER, TENSORS

BATCH = "batch"
# 18 is the last that tf2onnx knows, but it turns GlobalAveragePool into Transpose and ReduceMean.
OPSET = 17
TO_NHWC = [0, 2, 3, 1]
_UNNAMED = "images"


def to_onnx(network: keras.Model, role: str = ROLE) -> onnx.ModelProto:
    """Convert a classifier or a spotter to float32 ONNX.

    Args:
        network: from uint8 BGR images (batch, size, size, 3) to float32 probabilities (batch, classes); a spotter from frames (batch, height, width, 3)
            to maps (batch, height / 4, width / 4, 5).
        role: which of the two.

    Returns:
        A checked model whose tensors are called as `export.artefacts.TENSORS` says; a spotter's maps have their planes in front, (batch, 5, ...).

    Raises:
        InputError: the conversion leaves a graph that depends on its input's shape at run time, or has a Transpose within.
    """
    taken, given = TENSORS[role]
    model = onnxslim.slim(_convert(_convertible(network), taken, given))
    if role == SPOTTER:
        _end_in_nchw(model.graph, given)
    _flatten_nchw(model.graph)
    _rename(model.graph)
    _strip(model, role)
    operators = Counter(node.op_type for node in model.graph.node)
    if operators["Shape"] or operators["Transpose"] != 1:
        raise InputError(f"wanted a graph with one Transpose and no Shape, the conversion left {dict(operators)}: train the network with python -m train fit")
    onnx.checker.check_model(model, full_check=True)
    return model


class _Doubled(keras.layers.Layer):
    """UpSampling2D by 2, nearest, as one operator: tf2onnx turns Keras's own into Unsqueeze, Tile, Reshape and Transpose, and this into Resize."""

    def call(self, data: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.ResizeNearestNeighbor(images=data, size=[2 * data.shape[1], 2 * data.shape[2]])


def _convertible(network: keras.Model) -> keras.Model:
    """Return a network that computes the same in operators that tf2onnx converts well."""
    if not any(isinstance(layer, keras.layers.UpSampling2D) for layer in network.layers):
        return network

    def cloned(layer: keras.layers.Layer) -> keras.layers.Layer:
        nearest = isinstance(layer, keras.layers.UpSampling2D) and tuple(layer.size) == (2, 2) and layer.interpolation == "nearest"
        return _Doubled(name=layer.name) if nearest else type(layer).from_config(layer.get_config())

    clone = keras.models.clone_model(network, clone_function=cloned)
    clone.set_weights(network.get_weights())
    return clone


def _convert(network: keras.Model, taken: str, given: str) -> onnx.ModelProto:
    """Convert with the weights as inputs, and make them constants afterwards: tf2onnx copies whatever is constant some fifty times (4 GB for a VGG-16)."""
    weights = {f"weight_{place}": variable.numpy() for place, variable in enumerate(network.trainable_variables)}
    others = [variable.value for variable in network.non_trainable_variables]
    images = tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8, name=taken)
    signature = [images, *(tf.TensorSpec(values.shape, tf.float32, name=name) for name, values in weights.items())]

    def call(images: tf.Tensor, *trainable: tf.Tensor) -> dict[str, tf.Tensor]:
        return {given: network.stateless_call(list(trainable), others, images, training=False)[0]}

    model, _ = tf2onnx.convert.from_function(tf.function(call, input_signature=signature), input_signature=signature, opset=OPSET)
    for tensor in [tensor for tensor in model.graph.input if tensor.name in weights]:
        model.graph.input.remove(tensor)
    model.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in weights.items())
    return model


def _flatten_nchw(graph: onnx.GraphProto) -> None:
    """Turn Transpose (to NHWC), Reshape, MatMul into Reshape, MatMul by putting the matrix's rows in the order of NCHW."""
    consumers = {name: node for node in graph.node for name in node.input}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    shapes = {
        info.name: [side.dim_value for side in info.type.tensor_type.shape.dim] for info in onnx.shape_inference.infer_shapes(_wrapped(graph)).graph.value_info
    }
    for node in [node for node in graph.node if node.op_type == "Transpose" and list(node.attribute[0].ints) == TO_NHWC]:
        reshape = consumers[node.output[0]]
        matrix = tensors[consumers[reshape.output[0]].input[1]]
        rows = numpy_helper.to_array(matrix)
        _, channels, height, width = shapes[node.input[0]]
        ordered = rows.reshape(height, width, channels, -1).transpose(2, 0, 1, 3).reshape(rows.shape)
        matrix.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(ordered), matrix.name))
        reshape.input[0] = node.input[0]
        graph.node.remove(node)


def _end_in_nchw(graph: onnx.GraphProto, given: str) -> None:
    """Leave out the last Transpose, to NHWC: planes in front are what the decoder reads."""
    last = next(node for node in graph.node if given in node.output)
    if last.op_type != "Transpose" or list(last.attribute[0].ints) != TO_NHWC:
        raise InputError(f"wanted maps that end in a Transpose to NHWC, the conversion left {last.op_type}: train the network with python -m train fit")
    maker = next(node for node in graph.node if last.input[0] in node.output)
    maker.output[0] = given
    graph.node.remove(last)
    sides = graph.output[0].type.tensor_type.shape.dim
    height, width, planes = (side.dim_value for side in sides[1:])
    for side, value in zip(sides[1:], (planes, height, width), strict=True):
        side.dim_value = value


def _wrapped(graph: onnx.GraphProto) -> onnx.ModelProto:
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)])


def _rename(graph: onnx.GraphProto) -> None:
    """Call nodes "layer/Operator" and tensors after the node that makes or takes them: tf2onnx's names count what else TensorFlow has traced."""
    renamed = {tensor.name: tensor.name for tensor in (*graph.input, *graph.output)}
    constants = {tensor.name for tensor in graph.initializer}
    seen: Counter[str] = Counter()
    for node in graph.node:
        name = f"{_layer(node.name)}/{node.op_type}"
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"
        for place, source in enumerate(node.input):
            if source in constants:
                renamed.setdefault(source, f"{node.name}/constant_{place}")
        for target in node.output:
            renamed.setdefault(target, node.name)
        node.input[:] = [renamed[source] for source in node.input]
        node.output[:] = [renamed[target] for target in node.output]
    for tensor in graph.initializer:
        tensor.name = renamed[tensor.name]


def _layer(name: str) -> str:
    """Read the Keras layer from tf2onnx's "block1_conv1_1/BiasAdd__6"; TensorFlow appends "_1" when a layer is traced again."""
    layer, found, _ = name.partition("/")
    return re.sub(r"_\d+$", "", layer) if found else _UNNAMED


def _strip(model: onnx.ModelProto, role: str) -> None:
    """Name the batch, and drop what varies from run to run without meaning anything."""
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = BATCH
    del model.graph.value_info[:], model.metadata_props[:]
    model.graph.name, model.graph.doc_string, model.doc_string = role, "", ""
    for node in model.graph.node:
        node.doc_string = ""
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
