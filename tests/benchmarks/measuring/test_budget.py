"""The 8 GB divided: measured on a board, estimated elsewhere, and the verdict follows from what is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measuring.budget import NANO_MIB, SYSTEM_MIB, budget
from edge.board.identity import build_need_mib
from edge.bundle.manifest import read_bundle
from edge.bundle.sidecar import Board, Sidecar, plan_path, write_sidecar


def on_board(root: Path, total_mib: int, available_mib: int) -> Path:
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/compatible").write_text("nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0")
    rows = {"MemTotal": total_mib, "MemFree": available_mib, "MemAvailable": available_mib, "SwapTotal": 0}
    (root / "proc/meminfo").write_text("".join(f"{name}: {mib * 1024} kB\n" for name, mib in rows.items()))
    return root


def test_elsewhere_it_is_estimated_and_says_so(shipped_bundle: Path, tmp_path: Path) -> None:
    found = budget(read_bundle(shipped_bundle), 130.0, tmp_path)
    assert found["measured"] == {"system": False, "running": False, "building": False}
    assert found["rows"]["running"] == {"system": SYSTEM_MIB, "Signwing": 130, "head room": NANO_MIB - SYSTEM_MIB - 130}
    onnx_mib = (shipped_bundle / "classifier.fp16.onnx").stat().st_size / 2**20
    assert found["rows"]["building"]["Signwing"] == pytest.approx(build_need_mib(onnx_mib), abs=0.1)
    assert all(sum(row.values()) == pytest.approx(NANO_MIB, abs=0.2) for row in found["rows"].values())
    assert found["verdict"].startswith("fits: ")
    assert "while building" in found["verdict"]


@pytest.mark.parametrize(("available", "verdict"), [(6000, "fits: "), (2100, "tight while building: 400 MiB"), (1200, "too much by ")])
def test_on_a_board_it_is_measured(available: int, verdict: str, tiny_bundle: Path, tmp_path: Path) -> None:
    found = budget(read_bundle(tiny_bundle), 500.0, on_board(tmp_path / "board", 7620, available))
    assert found["measured"] == {"system": True, "running": True, "building": False}
    assert found["rows"]["running"]["system"] == 7620 - available
    assert found["verdict"].startswith(verdict)


def test_an_engine_that_was_built_tells_what_that_took(tiny_bundle: Path, tmp_path: Path) -> None:
    plan = plan_path(tiny_bundle, "classifier", "fp16")
    plan.parent.mkdir()
    plan.write_bytes(b"a plan")
    board = Board("10.3.0", "Orin (p3767-0005)", "8.7", "36.4.3", "MAXN_SUPER")
    write_sidecar(
        plan, Sidecar(1, "classifier", "fp16", "0" * 64, "0" * 64, board, "strong", 16, 1024, 3, 1500.0, 2000, 60.0, 0.001, "2026-11-25T00:00:00+00:00")
    )
    found = budget(read_bundle(tiny_bundle), 500.0, on_board(tmp_path / "board", 7620, 6000))
    assert found["measured"]["building"]
    assert found["rows"]["building"]["Signwing"] == 6000 - 2000
