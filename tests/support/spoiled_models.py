"""Models that are not what a bundle says, and how they get into it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle.manifest import MANIFEST
from edge.files import sha256_of


def replace_model(bundle: Path, model: bytes) -> None:
    """Put other bytes in place of the fp16 model, with the hash that belongs to them."""
    file = bundle / "classifier.fp16.onnx"
    file.write_bytes(model)
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["models"][0]["sha256"] = sha256_of(file)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def renamed_output(onnx: Any, graph: Any) -> None:
    graph.output[0].name = graph.node[-1].output[0] = "scores"


def smaller_input(onnx: Any, graph: Any) -> None:
    graph.input[0].type.tensor_type.shape.dim[1].dim_value = 16


FAULTS = ("scaled", "zeroed", "swapped", "bits", "overflow", "scale")
"""Ways in which an engine may be built wrong: weights scaled, a layer lost, channels swapped, bits flipped, float16 run over, and a wrong scale of int8."""
_LARGEST = 65504.0


def broken(model: Any, fault: str, rng: np.random.Generator) -> Any:
    """Return an ONNX model with a fault in one of its tensors, or None where it has none that could have it."""
    from onnx import ModelProto, numpy_helper

    spoiled = ModelProto()
    spoiled.CopyFrom(model)
    tensors = list(spoiled.graph.initializer)
    if fault == "scale":
        chosen = [each for each in tensors if "scale" in each.name.lower() and len(each.dims) < 2 and numpy_helper.to_array(each).dtype == np.float32]
    else:
        chosen = [each for each in tensors if len(each.dims) > 1]
    if not chosen:
        return None
    tensor = chosen[rng.integers(len(chosen))]
    values = numpy_helper.to_array(tensor)
    changed = _CHANGES[fault](values.astype(np.float32), rng)
    whole = values.dtype.kind in "iu"
    told = np.clip(np.rint(changed), -127, 127) if whole else changed
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(told.astype(values.dtype)), tensor.name))
    return spoiled


def _swapped(values: Any, rng: np.random.Generator) -> Any:
    across = 0 if values.ndim == 4 else 1
    order = np.arange(values.shape[across])
    some = rng.choice(len(order), min(int(rng.choice([2, 4, 16])), len(order)), replace=False)
    order[some] = np.roll(order[some], 1)
    return values.take(order, across)


def _flipped(values: Any, rng: np.random.Generator) -> Any:
    flipped = values.astype(np.float16).ravel()
    flipped.view(np.uint16)[rng.integers(0, flipped.size, int(rng.choice([1, 8, 64])))] ^= np.uint16(1 << int(rng.integers(12, 16)))
    return np.nan_to_num(flipped.astype(np.float32), posinf=_LARGEST, neginf=-_LARGEST).reshape(values.shape)


def _overflowed(values: Any, rng: np.random.Generator) -> Any:
    large = values.ravel().copy()
    large[rng.integers(0, large.size, int(rng.choice([1, 4])))] = _LARGEST
    return large.reshape(values.shape)


_CHANGES: dict[str, Callable[[Any, np.random.Generator], Any]] = {
    "scaled": lambda values, rng: values * rng.choice([0.5, 0.7, 0.8, 0.9, 1.1, 1.25, 1.5, 2.0]),
    "zeroed": lambda values, rng: np.zeros_like(values),
    "swapped": _swapped,
    "bits": _flipped,
    "overflow": _overflowed,
    "scale": lambda values, rng: values * rng.choice([0.5, 0.8, 1.2, 1.5, 2.0, 4.0]),
}
