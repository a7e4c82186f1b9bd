"""The building half of TensorRT, for tests, as its documentation says that it behaves.

It fails by None and False, with the reason in the logger alone; it calls the monitor from several threads, which may end the build; its bindings refuse a
subclass that forgets the base's constructor. `SIGNWING_STAND_IN` (JSON) makes a build go wrong, `release("11.4.0")` has the names of another release.
A plan is a true header and the model's bytes.
"""

from __future__ import annotations

import enum
import json
import os
import signal
import threading
import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

__version__ = "10.3.0"

KNOBS = "SIGNWING_STAND_IN"
STEPS = 8
THREADS = 2
_KIND_OF_ONNX = b"\x08"  # the first field of an ONNX file: ir_version


def release(version: str) -> SimpleNamespace:
    """The module as another release has it: 8.6 knows no strong typing, 11 no other, and numbers the flag anew."""
    names = {name: value for name, value in globals().items() if not name.startswith("_")}
    major = int(version.split(".")[0])
    if major < 10:
        names["NetworkDefinitionCreationFlag"] = enum.IntEnum("NetworkDefinitionCreationFlag", {"EXPLICIT_BATCH": 0})
    if major > 10:
        names["NetworkDefinitionCreationFlag"] = enum.IntEnum("NetworkDefinitionCreationFlag", {"STRONGLY_TYPED": 0})
        names["BuilderFlag"] = enum.IntEnum("BuilderFlag", {"REFIT": 4, "TF32": 6})
    return SimpleNamespace(**names, __version__=version)


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class BuilderFlag(enum.IntEnum):
    FP16 = 0
    INT8 = 1
    TF32 = 6


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0
    TACTIC_DRAM = 4


class ProfilingVerbosity(enum.IntEnum):
    LAYER_NAMES_ONLY = 0
    DETAILED = 2


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    UINT8 = 5


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class _Base:
    """What pybind11 makes of a class that Python may derive from."""

    def __init__(self) -> None:
        self.constructed = True


class ILogger(_Base):
    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor(_Base):
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


def _constructed(thing: Any) -> Any:
    if not getattr(thing, "constructed", False):
        raise TypeError(f"{type(thing).__name__}.__init__() must be called when overriding __init__")
    return thing


class IHostMemory(bytes):
    @property
    def nbytes(self) -> int:
        return len(self)


