"""Bundles as sources that are not of export's making, cut short, or with bits flipped: export says what is wrong in a line and lives on.

SIGNWING_FUZZ=N damages N models and manifests in each test.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import rehash

onnx = pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("onnxslim", reason="needs the export extra")

from edge.bundle.manifest import MANIFEST, ModelSpec, read_bundle, write_manifest  # noqa: E402
from edge.bundle.onnx_fp32 import widen  # noqa: E402
from edge.engines.open import open_engine  # noqa: E402
from edge.errors import BundleError, SignwingError  # noqa: E402
from export.card import _weights  # noqa: E402
from export.graphs.lint import faults  # noqa: E402
from export.graphs.to_int8 import to_int8  # noqa: E402
from export.judging.verify import verify_bundle  # noqa: E402
from export.source import read_source  # noqa: E402

TRIES = int(os.environ.get("SIGNWING_FUZZ", "1000"))


def damaged(content: bytes) -> Iterator[bytes]:
    """The same damages each time: half are cut, half have up to three bits flipped."""
    chance = random.Random(3)
    for place in range(TRIES):
        if place % 2:
            yield content[: chance.randrange(len(content))]
            continue
        spoiled = bytearray(content)
        for _ in range(chance.randint(1, 3)):
            spoiled[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        yield bytes(spoiled)


def in_a_line(error: SignwingError) -> None:
    assert str(error).startswith("wanted ")
    assert "\n" not in str(error)


@pytest.fixture
def source(tiny_bundle: Path) -> Path:
    """A bundle whose record of training is whole, so that it can be a source."""
    bundle = read_bundle(tiny_bundle)
    recipe = {**bundle.manifest.lineage["train"]["recipe"], "label_smoothing": 0.0}
    bundle.manifest.lineage["train"] |= {"recipe": recipe, "weights": "none", "photos": {"train": 1, "valid": 1}, "metrics": {}, "lineage": {}}
    write_manifest(tiny_bundle, bundle.manifest)
    read_source(tiny_bundle)
    return tiny_bundle


def test_a_teacher_is_kept_by_name_and_hash_and_told_on_the_card(source: Path) -> None:
    bundle = read_bundle(source)
    bundle.manifest.lineage["train"]["taught_by"] = {"name": "wide", "sha256": "ab" * 32, "folder": "/home/someone"}
    write_manifest(source, bundle.manifest)
    train = read_source(source).train
    assert train["taught_by"] == {"name": "wide", "sha256": "ab" * 32}
    assert _weights(train).endswith("at the end, taught by wide (`abababababababab`)")


def another_opset(model: Any) -> None:
    model.CopyFrom(onnx.version_converter.convert_version(model, 21))


def another_dtype(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def another_size(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 32


def dynamic_height(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"


def second_input(model: Any) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, ["batch"]))


def float32_weights(model: Any) -> None:
    model.ParseFromString(widen(model.SerializeToString()))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (another_opset, r"opset \[\('ai.onnx', 21\)\], wanted ai.onnx 9 to 20 alone"),
        (another_dtype, "input images float "),
        (another_size, r"input images uint8 \(batch, 32, 24, 3\), wanted images uint8 \(batch, 24, 24, 3\) alone"),
        (dynamic_height, r"input images uint8 \(batch, height, 24, 3\)"),
        (second_input, "input images uint8 .*, mask float"),
        (float32_weights, "Conv .* in float, wanted float16"),
    ],
)
def test_somebody_elses_model_is_refused(source: Path, change: Callable[[Any], None], told: str) -> None:
    model = onnx.load(file := source / "classifier.fp16.onnx")
    change(model)
    onnx.save(model, file)
    rehash(source)
    with pytest.raises(
        BundleError, match=rf"wanted a graph that TensorRT takes in .*classifier\.fp16\.onnx, found .*{told}.*: export the bundle again"
    ) as refused:
        read_source(source)
    in_a_line(refused.value)


def test_a_damaged_model_is_told_by_its_hash(source: Path) -> None:
    file = source / "classifier.fp16.onnx"
    for content in damaged(file.read_bytes()):
        file.write_bytes(content)
        for command in (lambda: read_source(source), lambda: verify_bundle(read_bundle(source), source)):
            with pytest.raises(SignwingError, match="sha256"):
                command()


def test_a_damaged_manifest_is_told_or_still_means_something(source: Path) -> None:
    file = source / MANIFEST
    read = 0
    for content in damaged(file.read_bytes()):
        file.write_bytes(content)
        try:
            read_source(source)
            read += 1
        except SignwingError as error:
            in_a_line(error)
    assert read < TRIES / 2


def test_a_damaged_model_under_a_hash_of_its_own_is_refused_or_runs(source: Path) -> None:
    file, original = source / "classifier.fp16.onnx", (source / MANIFEST).read_bytes()
    crop = np.zeros((1, *read_bundle(source).model("classifier", "fp16").input.shape[1:]), np.uint8)
    refused = 0
    for content in damaged(file.read_bytes()):
        file.write_bytes(content)
        (source / MANIFEST).write_bytes(original)
        rehash(source)
        try:
            read_source(source)
            for precision in ("fp16", "fp32"):
                with open_engine(read_bundle(source), "classifier", engine="onnxruntime", precision=precision) as engine:
                    assert engine.infer(crop).shape == (1, 43)
        except SignwingError as error:
            in_a_line(error)
            refused += 1
    assert refused > TRIES / 3


def test_a_damaged_int8_graph_is_judged_without_being_run(tiny_models: dict[str, bytes], tiny_spec: ModelSpec) -> None:
    judged = [faults(content, replace(tiny_spec, precision="int8")) for content in damaged(to_int8(tiny_models["fp16"], {"nchw": (-1.0, 1.0)}))]
    assert sum(map(bool, judged)) > TRIES / 2
    assert not any("\n" in fault for found in judged for fault in found)
