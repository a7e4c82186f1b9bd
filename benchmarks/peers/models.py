"""The bundle's weights in the forms that peers take, made in a process of its own, which ends and gives the training library's memory back."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras
    import onnx

FP32, KERAS, LITERT, OPENVINO = "fp32.onnx", "classifier.keras", "int8.tflite", "int8.xml"
CALIBRATION = "calibration.npy"
AGREEMENT = 1e-3
"""Largest difference of a probability between the file and its Keras form: another one means other weights."""


def keras_model(model: onnx.ModelProto) -> keras.Model:
    """Rebuild a classifier of export's making in Keras: (n, size, size, 3) float32 pixels, 0 to 255, to probabilities.

    Raises:
        ValueError: an operator that no classifier of ours has.
    """
    import keras
    from onnx import numpy_helper

    held = {each.name: numpy_helper.to_array(each).astype(np.float32) for each in model.graph.initializer}
    size = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    taken = given = keras.Input((size, size, 3))
    weights: list[tuple[keras.layers.Layer, list[NDArray[np.float32]]]] = []
    nodes = list(model.graph.node)
    for place, node in enumerate(nodes):
        numbers = [held[name] for name in node.input if name in held]
        if node.op_type in ("Cast", "Transpose"):
            continue
        layer = _layer(node, numbers, bias_follows=place + 1 < len(nodes) and nodes[place + 1].op_type == "Add")
        if layer is None:  # the bias of the layer before
            weights[-1][1].append(numbers[0])
            continue
        if node.op_type == "Reshape":  # the file flattens channels first
            given = keras.layers.Permute((3, 1, 2))(given)
        given = layer(given)
        if node.op_type == "Conv":
            weights.append((layer, [numbers[0].transpose(2, 3, 1, 0), *numbers[1:]]))
        elif node.op_type == "MatMul":
            weights.append((layer, numbers))
    network = keras.Model(taken, given)
    for layer, values in weights:
        layer.set_weights(values)
    return network


def _layer(node: onnx.NodeProto, numbers: list[NDArray[np.float32]], *, bias_follows: bool) -> keras.layers.Layer | None:
    import keras

    kind = node.op_type
    if kind == "Conv":
        return keras.layers.Conv2D(numbers[0].shape[0], numbers[0].shape[2:], padding="same", use_bias=len(numbers) > 1)
    if kind == "MatMul":
        return keras.layers.Dense(numbers[0].shape[1], use_bias=bias_follows)
    if kind == "Add":
        return keras.layers.Rescaling(1.0, offset=numbers[0].ravel()) if node.input[0].startswith("images") else None
    known = {
        "Relu": keras.layers.ReLU,
        "MaxPool": keras.layers.MaxPooling2D,
        "Reshape": keras.layers.Flatten,
        "GlobalAveragePool": keras.layers.GlobalAveragePooling2D,
        "Softmax": keras.layers.Softmax,
    }
    if kind not in known:
        raise ValueError(f"wanted an operator of our classifiers, found {kind}")
    return known[kind]()


def litert_int8(network: keras.Model, calibration: NDArray[np.uint8]) -> bytes:
    """Return a LiteRT model in int8 throughout, uint8 pixels in, its ranges taken from (n, size, size, 3) uint8 images.

    Source: https://ai.google.dev/edge/litert/models/post_training_integer_quant
    """
    import tensorflow as tf

    def images() -> Iterator[list[NDArray[np.float32]]]:
        for image in calibration:
            yield [image[None].astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = images
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    return bytes(converter.convert())


def openvino_int8(source: Path, calibration: NDArray[np.uint8], target: Path) -> None:
    """Quantize an fp32 file with OpenVINO's own tool, at its usual settings.

    Source: https://docs.openvino.ai, "Basic Quantization Flow"
    """
    import nncf
    import openvino

    images = nncf.Dataset(list(calibration), lambda image: image[None])
    openvino.save_model(nncf.quantize(openvino.Core().read_model(source), images, subset_size=len(calibration)), target, compress_to_fp16=False)


def make(folder: Path) -> dict[str, str]:
    """Write every form whose libraries are there into `folder`, which holds `FP32` and `CALIBRATION`; return, by its file, why one could not be made."""
    calibration = np.load(folder / CALIBRATION)
    failed = {}
    if there("tensorflow", "keras", "onnx"):
        import onnx

        try:
            network = keras_model(onnx.load(folder / FP32))
            _check(network, folder / FP32, calibration[:8])
        except ValueError as error:
            failed[KERAS] = failed[LITERT] = str(error)
        else:
            network.save(folder / KERAS)
            (folder / LITERT).write_bytes(litert_int8(network, calibration))
    if there("openvino", "nncf"):
        openvino_int8(folder / FP32, calibration, folder / OPENVINO)
    return failed


def there(*modules: str) -> bool:
    """Return whether all of these can be imported, without importing them."""
    return all(find_spec(module) for module in modules)


def _check(network: Any, source: Path, images: NDArray[np.uint8]) -> None:
    from onnx.reference import ReferenceEvaluator

    (wanted,) = ReferenceEvaluator(str(source)).run(None, {"images": images})
    apart = float(np.abs(network.predict(images.astype(np.float32), verbose=0) - wanted).max())
    if not apart <= AGREEMENT:
        raise ValueError(f"wanted a Keras form that agrees with the file within {AGREEMENT}, found {apart:.4g} apart")


if __name__ == "__main__":
    print(json.dumps(make(Path(sys.argv[1]))))
