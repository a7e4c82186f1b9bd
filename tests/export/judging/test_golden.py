"""The self-test that travels with a bundle: an engine that was built wrong in any of a hundred ways, and names fewer signs, does not pass it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle.golden import difference, read_golden
from edge.bundle.manifest import SHIPPED, read_bundle
from edge.bundle.onnx_fp32 import widen
from edge.datasets.gtsrb import read_photo, read_test
from edge.images import fit_crop

onnx = pytest.importorskip("onnx", reason="needs the export extra")
ort = pytest.importorskip("onnxruntime", reason="needs the export extra")

from spoiled_models import FAULTS, broken  # noqa: E402

WAYS = 100
LOST = 0.005
"""Of top-1: who loses more must be refused."""
EVERY = 32
"""Of the test photos one is looked at: with some 79, one more that is named wrong is more than that."""


def opened(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: np.asarray(session.run(None, {name: images})[0], np.float32)


def test_an_engine_that_is_broken_is_refused(data_root: Path) -> None:
    """By fp16's weights and by the int8 model: who loses something on real photos is refused. A hundred models take a while."""
    bundle = read_bundle(SHIPPED)
    inputs, wanted = read_golden(bundle, "classifier")
    photos = read_test(data_root)[::EVERY]
    crops, class_ids = np.stack([fit_crop(read_photo(photo), inputs.shape[1]) for photo in photos]), np.array([photo.class_id for photo in photos])
    whole = {
        "fp16": onnx.load_from_string(widen((bundle.folder / "classifier.fp16.onnx").read_bytes())),
        "int8-cpu": onnx.load(bundle.folder / "classifier.int8-cpu.onnx"),
    }

    def accuracy(infer: Callable[[np.ndarray], np.ndarray]) -> float:
        return float((infer(crops).argmax(axis=1) == class_ids).mean())

    sound = {precision: accuracy(opened(model)) for precision, model in whole.items()}
    rng, tried, refused, way = np.random.default_rng(4), 0, 0, 0
    while tried < WAYS:
        precision, fault = ("int8-cpu", "int8-cpu", "fp16")[way % 3], FAULTS[way // 3 % len(FAULTS)]  # as fp32, fp16's weights take five times as long
        way += 1
        spoiled = broken(whole[precision], fault, rng)
        if spoiled is None:
            continue
        tried += 1
        infer = opened(spoiled)
        if difference("classifier", infer(inputs), wanted) <= bundle.manifest.golden.tolerance[precision]:
            lost = sound[precision] - accuracy(infer)
            assert lost <= LOST, f"{fault} of {precision} loses {lost:.3f} and passes"
        else:
            refused += 1
    assert WAYS // 5 < refused < WAYS
