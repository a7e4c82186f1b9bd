"""Opens the engine that is asked for, or the one that fits this machine."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from edge.board.identity import SYSTEM, read_identity
from edge.bundle.manifest import Bundle, ModelSpec
from edge.bundle.sidecar import plan_path
from edge.engines.contract import Engine
from edge.engines.guarded import LOAD_S, GuardedEngine
from edge.errors import EngineError, SignwingError
from edge.process import patience

ENGINES = ("auto", "tensorrt", "onnxruntime", "openvino", "fake")
PRECISIONS = ("auto", "int8", "fp16", "int8-cpu", "fp32")
PROVIDERS = ("cpu", "cuda", "tensorrt")

TENSORRT_PRECISIONS = ("int8", "fp16")
"""What an engine can be built in, the one that is taken first in front."""

_LOG = logging.getLogger(__name__)


def open_engine(bundle: Bundle, role: str, *, engine: str = "auto", precision: str = "auto", provider: str = "cpu") -> Engine:
    """Load a bundle's model of a role.

    Args:
        bundle: where the model lies.
        role: "classifier" or "spotter".
        engine: one of `ENGINES`; "auto" is what `choose_engine` says.
        precision: one of `PRECISIONS`; "auto" is int8 on TensorRT if its engine is built, else fp16; on ONNX Runtime int8-cpu, or fp16 on a GPU.
            fp32 runs the fp16 file's weights in float32.
        provider: ONNX Runtime's execution provider, one of `PROVIDERS`.

    Raises:
        BundleError: no such model, a damaged file, or no engine that was built from it on this board.
        EngineError: an option that is none of those named or does not go with another, or the library refuses the model.
        MissingDependency: the library is not installed.
    """
    # ONNX Runtime's TensorRT provider builds its engine as it loads, which takes what it takes.
    limit_s, told = math.inf if provider == "tensorrt" else LOAD_S, f"wanted the {role} of {bundle.folder} to load within {LOAD_S:.0f} s, it did not"
    with patience.limited(limit_s, f"{told}: export the bundle again, or choose a smaller model"):
        opened = _open(bundle, role, engine, precision, provider)
    return GuardedEngine(opened, on_gpu=opened.name == "tensorrt" or provider != "cpu")


def _open(bundle: Bundle, role: str, engine: str, precision: str, provider: str) -> Engine:
    for option, value, known in (("engine", engine, ENGINES), ("precision", precision, PRECISIONS), ("provider", provider, PROVIDERS)):
        if value not in known:
            raise EngineError(f"wanted {option} {', '.join(known)}, found {value!r}: choose one of these")
    engine = choose_engine(bundle, role, precision=precision, provider=provider) if engine == "auto" else engine
    if engine != "onnxruntime" and provider != "cpu":
        raise EngineError(
            f"wanted a provider with engine onnxruntime alone, found {provider} with {engine}: choose --engine onnxruntime, or leave --provider out"
        )
    if engine == "tensorrt":
        from edge.engines.trt import TrtEngine, find_plan

        spec = _tensorrt_spec(bundle, role, precision)
        return TrtEngine(find_plan(bundle, spec), spec)
    precision = ("int8-cpu" if provider == "cpu" else "fp16") if precision == "auto" else precision
    spec = bundle.model(role, "fp16" if precision == "fp32" else precision)
    if engine == "fake":
        from edge.engines.fake import FakeEngine

        return FakeEngine(spec, precision)
    if engine == "openvino":
        from edge.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(bundle.verified_path(spec.file, spec.sha256), spec, precision=precision)
    from edge.engines.ort import OrtEngine

    return OrtEngine(bundle.verified_path(spec.file, spec.sha256), spec, precision=precision, provider=provider)


def choose_engine(bundle: Bundle, role: str, *, precision: str = "auto", provider: str = "cpu", root: Path = SYSTEM) -> str:
    """Return the engine that "auto" is: TensorRT on a Jetson, and on a PC that has it and an engine built there; else ONNX Runtime.

    A Jetson is never left to a slow path that nobody asked for; a precision or provider that is ONNX Runtime's alone asks for it. On a PC an engine that may
    not run there is told of. `root` is where the system's files start.

    Raises:
        BundleError: the bundle has no such model.
    """
    if provider != "cpu" or precision not in ("auto", *TENSORRT_PRECISIONS):
        return "onnxruntime"
    if read_identity(root).jetson:
        return "tensorrt"
    if not any(precision in ("auto", built) for built in built_precisions(bundle, role)):
        return "onnxruntime"
    from edge.engines.trt import find_plan

    try:
        find_plan(bundle, _tensorrt_spec(bundle, role, precision))
    except SignwingError as refusal:
        _LOG.warning("%s; this runs on onnxruntime instead", refusal)
        return "onnxruntime"
    return "tensorrt"


def built_precisions(bundle: Bundle, role: str) -> list[str]:
    """Return the precisions of a role that a plan stands in the bundle for, the one that is taken first in front."""
    held = [model.precision for model in bundle.manifest.models if model.role == role]
    return [precision for precision in TENSORRT_PRECISIONS if precision in held and plan_path(bundle.folder, role, precision).is_file()]


def _tensorrt_spec(bundle: Bundle, role: str, precision: str) -> ModelSpec:
    if precision == "auto":
        precision = next(iter(built_precisions(bundle, role)), "fp16")
    if precision not in TENSORRT_PRECISIONS:
        raise EngineError(f"wanted precision {' or '.join(TENSORRT_PRECISIONS)} with engine tensorrt, found {precision}: choose one, or --engine onnxruntime")
    return bundle.model(role, precision)
