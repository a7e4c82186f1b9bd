"""ONNX Runtime behind the engine seam: the CPU of any PC, or a GPU through its CUDA and TensorRT providers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.engine import check_images
from edge.errors import EngineError, MissingDependency, one_line
from edge.manifest import ModelSpec

PROVIDER_NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}
ONLY_ERRORS = 3


class OrtEngine:
    """Obeys `edge.engine.Engine`."""

    name = "onnxruntime"

    def __init__(self, path: Path, spec: ModelSpec, *, precision: str, provider: str = "cpu") -> None:
        """Load an ONNX file; `precision` fp32 widens an fp16 file's weights first.

        Raises:
            EngineError: ONNX Runtime refuses the file, lacks the provider, or the graph is not what the spec says.
            MissingDependency: onnxruntime is not installed.
        """
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise MissingDependency("wanted onnxruntime to run the model, found none: pip install 'signwing[edge]'") from error
        wanted = PROVIDER_NAMES[provider]
        if wanted not in ort.get_available_providers():
            raise EngineError(f"wanted provider {provider}, this onnxruntime has {', '.join(ort.get_available_providers())}: install the extra edge-gpu")
        options = ort.SessionOptions()
        options.log_severity_level = ONLY_ERRORS
        # A thread that spins while it waits burns a core between frames, which capture and drawing need; it would make a single call up to a fifth faster.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = _widened(path) if precision == "fp32" else str(path)
        try:
            self._session: ort.InferenceSession | None = ort.InferenceSession(model, options, providers=[wanted])
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise EngineError(f"wanted an ONNX model in {path}, onnxruntime refused it: {one_line(error)}: export the bundle again") from error
        self.spec, self.precision = spec, precision
        self._check_graph(path)

    def _check_graph(self, path: Path) -> None:
        assert self._session is not None
        for found, wanted, kind in ((self._session.get_inputs(), self.spec.input, "input"), (self._session.get_outputs(), self.spec.output, "output")):
            held = [(f.name, f.type, tuple(s if isinstance(s, int) else -1 for s in f.shape)) for f in found]
            if held != [(wanted.name, TYPES[wanted.dtype], wanted.shape)]:
                raise EngineError(
                    f"wanted {kind} {wanted.name} {wanted.dtype} {wanted.shape} in {path}, found {held}: the model is not of this bundle, export it again"
                )

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the model on (n, height, width, 3) uint8 BGR; returns float32 (n, ...)."""
        if self._session is None:
            raise EngineError(f"wanted an open engine, {self.spec.file} was closed before")
        check_images(images, self.spec)
        try:
            outputs = self._session.run([self.spec.output.name], {self.spec.input.name: np.ascontiguousarray(images)})
        except Exception as error:  # as above
            raise EngineError(f"wanted {self.spec.file} to run on {len(images)} images, onnxruntime failed: {one_line(error)}") from error
        return np.asarray(outputs[0], np.float32)

    def close(self) -> None:
        """Free the session."""
        self._session = None

    def __enter__(self) -> OrtEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _widened(path: Path) -> bytes:
    from edge.onnx_fp32 import widen

    return widen(path.read_bytes())
