"""The running half of TensorRT, for tests, as its documentation says that it behaves; the building half is `tensorrt_builder_stand_in`.

It fails by None and False, with the reason in the logger alone; keeps addresses and shapes; refuses shapes outside the profile; works on a stream, later, from
addresses of the GPU; and wants one ordinary run after a change of shape before it may be captured. A plan holds an ONNX model, which ONNX Runtime computes.
`SIGNWING_STAND_IN` (JSON) makes calls fail. What would crash the real one is noted in `FAULTS`, and what is freed in the calls of the stub, whose path
`SIGNWING_STUB_CUDART` holds.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
import weakref
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from tensorrt_builder_stand_in import (  # noqa: F401 - the names of the whole library
    KNOBS,
    Builder,
    BuilderFlag,
    DataType,
    ILogger,
    IProgressMonitor,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    OnnxParser,
    ProfilingVerbosity,
    Severity,
    __version__,
    _constructed,
)

STUB = "SIGNWING_STUB_CUDART"
HEADER_BYTES = 28
SCRATCH_BYTES = 4096
FAULTS: list[str] = []
_Work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_KEPT: list[Any] = []  # callbacks outlive their contexts, so that a use after the end is noted and not a crash
_DTYPES = {"tensor(uint8)": (DataType.UINT8, np.uint8), "tensor(float)": (DataType.FLOAT, np.float32), "tensor(float16)": (DataType.HALF, np.float16)}


class TensorIOMode(enum.IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ExecutionContextAllocationStrategy(enum.IntEnum):
    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


class Dims:
    """Indexes and iterates as a tuple does, and is none."""

    def __init__(self, sides: Any) -> None:
        self._sides = tuple(sides)

    def __getitem__(self, place: int) -> int:
        return self._sides[place]


def _knobs() -> dict[str, Any]:
    return json.loads(os.environ.get(KNOBS, "{}"))


def _stub() -> ctypes.CDLL:
    return ctypes.CDLL(os.environ[STUB])


class _Counted:
    """Tells the stub when it is freed; fails where the knob `fails` names the call."""

    logger: ILogger

    def __init__(self) -> None:
        weakref.finalize(self, _stub().stub_note, f"~{type(self).__name__}".encode())

    def _ok(self, call: str, wrong: str = "") -> bool:
        if _knobs().get("fails") == call or wrong:
            self.logger.log(Severity.ERROR, f"{type(self).__name__}::{call}: Error Code 3: API Usage Error ({wrong or 'as the test wants it'})\n")
        return _knobs().get("fails") != call and not wrong


class Runtime(_Counted):
    def __init__(self, logger: ILogger) -> None:
        self.logger = _constructed(logger)
        if _knobs().get("no_gpu"):
            logger.log(Severity.ERROR, "[checkMacros.cpp] CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        super().__init__()

    def deserialize_cuda_engine(self, serialized_engine: Any) -> ICudaEngine | None:
        with memoryview(serialized_engine) as view:
            plan = bytes(view)
        if warning := _knobs().get("warns"):
            self.logger.log(Severity.WARNING, warning)
        if not self._ok("deserialize_cuda_engine", "" if plan.startswith(b"ftrt") else "magicTag"):
            return None
        return ICudaEngine(self, plan[HEADER_BYTES:])


class ICudaEngine(_Counted):
    def __init__(self, runtime: Runtime, model: bytes) -> None:
        import onnxruntime

        super().__init__()
        self._runtime, self.logger = runtime, runtime.logger
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        modes = ((TensorIOMode.OUTPUT, self.session.get_outputs()), (TensorIOMode.INPUT, self.session.get_inputs()))
        named = [(mode, tensor, [side if isinstance(side, int) else -1 for side in tensor.shape]) for mode, tensors in modes for tensor in tensors]
        self.tensors = {tensor.name: (mode, shape, tensor.type) for mode, tensor, shape in named}
        self.profile = _knobs().get("profile", [1, 4, 16])
        self.device_memory_size_v2 = SCRATCH_BYTES

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self.tensors[name][0]

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(self.tensors[name][1])

    def get_tensor_dtype(self, name: str) -> DataType:
        return _DTYPES[self.tensors[name][2]][0]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        assert profile_index == 0
        return [Dims([batch, *self.tensors[name][1][1:]]) for batch in self.profile]

    def create_execution_context(self, strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC) -> IExecutionContext | None:
        assert strategy == ExecutionContextAllocationStrategy.USER_MANAGED
        return IExecutionContext(self) if self._ok("create_execution_context") else None


class IExecutionContext(_Counted):
    def __init__(self, engine: ICudaEngine) -> None:
        super().__init__()
        self._engine, self.logger = engine, engine.logger
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._scratch = (0, 0)
        self._fresh = True
        self.active_optimization_profile = _knobs().get("active_profile", 0)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self.active_optimization_profile = profile_index
        return self._ok("set_optimization_profile_async")

    def set_device_memory(self, memory: int, size: int) -> None:
        self._scratch = (memory, size)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, most = self._engine.profile[0], self._engine.profile[2]
        fits = least <= shape[0] <= most and list(shape[1:]) == self._engine.tensors[name][1][1:]
        if self._ok("set_input_shape", "" if fits else f"shape {shape} does not satisfy any optimization profiles"):
            self._shapes[name], self._fresh = tuple(shape), True
            return True
        return False

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return self._ok(f"set_tensor_address {name}", "" if name in self._engine.tensors and memory else f"no tensor {name}")

    def infer_shapes(self) -> list[str]:
        return [name for name, (mode, *_) in self._engine.tensors.items() if mode == TensorIOMode.INPUT and name not in self._shapes]

    def get_tensor_shape(self, name: str) -> Dims:
        mode, shape, _ = self._engine.tensors[name]
        batch = next(iter(self._shapes.values()), (-1,))[0]
        return Dims(self._shapes[name] if mode == TensorIOMode.INPUT else [batch, *shape[1:]])

    def execute_async_v3(self, stream_handle: int) -> bool:
        capturing = ctypes.c_int()
        _stub().cudaStreamIsCapturing(ctypes.c_void_p(stream_handle), ctypes.byref(capturing))
        if not self._ok("capture" if capturing.value else "execute_async_v3", self._missing() or ("shapes are new" if capturing.value and self._fresh else "")):
            return False
        self._fresh = False
        shapes = {name: tuple(self.get_tensor_shape(name)) for name in self._engine.tensors}
        work = _Work(_computing(self, dict(self._addresses), shapes))
        _KEPT.append(work)
        return _stub().cudaLaunchHostFunc(ctypes.c_void_p(stream_handle), work, None) == 0

    def _missing(self) -> str:
        """What the documentation wants before a run, if it is not so."""
        if self.infer_shapes() or set(self._addresses) != set(self._engine.tensors):
            return "shapes or addresses are not set"
        if self._scratch[1] < SCRATCH_BYTES or not _is_device(*self._scratch):
            return "device memory is not set"
        wrong = [name for name, (_, _, kind) in self._engine.tensors.items() if not _is_device(self._addresses[name], self._bytes(name, kind))]
        return f"an illegal memory access was encountered: {wrong}" if wrong else ""

    def _bytes(self, name: str, kind: str) -> int:
        return prod(self.get_tensor_shape(name)) * np.dtype(_DTYPES[kind][1]).itemsize


def _is_device(address: int, size: int) -> bool:
    return bool(_stub().stub_is_device(ctypes.c_void_p(address), ctypes.c_size_t(size)))


def _computing(context: IExecutionContext, addresses: dict[str, int], shapes: dict[str, tuple[int, ...]]) -> Callable[[Any], None]:
    """What the GPU does when its turn comes: as a graph has it too, with the shapes and addresses of the moment it was given."""
    owner, session, tensors = weakref.ref(context), context._engine.session, context._engine.tensors

    def view(name: str) -> Any:
        dtype = np.dtype(_DTYPES[tensors[name][2]][1])
        flat = (ctypes.c_uint8 * (prod(shapes[name]) * dtype.itemsize)).from_address(addresses[name])
        return np.ctypeslib.as_array(flat).view(dtype).reshape(shapes[name])

    def compute(_: Any) -> None:
        if owner() is None:
            FAULTS.append("a context was freed before a graph of it ran")
            return
        inputs = {name: view(name) for name, (mode, *_) in tensors.items() if mode == TensorIOMode.INPUT}
        for name, row in zip([output.name for output in session.get_outputs()], session.run(None, inputs), strict=True):
            view(name)[:] = row

    return compute
