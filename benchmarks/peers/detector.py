"""The runtime beside small general detectors on the same frames, turn about in one process: frames a second without a source.

Ours finds and names, with tracks and votes; the detectors, YOLOX-nano and -tiny at their usual size with random weights, resize, run, decode and suppress.
Their int8 form is made as ours is: uint8 activations, int8 weights of 7 bits by channel.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring.kept import KeptSource
from benchmarks.measuring.setting import Setting, print_conditions, write_result
from edge.board.extras import install
from edge.bundle.lineage import now
from edge.bundle.manifest import read_bundle
from edge.drawn.scenes import Flight
from edge.errors import MissingDependency
from edge.pipeline import open_spotter, run
from edge.recognition.classifier import Classifier

SIZE_WH = (1280, 720)
KEPT = 60
"""Frames in memory, which every round goes through: a flight's, drawn beforehand."""
WARM_UP = 5
"""Frames before each turn, untimed."""
_SCORE, _IOU = 0.3, 0.45
_GREY = 114

Detect = Callable[[NDArray[np.uint8]], Any]
Turn = Callable[[Sequence[NDArray[np.uint8]]], float]
"""Goes through frames: frames a second."""
Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def detector(setting: Setting, spotter: str, rounds: int, json_path: Path | None) -> dict[str, Any]:
    """Measure ours and the detector on each library that is there, in turn, and print a table.

    Args:
        setting: our bundle and engine.
        spotter: as `edge run --spotter`.
        rounds: how often each goes through the frames.
        json_path: where the result goes, or None.

    Returns:
        `rows`: for each, `name`, `fps` (median of the rounds), `fps_rounds`, and `ratio`, ours to it; `fps` is ours; `missing` names what is not installed.

    Raises:
        MissingDependency: no onnx or no ONNX Runtime, by which the detector is made.
        OutputError: `json_path` cannot be written.
    """
    started_at, conditions = now(), setting.conditions(spotter=spotter, rounds=rounds, frames=KEPT, size_wh=SIZE_WH)
    flight = Flight(0, SIZE_WH, KEPT)
    frames = [flight.frame(index).image for index in range(KEPT)]
    with ExitStack() as stack:
        bundle = read_bundle(setting.bundle)
        engine = stack.enter_context(setting.open())
        classifier = Classifier(engine, bundle.manifest.thresholds.confidence)
        options = {"engine": setting.engine, "precision": setting.precision, "provider": setting.provider}
        chosen = stack.enter_context(open_spotter(spotter, bundle, **options))
        peers, missing = _peers(frames, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="signwing-"))))
        turns: dict[str, Turn] = {f"ours, {engine.precision}": lambda some: run(KeptSource("memory", some), chosen, classifier, []).fps}
        turns |= {name: partial(_fps, detect) for name, detect in peers.items()}
        print_conditions(engine.name, engine.precision, setting)
        told: dict[str, list[float]] = {name: [] for name in turns}
        for _ in range(rounds):
            for name, turn in turns.items():
                turn(frames[:WARM_UP])
                told[name].append(round(turn(frames), 2))
    ours = float(np.median(next(iter(told.values()))))
    rows: list[dict[str, Any]] = []
    for name, each in told.items():
        fps = float(np.median(each))
        rows.append({"name": name, "fps": fps, "fps_rounds": each, "ratio": round(ours / fps, 3)})
    print(f"{'frames a second, ' + 'x'.join(map(str, SIZE_WH)):<42} {'median':>8} {'least':>8} {'most':>8}   ours to it")
    for row in rows:
        print(f"{row['name']:<42} {row['fps']:>8.1f} {min(row['fps_rounds']):>8.1f} {max(row['fps_rounds']):>8.1f}   {row['ratio']:.2f}")
    for name in missing:
        print(f"left out, not installed: {name}")
    figures = {"fps": ours, "rows": rows, "missing": missing}
    write_result(json_path, "detector", started_at, conditions, figures)
    return figures


def _fps(detect: Detect, frames: Sequence[NDArray[np.uint8]]) -> float:
    start = time.perf_counter()
    for frame in frames:
        detect(frame)
    return len(frames) / (time.perf_counter() - start)


def _peers(frames: Sequence[NDArray[np.uint8]], folder: Path) -> tuple[dict[str, Detect], list[str]]:
    """Return the detector on each library that is there, and the names of those that are not."""
    try:
        from onnxruntime import InferenceSession

        from benchmarks.peers import yolox
    except ImportError as error:
        raise MissingDependency(f"wanted onnx and onnxruntime to make the detector, found no {error.name}: {install('export')}") from error
    paths: dict[str, Path] = {}
    inputs = [letterbox(frame, yolox.SIZE) for frame in frames[::6]]
    for name in yolox.STEMS:
        plain, quantized = (folder / f"{name}.{precision}.onnx" for precision in ("fp32", "int8"))
        plain.write_bytes(yolox.build(name).SerializeToString())
        _quantize(plain, quantized, inputs)
        paths |= {f"YOLOX-{name} fp32": plain, f"YOLOX-{name} int8": quantized}
    peers = {f"{name}, onnxruntime": _detect(_on_onnxruntime(InferenceSession(str(path), providers=["CPUExecutionProvider"]))) for name, path in paths.items()}
    try:
        import openvino
    except ImportError:
        return peers, ["openvino"]
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    for name, path in paths.items():
        peers[f"{name}, openvino"] = _detect(_on_openvino(openvino.Core().compile_model(str(path), "CPU", settings)))
    return peers, []


def _on_onnxruntime(session: Any) -> Infer:
    from benchmarks.peers.yolox import INPUT

    return lambda data: np.asarray(session.run(None, {INPUT: data})[0])


def _on_openvino(model: Any) -> Infer:
    return lambda data: np.asarray(model(data)[0])


def _quantize(source: Path, target: Path, inputs: Sequence[NDArray[np.float32]]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    from benchmarks.peers.yolox import INPUT

    class _Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(inputs)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            data = next(self._left, None)
            return None if data is None else {INPUT: data}

    logging.getLogger().disabled = True  # it advises a pre-processing that was done
    try:
        quantize_static(
            source,
            target,
            _Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.getLogger().disabled = False


def letterbox(image: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Fit an image, (height, width, 3) uint8 BGR, into a square padded with grey: (1, 3, size, size) float32, 0 to 255, as YOLOX's own demo does."""
    height, width = image.shape[:2]
    scale = min(size / width, size / height)
    fitted = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LINEAR)
    whole = np.full((size, size, 3), _GREY, np.uint8)
    whole[: fitted.shape[0], : fitted.shape[1]] = fitted
    return np.ascontiguousarray(whole.transpose(2, 0, 1)[None], np.float32)


def _detect(infer: Infer) -> Detect:
    from benchmarks.peers import yolox

    def detect(image: NDArray[np.uint8]) -> Any:
        boxes, scores, classes = yolox.decode(infer(letterbox(image, yolox.SIZE))[0])
        kept = scores > _SCORE
        corners = boxes[kept]
        sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        return cv2.dnn.NMSBoxesBatched(sides.tolist(), scores[kept].tolist(), classes[kept].tolist(), _SCORE, _IOU)

    return detect
