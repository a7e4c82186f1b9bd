"""The contract of every engine that can load here, and what is refused before one stands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorrt_stand_in
from gpu_stand_ins import BOARDS, Stub, install_engine

from edge.engines import ort as engine_ort
from edge.engines.contract import Engine
from edge.engines.open import open_engine
from edge.engines.fake import FakeEngine
from edge.engines.trt import Found, TrtEngine
from edge.errors import BundleError, EngineError
from edge.files import sha256_of
from edge.bundle.manifest import MANIFEST, ModelSpec, read_bundle

CONTRACTS = [("tiny_bundle", "fp32"), ("tiny_bundle", "fp16"), ("tiny_bundle", "int8-cpu"), ("shipped_bundle", "int8-cpu")]
ON_OPENVINO = [("openvino", *contract) for contract in CONTRACTS]
STAND_INS = [("tensorrt", memory) for memory in BOARDS]
GPU_BUNDLE = "SIGNWING_GPU_BUNDLE"
"""Names a bundle with an engine that was built here: `scripts/gpu_check` sets it."""
NEAR = 1e-5


@pytest.fixture(params=["fake", "real_gpu", *STAND_INS, *CONTRACTS, *ON_OPENVINO], ids=lambda param: param if isinstance(param, str) else "-".join(param))
def engine(request: pytest.FixtureRequest, tiny_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    with opened(request, tiny_spec, monkeypatch) as engine:
        yield engine


def opened(request: pytest.FixtureRequest, tiny_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> Engine:
    if request.param == "fake":
        return FakeEngine(tiny_spec, "fp16")
    if request.param == "real_gpu":
        if GPU_BUNDLE not in os.environ:
            pytest.skip("needs an NVIDIA GPU with TensorRT and an engine built on it: scripts/gpu_check")
        return open_engine(read_bundle(Path(os.environ[GPU_BUNDLE])), "classifier", engine="tensorrt")
    pytest.importorskip("onnxruntime")
    if request.param[0] == "openvino":
        pytest.importorskip("openvino", reason="needs the openvino extra, for x86-64")
        _, fixture, precision = request.param
        return open_engine(read_bundle(request.getfixturevalue(fixture)), "classifier", engine="openvino", precision=precision)
    fixture, precision = request.param
    if fixture == "tensorrt":
        folder = request.getfixturevalue("tiny_bundle")
        found = Found(tensorrt_stand_in, Stub(12, precision, monkeypatch).cuda(), install_engine(folder))
        return TrtEngine(found, read_bundle(folder).model("classifier", "fp16"))
    engine = open_engine(read_bundle(request.getfixturevalue(fixture)), "classifier", engine="onnxruntime", precision=precision)
    assert engine.precision == precision
    return engine


@pytest.fixture
def images(engine: Engine, draw_crops: Callable[..., Any]) -> np.ndarray:
    return draw_crops(9, engine.spec.input.shape[1])[0]


@pytest.mark.parametrize("n", [1, 2, 9])
def test_each_image_gets_a_row_of_probabilities(engine: Engine, images: np.ndarray, n: int) -> None:
    rows = engine.infer(images[:n])
    assert rows.shape == (n, 43)
    assert rows.dtype == np.float32
    assert rows.min() >= 0
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-3 if engine.precision == "fp16" else NEAR)


def test_rows_stand_in_the_order_of_the_images(engine: Engine, images: np.ndarray) -> None:
    rows = engine.infer(images)
    assert len(np.unique(rows.round(7), axis=0)) > 1
    np.testing.assert_allclose(engine.infer(images[::-1]), rows[::-1], atol=NEAR)


def test_a_row_depends_on_its_image_alone(engine: Engine, images: np.ndarray) -> None:
    rows = engine.infer(images)
    np.testing.assert_allclose(np.concatenate([engine.infer(image[None]) for image in images]), rows, atol=NEAR)
    others = np.full_like(images, 255)
    others[4] = images[4]
    np.testing.assert_allclose(engine.infer(others)[4], rows[4], atol=NEAR)


def test_the_images_are_not_written_to_and_need_not_be_contiguous(engine: Engine, images: np.ndarray) -> None:
    rows, before = engine.infer(images), images.copy()
    np.testing.assert_array_equal(images, before)
    flipped = np.flip(np.flip(images, 2).copy(), 2)
    assert not flipped.flags.c_contiguous
    np.testing.assert_array_equal(engine.infer(flipped), rows)


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images.astype(np.float32),
        lambda images: images.astype(np.int8),
        lambda images: images[0],
        lambda images: images[..., :1],
        lambda images: images[:, :-1],
        lambda images: images.transpose(0, 3, 1, 2),
        lambda images: images[:0],
    ],
    ids=["float32", "int8", "one image without a batch", "grey", "another size", "NCHW", "empty"],
)
def test_other_images_are_refused_with_both_sides(engine: Engine, images: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> None:
    wrong = change(images)
    with pytest.raises(EngineError) as refused:
        engine.infer(wrong)
    assert str(engine.spec.input.shape[1]) in str(refused.value)
    assert f"{wrong.shape} {wrong.dtype}" in str(refused.value)
    assert engine.infer(images).shape == (9, 43)


def test_a_closed_engine_says_so_and_closes_again(engine: Engine, images: np.ndarray) -> None:
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(images)


def test_leaving_the_context_closes(engine: Engine, images: np.ndarray) -> None:
    with engine as entered:
        assert entered is engine
        entered.infer(images)
    with pytest.raises(EngineError, match="closed"):
        engine.infer(images)


def test_auto_is_int8_on_onnxruntime(tiny_bundle: Path) -> None:
    with open_engine(read_bundle(tiny_bundle), "classifier") as engine:
        assert (engine.name, engine.precision, engine.spec.file) == ("onnxruntime", "int8-cpu", "classifier.int8-cpu.onnx")


def test_the_fake_engine_needs_no_model_file(tiny_bundle: Path) -> None:
    (tiny_bundle / "classifier.int8-cpu.onnx").unlink()
    with open_engine(read_bundle(tiny_bundle), "classifier", engine="fake") as engine:
        assert engine.name == "fake"


@pytest.mark.parametrize("option", [{"engine": "tflite"}, {"precision": "int4"}, {"provider": "rocm"}])
def test_an_unknown_option_names_those_that_are_known(tiny_bundle: Path, option: dict[str, str]) -> None:
    (name, value) = next(iter(option.items()))
    with pytest.raises(EngineError, match=f"wanted {name} .*, found '{value}'"):
        open_engine(read_bundle(tiny_bundle), "classifier", **option)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_an_absent_provider_is_refused_not_replaced(tiny_bundle: Path, provider: str) -> None:
    ort = pytest.importorskip("onnxruntime")
    if f"{provider}ExecutionProvider".lower() in [name.lower() for name in ort.get_available_providers()]:
        pytest.skip(f"this onnxruntime has the provider {provider}")
    with pytest.raises(EngineError, match=f"provider {provider}.*edge-gpu"):
        open_engine(read_bundle(tiny_bundle), "classifier", provider=provider)


class Dropping:
    """ONNX Runtime where the libraries of its CUDA provider do not load: it says that it has the provider, and goes on without."""

    def __init__(self, ort: Any) -> None:
        self._ort, self.SessionOptions = ort, ort.SessionOptions

    def get_available_providers(self) -> list[str]:
        return list(engine_ort.PROVIDER_NAMES.values())

    def InferenceSession(self, model: str, options: Any, providers: Any) -> Any:  # noqa: N802 - the library's name
        self.asked = providers
        return self._ort.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_dropped_without_a_word_is_refused(tiny_bundle: Path, tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dropping = Dropping(pytest.importorskip("onnxruntime"))
    monkeypatch.setitem(sys.modules, "onnxruntime", dropping)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(EngineError, match=f"wanted provider {provider}, onnxruntime could not load its libraries and took CPUExecutionProvider"):
        open_engine(read_bundle(tiny_bundle), "classifier", provider=provider)
    ((name, settings),) = dropping.asked
    assert name == engine_ort.PROVIDER_NAMES[provider]
    if provider == "tensorrt":
        assert settings["trt_profile_max_shapes"] == "images:16x24x24x3"
        assert (settings["trt_fp16_enable"], settings["trt_int8_enable"]) == (True, False)
        assert Path(settings["trt_engine_cache_path"]).is_dir()


def test_a_provider_that_leaves_a_part_to_the_cpu_is_refused(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ort = pytest.importorskip("onnxruntime")
    idle = "AzureExecutionProvider"  # takes no node of any local model
    if idle not in ort.get_available_providers():
        pytest.skip(f"this onnxruntime has no {idle}")
    monkeypatch.setitem(engine_ort.PROVIDER_NAMES, "cuda", idle)
    with pytest.raises(EngineError, match=r"for provider cuda in .* fallback to CPU EP has been explicitly disabled.*--provider cpu"):
        open_engine(read_bundle(tiny_bundle), "classifier", provider="cuda")


@pytest.mark.parametrize(("role", "precision", "found"), [("classifier", "int8", "fp16, int8-cpu"), ("spotter", "fp16", "none")])
def test_a_model_that_the_bundle_lacks_is_named(tiny_bundle: Path, role: str, precision: str, found: str) -> None:
    with pytest.raises(BundleError, match=f"a {role} in {precision}, .* holds {found}"):
        open_engine(read_bundle(tiny_bundle), role, precision=precision)


def test_a_missing_model_file_is_named(tiny_bundle: Path) -> None:
    (tiny_bundle / "classifier.fp16.onnx").unlink()
    with pytest.raises(BundleError, match=r"classifier\.fp16\.onnx"):
        open_engine(read_bundle(tiny_bundle), "classifier", precision="fp16")


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_changed_model_is_refused_before_it_is_loaded(tiny_bundle: Path, precision: str) -> None:
    file = tiny_bundle / "classifier.fp16.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match="sha256"):
        open_engine(read_bundle(tiny_bundle), "classifier", precision=precision)


def replace_model(bundle: Path, model: bytes) -> None:
    """Put other bytes in place of the fp16 model, with the hash that belongs to them."""
    file = bundle / "classifier.fp16.onnx"
    file.write_bytes(model)
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["models"][0]["sha256"] = sha256_of(file)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("length", [0, 1, 100, 1000])
def test_half_an_onnx_file_is_refused_in_one_line(tiny_bundle: Path, length: int, precision: str) -> None:
    replace_model(tiny_bundle, (tiny_bundle / "classifier.fp16.onnx").read_bytes()[:length])
    with pytest.raises(EngineError) as refused:
        open_engine(read_bundle(tiny_bundle), "classifier", precision=precision)
    assert "\n" not in str(refused.value)


def renamed_input(onnx: Any, graph: Any) -> None:
    graph.input[0].name = graph.node[0].input[0] = "frames"


def renamed_output(onnx: Any, graph: Any) -> None:
    graph.output[0].name = graph.node[-1].output[0] = "scores"


def float_input(onnx: Any, graph: Any) -> None:
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def smaller_input(onnx: Any, graph: Any) -> None:
    graph.input[0].type.tensor_type.shape.dim[1].dim_value = 16


def fixed_batch(onnx: Any, graph: Any) -> None:
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def second_input(onnx: Any, graph: Any) -> None:
    graph.input.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1]))


def second_output(onnx: Any, graph: Any) -> None:
    graph.output.append(onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT16, ["batch", 43]))


def fewer_classes(onnx: Any, graph: Any) -> None:
    del graph.value_info[:]
    for tensor in graph.initializer:
        if tensor.name.startswith("dense"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)[..., :42].copy(), tensor.name))
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 42


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize(
    "change", [renamed_input, renamed_output, float_input, smaller_input, fixed_batch, second_input, second_output, fewer_classes], ids=lambda f: f.__name__
)
def test_another_graph_than_the_manifest_says_is_refused(tiny_bundle: Path, change: Callable[[Any, Any], None], precision: str) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(tiny_bundle / "classifier.fp16.onnx")
    change(onnx, model.graph)
    replace_model(tiny_bundle, model.SerializeToString())
    with pytest.raises(EngineError) as refused:
        open_engine(read_bundle(tiny_bundle), "classifier", precision=precision)
    assert "classifier.fp16.onnx" in str(refused.value)
    assert "\n" not in str(refused.value)
