"""What a run trains on and what it takes: machine, Keras backend, devices, precision, and the peak of host and GPU memory.

Neutral to the backend: nothing of TensorFlow is imported while Keras runs on JAX.
"""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import keras

from edge.board import machine
from edge.bundle.lineage import lineage

_BYTES_PER_MIB = float(1 << 20)
_RESET_PEAK = "5"  # what proc(5) wants in clear_refs


def describe() -> dict[str, Any]:
    """Return `machine` (as `edge.board.machine` has it, with Python), `backend` (name, version), `keras`, `precision` (the dtype policy in force) and `devices`.

    A device is `kind` ("cpu", "gpu"), `name` and, for an NVIDIA GPU, `memory_mib`. Backends other than TensorFlow and JAX list none.
    """
    backend = keras.backend.backend()
    return {
        "machine": machine.describe(),
        "backend": {"name": backend, "version": lineage(backend)["versions"][backend]},
        "keras": keras.__version__,
        "precision": keras.config.dtype_policy().name,
        "devices": _devices(),
    }


class PeakMemory:
    """Measures the most memory that a block has held; `figures` has it after the block, also one that failed.

    The host's peak starts afresh with the block where the system allows it (Linux); elsewhere it is the whole process's so far. A GPU's peak is what the
    backend's allocator has handed out on the fullest GPU, without CUDA's own few hundred MiB; on JAX it is the whole process's. Blocks do not nest.

    Attributes:
        figures: `host_peak_mib`, and `gpu_peak_mib` (None without a GPU).
    """

    def __init__(self) -> None:
        self.figures: dict[str, float | None] = {}

    def __enter__(self) -> PeakMemory:
        with suppress(OSError):  # not Linux, or not allowed here
            Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
        _reset_gpu_peaks()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        gpus = _gpu_peaks()
        self.figures = {"host_peak_mib": round(machine.peak_rss_mib(), 1), "gpu_peak_mib": round(max(gpus) / _BYTES_PER_MIB, 1) if gpus else None}


def _devices() -> list[dict[str, Any]]:
    found: list[tuple[str, str]] = []
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for device in tf.config.get_visible_devices():
            details = tf.config.experimental.get_device_details(device) if device.device_type == "GPU" else {}
            found.append((device.device_type.lower(), details.get("device_name", device.device_type.lower())))
    elif keras.backend.backend() == "jax":
        import jax

        found = [(device.platform, device.device_kind) for device in jax.local_devices()]
    memory = _memory_by_name() if any(kind != "cpu" for kind, _ in found) else {}
    return [{"kind": kind, "name": name} | ({"memory_mib": memory[name]} if name in memory else {}) for kind, name in found]


def _memory_by_name() -> dict[str, int]:
    """Ask the driver for the whole memory of each GPU model, MiB: the backends tell only their own share of it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    try:
        command = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
        lines = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()  # noqa: S603 - fixed arguments
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [line.rpartition(", ") for line in lines]
    return {name: int(memory) for name, _, memory in rows if memory.isdigit()}


def _reset_gpu_peaks() -> None:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for device in _tensorflow_gpus():
            tf.config.experimental.reset_memory_stats(device)


def _gpu_peaks() -> list[int]:
    """Return each GPU's peak in bytes."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return [tf.config.experimental.get_memory_info(device)["peak"] for device in _tensorflow_gpus()]
    if keras.backend.backend() == "jax":
        import jax

        return [stats["peak_bytes_in_use"] for device in jax.local_devices() if (stats := device.memory_stats())]  # a CPU keeps none
    return []


def _tensorflow_gpus() -> list[str]:
    import tensorflow as tf

    return [f"GPU:{place}" for place, _ in enumerate(tf.config.get_visible_devices("GPU"))]
