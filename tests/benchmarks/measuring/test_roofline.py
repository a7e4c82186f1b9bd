"""The roofline: what a call costs, what the hardware could do, and how the two meet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.latency import latency
from benchmarks.measuring.roofline import SIDE, Peak, held_against, int8_product_model, measure_cpu, peak_of, work_of
from benchmarks.measuring.setting import Setting
from edge.bundle.manifest import SHIPPED, read_bundle, write_manifest

WORK = {"operations": 4_000_000_000, "parameters": 10_000_000, "values": 1_000_000}


def test_a_call_is_bound_by_what_takes_longer() -> None:
    peak = Peak(1e12, 10e9, "told")
    one = held_against(peak, WORK, "fp16", 1, p50_ms=8.0)
    assert one == {"operations": 4 * 10**9, "bytes": 22 * 10**6, "floor_ms": 4.0, "bound": "operations", "share": 0.5}
    slow = held_against(replace(peak, bandwidth=1e9), WORK, "fp32", 4, p50_ms=100.0)
    assert (slow["operations"], slow["bytes"], slow["floor_ms"], slow["bound"], slow["share"]) == (16 * 10**9, 56 * 10**6, 56.0, "bytes", 0.56)


@pytest.mark.parametrize(("precision", "mhz", "tera", "bandwidth"), [("int8", 1020, 33.4, 102e9), ("fp16", 1020, 16.7, 102e9), ("int8", 624, 20.4, 68e9)])
def test_an_orin_nanos_peak_follows_its_clock(precision: str, mhz: int, tera: float, bandwidth: float) -> None:
    peak = peak_of("tensorrt", precision, "cpu", "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", mhz)
    assert peak is not None
    assert (round(peak.operations / 1e12, 1), peak.bandwidth) == (tera, bandwidth)


@pytest.mark.parametrize(
    ("engine", "provider", "board", "mhz"),
    [
        ("tensorrt", "cpu", "NVIDIA Jetson Orin Nano Developer Kit", None),
        ("tensorrt", "cpu", "NVIDIA Jetson AGX Orin", 1300),
        ("tensorrt", "cpu", None, 1020),
        ("onnxruntime", "cuda", None, None),
    ],
)
def test_what_is_not_known_has_no_peak(engine: str, provider: str, board: str | None, mhz: int | None) -> None:
    assert peak_of(engine, "int8", provider, board, mhz) is None


def test_the_int8_product_is_one() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(int8_product_model(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    factors = {"a": rng.integers(0, 256, (SIDE, SIDE), np.uint8), "b": rng.integers(-64, 64, (SIDE, SIDE), np.int8)}
    (found,) = session.run(None, factors)
    wanted = factors["a"][:3].astype(np.int64) @ factors["b"].astype(np.int64)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found[:3], wanted)


@pytest.mark.parametrize("precision", ["fp32", "int8-cpu"])
def test_a_cpu_is_measured(precision: str) -> None:
    pytest.importorskip("onnxruntime")
    peak = measure_cpu(precision)
    assert peak is not None
    assert 1e8 < peak.operations < 1e15
    assert 1e8 < peak.bandwidth < 1e13


def test_the_shipped_bundle_tells_its_work() -> None:
    work = work_of(read_bundle(SHIPPED), "classifier")
    assert work is not None
    channels, sides = (32, 32, 64, 64, *[128] * 3, *[256] * 6), (64, 64, 32, 32, *[16] * 3, *[8] * 3, *[4] * 3)  # half of VGG-16's, at 64 px
    layers = sum(side**2 * 9 * before * count for side, before, count in zip(sides, (3, *channels), channels, strict=False))
    assert work["operations"] == 2 * (layers + 4 * 256 * 128 + 128 * 43)


def test_latency_holds_its_times_against_the_peak_where_the_bundle_tells_its_work(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    setting = Setting(tiny_bundle)
    assert "roofline" not in latency(setting, [1], 5, None)
    assert "peak" not in capsys.readouterr().out
    manifest = read_bundle(tiny_bundle).manifest
    write_manifest(tiny_bundle, replace(manifest, lineage={**manifest.lineage, "export": {"cost": {"classifier": WORK}}}))
    figures = latency(setting, [1, 3], 5, None)
    assert [row["roofline"]["operations"] for row in figures["batches"]] == [WORK["operations"], 3 * WORK["operations"]]
    assert figures["roofline"] == figures["batches"][0]["roofline"]
    assert "int8 matrix product by ONNX Runtime" in capsys.readouterr().out
