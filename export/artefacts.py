"""The files that export makes of one classifier, and what a manifest says of each."""

from __future__ import annotations

from edge.gtsrb import CLASSES
from edge.manifest import ModelSpec, TensorSpec

ROLE = "classifier"
INPUT, OUTPUT = "images", "probabilities"
TARGETS = {"fp16": "tensorrt", "int8": "tensorrt", "int8-cpu": "onnxruntime"}
FILES = {precision: f"{ROLE}.{precision}.onnx" for precision in TARGETS}


def spec_of(precision: str, size: int, sha256: str = "") -> ModelSpec:
    """Describe the classifier in a precision with a square input of a side in pixels."""
    images, probabilities = TensorSpec(INPUT, (-1, size, size, 3), "uint8"), TensorSpec(OUTPUT, (-1, CLASSES), "float32")
    return ModelSpec(ROLE, FILES[precision], sha256, precision, TARGETS[precision], images, probabilities)
