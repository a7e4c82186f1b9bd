"""Latency: the calls that are timed, and the figures made of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.latency import TURNS, WARM_UP, Timing, _parts, drawn_crops, latency, summed_up, time_calls
from benchmarks.measuring.setting import Setting
from edge.bundle.manifest import ModelSpec
from edge.engines.fake import FakeEngine

KEYS = ("p50_ms", "p90_ms", "p99_ms", "max_ms", "first_ms", "batch", "runs")


class SlowEngine(FakeEngine):
    """Takes 20 ms the first time, 5 ms the tenth time after the warm-up, else next to nothing; counts."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, "fp16")
        self.calls = 0
        self.shapes: set[tuple[int, ...]] = set()

    def infer(self, images: np.ndarray) -> np.ndarray:
        self.calls += 1
        self.shapes.add(images.shape)
        time.sleep({1: 0.02, WARM_UP + 11: 0.005}.get(self.calls, 0))
        return np.zeros((len(images), 43), np.float32)


def test_the_first_call_and_the_warm_up_stay_out_of_the_percentiles(tiny_spec: ModelSpec) -> None:
    engine = SlowEngine(tiny_spec)
    figures = summed_up([time_calls(engine, 3, 40)], 3)
    assert set(figures) >= set(KEYS)
    assert engine.calls == 1 + WARM_UP + 40
    assert engine.shapes == {(3, 24, 24, 3)}
    assert figures["first_ms"] >= 20
    assert figures["max_ms"] >= 5
    assert figures["p50_ms"] <= figures["p90_ms"] <= figures["p99_ms"] <= figures["max_ms"]
    assert figures["p50_ms"] < 5
    assert (figures["batch"], figures["runs"], figures["spread"]) == (3, 40, 0)


def test_turns_that_differ_are_noise() -> None:
    steady, slow = (Timing(9.0, np.full(8, ms)) for ms in (4.0, 5.0))
    figures = summed_up([steady, slow, steady], 1)
    assert (figures["p50_turns_ms"], figures["spread"], figures["runs"], figures["first_ms"]) == ([4, 5, 4], 0.25, 24, 9)


@pytest.mark.parametrize(("runs", "parts"), [(1, [1]), (4, [1, 1, 1, 1]), (5, [1] * 5), (203, [41, 41, 41, 40, 40])])
def test_calls_are_divided_among_the_turns(runs: int, parts: list[int]) -> None:
    assert _parts(runs) == parts


def test_a_noisy_machine_is_told_with_the_result(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = iter([4.0, 5.0] * TURNS)
    monkeypatch.setattr("benchmarks.latency.time_calls", lambda *_: Timing(1.0, np.full(3, next(turns))))
    latency(Setting(tiny_bundle, "fake"), [1], 20, tmp_path / "latency.json")
    (told,) = [text for text in json.loads((tmp_path / "latency.json").read_text())["conditions"]["warnings"] if "varies" in text]
    assert "p50 of batch 1 varies by 25% between turns" in told
    assert told in capsys.readouterr().err


def test_crops_are_drawn_and_differ() -> None:
    crops = drawn_crops(30, 24)
    assert (crops.shape, crops.dtype) == ((30, 24, 24, 3), np.uint8)
    assert len(np.unique(crops.reshape(30, -1), axis=0)) > 15


def test_each_batch_size_gets_its_figures_and_the_first_stands_on_top(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    figures = latency(Setting(tiny_bundle), [1, 8], 5, tmp_path / "latency.json")
    document = json.loads((tmp_path / "latency.json").read_text())
    assert {key: document[key] for key in figures} == figures
    assert [row["batch"] for row in document["batches"]] == [1, 8]
    assert {key: document[key] for key in document["batches"][0]} == document["batches"][0]
    assert (document["engine"], document["precision"], document["command"]) == ("onnxruntime", "int8-cpu", "benchmarks latency")
    assert document["conditions"] | {"input": "drawn signs", "size": 24, "provider": "cpu", "warm_up": WARM_UP} == document["conditions"]
    assert set(document["conditions"]["before"]) == set(document["conditions"]["after"]) >= {"load_1min", "clocks", "hottest_c", "throttled", "power_mode"}
    assert isinstance(document["conditions"]["warnings"], list)
    printed = capsys.readouterr().out
    assert "onnxruntime on cpu, int8-cpu" in printed
    assert "cores, load" in printed
