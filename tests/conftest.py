"""What tests share: real photos where there are any, the bundle that ships, a tiny bundle that is made here, and drawn crops.

Anything that a test may damage is made anew for it. The edge extra alone has no `onnx`, so what needs the tiny bundle is skipped there, with the reason.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bundle.manifest import SCHEMA, SHIPPED, Golden, Manifest, ModelSpec, TensorSpec, Thresholds, write_manifest
from edge.datasets.gtsrb import CLASSES, LABELS
from edge.drawn.signs import DRAWN_CLASSES, draw_sign
from edge.files import sha256_of
from edge.images import fit_crop

TINY_SIZE = 24
CHANNELS = 8


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with `gtsrb/` and `gtsdb/`."""
    named = os.environ.get("SIGNWING_DATA")
    if not named:
        pytest.skip("needs real photos: set SIGNWING_DATA to a folder that holds gtsrb/ and gtsdb/")
    if not (Path(named) / "gtsrb").is_dir():
        pytest.fail(f"SIGNWING_DATA is {named}, which holds no gtsrb/: point it at the folder above")
    return Path(named)


@pytest.fixture(scope="session")
def shipped_bundle() -> Path:
    """The folder of the bundle that ships with the repository; not to be written to."""
    if not (SHIPPED / "manifest.json").is_file():
        pytest.skip(f"needs the shipped bundle, {SHIPPED} holds none yet")
    return SHIPPED


@pytest.fixture(scope="session")
def draw_crops() -> Callable[..., tuple[NDArray[np.uint8], list[int]]]:
    """Draws n signs on noise: ((n, size, size, 3) uint8 BGR, class ids)."""

    def draw(n: int, size: int, seed: int = 0) -> tuple[NDArray[np.uint8], list[int]]:
        rng = np.random.default_rng(seed)
        class_ids = [int(class_id) for class_id in rng.choice(DRAWN_CLASSES, n)]
        return np.stack([_on_noise(draw_sign(class_id, 2 * size), size, rng) for class_id in class_ids]), class_ids

    return draw


@pytest.fixture
def tiny_bundle(tiny_bundle_master: Path, tmp_path: Path) -> Path:
    """A whole bundle of a few kilobytes (input `TINY_SIZE` px, untrained) that a test may damage."""
    return Path(shutil.copytree(tiny_bundle_master, tmp_path / "tiny_bundle"))


@pytest.fixture(scope="session")
def tiny_bundle_master(tmp_path_factory: pytest.TempPathFactory, tiny_models: dict[str, bytes], draw_crops: Callable[..., Any]) -> Path:
    ort = pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("tiny")
    specs = []
    for precision, target in (("fp16", "tensorrt"), ("int8-cpu", "onnxruntime")):
        file = folder / f"classifier.{precision}.onnx"
        file.write_bytes(tiny_models[precision])
        specs.append(_model_spec(file.name, sha256_of(file), precision, target))
    crops, _ = draw_crops(4, TINY_SIZE)
    probabilities = ort.InferenceSession(tiny_models["fp32"], providers=["CPUExecutionProvider"]).run(None, {"images": crops})[0]
    np.savez(folder / "golden.npz", images=crops, probabilities=probabilities)
    golden = Golden("golden.npz", sha256_of(folder / "golden.npz"), {"fp32": 1e-5, "fp16": 1e-2, "int8-cpu": 0.1})
    lineage = {"train": {"recipe": {"name": "tiny", "valid_share": 0.1, "seed": 0}}}
    write_manifest(folder, Manifest(SCHEMA, "tiny", LABELS, tuple(specs), Thresholds(0.5), golden, lineage))
    return folder


@pytest.fixture(scope="session")
def tiny_spec() -> ModelSpec:
    """What the tiny bundle's manifest says of its fp16 model, without the file."""
    return _model_spec("classifier.fp16.onnx", "0" * 64, "fp16", "tensorrt")


def _model_spec(file: str, sha256: str, precision: str, target: str) -> ModelSpec:
    images = TensorSpec("images", (-1, TINY_SIZE, TINY_SIZE, 3), "uint8")
    return ModelSpec("classifier", file, sha256, precision, target, images, TensorSpec("probabilities", (-1, CLASSES), "float32"))


@pytest.fixture(scope="session")
def tiny_models() -> dict[str, bytes]:
    """ONNX files of one untrained network by precision: fp32, fp16 (the same weights, exact) and int8-cpu (near)."""
    onnx = pytest.importorskip("onnx", reason="needs the export extra: onnx makes the tiny bundle")
    return {precision: _tiny_model(onnx, precision).SerializeToString() for precision in ("fp32", "fp16", "int8-cpu")}


def _tiny_model(onnx: Any, precision: str) -> Any:
    """Cast, subtract the mean, NCHW, convolution, ReLU, global average, Gemm, softmax; batch free, float32 out."""
    helper, kinds = onnx.helper, onnx.TensorProto
    half = precision == "fp16"
    kind = kinds.FLOAT16 if half else kinds.FLOAT
    weights = {name: value.astype(np.float16 if half else np.float32) for name, value in _tiny_weights().items()}
    nodes, conv_weight = [], "conv_w"
    if precision == "int8-cpu":
        scale = np.float32(np.abs(weights["conv_w"]).max() / 127)
        quantized = {"conv_q": np.rint(weights.pop("conv_w") / scale).astype(np.int8), "conv_scale": scale, "conv_zero": np.int8(0)}
        weights |= {**quantized, "act_scale": np.float32(1 / 128), "act_zero": np.uint8(128)}
        nodes = [helper.make_node("DequantizeLinear", list(quantized), ["conv_w"])]
        nodes += [helper.make_node("QuantizeLinear", ["nchw", "act_scale", "act_zero"], ["nchw_q"])]
        nodes += [helper.make_node("DequantizeLinear", ["nchw_q", "act_scale", "act_zero"], ["nchw_d"])]
    nodes = [
        helper.make_node("Cast", ["images"], ["cast"], to=kind),
        helper.make_node("Sub", ["cast", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "gain"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["nchw"], perm=[0, 3, 1, 2]),
        *nodes,
        helper.make_node("Conv", ["nchw_d" if precision == "int8-cpu" else "nchw", conv_weight, "conv_b"], ["conv"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense_w", "dense_b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["soft"], axis=1),
        helper.make_node("Cast", ["soft"], ["probabilities"], to=kinds.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", kinds.UINT8, ["batch", TINY_SIZE, TINY_SIZE, 3])],
        [helper.make_tensor_value_info("probabilities", kinds.FLOAT, ["batch", CLASSES])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
        value_info=[helper.make_tensor_value_info("logits", kind, ["batch", CLASSES])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _tiny_weights() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(7)
    weights = {
        "mean": np.array([103.9, 116.8, 123.7]),
        "gain": np.array(1 / 128),
        "conv_w": rng.normal(0, 0.3, (CHANNELS, 3, 3, 3)),
        "conv_b": rng.normal(0, 0.1, CHANNELS),
        "dense_w": rng.normal(0, 3, (CHANNELS, CLASSES)),
        "dense_b": rng.normal(0, 0.3, CLASSES),
    }
    return {name: value.astype(np.float16).astype(np.float32) for name, value in weights.items()}


def _on_noise(sign: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    ground = rng.integers(60, 180, (*sign.shape[:2], 3)).astype(np.float32)
    alpha = sign[:, :, 3:].astype(np.float32) / 255
    return fit_crop(np.rint(ground * (1 - alpha) + sign[:, :, :3] * alpha).astype(np.uint8), size)
