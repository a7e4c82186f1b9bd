"""CUDA through ctypes, on a stub of its runtime in three releases and, where there is one, on a GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
from gpu_stand_ins import BOARDS, RELEASES, Stub, stub_of

from edge.engines.cuda import Cuda, Device, open_cuda
from edge.errors import EngineError, MissingDependency, SignwingError

STUBS = [(release, memory) for release in RELEASES for memory in BOARDS]
OUT_OF_MEMORY, ILLEGAL_ADDRESS = 2, 700


@pytest.fixture(params=STUBS, ids=lambda param: f"{param[0]}-{param[1]}")
def stub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    stub = Stub(*request.param, monkeypatch)
    before = stub.live
    yield stub
    assert stub.live == before
    assert stub.library.stub_last_error() == 0


@pytest.fixture(params=[*STUBS, "real_gpu"], ids=lambda param: param if isinstance(param, str) else f"{param[0]}-{param[1]}")
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cuda:
    if request.param != "real_gpu":
        return Stub(*request.param, monkeypatch).cuda()
    try:
        return open_cuda()
    except SignwingError as error:
        pytest.skip(f"needs an NVIDIA GPU: {error}")


def test_a_gpu_is_what_its_driver_says(stub: Stub) -> None:
    cuda = stub.cuda()
    assert cuda.device == Device("Orin", "8.7", integrated=stub.memory == "integrated", maps_host_memory=True)
    assert cuda.version // 1000 in RELEASES
    assert cuda.free_mib() == 3072


@pytest.mark.parametrize("size", [1, 6912, 1 << 20])
def test_bytes_come_back_from_the_gpu(cuda: Cuda, size: int) -> None:
    sent = np.random.default_rng(size).integers(0, 256, size).astype(np.uint8)
    with cuda.stream() as stream, cuda.buffer(size, stream) as buffer:
        assert buffer.host.shape == (size,)
        buffer.host[:] = sent
        buffer.upload(size)
        cuda.call("cudaStreamSynchronize", stream)
        if not cuda.device.shares_memory:
            buffer.host[:] = 0
        buffer.download(size)
        cuda.call("cudaStreamSynchronize", stream)
        np.testing.assert_array_equal(buffer.host, sent)


def test_a_graph_does_again_what_was_recorded_and_nothing_as_it_is_recorded(cuda: Cuda) -> None:
    with ExitStack() as held:
        stream = held.enter_context(cuda.stream())
        buffer, device = held.enter_context(cuda.buffer(64, stream)), held.enter_context(cuda.memory(64))
        host = buffer.host.ctypes.data

        def round_trip() -> None:
            cuda.call("cudaMemcpyAsync", device, host, 32, 1, stream)
            cuda.call("cudaMemcpyAsync", host + 32, device, 32, 2, stream)

        buffer.host[:] = 1
        launch = held.enter_context(cuda.graph(stream, round_trip))
        for value in (7, 9):
            buffer.host[:32] = value
            cuda.call("cudaStreamSynchronize", stream)
            assert buffer.host[32] != value
            launch()
            cuda.call("cudaStreamSynchronize", stream)
            assert (buffer.host[32:] == value).all()


def test_memory_that_is_shared_is_one_piece_and_nothing_is_copied(stub: Stub) -> None:
    cuda = stub.cuda()
    with cuda.stream() as stream, cuda.buffer(8, stream) as buffer:
        assert stub.library.stub_is_device(ctypes.c_void_p(buffer.device), ctypes.c_size_t(8))
        buffer.host[:] = 5
        buffer.upload(8)
        assert (ctypes.string_at(buffer.device, 8) == b"\5" * 8) == cuda.device.integrated  # a copy waits for its turn
        cuda.call("cudaStreamSynchronize", stream)
        assert ctypes.string_at(buffer.device, 8) == b"\5" * 8
    assert ("cudaMemcpyAsync" in stub.calls) != cuda.device.integrated


def test_an_integrated_gpu_that_maps_nothing_gets_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub(12, "integrated", monkeypatch)
    monkeypatch.setenv("STUB_MAPS", "0")
    cuda = stub.cuda()
    with cuda.stream() as stream, cuda.buffer(8, stream):
        pass
    assert "cudaMalloc" in stub.calls


def use_everything(cuda: Cuda) -> None:
    with ExitStack() as held:
        stream = held.enter_context(cuda.stream())
        held.enter_context(cuda.memory(16))
        buffer = held.enter_context(cuda.buffer(16, stream))
        buffer.upload(16)
        cuda.call("cudaStreamSynchronize", stream)
        held.enter_context(cuda.graph(stream, lambda: buffer.upload(16)))()
        cuda.call("cudaStreamSynchronize", stream)


def test_all_is_freed_in_reverse_order(stub: Stub) -> None:
    use_everything(stub.cuda())
    made = [call for call in stub.calls if call in ("cudaStreamCreateWithFlags", "cudaMalloc", "cudaHostAlloc", "cudaStreamEndCapture", "cudaGraphInstantiate")]
    freed = [call for call in stub.calls if call.endswith("Destroy") or call.startswith("cudaFree")]
    free_of = {
        "cudaStreamCreateWithFlags": "cudaStreamDestroy",
        "cudaMalloc": "cudaFree",
        "cudaHostAlloc": "cudaFreeHost",
        "cudaStreamEndCapture": "cudaGraphDestroy",
        "cudaGraphInstantiate": "cudaGraphExecDestroy",
    }
    assert freed == [free_of[call] for call in reversed(made)]


@pytest.mark.parametrize(
    "call",
    [
        "cudaGetDeviceCount",
        "cudaRuntimeGetVersion",
        "cudaSetDevice",
        "cudaDeviceGetAttribute",
        "cudaStreamCreateWithFlags",
        "cudaMalloc",
        "cudaHostAlloc",
        "cudaHostGetDevicePointer",
        "cudaMemcpyAsync",
        "cudaStreamSynchronize",
        "cudaStreamBeginCapture",
        "cudaStreamEndCapture",
        "cudaGraphInstantiate",
        "cudaGraphLaunch",
    ],
)
@pytest.mark.parametrize("release", RELEASES)
def test_a_call_that_fails_is_told_by_name_and_leaks_nothing(monkeypatch: pytest.MonkeyPatch, release: int, call: str) -> None:
    stub = Stub(release, "integrated" if call == "cudaHostGetDevicePointer" else "discrete", monkeypatch)
    before = stub.live
    stub.fail(call, OUT_OF_MEMORY)
    with pytest.raises(EngineError, match=rf"^wanted CUDA to do {call}, it gave cudaErrorMemoryAllocation \(out of memory\): close other programs$"):
        use_everything(stub.cuda())
    assert (stub.live, stub.library.stub_last_error()) == (before, 0)
    use_everything(stub.cuda())


@pytest.mark.parametrize("call", ["cuInit", "cuDeviceGet", "cuDeviceGetName"])
def test_a_driver_that_fails_is_told(stub: Stub, call: str) -> None:
    stub.fail(call, ILLEGAL_ADDRESS)
    with pytest.raises(EngineError, match="driver gave status 700"):
        stub.cuda()
    stub.library.cudaGetLastError()


def test_what_went_wrong_first_is_told_when_freeing_fails_too(stub: Stub) -> None:
    cuda = stub.cuda()
    stub.fail("cudaFree", ILLEGAL_ADDRESS)
    with pytest.raises(EngineError, match="cudaErrorInvalidValue"), cuda.memory(8) as address:
        cuda.call("cudaSetDevice", 1)
    assert "cudaFree" in stub.calls
    cuda.call("cudaFree", address)


def test_freeing_that_fails_is_told(stub: Stub) -> None:
    cuda = stub.cuda()
    stub.fail("cudaFree", ILLEGAL_ADDRESS)
    with pytest.raises(EngineError, match="cudaFree, it gave cudaErrorIllegalAddress"), cuda.memory(8) as address:
        pass
    cuda.call("cudaFree", address)


def test_a_stream_serves_on_after_what_no_graph_can_hold(stub: Stub) -> None:
    cuda = stub.cuda()

    def refuse() -> None:
        raise EngineError("TensorRT said no")

    with cuda.stream() as stream, cuda.buffer(8, stream) as buffer:
        with pytest.raises(EngineError, match="cudaErrorStreamCaptureUnsupported"), cuda.graph(stream, lambda: cuda.call("cudaStreamSynchronize", stream)):
            pass
        with pytest.raises(EngineError, match="TensorRT said no"), cuda.graph(stream, refuse):
            pass
        with cuda.graph(stream, lambda: buffer.upload(8)) as launch:
            launch()
            cuda.call("cudaStreamSynchronize", stream)


def test_a_machine_without_cuda_hears_how_to_get_it() -> None:
    with pytest.raises(MissingDependency, match=r"libcudart\.so\.13.*nvidia-jetpack"):
        open_cuda(["libcudart.so.0", "/nowhere/libcudart.so.12"])


def test_an_older_runtime_serves_where_the_driver_is_too_old_for_the_newest(stub: Stub) -> None:
    insufficient, other = 35, str(stub_of(11 if stub.path != stub_of(11) else 12))
    stub.fail("cudaGetDeviceCount", insufficient)
    assert open_cuda([str(stub.path), other], other).version // 1000 == int(other[-2:])
    stub.forget()
    stub.fail("cudaGetDeviceCount", insufficient)
    with pytest.raises(EngineError, match=r"cudaErrorInsufficientDriver .*a driver"):
        open_cuda([str(stub.path)], other)


def test_a_machine_whose_gpu_is_hidden_hears_so(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_DEVICES", "0")
    with pytest.raises(EngineError, match="CUDA_VISIBLE_DEVICES"):
        stub.cuda()


def test_a_library_that_is_no_runtime_is_refused() -> None:
    with pytest.raises(EngineError, match=r"wanted cudaDeviceGetAttribute in libm\.so\.6"):
        open_cuda(["libm.so.6"])


def test_a_runtime_without_a_driver_is_refused(stub: Stub) -> None:
    with pytest.raises(EngineError, match=r"driver library libcuda\.so\.0, cannot load it"):
        open_cuda([str(stub.path)], "libcuda.so.0")
