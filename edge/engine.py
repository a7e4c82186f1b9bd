"""The seam between the runtime and the libraries that run models: `Engine.infer(images) -> outputs`, and nothing else.

An engine **must** take uint8 BGR images (n, height, width, 3) as its model's spec says, for any n from 1 up, and return float32 (n, ...) in the same order;
it **must** refuse anything else with `EngineError`, naming both sides; rows **must not** depend on what else is in the batch; `close` is idempotent.
`engine_ort` runs on any PC; `engine_fake` needs nothing, runs no model, and obeys the same contract test.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.errors import EngineError
from edge.manifest import Bundle, ModelSpec

ENGINES = ("auto", "tensorrt", "onnxruntime", "fake")
PRECISIONS = ("auto", "int8", "fp16", "int8-cpu", "fp32")
PROVIDERS = ("cpu", "cuda", "tensorrt")


class Engine(Protocol, AbstractContextManager["Engine", None]):
    """A loaded model. Attributes: `name` of the library, `precision` it computes in, `spec` of the model."""

    name: str
    precision: str
    spec: ModelSpec

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the model on (n, height, width, 3) uint8 BGR; returns float32 (n, ...).

        Raises:
            EngineError: another shape or dtype, or the library failed.
        """
        ...

    def close(self) -> None:
        """Free the model; safe to call again."""
        ...


def open_engine(bundle: Bundle, role: str, *, engine: str = "auto", precision: str = "auto", provider: str = "cpu") -> Engine:
    """Load a bundle's model of a role.

    Args:
        bundle: where the model lies.
        role: "classifier" or "spotter".
        engine: one of `ENGINES`; "auto" is ONNX Runtime.
        precision: one of `PRECISIONS`; "auto" is int8-cpu. fp32 runs the fp16 file's weights in float32.
        provider: ONNX Runtime's execution provider, one of `PROVIDERS`.

    Raises:
        BundleError: no such model, or a damaged file.
        EngineError: an option that is none of those named, or the library refuses the model.
        MissingDependency: the library is not installed.
    """
    for option, value, known in (("engine", engine, ENGINES), ("precision", precision, PRECISIONS), ("provider", provider, PROVIDERS)):
        if value not in known:
            raise EngineError(f"wanted {option} {', '.join(known)}, found {value!r}: choose one of these")
    if engine == "tensorrt":
        raise EngineError("wanted engine tensorrt, this version of signwing runs models with ONNX Runtime alone: choose --engine onnxruntime")
    precision = "int8-cpu" if precision == "auto" else precision
    spec = bundle.model(role, "fp16" if precision == "fp32" else precision)
    if engine == "fake":
        from edge.engine_fake import FakeEngine

        return FakeEngine(spec, precision)
    from edge.engine_ort import OrtEngine

    return OrtEngine(bundle.verified_path(spec.file, spec.sha256), spec, precision=precision, provider=provider)


def check_images(images: NDArray[np.uint8], spec: ModelSpec) -> None:
    """Refuse images that a model's spec does not allow.

    Raises:
        EngineError: another dtype, rank or size, or an empty batch.
    """
    wanted = spec.input.shape[1:]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != wanted or len(images) == 0:
        raise EngineError(f"wanted images of shape (n, {', '.join(map(str, wanted))}) and dtype uint8 for {spec.file}, found {images.shape} {images.dtype}")
