"""CUDA's runtime library through ctypes: streams, memory that the CPU and the GPU both see, graphs. Nothing is to install beside the driver and libcudart.

Every status is checked and told by name. What CUDA hands out belongs to a context manager and is freed as that ends: an ExitStack frees in reverse order.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint8, c_ulonglong, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import EngineError, MissingDependency

SONAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")
DRIVER = "libcuda.so.1"
TOOLKIT = Path("/usr/local/cuda/lib64")

_FUNCTIONS: dict[str, list[Any]] = {
    "cudaDeviceGetAttribute": [POINTER(c_int), c_int, c_int],
    "cudaFree": [c_void_p],
    "cudaFreeHost": [c_void_p],
    "cudaGetDeviceCount": [POINTER(c_int)],
    "cudaGetErrorName": [c_int],
    "cudaGetErrorString": [c_int],
    "cudaGetLastError": [],
    "cudaGraphDestroy": [c_void_p],
    "cudaGraphExecDestroy": [c_void_p],
    "cudaGraphLaunch": [c_void_p, c_void_p],
    "cudaHostAlloc": [POINTER(c_void_p), c_size_t, c_uint],
    "cudaHostGetDevicePointer": [POINTER(c_void_p), c_void_p, c_uint],
    "cudaMalloc": [POINTER(c_void_p), c_size_t],
    "cudaMemGetInfo": [POINTER(c_size_t), POINTER(c_size_t)],
    "cudaMemcpyAsync": [c_void_p, c_void_p, c_size_t, c_int, c_void_p],
    "cudaRuntimeGetVersion": [POINTER(c_int)],
    "cudaSetDevice": [c_int],
    "cudaStreamBeginCapture": [c_void_p, c_int],
    "cudaStreamCreateWithFlags": [POINTER(c_void_p), c_uint],
    "cudaStreamDestroy": [c_void_p],
    "cudaStreamEndCapture": [c_void_p, POINTER(c_void_p)],
    "cudaStreamSynchronize": [c_void_p],
}
# The arguments behind the graph, which CUDA 12 changed: before it a node, a text and its size to tell an error with, since then flags.
_INSTANTIATE_11 = [POINTER(c_void_p), c_void_p, c_void_p, c_char_p, c_size_t]
_INSTANTIATE_12 = [POINTER(c_void_p), c_void_p, c_ulonglong]

_INTEGRATED, _MAPS_HOST_MEMORY, _CAPABILITY_MAJOR, _CAPABILITY_MINOR = 18, 19, 75, 76
_PLAIN, _MAPPED = 0, 2
_TO_DEVICE, _TO_HOST = 1, 2
_NON_BLOCKING = 1
_THIS_THREAD = 1
_NAME_BYTES = 256
_FIRST = 0

_CURES = {
    "cudaErrorMemoryAllocation": "close other programs",
    "cudaErrorNoDevice": "this needs an NVIDIA GPU",
    "cudaErrorInsufficientDriver": "this needs an NVIDIA GPU and a driver that is as new as its CUDA",
}
_USUAL_CURE = "scripts/gpu_check tells what works here"


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        name: as its driver calls it.
        compute_capability: such as "8.7".
        integrated: whether it has no memory of its own, as on a Jetson.
        maps_host_memory: whether it can work on pinned memory of the CPU's.
    """

    name: str
    compute_capability: str
    integrated: bool
    maps_host_memory: bool

    @property
    def shares_memory(self) -> bool:
        """Whether the CPU's pinned memory is the GPU's own: nothing is to copy."""
        return self.integrated and self.maps_host_memory


@dataclass(frozen=True)
class Buffer:
    """Memory for the CPU and the GPU.

    Attributes:
        host: the CPU's bytes; not to be touched while the stream works, nor after the buffer is freed.
        device: the GPU's address of the same bytes, or of its own copy.
        upload: called with a number of bytes, makes the stream bring them to the GPU; does nothing if the memory is one.
        download: the same, from the GPU.
    """

    host: NDArray[np.uint8]
    device: int
    upload: Callable[[int], None]
    download: Callable[[int], None]


