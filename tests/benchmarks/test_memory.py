"""Memory: of a fresh process, step by step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measuring.setting import Setting
from benchmarks.memory import STEPS, memory
from edge.bundle.manifest import read_bundle
from edge.errors import EngineError

pytest.importorskip("onnxruntime")


def test_memory_is_that_of_a_fresh_process(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast = np.ones(512 << 20, np.uint8)
    monkeypatch.chdir(tmp_path)  # the child must find its modules from anywhere
    figures = memory(Setting(tiny_bundle, precision="fp16"), 4, 3, tmp_path / "memory.json")
    assert 10 < figures["idle_mib"] < figures["loaded_mib"] <= figures["running_mib"] <= figures["peak_mib"] < ballast.nbytes / (1 << 20)
    assert figures["closed_mib"] <= figures["peak_mib"]
    assert (figures["batch"], figures["runs"], figures["precision"], figures["engine"]) == (4, 3, "fp16", "onnxruntime")
    document = json.loads((tmp_path / "memory.json").read_text())
    assert document["conditions"]["size"] == read_bundle(tiny_bundle).model("classifier", "fp16").input.shape[1]
    assert {key: document[key] for key in figures} == figures
    assert set(STEPS) < set(document)


def test_what_the_child_refuses_is_told_in_one_line(tiny_bundle: Path) -> None:
    (tiny_bundle / "classifier.int8-cpu.onnx").write_bytes(b"other")
    with pytest.raises(EngineError, match="sha256") as refused:
        memory(Setting(tiny_bundle), 1, 1, None)
    assert "\n" not in str(refused.value)


def test_the_shipped_bundle_fits_beside_the_rest(shipped_bundle: Path) -> None:
    assert memory(Setting(shipped_bundle), 16, 5, None)["peak_mib"] < 200
