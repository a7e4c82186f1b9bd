"""What a run trains on and what it takes, on both backends; each in a process of its own, since a backend is chosen once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keras", reason="needs the train extra")

ROOT = Path(__file__).resolve().parents[3]
CODE = """
import json, os, sys
import numpy as np
from train.runs.environment import PeakMemory, _memory_by_name, describe
from edge.board.machine import rss_mib

np.ones(300 << 20, np.uint8)
before = rss_mib()
with PeakMemory() as quiet:
    pass
try:
    with PeakMemory() as busy:
        np.ones(100 << 20, np.uint8)
        raise ValueError
except ValueError:
    pass
told = {"environment": describe(), "before": before, "quiet": quiet.figures, "busy": busy.figures, "loaded": "tensorflow" in sys.modules}
os.environ["PATH"] = sys.argv[1]
print(json.dumps({**told, "memory": _memory_by_name()}))
"""


@pytest.fixture(scope="module", params=["tensorflow", "jax"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if find_spec(request.param) is None:
        pytest.skip(f"needs {request.param}")
    tools = tmp_path_factory.mktemp("tools")
    (tools / "nvidia-smi").write_text("#!/bin/sh\necho 'Tesla T4, 15360'\necho 'NVIDIA GB10, [N/A]'\n")
    (tools / "nvidia-smi").chmod(0o755)
    environment = {**os.environ, "KERAS_BACKEND": request.param, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run([sys.executable, "-c", CODE, str(tools)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "backend": request.param}


def test_the_environment_names_backend_devices_and_precision(told: dict[str, Any]) -> None:
    environment = told["environment"]
    assert set(environment) == {"machine", "backend", "keras", "precision", "devices"}
    assert environment["backend"]["name"] == told["backend"]
    assert environment["backend"]["version"][0].isdigit()
    assert environment["precision"] == "float32"
    assert environment["machine"]["python"] == sys.version.split()[0]
    if not any(device["kind"] == "gpu" for device in environment["devices"]):
        assert environment["devices"] == [{"kind": "cpu", "name": "cpu"}] * (2 if told["backend"] == "jax" else 1)


def test_the_driver_tells_the_memory_of_a_gpu_where_it_knows_it(told: dict[str, Any]) -> None:
    assert told["memory"] == {"Tesla T4": 15360}


def test_only_tensorflow_imports_tensorflow(told: dict[str, Any]) -> None:
    assert told["loaded"] == (told["backend"] == "tensorflow")


def test_the_peak_is_that_of_the_block_and_is_told_of_a_failed_one_too(told: dict[str, Any]) -> None:
    assert set(told["busy"]) == {"host_peak_mib", "gpu_peak_mib"}
    assert told["before"] + 90 < told["busy"]["host_peak_mib"] < told["before"] + 150
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux lets a peak start afresh")
    assert told["quiet"]["host_peak_mib"] < told["before"] + 30


def test_without_a_gpu_there_is_no_peak_of_one(told: dict[str, Any]) -> None:
    gpus = [device for device in told["environment"]["devices"] if device["kind"] == "gpu"]
    assert (told["busy"]["gpu_peak_mib"] is None) == (not gpus)
    assert all(device["memory_mib"] > 1024 for device in gpus)
