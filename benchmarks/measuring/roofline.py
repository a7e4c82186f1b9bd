"""How near a model's time comes to what the hardware could do: S. Williams, A. Waterman, D. Patterson, "Roofline", Communications of the ACM 52, 2009.

The work is counted from the ONNX at export and lies in the manifest; the peak is measured on a CPU, and on a Jetson follows from the GPU's clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.bundle.manifest import Bundle
from edge.bundle.onnx_fp32 import encoded

SIDE, MEBIBYTES, TIMES = 1024, 64, 7
WIDTHS = {"fp32": 4, "fp16": 2, "int8": 1, "int8-cpu": 1}
"""Bytes of a number by precision."""
ORIN_NANO_OPERATIONS = {"fp16": 8 * 2048, "int8": 8 * 4096}
"""Dense operations a clock of an Orin Nano's 8 multiprocessors (Ampere, tensor cores): 33.4 TOPS in int8 at 1020 MHz, half of NVIDIA's 67 with sparsity."""
ORIN_NANO_FAST_MHZ = 1000
"""From this GPU clock on the module runs in a Super mode, and its LPDDR5 at 102 GB/s instead of 68 (Jetson Orin Nano series data sheet)."""
ORIN_NANO_BANDWIDTH = (68e9, 102e9)


@dataclass(frozen=True)
class Peak:
    """What the hardware could do: operations and bytes a second, and how that is known."""

    operations: float
    bandwidth: float
    known: str


def work_of(bundle: Bundle, role: str) -> dict[str, int] | None:
    """Return `operations`, `parameters` and `values` of an image as `export.graphs.cost.count` counted them; None for a bundle exported before it did."""
    record = bundle.manifest.lineage.get("export", {}).get("cost", {}).get(role)
    return dict(record) if isinstance(record, dict) else None


def peak_of(engine: str, precision: str, provider: str, board: str | None, gpu_max_mhz: int | None) -> Peak | None:
    """Return the peak of what runs the model: this CPU's, or for TensorRT that of an Orin Nano's GPU; None where neither is known."""
    if engine != "tensorrt":
        return measure_cpu(precision) if provider == "cpu" else None
    if gpu_max_mhz is None or "Orin Nano" not in (board or ""):
        return None
    bandwidth = ORIN_NANO_BANDWIDTH[gpu_max_mhz >= ORIN_NANO_FAST_MHZ]
    return Peak(ORIN_NANO_OPERATIONS[precision] * gpu_max_mhz * 1e6, bandwidth, f"Orin Nano, GPU up to {gpu_max_mhz} MHz, dense, from data sheets")


def measure_cpu(precision: str) -> Peak | None:
    """Measure this CPU's fastest matrix product, in int8 by ONNX Runtime or in float32 by NumPy, and its fastest copy, which reads and writes.

    Returns:
        None in int8 where ONNX Runtime is not installed.
    """
    product = _int8_product() if WIDTHS[precision] == 1 else _float32_product()
    if product is None:
        return None
    source = np.zeros(MEBIBYTES << 20, np.uint8)
    target = np.ones_like(source)
    bandwidth = 2 * source.nbytes / _fastest(lambda: np.copyto(target, source))
    by = "int8 matrix product by ONNX Runtime" if WIDTHS[precision] == 1 else "float32 matrix product by NumPy"
    return Peak(2 * SIDE**3 / _fastest(product), bandwidth, f"this CPU, {by}, copy by NumPy")


def _float32_product() -> Callable[[], object]:
    first, second = np.random.default_rng(0).random((2, SIDE, SIDE), np.float32)
    product = np.empty_like(first)
    return lambda: np.matmul(first, second, out=product)


def _int8_product() -> Callable[[], object] | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(int8_product_model(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    factors = {"a": rng.integers(0, 256, (SIDE, SIDE), np.uint8), "b": rng.integers(-64, 64, (SIDE, SIDE), np.int8)}
    return lambda: session.run(None, factors)


def int8_product_model() -> bytes:
    """Return an ONNX model of one MatMulInteger, uint8 `a` times int8 `b`, written as onnx.proto says: a board has no `onnx` package to write it with."""
    uint8, int8, int32 = 2, 3, 6
    node = encoded(1, b"a") + encoded(1, b"b") + encoded(2, b"c") + encoded(4, b"MatMulInteger")
    borders = [encoded(number, _value(name, element)) for number, name, element in ((11, b"a", uint8), (11, b"b", int8), (12, b"c", int32))]
    graph = encoded(1, node) + encoded(2, b"product") + b"".join(borders)
    return encoded(1, 8) + encoded(7, graph) + encoded(8, encoded(2, 13))  # IR version 8, opset 13


def _value(name: bytes, element: int) -> bytes:
    side = encoded(1, encoded(1, SIDE))
    return encoded(1, name) + encoded(2, encoded(1, encoded(1, element) + encoded(2, side * 2)))


def held_against(peak: Peak, work: dict[str, int], precision: str, batch: int, p50_ms: float) -> dict[str, Any]:
    """Hold a call's time against the roofline.

    Returns:
        `operations` and `bytes` of a call, whose parameters are read once and whose values are read and written by every layer; `floor_ms`, the least time
        that the peak allows, `bound` by "operations" or "bytes", and `share`, the floor as a share of the time taken.
    """
    width = WIDTHS[precision]
    operations, moved = work["operations"] * batch, (work["parameters"] + work["values"] * batch) * width
    times_ms = {"operations": 1000 * operations / peak.operations, "bytes": 1000 * moved / peak.bandwidth}
    bound = max(times_ms, key=lambda name: times_ms[name])
    return {"operations": operations, "bytes": moved, "floor_ms": round(times_ms[bound], 4), "bound": bound, "share": round(times_ms[bound] / p50_ms, 4)}


def _fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of some calls."""
    taken = []
    for _ in range(TIMES):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)
