"""TensorRT behind the engine seam: a plan that was built on this very board, run through CUDA's runtime.

One path serves TensorRT 10.3 to 11. Its calls fail by None and False, with the reason in the logger alone, so each result is looked at here. A batch size that
is new gets an execution context and a CUDA graph of its own, since a graph freezes shapes and addresses; all contexts work in the same scratch memory, one
after the other on one stream. An engine is for one thread at a time.
"""

from __future__ import annotations

import logging
import mmap
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.board.extras import install
from edge.bundle.manifest import Bundle, ModelSpec
from edge.bundle.sidecar import guard, this_board
from edge.engines.contract import check_images
from edge.engines.cuda import Cuda, open_cuda
from edge.errors import EngineError, MissingDependency, one_line

DTYPES = {"uint8": "UINT8", "float32": "FLOAT"}

_LOG = logging.getLogger(__name__)
_TOLD_ERRORS = 2


@dataclass(frozen=True)
class Found:
    """What an engine needs: the module tensorrt, CUDA, and a plan that may run here."""

    trt: Any
    cuda: Cuda
    plan: Path


def load_tensorrt() -> Any:
    """Import TensorRT's bindings.

    Raises:
        MissingDependency: they are not installed, or a library of theirs is missing.
    """
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        cure = f"on a Jetson `sudo apt install nvidia-jetpack` and a venv with --system-site-packages, on a PC {install('tensorrt')}"
        raise MissingDependency(f"wanted TensorRT's Python bindings, cannot import them ({one_line(error)}): {cure}") from error
    return tensorrt


def find_plan(bundle: Bundle, spec: ModelSpec) -> Found:
    """Find a model's engine and what it takes to run it.

    Raises:
        BundleError: there is no engine, or one that was built from another model or for another board.
        EngineError: no GPU.
        MissingDependency: TensorRT or CUDA's runtime is not installed.
    """
    trt, cuda = load_tensorrt(), open_cuda()
    plan, _ = guard(bundle, spec, this_board(trt.__version__, cuda.device.name, cuda.device.compute_capability))
    return Found(trt, cuda, plan)


@cache
def log_of(trt: Any) -> Any:
    """Return the process's one logger for TensorRT, which keeps the first that it is given, also after those who gave it are gone."""
    errors = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: deque[str] = deque(maxlen=_TOLD_ERRORS)

        def log(self, severity: Any, msg: str) -> None:
            if severity in errors:
                self._errors.append(one_line(Exception(msg)))
            elif severity == trt.ILogger.WARNING:
                _LOG.warning("TensorRT: %s", one_line(Exception(msg)))

        def reason(self) -> str:
            """Return the last errors, and forget them."""
            told = "; ".join(self._errors) or "it gives no reason"
            self._errors.clear()
            return told

    return Log()


