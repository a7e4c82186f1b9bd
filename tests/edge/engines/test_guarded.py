"""What a model's file may do to a run: give other rows than it should, loop, or never return."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import command, refused
from media import picture, write_image
from spoiled_models import replace_model

from edge.bundle.manifest import ModelSpec, read_bundle
from edge.cli import ROOT
from edge.engines.fake import FakeEngine
from edge.engines.guarded import GuardedEngine
from edge.engines.open import open_engine
from edge.errors import EngineError

SIDE = 1500
STEPS = 2000
"""Products of two matrices of that side: minutes on any processor that this runs on."""


class Wrong(FakeEngine):
    """Gives what a model may give that is not what its manifest says."""

    def __init__(self, spec: ModelSpec, rows: np.ndarray) -> None:
        super().__init__(spec, "fp16")
        self._rows = rows

    def infer(self, images: np.ndarray) -> np.ndarray:
        return self._rows


@pytest.mark.parametrize("rows", [np.zeros((2, 43), np.float32), np.zeros((1, 42), np.float32), np.zeros(43, np.float32), np.zeros((1, 43), np.float64)])
def test_other_rows_than_the_manifest_says_are_refused(tiny_spec: ModelSpec, rows: np.ndarray) -> None:
    engine = GuardedEngine(Wrong(tiny_spec, rows), on_gpu=False)
    with pytest.raises(EngineError, match="wanted outputs of shape"):
        engine.infer(np.zeros((1, *tiny_spec.input.shape[1:]), np.uint8))


def doubled_rows(onnx: Any, model: Any) -> None:
    graph = model.graph
    graph.node[-1].output[0] = "once"
    graph.node.append(onnx.helper.make_node("Concat", ["once", "once"], ["probabilities"], axis=0))


def test_a_model_with_twice_the_rows_is_refused_in_one_line(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(tiny_bundle, doubled_rows)
    with open_engine(read_bundle(tiny_bundle), "classifier", precision="fp16") as engine, pytest.raises(EngineError, match="wanted outputs of shape"):
        engine.infer(np.zeros((1, *engine.spec.input.shape[1:]), np.uint8))
    assert "outputs" in refused(capsys, "check", tiny_bundle, "--precision", "fp16")


def endless(onnx: Any, model: Any) -> None:
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["go_on"], ["goes_on"]), onnx.helper.make_node("Identity", ["held"], ["holds"])],
        "body",
        [
            onnx.helper.make_tensor_value_info("at", onnx.TensorProto.INT64, []),
            onnx.helper.make_tensor_value_info("go_on", onnx.TensorProto.BOOL, []),
            onnx.helper.make_tensor_value_info("held", onnx.TensorProto.FLOAT, None),
        ],
        [
            onnx.helper.make_tensor_value_info("goes_on", onnx.TensorProto.BOOL, []),
            onnx.helper.make_tensor_value_info("holds", onnx.TensorProto.FLOAT, None),
        ],
    )
    model.graph.node[-1].output[0] = "once"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "true"))
    model.graph.node.append(onnx.helper.make_node("Loop", ["", "true", "once"], ["probabilities"], body=body))


def in_another_file(onnx: Any, model: Any) -> None:
    tensor = next(one for one in model.graph.initializer if one.name == "dense_w")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../dev/zero")


def by_a_function(onnx: Any, model: Any) -> None:
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    model.functions.append(onnx.helper.make_function("own", "Same", ["x"], ["y"], [node], [onnx.helper.make_opsetid("", 17)]))


def vast(onnx: Any, model: Any) -> None:
    """Ask for 32 GB as the model is loaded."""
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1 << 33], np.int64), "size"))
    model.graph.node.append(onnx.helper.make_node("ConstantOfShape", ["size"], ["vast"]))


@pytest.mark.parametrize(("spoil", "told"), [(endless, "a loop"), (vast, "ConstantOfShape"), (in_another_file, "another file"), (by_a_function, "functions")])
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_network_that_does_not_run_straight_through_is_refused_before_it_is_loaded(tiny_bundle: Path, spoil: Any, told: str, precision: str) -> None:
    change(tiny_bundle, spoil)
    with pytest.raises(EngineError, match=told) as refusal:
        open_engine(read_bundle(tiny_bundle), "classifier", precision=precision)
    assert "classifier.fp16.onnx" in str(refusal.value)


def long_winded(onnx: Any, model: Any) -> None:
    """Let each probability wait for thousands of products of matrices, none of which can be worked out before the picture is there."""
    make, graph = onnx.helper.make_node, model.graph
    graph.node[-1].output[0] = "once"
    rng = np.random.default_rng(0)
    for name, value in (("matrix", rng.random((SIDE, SIDE), np.float32) / SIDE), ("no_weight", np.float32(0))):
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    graph.node.extend([make("ReduceMean", ["once"], ["average"], keepdims=0), make("Add", ["matrix", "average"], ["product0"])])
    graph.node.extend(make("MatMul", ["matrix", f"product{step}"], [f"product{step + 1}"]) for step in range(STEPS))
    graph.node.extend([make("ReduceMean", [f"product{STEPS}"], ["end"], keepdims=0), make("Mul", ["end", "no_weight"], ["nothing"])])
    graph.node.append(make("Add", ["once", "nothing"], ["probabilities"]))


def test_a_model_that_does_not_return_is_told_and_ends_the_run_with_its_outputs_finished(tiny_bundle: Path, tmp_path: Path) -> None:
    """Takes its 8 s, for no other limit is like the one that users have."""
    change(tiny_bundle, long_winded)
    write_image(tmp_path / "x.png", picture(0))
    events = tmp_path / "e.jsonl"
    argv = command("run", tmp_path / "x.png", "--bundle", tiny_bundle, "--precision", "fp16", "--spotter", "none", "--events", events)
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    told = ended.stderr
    assert (ended.returncode, told.count("\n")) == (1, 1)
    assert told.startswith("python -m edge: wanted classifier.fp16.onnx to answer within 8 s on onnxruntime, it did not return: ")
    assert events.is_file()


def change(bundle: Path, spoil: Any) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(bundle / "classifier.fp16.onnx")
    spoil(onnx, model)
    replace_model(bundle, model.SerializeToString())
