"""What stands beside every result: the machine, the memory, where it comes from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from edge.board.machine import describe, peak_rss_mib
from edge.bundle import lineage

ROOT = Path(__file__).resolve().parents[3]


def test_the_machine_is_described_in_json() -> None:
    machine = describe()
    assert set(machine) == {"board", "cpu", "cores", "cpu_flags", "memory_mib", "load_1min", "system", "python", "libraries"}
    assert json.loads(json.dumps(machine)) == machine
    assert machine["cpu"]
    assert 1 <= machine["cores"] <= (os.cpu_count() or 1)
    assert machine["python"] == ".".join(map(str, sys.version_info[:3]))
    assert machine["libraries"]["numpy"] == np.__version__


def test_memory_that_is_taken_shows() -> None:
    code = (
        "import numpy as np; from edge.board.machine import peak_rss_mib, rss_mib; before = rss_mib(); block = np.ones(64 << 20, np.uint8); "
        "print(rss_mib() - before, peak_rss_mib() - before)"
    )
    # In a process of its own: one that had much memory before finds some that is free and that it still holds.
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    taken, peak = map(float, told)
    assert 64 * 0.9 < taken < 64 * 1.5
    assert peak > 64 * 0.9


def test_the_peak_is_that_of_this_process_and_not_of_the_one_that_started_it() -> None:
    block = np.ones(256 << 20, np.uint8)
    code = "from edge.board.machine import peak_rss_mib; print(peak_rss_mib())"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 1 < float(child.stdout) < block.nbytes / (1 << 20) < peak_rss_mib()


def test_time_is_utc_to_the_second() -> None:
    now = datetime.fromisoformat(lineage.now())
    assert now.utcoffset() == timedelta(0)
    assert abs(datetime.now(timezone.utc) - now) < timedelta(seconds=5)


def test_lineage_tells_versions_and_what_is_absent() -> None:
    record = lineage.lineage("numpy", "no-such-package")
    assert set(record) == {"made_at", "commit", "python", "versions"}
    assert record["versions"] == {"numpy": np.__version__, "no-such-package": None}
    assert json.loads(json.dumps(record)) == record


def test_a_result_has_the_keys_of_every_result_and_then_its_figures() -> None:
    document = lineage.result("edge run", "2026-01-01T00:00:00+00:00", {"source": "demo://"}, {"frames": 3})
    assert list(document) == ["schema", "command", "machine", "conditions", "started_at", "frames"]
    assert (document["schema"], document["command"], document["conditions"], document["frames"]) == (1, "edge run", {"source": "demo://"}, 3)
    assert document["machine"]["cores"] == describe()["cores"]
