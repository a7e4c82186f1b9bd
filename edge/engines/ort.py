"""ONNX Runtime behind the engine seam: the CPU of any PC, or a GPU through its CUDA and TensorRT providers.

ONNX Runtime would leave a provider out that it cannot load, and give the CPU what a provider cannot do. Here both are errors.
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
from edge.files import cache_folder, telling_refusal
from edge.outside.reading import named_for_libraries

PROVIDER_NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}
ONLY_FATAL = 4  # errors come as exceptions

_MIB = 1 << 20
_WORKSPACE_MIB = 512
_USUAL_BATCH, _MOST_IN_BATCH = 4, 16


class OrtEngine:
    """Obeys `edge.engines.contract.Engine`."""

    name = "onnxruntime"

    def __init__(self, path: Path, spec: ModelSpec, *, precision: str, provider: str = "cpu") -> None:
        """Load an ONNX file; `precision` fp32 widens an fp16 file's weights first.

        Raises:
            EngineError: ONNX Runtime refuses the file, lacks the provider or cannot run all of the graph on it, or the graph is not what the spec says.
            OutputError: the folder in which the TensorRT provider keeps its engines cannot be made.
            MissingDependency: onnxruntime is not installed.
        """
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise MissingDependency(f"wanted onnxruntime to run the model, found none: {install('edge')}") from error
        wanted = PROVIDER_NAMES[provider]
        if wanted not in ort.get_available_providers():
            raise EngineError(f"wanted provider {provider}, this onnxruntime has {', '.join(ort.get_available_providers())}: install the extra edge-gpu")
        check_file(path)
        self.spec, self.precision = spec, precision
        self._most = _MOST_IN_BATCH if provider == "tensorrt" else None
        settings = _tensorrt_settings(spec, precision) if provider == "tensorrt" else {}
        try:
            with named_for_libraries(path) as name:
                model = widened(path) if precision == "fp32" else name
                session = ort.InferenceSession(model, _options(ort, provider), providers=[(wanted, settings)])
        except EngineError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            cure = "export the bundle again" if provider == "cpu" else "export the bundle again, or choose --provider cpu"
            raise EngineError(f"wanted an ONNX model for provider {provider} in {path}, onnxruntime refused it: {one_line(error)}: {cure}") from error
        self._session: ort.InferenceSession | None = session
        self._check_provider(provider, session)
        self._check_graph(path, session)

    def _check_provider(self, provider: str, session: Any) -> None:
        used = session.get_providers()
        if PROVIDER_NAMES[provider] not in used:
            raise EngineError(
                f"wanted provider {provider}, onnxruntime could not load its libraries and took {', '.join(used)}: install those of its CUDA, or choose another"
            )

    def _check_graph(self, path: Path, session: Any) -> None:
        inputs, outputs = (
            [(f.name, f.type, tuple(s if isinstance(s, int) else -1 for s in f.shape)) for f in found]
            for found in (session.get_inputs(), session.get_outputs())
        )
        check_graph(path, self.spec, inputs, outputs, TYPES)

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the model on (n, height, width, 3) uint8 BGR; returns float32 (n, ...)."""
        if self._session is None:
            raise EngineError(f"wanted an open engine, {self.spec.file} was closed before")
        check_images(images, self.spec)
        most = self._most or len(images)
        batches = [np.ascontiguousarray(images[at : at + most]) for at in range(0, len(images), most)]
        try:
            rows = [self._session.run([self.spec.output.name], {self.spec.input.name: batch})[0] for batch in batches]
        except Exception as error:  # as above
            raise EngineError(f"wanted {self.spec.file} to run on {len(images)} images, onnxruntime failed: {one_line(error)}") from error
        return np.asarray(rows[0] if len(rows) == 1 else np.concatenate(rows), np.float32)

    def close(self) -> None:
        """Free the session."""
        self._session = None

    def __enter__(self) -> OrtEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _options(ort: Any, provider: str) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = ONLY_FATAL
    # A thread that spins while it waits burns a core between frames, which capture and drawing need; it would make a single call up to a fifth faster.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


def _tensorrt_settings(spec: ModelSpec, precision: str) -> dict[str, Any]:
    """What the provider builds its engine with, once for all batches, and where it keeps it: named by the model, the GPU and TensorRT."""
    cache = cache_folder() / "onnxruntime"
    with telling_refusal(cache):
        cache.mkdir(parents=True, exist_ok=True)
    image = "x".join(map(str, spec.input.shape[1:]))
    profile = {f"trt_profile_{key}_shapes": f"{spec.input.name}:{n}x{image}" for key, n in (("min", 1), ("opt", _USUAL_BATCH), ("max", _MOST_IN_BATCH))}
    return profile | {
        "trt_fp16_enable": precision != "fp32",
        "trt_int8_enable": precision == "int8",
        "trt_max_workspace_size": _WORKSPACE_MIB * _MIB,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(cache),
    }
