"""One peer in a process of its own: it loads, answers once and says so, then does what it is asked, a line of JSON each, until its input ends."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import models
from edge.errors import SignwingError

Answer = Callable[[NDArray[np.uint8]], Any]
"""From (n, size, size, 3) uint8 BGR to probabilities (n, classes)."""

PHOTOS, CROPS = "photos.npy", "crops.npy"
WARM_UP = 3
_TOLD = 32


def keras_predict(folder: Path) -> Answer:
    """Load what the tutorial calls: `keras.Model.predict`."""
    import keras

    network = keras.saving.load_model(folder / models.KERAS, compile=False)
    return lambda images: network.predict(images, verbose=0)


def tf_function(folder: Path) -> Answer:
    """Load the same model as a compiled graph."""
    import keras
    import tensorflow as tf

    network = keras.saving.load_model(folder / models.KERAS, compile=False)
    compiled = tf.function(lambda images: network(images, training=False))
    return lambda images: compiled(tf.constant(images, tf.float32)).numpy()


def litert(folder: Path) -> Answer:
    """Load the int8 model in LiteRT, on every core; its XNNPACK delegate is on by itself."""
    import os

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / models.LITERT), num_threads=os.cpu_count())
    taken, given = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    shape: tuple[int, ...] = ()

    def answer(images: NDArray[np.uint8]) -> Any:
        nonlocal shape
        if images.shape != shape:
            shape = images.shape
            interpreter.resize_tensor_input(taken, shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(taken, images)
        interpreter.invoke()
        return interpreter.get_tensor(given)

    return answer


def openvino_fp32(folder: Path) -> Answer:
    """Load the float32 file in OpenVINO."""
    return _openvino(folder / models.FP32)


def openvino_int8(folder: Path) -> Answer:
    """Load what OpenVINO's own tool quantized."""
    return _openvino(folder / models.OPENVINO)


def _openvino(path: Path) -> Answer:
    import openvino

    # Without the second it would compute in bfloat16 where the processor can: another model than the one that is named.
    compiled = openvino.Core().compile_model(str(path), "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    return lambda images: request.infer([images], share_inputs=True)[0].copy()


def opencv_dnn(folder: Path) -> Answer:
    """Load the float32 file in OpenCV's own network module."""
    import cv2

    network = cv2.dnn.readNetFromONNX(str(folder / models.FP32))

    def answer(images: NDArray[np.uint8]) -> Any:
        network.setInput(images)
        return network.forward().copy()

    return answer


@dataclass(frozen=True)
class Peer:
    """How a runtime is loaded from the folder of its files, its own file there, and the modules that making and running it takes."""

    load: Callable[[Path], Answer]
    file: str
    needs: tuple[str, ...]


_KERAS = ("tensorflow", "keras", "onnx")
PEERS = {
    "Keras predict": Peer(keras_predict, models.KERAS, _KERAS),
    "tf.function": Peer(tf_function, models.KERAS, _KERAS),
    "LiteRT int8": Peer(litert, models.LITERT, ("ai_edge_litert", *_KERAS)),
    "OpenVINO fp32": Peer(openvino_fp32, models.FP32, ("openvino",)),
    "OpenVINO int8": Peer(openvino_int8, models.OPENVINO, ("openvino", "nncf")),
    "OpenCV DNN fp32": Peer(opencv_dnn, models.FP32, ("cv2",)),
}


def ours(options: dict[str, str]) -> Answer:
    """Load the engine that `edge.engines.open.open_engine` gives for these options."""
    from benchmarks.measuring.setting import Setting

    return Setting(Path(options["bundle"]), options["engine"], options["precision"], options["provider"]).open().infer


def serve(answer: Answer, folder: Path) -> None:
    """Answer a first time and say so, then each request on stdin."""
    from edge.board.machine import peak_rss_mib, rss_mib

    crops = np.load(folder / CROPS)
    answer(crops[:1])
    _say({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "time":
            images = crops[np.arange(request["batch"]) % len(crops)]
            for _ in range(WARM_UP):
                answer(images)
            _say({"ms": [_call_ms(answer, images) for _ in range(request["runs"])]})
        elif request["do"] == "memory":
            _say({"rss_mib": rss_mib(), "peak_mib": max(peak_rss_mib(), rss_mib())})
        else:
            photos = np.load(folder / PHOTOS, mmap_mode="r")
            parts = [np.asarray(answer(np.ascontiguousarray(photos[at : at + _TOLD]))).argmax(axis=1) for at in range(0, len(photos), _TOLD)]
            _say({"classes": np.concatenate(parts).tolist()})


def _call_ms(answer: Answer, images: NDArray[np.uint8]) -> float:
    start = time.perf_counter_ns()
    answer(images)
    return (time.perf_counter_ns() - start) / 1e6


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    place = Path(asked["folder"])
    try:
        serve(PEERS[asked["peer"]].load(place) if "peer" in asked else ours(asked), place)
    except SignwingError as error:
        sys.exit(str(error))