class Cuda:
    """A loaded runtime and the first GPU that it sees.

    Attributes:
        version: of the runtime, such as 12060 for 12.6.
        device: the GPU.
    """

    def __init__(self, runtime: ctypes.CDLL, driver: str = DRIVER) -> None:
        """Look at the runtime and the GPU; `driver` is the library that knows the GPU's name.

        Raises:
            EngineError: no GPU, a driver that is older than the runtime, or a library without a function that is needed.
        """
        self._runtime = runtime
        for name, types in _FUNCTIONS.items():
            self._declare(name, types)
        for name in ("cudaGetErrorName", "cudaGetErrorString"):
            getattr(runtime, name).restype = c_char_p
        if self._number("cudaGetDeviceCount") == 0:
            raise EngineError("wanted an NVIDIA GPU, CUDA sees none: look at CUDA_VISIBLE_DEVICES")
        self.version = self._number("cudaRuntimeGetVersion")
        self._declare("cudaGraphInstantiate", _INSTANTIATE_11 if self.version < 12000 else _INSTANTIATE_12)
        self.call("cudaSetDevice", _FIRST)
        major, minor, integrated, maps = (
            self._number("cudaDeviceGetAttribute", attribute, _FIRST) for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR, _INTEGRATED, _MAPS_HOST_MEMORY)
        )
        self.device = Device(_device_name(driver), f"{major}.{minor}", bool(integrated), bool(maps))

    def _declare(self, name: str, types: list[Any]) -> None:
        try:
            getattr(self._runtime, name).argtypes = types
        except AttributeError as error:
            raise EngineError(f"wanted {name} in {self._runtime._name}, it has no such function: install CUDA 11 to 13") from error

    def call(self, name: str, *arguments: object) -> None:
        """Call a function of the runtime.

        Raises:
            EngineError: its status is not success.
        """
        status = getattr(self._runtime, name)(*arguments)
        if status:
            error = self._runtime.cudaGetErrorName(status).decode()
            text = self._runtime.cudaGetErrorString(status).decode()
            self._runtime.cudaGetLastError()  # forgets it, or the next library to look would take it for its own
            raise EngineError(f"wanted CUDA to do {name}, it gave {error} ({text}): {_CURES.get(error, _USUAL_CURE)}")

    def _number(self, name: str, *arguments: object) -> int:
        number = c_int()
        self.call(name, byref(number), *arguments)
        return number.value

    def free_mib(self) -> float:
        """Return the memory that the GPU has left, in MiB; on a Jetson that is the system's."""
        free, total = c_size_t(), c_size_t()
        self.call("cudaMemGetInfo", byref(free), byref(total))
        return free.value / (1 << 20)

    @contextmanager
    def stream(self) -> Iterator[int]:
        """A stream of its own; yields its handle."""
        with self._made("cudaStreamCreateWithFlags", _NON_BLOCKING, free="cudaStreamDestroy") as handle:
            yield handle

    @contextmanager
    def memory(self, size: int) -> Iterator[int]:
        """Memory of the GPU, in bytes; yields its address."""
        with self._made("cudaMalloc", size, free="cudaFree") as address:
            yield address

    @contextmanager
    def buffer(self, size: int, stream: int) -> Iterator[Buffer]:
        """Memory of so many bytes for both sides: one piece where they share it, else two, with copies on the stream."""
        with ExitStack() as held:
            shared = self.device.shares_memory
            host = held.enter_context(self._made("cudaHostAlloc", size, _MAPPED if shared else _PLAIN, free="cudaFreeHost"))
            view = np.ctypeslib.as_array((c_uint8 * size).from_address(host))
            if shared:
                mapped = c_void_p()
                self.call("cudaHostGetDevicePointer", byref(mapped), host, 0)
                yield Buffer(view, mapped.value or 0, lambda count: None, lambda count: None)
                return
            device = held.enter_context(self.memory(size))

            def upload(count: int) -> None:
                self.call("cudaMemcpyAsync", device, host, count, _TO_DEVICE, stream)

            def download(count: int) -> None:
                self.call("cudaMemcpyAsync", host, device, count, _TO_HOST, stream)

            yield Buffer(view, device, upload, download)

    @contextmanager
    def graph(self, stream: int, work: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """Record what `work` gives the stream to do, without doing it; yields what does it all in one call.

        Raises:
            EngineError: `work` failed, or did what no graph can hold; the stream is as it was before.
        """
        with self._freeing("cudaGraphDestroy", self._captured(stream, work)) as graph:
            last = (None, None, 0) if self.version < 12000 else (0,)
            with self._made("cudaGraphInstantiate", graph, *last, free="cudaGraphExecDestroy") as executable:
                yield lambda: self.call("cudaGraphLaunch", executable, stream)

    def _captured(self, stream: int, work: Callable[[], None]) -> int:
        graph = c_void_p()
        self.call("cudaStreamBeginCapture", stream, _THIS_THREAD)
        try:
            work()
        except BaseException:
            with suppress(EngineError):  # a capture is to be ended also where it has failed, and may say so again
                self.call("cudaStreamEndCapture", stream, byref(graph))
                self.call("cudaGraphDestroy", graph)
            raise
        self.call("cudaStreamEndCapture", stream, byref(graph))
        return graph.value or 0

    @contextmanager
    def _made(self, make: str, *arguments: object, free: str) -> Iterator[int]:
        handle = c_void_p()
        self.call(make, byref(handle), *arguments)
        with self._freeing(free, handle.value or 0) as made:
            yield made

    @contextmanager
    def _freeing(self, free: str, handle: int) -> Iterator[int]:
        try:
            yield handle
        except BaseException:
            with suppress(EngineError):  # what went wrong first is what is to be told
                self.call(free, handle)
            raise
        self.call(free, handle)


def open_cuda(libraries: Iterable[str] | None = None, driver: str = DRIVER) -> Cuda:
    """Load the newest runtime that works with this machine's driver.

    Args:
        libraries: names or paths to try, in this order; None for all places where a runtime lies.
        driver: name or path of the driver's library.

    Raises:
        MissingDependency: there is no runtime.
        EngineError: there is one, and no GPU that it can use.
    """
    refusal: EngineError | None = None
    for library in libraries or _places():
        try:
            runtime = ctypes.CDLL(library)
        except OSError:  # not here
            continue
        try:
            return Cuda(runtime, driver)
        except EngineError as error:  # a runtime may be newer than the driver, where an older one beside it is not
            refusal = refusal or error
    if refusal:
        raise refusal
    raise MissingDependency(f"wanted CUDA's runtime, found none of {', '.join(SONAMES)}: on a Jetson `sudo apt install nvidia-jetpack`, elsewhere install CUDA")


def _places() -> Iterator[str]:
    """What the linker finds, then the toolkit's folder and those of NVIDIA's wheels."""
    yield from SONAMES
    wheels = importlib.util.find_spec("nvidia")
    folders = [TOOLKIT, *(folder for root in (wheels and wheels.submodule_search_locations) or () for folder in sorted(Path(root).glob("*/lib")))]
    for soname in SONAMES:
        yield from (str(folder / soname) for folder in folders if (folder / soname).is_file())


def _device_name(driver: str) -> str:
    """The runtime tells a name only within a structure that changes from release to release; the driver tells it alone."""
    try:
        library = ctypes.CDLL(driver)
    except OSError as error:
        raise EngineError(f"wanted NVIDIA's driver library {driver}, cannot load it ({error}): install the driver") from error
    device, name = c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    status = library.cuInit(0) or library.cuDeviceGet(byref(device), _FIRST) or library.cuDeviceGetName(name, _NAME_BYTES, device)
    if status:
        raise EngineError(f"wanted the GPU's name, NVIDIA's driver gave status {status}: {_USUAL_CURE}")
    return name.value.decode(errors="replace")