class Tensor:
    def __init__(self, name: str, shape: list[int], dtype: str) -> None:
        self.name, self.shape, self.dtype = name, tuple(shape), DataType[dtype]


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self.logger, self.knobs = _constructed(logger), json.loads(os.environ.get(KNOBS, "{}"))
        if self.knobs.get("no_gpu"):
            logger.log(Severity.ERROR, "[checkMacros.cpp] CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int = 0) -> Network:
        return Network(self, flags)

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig()

    def create_optimization_profile(self) -> OptimizationProfile:
        return OptimizationProfile()

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> IHostMemory | None:
        self.logger.log(Severity.VERBOSE, "every tactic, one by one")
        self.logger.log(Severity.INFO, f"process {os.getpid()} has oom_score_adj {Path('/proc/self/oom_score_adj').read_text()}")
        workspace = config.pools.get(MemoryPoolType.WORKSPACE, 1 << 40) >> 20
        held = bytearray(self.knobs.get("takes_mib", 0) << 20)
        held[::4096] = b"x" * len(held[::4096])
        if held:
            time.sleep(0.3)
        if workspace > self.knobs.get("killed_above_mib", 1 << 40):
            os.kill(os.getpid(), signal.SIGKILL)
        if network.strong and config.set_flags:
            return self._fail("FP16 is not compatible with a strongly typed network")
        if not self._time_tactics(config):
            return self._fail("IBuilder::buildSerializedNetwork: Error Code 7: BuildCanceled (Build canceled by user)")
        if config.builder_optimization_level > self.knobs.get("fails_above_level", 5):
            self.logger.log(Severity.WARNING, "Tactic Device request: 414MB Available: 216MB. Device memory is insufficient to use tactic.")
            return self._fail("Error Code 10: Internal Error (Could not find any implementation for node block1_conv1.)")
        config.cache.timed = True
        version = bytes(map(int, f"{__version__}.30".split(".")[:4]))
        return IHostMemory(b"ftrt" + bytes(20) + version + network.model + bytes(self.knobs.get("pads_mib", 0) << 20))

    def _fail(self, why: str) -> None:
        self.logger.log(Severity.ERROR, why)

    def _time_tactics(self, config: BuilderConfig) -> bool:
        monitor = config.monitor() if config.monitor else None
        if config.monitor and monitor is None:
            raise RuntimeError("the monitor is gone before the builder: a crash, in C++")
        if monitor is None:
            return True
        going = [True] * STEPS

        def step(numbers: range) -> None:
            for number in numbers:
                time.sleep(self.knobs.get("step_s", 0))
                going[number] = monitor.step_complete("Timing graph nodes", number)
                if not all(going):
                    return

        monitor.phase_start("Building engine", None, 2)
        monitor.phase_start("Timing graph nodes", "Building engine", STEPS)
        threads = [threading.Thread(target=step, args=(range(first, STEPS, THREADS),)) for first in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        monitor.phase_finish("Timing graph nodes")
        going.append(all(going) and monitor.step_complete("Building engine", 0))
        monitor.phase_finish("Building engine")
        return all(going)


class Network:
    def __init__(self, builder: Builder, flags: int) -> None:
        self.knobs, self.model, self.flags = builder.knobs, b"", flags
        self.strong = bool(flags & 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []

    def parsed(self, model: bytes) -> None:
        self.model = model
        self.inputs = [Tensor(*tensor) for tensor in self.knobs.get("inputs", [["images", [-1, 24, 24, 3], "UINT8"]])]
        self.outputs = [Tensor(*tensor) for tensor in self.knobs.get("outputs", [["probabilities", [-1, 43], "FLOAT"]])]

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]


class ParserError:
    def __init__(self, node: str, operator: str, why: str) -> None:
        self._told = (node, operator, why)

    def node_name(self) -> str:
        return self._told[0]

    def node_operator(self) -> str:
        return self._told[1]

    def desc(self) -> str:
        return self._told[2]


class OnnxParser:
    def __init__(self, network: Network, logger: ILogger) -> None:
        self.network, self.logger, self.errors = network, _constructed(logger), []

    def parse_from_file(self, model: str) -> bool:
        content = Path(model).read_bytes()
        if not content.startswith(_KIND_OF_ONNX):
            self.errors = [ParserError("", "", "Failed to parse the ONNX model.")]
        else:
            self.errors = [ParserError(*told) for told in self.network.knobs.get("parser_errors", [])]
            self.network.parsed(content)
        return not self.errors

    @property
    def num_errors(self) -> int:
        return len(self.errors)

    def get_error(self, index: int) -> ParserError:
        return self.errors[index]


class OptimizationProfile:
    def set_shape(self, input: str, min: tuple[int, ...], opt: tuple[int, ...], max: tuple[int, ...]) -> None:  # noqa: A002 - the library's names
        self.name, self.batches = input, (min[0], opt[0], max[0])


class TimingCache:
    MAGIC = b"timings of 10.3.0 "

    def __init__(self, content: bytes) -> None:
        self.fits = not content or content.startswith(self.MAGIC)
        self.timed = False

    def serialize(self) -> IHostMemory:
        return IHostMemory(self.MAGIC + (b"timed" if self.timed else b""))


class BuilderConfig:
    def __init__(self) -> None:
        self.pools: dict[MemoryPoolType, int] = {}
        self.set_flags: list[BuilderFlag] = []
        self.profiles: list[OptimizationProfile] = []
        self.monitor: weakref.ref[IProgressMonitor] | None = None
        self.cache = TimingCache(b"")
        self.builder_optimization_level, self.max_aux_streams, self.profiling_verbosity = 3, -1, ProfilingVerbosity.LAYER_NAMES_ONLY

    def _set_monitor(self, monitor: IProgressMonitor) -> None:
        self.monitor = weakref.ref(_constructed(monitor))

    progress_monitor = property(None, _set_monitor)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.pools[pool] = pool_size

    def set_flag(self, flag: BuilderFlag) -> None:
        self.set_flags.append(flag)

    def add_optimization_profile(self, profile: OptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1 if profile.batches[0] <= profile.batches[1] <= profile.batches[2] else -1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
        return TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        self.cache = cache if cache.fits else self.cache
        return cache.fits

    def get_timing_cache(self) -> TimingCache:
        return self.cache
