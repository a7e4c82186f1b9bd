"""The TensorRT engine on stand-ins of TensorRT and CUDA that fail as the real ones are documented to, and through the commands that users type."""

from __future__ import annotations

import gc
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorrt_stand_in as stand_in
from gpu_stand_ins import BOARDS, Stub, edge_with_stand_ins, install_engine
from spoiled_models import renamed_output, replace_model, smaller_input

from edge.bundle.manifest import ModelSpec, read_bundle
from edge.engines.open import choose_engine, open_engine
from edge.engines.trt import Found, TrtEngine
from edge.errors import BundleError, EngineError, MissingDependency

pytest.importorskip("onnxruntime")
OUT_OF_MEMORY = 2


@pytest.fixture(params=BOARDS)
def stub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    gc.collect()
    stub = Stub(12, request.param, monkeypatch)
    before = stub.live
    yield stub
    assert stub.live == before
    assert stand_in.FAULTS == []


@pytest.fixture
def plan(tiny_bundle: Path) -> Path:
    return install_engine(tiny_bundle)


@pytest.fixture
def knobs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets how the stand-in goes wrong."""
    return lambda **knobs: monkeypatch.setenv(stand_in.KNOBS, json.dumps(knobs))


@pytest.fixture
def crops(draw_crops: Callable[..., Any], tiny_spec: ModelSpec) -> np.ndarray:
    return draw_crops(40, tiny_spec.input.shape[1])[0]


def opened(stub: Stub, plan: Path) -> TrtEngine:
    bundle = read_bundle(plan.parent.parent)
    return TrtEngine(Found(stand_in, stub.cuda(), plan), bundle.model("classifier", "fp16"))


def expected(plan: Path, crops: np.ndarray) -> np.ndarray:
    with open_engine(read_bundle(plan.parent.parent), "classifier", engine="onnxruntime", precision="fp16") as engine:
        return engine.infer(crops)


@pytest.mark.parametrize("n", [1, 3, 16, 17, 40])
def test_every_batch_gets_what_onnxruntime_computes(stub: Stub, plan: Path, crops: np.ndarray, n: int) -> None:
    with opened(stub, plan) as engine:
        assert (engine.name, engine.precision, engine.max_batch) == ("tensorrt", "fp16", 16)
        for images in (crops[:n], crops[40 - n :]):
            np.testing.assert_allclose(engine.infer(images), expected(plan, images), atol=1e-5)
    assert ("cudaMemcpyAsync" in stub.calls) == (stub.memory == "discrete")


def test_each_batch_size_gets_one_context_and_one_graph(stub: Stub, plan: Path, crops: np.ndarray) -> None:
    with opened(stub, plan) as engine:
        for n in (1, 2, 1, 1, 2, 18):  # 18 is 16 and 2
            engine.infer(crops[:n])
    counts = Counter(stub.calls)
    assert counts["cudaGraphInstantiate"] == counts["~IExecutionContext"] == 3
    assert counts["cudaGraphLaunch"] == 7


def test_all_is_freed_once_in_reverse_order(stub: Stub, plan: Path, crops: np.ndarray) -> None:
    engine = opened(stub, plan)
    engine.infer(crops[:1])
    engine.infer(crops[:2])
    stub.forget()
    engine.close()
    engine.close()
    graph, buffer = ["cudaGraphExecDestroy", "cudaGraphDestroy"], ["cudaFree", "cudaFreeHost"] if stub.memory == "discrete" else ["cudaFreeHost"]
    contexts = ["~IExecutionContext"] * 2
    assert stub.calls == [*graph, *graph, *contexts, *buffer, *buffer, "cudaFree", "~ICudaEngine", "~Runtime", "cudaStreamDestroy"]


def test_a_plan_that_tensorrt_refuses_is_told_with_its_reason(stub: Stub, plan: Path, knobs: Callable[..., None]) -> None:
    knobs(fails="deserialize_cuda_engine")
    refused_in_one_line(lambda: opened(stub, plan), "load .*fp16.plan, it refused: Runtime::deserialize_cuda_engine: Error Code 3: .*export engine")


def test_no_gpu_for_tensorrt_is_told_with_its_reason(stub: Stub, plan: Path, knobs: Callable[..., None]) -> None:
    knobs(no_gpu=True)
    refused_in_one_line(lambda: opened(stub, plan), "a GPU for TensorRT 10.3.0, it can use none: .*CUDA initialization failure with error: 35")


def test_nvidias_own_runtime_refuses_a_foreign_plan_with_its_reason(stub: Stub, plan: Path, tiny_bundle: Path) -> None:
    rtx = pytest.importorskip("tensorrt_rtx", reason="needs NVIDIA's tensorrt-rtx from the dev group")
    found = Found(rtx, stub.cuda(), plan)
    refused_in_one_line(lambda: TrtEngine(found, read_bundle(tiny_bundle).model("classifier", "fp16")), "it refused: .*deserializeCudaEngine: .*magicTag")


@pytest.mark.parametrize(
    "fails",
    [
        "create_execution_context",
        "set_optimization_profile_async",
        "set_input_shape",
        "set_tensor_address images",
        "set_tensor_address probabilities",
        "execute_async_v3",
    ],
)
def test_what_tensorrt_refuses_later_is_told_and_the_engine_serves_on(
    stub: Stub, plan: Path, knobs: Callable[..., None], crops: np.ndarray, fails: str
) -> None:
    with opened(stub, plan) as engine:
        knobs(fails=fails, active_profile=-1)
        refused_in_one_line(lambda: engine.infer(crops[:2]), rf"classifier\.fp16\.onnx, it failed: \w+::{fails}: Error Code 3: .*as the test wants")
        knobs(active_profile=-1)
        np.testing.assert_allclose(engine.infer(crops[:2]), expected(plan, crops[:2]), atol=1e-5)


@pytest.mark.parametrize("call", ["cudaStreamCreateWithFlags", "cudaMalloc", "cudaHostAlloc"])
def test_memory_that_cuda_refuses_is_told(stub: Stub, plan: Path, call: str) -> None:
    stub.fail(call, OUT_OF_MEMORY)
    refused_in_one_line(lambda: opened(stub, plan), f"{call}, it gave cudaErrorMemoryAllocation")
    stub.fail(call, OUT_OF_MEMORY, after=1)
    if call == "cudaHostAlloc":
        refused_in_one_line(lambda: opened(stub, plan), f"{call}, it gave cudaErrorMemoryAllocation")


@pytest.mark.parametrize("call", ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate", "capture"])
def test_without_a_graph_it_runs_all_the_same_and_says_so(
    stub: Stub, plan: Path, knobs: Callable[..., None], crops: np.ndarray, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    with opened(stub, plan) as engine:
        stub.fail(call)
        knobs(fails=call)
        rows = engine.infer(crops[:2])
        np.testing.assert_allclose(rows, expected(plan, crops[:2]), atol=1e-5)
        np.testing.assert_allclose(engine.infer(crops[2:4]), expected(plan, crops[2:4]), atol=1e-5)
        assert "cudaGraphLaunch" not in stub.calls
        engine.infer(crops[:1])
    told = [record.message for record in caplog.records if "classifier.fp16.onnx runs batches of 2 without a CUDA graph" in record.message]
    assert len(told) == 1
    assert call in told[0]


def test_a_run_that_fails_later_is_told(stub: Stub, plan: Path, crops: np.ndarray) -> None:
    with opened(stub, plan) as engine:
        engine.infer(crops[:1])
        stub.fail("cudaGraphLaunch", 700)
        refused_in_one_line(lambda: engine.infer(crops[:1]), "cudaGraphLaunch, it gave cudaErrorIllegalAddress")


@pytest.mark.parametrize("change", [renamed_output, smaller_input], ids=lambda change: change.__name__)
def test_a_plan_of_other_tensors_is_refused(stub: Stub, tiny_bundle: Path, change: Callable[[Any, Any], None]) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(tiny_bundle / "classifier.fp16.onnx")
    change(onnx, model.graph)
    replace_model(tiny_bundle, model.SerializeToString())
    refused_in_one_line(lambda: opened(stub, install_engine(tiny_bundle)), "wanted the tensors .*'probabilities', 'FLOAT', .* found .*export engine")


def test_a_plan_that_takes_no_single_image_is_refused(stub: Stub, plan: Path, knobs: Callable[..., None]) -> None:
    knobs(profile=[2, 4, 8])
    refused_in_one_line(lambda: opened(stub, plan), "any batch from 1 up, .* takes 2 to 8: build")


def test_a_plan_of_one_image_runs_many_one_by_one(stub: Stub, plan: Path, knobs: Callable[..., None], crops: np.ndarray) -> None:
    knobs(profile=[1, 1, 1])
    with opened(stub, plan) as engine:
        np.testing.assert_allclose(engine.infer(crops[:3]), expected(plan, crops[:3]), atol=1e-5)
    assert Counter(stub.calls)["cudaGraphInstantiate"] == 1


def test_what_tensorrt_warns_of_is_told(stub: Stub, plan: Path, knobs: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    knobs(warns="Using an engine plan file across different models of devices is not recommended")
    with opened(stub, plan), caplog.at_level(logging.WARNING):
        assert any("TensorRT: Using an engine plan file" in record.message for record in caplog.records)


def refused_in_one_line(act: Callable[[], object], pattern: str) -> None:
    with pytest.raises(EngineError, match=pattern) as refused:
        act()
    assert "\n" not in str(refused.value)


def test_check_and_run_take_an_engine_that_was_built_here(tmp_path: Path, tiny_bundle: Path) -> None:
    install_engine(tiny_bundle)
    done = edge_with_stand_ins(tmp_path, "check", tiny_bundle)
    assert done.returncode == 0, done.stderr
    (row,) = [line.split() for line in done.stdout.splitlines() if line.endswith("ok")]
    assert row[:3] == ["classifier", "tensorrt", "fp16"]
    assert row[7] == "0.0"  # the stub's memory never changes, and is asked for


def test_an_engine_of_another_board_is_left_alone_on_a_pc_and_told_of(tmp_path: Path, tiny_bundle: Path) -> None:
    install_engine(tiny_bundle, gpu="NVIDIA A40")
    done = edge_with_stand_ins(tmp_path, "check", tiny_bundle, "--precision", "fp16")
    assert done.returncode == 0, done.stderr
    assert "onnxruntime  fp16" in done.stdout
    assert "built for GPU Orin 8.7, found one built for NVIDIA A40 8.7" in done.stderr
    assert done.stderr.endswith("; this runs on onnxruntime instead\n")


def test_an_engine_that_is_asked_for_and_not_there_is_never_replaced(tmp_path: Path, tiny_bundle: Path) -> None:
    done = edge_with_stand_ins(tmp_path, "check", tiny_bundle, "--engine", "tensorrt")
    assert done.returncode == 1
    assert f"build it with `python -m export engine {tiny_bundle} --precision fp16`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_tensorrt_that_is_asked_for_and_not_installed_is_told(tiny_bundle: Path) -> None:
    with pytest.raises(MissingDependency, match=r"TensorRT's Python bindings, .*nvidia-jetpack.*on a PC .*-m pip install .*tensorrt"):
        open_engine(read_bundle(tiny_bundle), "classifier", engine="tensorrt")


@pytest.fixture
def jetson(tmp_path: Path) -> Path:
    tree = tmp_path / "jetson" / "proc" / "device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(b"nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0")
    return tmp_path / "jetson"


@pytest.mark.parametrize("precision", ["auto", "fp16", "int8"])
def test_a_jetson_takes_tensorrt_with_an_engine_and_without(jetson: Path, tiny_bundle: Path, precision: str) -> None:
    assert choose_engine(read_bundle(tiny_bundle), "classifier", precision=precision, root=jetson) == "tensorrt"


@pytest.mark.parametrize("choice", [{"precision": "int8-cpu"}, {"precision": "fp32"}, {"provider": "cuda"}, {"provider": "tensorrt"}])
def test_what_only_onnxruntime_has_asks_for_it_on_a_jetson_too(jetson: Path, tiny_bundle: Path, choice: dict[str, str]) -> None:
    assert choose_engine(read_bundle(tiny_bundle), "classifier", **choice, root=jetson) == "onnxruntime"


def test_a_pc_without_an_engine_takes_onnxruntime_without_a_word(tmp_path: Path, tiny_bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert choose_engine(read_bundle(tiny_bundle), "classifier", root=tmp_path) == "onnxruntime"
    assert not caplog.records


@pytest.mark.parametrize("precision", ["int8-cpu", "fp32"])
def test_a_precision_that_is_not_tensorrts_is_refused(tiny_bundle: Path, precision: str) -> None:
    with pytest.raises(EngineError, match=f"int8 or fp16 with engine tensorrt, found {precision}"):
        open_engine(read_bundle(tiny_bundle), "classifier", engine="tensorrt", precision=precision)


@pytest.mark.parametrize("engine", ["tensorrt", "fake"])
def test_a_provider_goes_with_onnxruntime_alone(tiny_bundle: Path, engine: str) -> None:
    with pytest.raises(EngineError, match=f"found cuda with {engine}"):
        open_engine(read_bundle(tiny_bundle), "classifier", engine=engine, provider="cuda")


def test_a_model_that_is_no_engines_is_named(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"a classifier in int8, .* holds fp16, int8-cpu"):
        open_engine(read_bundle(tiny_bundle), "classifier", engine="tensorrt", precision="int8")
