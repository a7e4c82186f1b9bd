"""The files that export makes of a classifier and of a spotter, and what a manifest says of each."""

from __future__ import annotations

from edge.bundle.manifest import PLANES, STRIDE, ModelSpec, TensorSpec

ROLE, SPOTTER = "classifier", "spotter"
AIR = "verification_from_the_air"
"""Key of what was measured on a drone's views, in the record of either role's export."""
TENSORS = {ROLE: ("images", "probabilities"), SPOTTER: ("frames", "maps")}
"""Names of input and output by role."""
TARGETS = {"fp16": "tensorrt", "int8": "tensorrt", "int8-cpu": "onnxruntime"}
FILES = {precision: f"{ROLE}.{precision}.onnx" for precision in TARGETS}


def spec_of(precision: str, size: int, classes: int, sha256: str = "") -> ModelSpec:
    """Describe the classifier of so many classes in a precision with a square input of a side in pixels."""
    return _spec(ROLE, precision, (size, size), (classes,), sha256)


def spotter_spec(precision: str, size_wh: tuple[int, int], sha256: str = "") -> ModelSpec:
    """Describe the spotter in a precision for frames of a width and a height in pixels."""
    width, height = size_wh
    return _spec(SPOTTER, precision, (height, width), (PLANES, height // STRIDE, width // STRIDE), sha256)


def _spec(role: str, precision: str, size_hw: tuple[int, int], output: tuple[int, ...], sha256: str) -> ModelSpec:
    taken, given = TENSORS[role]
    pixels, told = TensorSpec(taken, (-1, *size_hw, 3), "uint8"), TensorSpec(given, (-1, *output), "float32")
    return ModelSpec(role, f"{role}.{precision}.onnx", sha256, precision, TARGETS[precision], pixels, told)
