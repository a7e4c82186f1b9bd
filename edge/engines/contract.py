"""The seam between the runtime and the libraries that run models: `Engine.infer(images) -> outputs`, and nothing else.

An engine **must** take uint8 BGR images (n, height, width, 3) as its model's spec says, for any n from 1 up, and return float32 (n, ...) in the same order;
it **must** refuse anything else with `EngineError`, naming both sides; rows **must not** depend on what else is in the batch; `close` is idempotent.
`trt` runs what was built on this board, `ort` runs on any PC, `openvino` is faster on x86; `fake` needs nothing, runs no model, and obeys the same contract
test. `open` chooses.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import ModelSpec
from edge.errors import EngineError


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


def check_images(images: NDArray[np.uint8], spec: ModelSpec) -> None:
    """Refuse images that a model's spec does not allow.

    Raises:
        EngineError: another dtype, rank or size, or an empty batch.
    """
    wanted = spec.input.shape[1:]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != wanted or len(images) == 0:
        raise EngineError(f"wanted images of shape (n, {', '.join(map(str, wanted))}) and dtype uint8 for {spec.file}, found {images.shape} {images.dtype}")
