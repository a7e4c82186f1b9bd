"""OpenVINO behind the engine seam: a faster CPU engine for PCs whose processors multiply int8 in hardware. The models are the bundle's own ONNX files.

Options of its CPU plugin: https://docs.openvino.ai, "CPU Device". Without the precision hint it would compute in bfloat16 where the processor can.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.board.extras import install
from edge.bundle.manifest import ModelSpec
from edge.engines.contract import check_images
from edge.engines.graph import check_file, check_graph, widened
from edge.errors import EngineError, MissingDependency, one_line

_SETTINGS = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
_TYPES = {"uint8": "u8", "float32": "f32"}
_ANY = -1


class OpenVinoEngine:
    """Obeys `edge.engines.contract.Engine`."""

    name = "openvino"

    def __init__(self, path: Path, spec: ModelSpec, *, precision: str) -> None:
        """Load an ONNX file; `precision` fp32 widens an fp16 file's weights first.

        Raises:
            EngineError: OpenVINO refuses the file, or the graph is not what the spec says.
            MissingDependency: openvino is not installed.
        """
        try:
            import openvino
        except ImportError as error:
            raise MissingDependency(f"wanted openvino to run the model, found none: {install('openvino')}") from error
        check_file(path)
        self.spec, self.precision = spec, precision
        try:
            core = openvino.Core()
            model = core.read_model(widened(path)) if precision == "fp32" else core.read_model(path)
            self._compiled: Any = core.compile_model(model, "CPU", _SETTINGS)
        except Exception as error:  # OpenVINO raises RuntimeError and others
            raise EngineError(f"wanted an ONNX model for OpenVINO in {path}, it refused: {one_line(error)}: export the bundle again") from error
        self._check_graph(path)
        self._request: Any = self._compiled.create_infer_request()

    def _check_graph(self, path: Path) -> None:
        inputs, outputs = (
            [(port.any_name, port.element_type.get_type_name(), _sides(port.partial_shape)) for port in ports]
            for ports in (self._compiled.inputs, self._compiled.outputs)
        )
        check_graph(path, self.spec, inputs, outputs, _TYPES)

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the model on (n, height, width, 3) uint8 BGR; returns float32 (n, ...)."""
        if self._request is None:
            raise EngineError(f"wanted an open engine, {self.spec.file} was closed before")
        check_images(images, self.spec)
        try:
            found = self._request.infer([np.ascontiguousarray(images)], share_inputs=True)
        except Exception as error:  # as above
            raise EngineError(f"wanted {self.spec.file} to run on {len(images)} images, OpenVINO failed: {one_line(error)}") from error
        return np.array(found[0], np.float32)

    def close(self) -> None:
        """Free the model."""
        self._request = self._compiled = None

    def __enter__(self) -> OpenVinoEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _sides(shape: Any) -> tuple[int, ...]:
    return tuple(side.get_length() if side.is_static else _ANY for side in shape)
