"""Builds one TensorRT plan. Runs on the board, in the child process that `export.engines.child` is.

Imports the standard library and edge alone: on the board nothing else is there. One path serves TensorRT 10.3 to 11: what a release lacks is asked of the
module, never of its version. The module is an argument, so that NVIDIA's TensorRT-RTX, which builds without a GPU, can prove the same lines on a desk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.engines.trt import DTYPES
from edge.errors import EngineError, OutputError, one_line
from edge.files import written_beside
from edge.bundle.manifest import ModelSpec, TensorSpec
from edge.bundle.sidecar import STRONG
from export.engines.progress import Phases

USUAL_BATCH = 4
"""The batch that tactics are timed at, if the engine takes as many: a frame shows a few signs at most."""

_MIB = 1 << 20
_TOLD_ERRORS = 2

Watch = Callable[[float, str], bool]
Tell = Callable[[str], None]


class BuildError(EngineError):
    """TensorRT gave no plan; with less memory or fewer tactics it might."""


@dataclass(frozen=True)
class Settings:
    """How to build.

    Attributes:
        max_batch: largest batch of the one profile.
        typing: "strong": each tensor has the type that the graph says; "weak": TensorRT 10 may choose others.
        workspace_mib: most scratch memory of a layer; None leaves TensorRT's default, all there is.
        tactic_mib: most memory that trying tactics may take, on a board with all that TensorRT holds; None leaves the default.
        level: optimisation level, 0 to 5.
        timing_cache: file of tactics timed before, read and written; None for none.
    """

    max_batch: int = 16
    typing: str = STRONG
    workspace_mib: int | None = None
    tactic_mib: int | None = None
    level: int = 3
    timing_cache: Path | None = None


def build_plan(
    trt: Any,
    onnx: Path,
    spec: ModelSpec,
    settings: Settings,
    *,
    configure: Callable[[Any], None] | None = None,
    watch: Watch | None = None,
    tell: Tell | None = None,
) -> bytes:
    """Build a serialised engine.

    Args:
        trt: the module tensorrt, or one with its names.
        onnx: the model's file.
        spec: what its manifest says of it.
        settings: how to build.
        configure: called with the builder's configuration before the build.
        watch: called with the share that is done, 0 to 1, and the name of the phase, from several threads; returning False ends the build.
        tell: called with each line of TensorRT's log but the chatter, from several threads too.

    Raises:
        EngineError: no usable GPU, a graph that the parser refuses or that is not what the spec says, or settings that this TensorRT lacks.
        BuildError: the builder gave up.
    """
    log = _log(trt, tell)
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # what the bindings raise where the factory finds no GPU
        raise EngineError(f"wanted a GPU for TensorRT {trt.__version__}, it found none that it can use: {log.reason() or one_line(error)}") from error
    network = builder.create_network(_creation_flags(trt, settings.typing))
    _parse(trt.OnnxParser(network, log), onnx)
    _check_tensor(network.num_inputs, network.get_input, spec.input, onnx)
    _check_tensor(network.num_outputs, network.get_output, spec.output, onnx)
    monitor = _monitor(trt, watch) if watch else None  # outlives the configuration that holds it
    config = _configured(trt, builder, spec, settings, log)
    if configure:
        configure(config)
    if monitor:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BuildError(f"wanted an engine of {onnx}, TensorRT {trt.__version__} built none: {log.reason() or 'it gives no reason'}")
    if settings.timing_cache:
        _keep_timings(config, settings.timing_cache, log)
    return bytes(memoryview(plan))


def _log(trt: Any, tell: Tell | None) -> Any:
    """A logger that passes all but the chatter on and remembers the errors."""
    errors = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in errors:
                self.errors.append(one_line(Exception(msg)))
            if tell and severity != trt.ILogger.VERBOSE:
                tell(f"{severity}: {msg}")

        def reason(self) -> str:
            return "; ".join(self.errors[-_TOLD_ERRORS:])

    return Log()


def _monitor(trt: Any, watch: Watch) -> Any:
    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases = Phases()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return watch(self.phases.step(phase_name, step), phase_name)

        def phase_finish(self, phase_name: str) -> None:
            self.phases.finish(phase_name)

    return Monitor()


def _creation_flags(trt: Any, typing: str) -> int:
    strong = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    may_be_weak = hasattr(trt.BuilderFlag, "FP16")
    if typing == STRONG:
        if strong is None and may_be_weak:
            raise EngineError(f"wanted strong typing, TensorRT {trt.__version__} has none: update to JetPack 6.1 or newer")
        return 0 if strong is None else 1 << int(strong)
    if not may_be_weak:
        raise EngineError(f"wanted weak typing, TensorRT {trt.__version__} has none: leave --typing weak away")
    return 0


def _parse(parser: Any, onnx: Path) -> None:
    if parser.parse_from_file(str(onnx)):
        return
    faults = [parser.get_error(place) for place in range(parser.num_errors)]
    told = "; ".join(f"{fault.node_operator()} {fault.node_name()}: {one_line(Exception(fault.desc()))}".lstrip(" :") for fault in faults)
    raise EngineError(f"wanted a graph that TensorRT takes in {onnx}, its parser refused: {told or 'it gives no reason'}: export the bundle again")


def _check_tensor(count: int, get: Callable[[int], Any], wanted: TensorSpec, onnx: Path) -> None:
    found = [(tensor.name, tensor.dtype.name, tuple(tensor.shape)) for tensor in map(get, range(count))]
    if found != [(wanted.name, DTYPES[wanted.dtype], wanted.shape)]:
        raise EngineError(f"wanted {wanted.name} {wanted.dtype} {wanted.shape} alone in {onnx}, found {found}: export the bundle again")


def _configured(trt: Any, builder: Any, spec: ModelSpec, settings: Settings, log: Any) -> Any:
    config = builder.create_builder_config()
    config.builder_optimization_level = settings.level
    config.max_aux_streams = 0  # one stream takes the least memory and is what a CUDA graph captures
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that an inspector can tell which precision a layer got
    for pool, mib in (("WORKSPACE", settings.workspace_mib), ("TACTIC_DRAM", settings.tactic_mib)):
        if mib is not None:
            config.set_memory_pool_limit(getattr(trt.MemoryPoolType, pool), mib * _MIB)
    if settings.typing != STRONG:
        for flag in ("FP16", "INT8") if spec.precision == "int8" else ("FP16",):
            config.set_flag(getattr(trt.BuilderFlag, flag))
    profile, image = builder.create_optimization_profile(), spec.input.shape[1:]
    usual = min(USUAL_BATCH, settings.max_batch)
    profile.set_shape(spec.input.name, (1, *image), (usual, *image), (settings.max_batch, *image))
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"wanted a profile of batch 1 to {settings.max_batch} for {spec.file}, TensorRT refused: {log.reason()}")
    if settings.timing_cache:
        _use_timings(config, settings.timing_cache, log)
    return config


def _use_timings(config: Any, file: Path, log: Any) -> None:
    held = file.read_bytes() if file.is_file() else b""
    cache = config.create_timing_cache(held)
    if cache is None or not config.set_timing_cache(cache, False):
        log.log(log.WARNING, f"{file} does not fit here: tactics are timed anew")
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _keep_timings(config: Any, file: Path, log: Any) -> None:
    cache = config.get_timing_cache()
    if cache is None:
        return
    try:
        with written_beside(file) as beside:
            beside.write_bytes(memoryview(cache.serialize()))
    except OutputError as error:  # only the next build is slower
        log.log(log.WARNING, str(error))
