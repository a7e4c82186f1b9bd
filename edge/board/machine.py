"""What machine this is and what this process takes from it: kept beside every result, since a figure without its conditions says nothing."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge.board.identity import read_memory, read_model

_SPEEDY_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16")
_LIBRARIES = ("numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")
_KIB_PER_MIB = 1024.0


def describe() -> dict[str, Any]:
    """Return `board` (None on a PC), `cpu`, `cores`, `cpu_flags` that matter for inference, `memory_mib`, `load_1min`, `system`, `python` and `libraries`."""
    return {
        "board": read_model(),
        "cpu": _cpu_field("model name") or platform.processor() or platform.machine(),
        "cores": cores(),
        "cpu_flags": sorted(set((_cpu_field("flags") or _cpu_field("Features")).split()) & set(_SPEEDY_FLAGS)),
        "memory_mib": memory.total_mib if (memory := read_memory()) else None,
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
    }


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rss_mib() -> float:
    """Return this process's resident memory in MiB (VmRSS; elsewhere than on Linux the peak stands in)."""
    return status_mib("VmRSS") or peak_rss_mib()


def peak_rss_mib() -> float:
    """Return the most resident memory that this process has had, in MiB."""
    # VmHWM first: ru_maxrss starts at the parent's peak after a fork.
    units = _KIB_PER_MIB if sys.platform != "darwin" else _KIB_PER_MIB**2
    return status_mib("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units


def status_mib(key: str, process: int | str = "self") -> float | None:
    """Return a figure of a process's status in MiB, such as VmHWM; None where the system has none, or the process is gone."""
    for line in _read(f"/proc/{process}/status").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / _KIB_PER_MIB
    return None


def pss_mib() -> float | None:
    """Return this process's proportional memory in MiB: pages that several processes share count in parts; None where the system has no such figure."""
    for line in _read("/proc/self/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / _KIB_PER_MIB
    return None


def _cpu_field(key: str) -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux, or not this kind of machine
        return ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