class TrtEngine:
    """Obeys `edge.engines.contract.Engine`; `max_batch` images run at once, more run one batch after the other."""

    name = "tensorrt"

    def __init__(self, found: Found, spec: ModelSpec) -> None:
        """Load a plan.

        Raises:
            EngineError: TensorRT refuses the plan, its tensors are not what the spec says, or the GPU's memory is full.
        """
        self.spec, self.precision = spec, spec.precision
        self._trt, self._cuda, self._log = found.trt, found.cuda, log_of(found.trt)
        self._engine: Any = None
        self._runs: dict[int, tuple[Any, Callable[[], None]]] = {}
        with ExitStack() as held:
            self._stream = held.enter_context(self._cuda.stream())
            held.callback(self._forget_engine)
            self._runtime, self._engine = self._deserialized(found.plan)
            self.max_batch = self._check_tensors(found.plan)
            self._scratch_size = max(int(self._engine.device_memory_size_v2), 1)
            self._scratch = held.enter_context(self._cuda.memory(self._scratch_size))
            self._input_size, self._output_size = prod(spec.input.shape[1:]), prod(spec.output.shape[1:]) * np.dtype(np.float32).itemsize
            self._input = held.enter_context(self._cuda.buffer(self.max_batch * self._input_size, self._stream))
            self._output = held.enter_context(self._cuda.buffer(self.max_batch * self._output_size, self._stream))
            self._images = self._input.host.reshape(self.max_batch, *spec.input.shape[1:])
            self._rows = self._output.host.view(np.float32).reshape(self.max_batch, *spec.output.shape[1:])
            held.callback(self._runs.clear)
            self._held = held.pop_all()

    def _deserialized(self, plan: Path) -> tuple[Any, Any]:
        try:
            runtime = self._trt.Runtime(self._log)
        except TypeError as error:  # what the bindings raise where the factory finds no GPU
            raise EngineError(f"wanted a GPU for TensorRT {self._trt.__version__}, it can use none: {self._log.reason()}") from error
        with plan.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:  # no second copy on the heap
            engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise EngineError(f"wanted TensorRT {self._trt.__version__} to load {plan}, it refused: {self._log.reason()}: {self._cure()}")
        return runtime, engine

    def _check_tensors(self, plan: Path) -> int:
        """Compare the plan's tensors with the spec's and return the largest batch."""
        engine, modes, found = self._engine, self._trt.TensorIOMode, []
        for place in range(engine.num_io_tensors):
            name = engine.get_tensor_name(place)
            mode = "input" if engine.get_tensor_mode(name) == modes.INPUT else "output"
            found.append((mode, name, engine.get_tensor_dtype(name).name, tuple(engine.get_tensor_shape(name))))
        wanted = [(mode, tensor.name, DTYPES[tensor.dtype], tensor.shape) for mode, tensor in (("input", self.spec.input), ("output", self.spec.output))]
        if sorted(found) != wanted:
            raise EngineError(f"wanted the tensors {wanted} in {plan}, found {sorted(found)}: {self._cure()}")
        least, _, most = engine.get_tensor_profile_shape(self.spec.input.name, 0)
        if least[0] > 1:
            raise EngineError(f"wanted a plan for any batch from 1 up, {plan} takes {least[0]} to {most[0]}: {self._cure()}")
        return int(most[0])

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the model on (n, height, width, 3) uint8 BGR; returns float32 (n, ...)."""
        if self._engine is None:
            raise EngineError(f"wanted an open engine, {self.spec.file} was closed before")
        check_images(images, self.spec)
        rows = np.empty((len(images), *self.spec.output.shape[1:]), np.float32)
        for at in range(0, len(images), self.max_batch):
            batch = images[at : at + self.max_batch]
            self._images[: len(batch)] = batch
            self._run(len(batch))
            rows[at : at + len(batch)] = self._rows[: len(batch)]
        return rows

    def _run(self, n: int) -> None:
        if n not in self._runs:
            self._runs[n] = self._prepared(n)
        _, launch = self._runs[n]
        launch()
        self._cuda.call("cudaStreamSynchronize", self._stream)

    def _prepared(self, n: int) -> tuple[Any, Callable[[], None]]:
        """Return a context for a batch of n, which must outlive what stands beside it: the call that runs it."""
        context = self._context(n)
        enqueue = partial(self._enqueue, context, n)
        enqueue()  # after a change of shape TensorRT does work that no graph may hold
        self._cuda.call("cudaStreamSynchronize", self._stream)
        try:
            return context, self._held.enter_context(self._cuda.graph(self._stream, enqueue))
        except EngineError as error:
            _LOG.warning("%s runs batches of %d without a CUDA graph, a little slower: %s", self.spec.file, n, error)
            return context, enqueue

    def _context(self, n: int) -> Any:
        context = self._engine.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        self._check(context is not None, "make an execution context")
        # The first context has the profile at once, and by TensorRT's documentation the others have too.
        chosen = context.active_optimization_profile == 0 or context.set_optimization_profile_async(0, self._stream)
        self._check(chosen, "choose its only profile")
        context.set_device_memory(self._scratch, self._scratch_size)
        given, made = self.spec.input, self.spec.output
        self._check(context.set_input_shape(given.name, (n, *given.shape[1:])), f"take {n} images")
        self._check(context.set_tensor_address(given.name, self._input.device), f"read {given.name}")
        self._check(context.set_tensor_address(made.name, self._output.device), f"write {made.name}")
        missing, shape = context.infer_shapes(), tuple(context.get_tensor_shape(made.name))
        self._check(not missing and shape == (n, *made.shape[1:]), f"make {made.name} of {n} images (it lacks {missing} and gives {shape})")
        return context

    def _enqueue(self, context: Any, n: int) -> None:
        self._input.upload(n * self._input_size)
        self._check(context.execute_async_v3(self._stream), f"run {n} images")
        self._output.download(n * self._output_size)

    def _check(self, done: bool, what: str) -> None:
        if not done:
            raise EngineError(f"wanted TensorRT to {what} of {self.spec.file}, it failed: {self._log.reason()}: {self._cure()}")

    def _cure(self) -> str:
        return f"build the engine again with `python -m export engine BUNDLE --precision {self.precision}`"

    def _forget_engine(self) -> None:
        self._engine = self._runtime = None

    def close(self) -> None:
        """Free graphs, contexts, memory, the engine and the stream, in this order."""
        self._held.close()

    def __enter__(self) -> TrtEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._held.__exit__(kind, error, trace)
