"""The 8 GB that a Jetson Orin Nano's CPU and GPU share: what the system takes, what running or building takes beside it, and what is left.

Measured where it can be, else estimated from what TensorRT is known to take; each share says which.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.measuring.setting import ROLE
from edge.board.identity import SYSTEM, build_need_mib, is_jetson, read_memory
from edge.bundle.manifest import Bundle
from edge.bundle.sidecar import plan_path, read_sidecar
from edge.engines.open import built_precisions
from edge.errors import BundleError

NANO_MIB = 7620
"""What an Orin Nano of 8 GB has, as its tegrastats tells it."""
SYSTEM_MIB = 1343
"""What its system takes without a desktop, from the same recorded line."""
LEAST_ROOM_MIB = 512
"""Head room below which a camera's buffers, a page or a second program may end it."""


def budget(bundle: Bundle, running_mib: float, root: Path = SYSTEM) -> dict[str, Any]:
    """Divide the board's memory.

    Args:
        bundle: what is run and built.
        running_mib: most memory of the process that runs the classifier.
        root: where the file system starts.

    Returns:
        `total_mib`; `rows`: "running" and "building" -> share -> MiB, whose sum is the total unless it is exceeded; `measured`: share -> whether it was here;
        `verdict`, in words.
    """
    board, memory = is_jetson(root), read_memory(root)
    total, system = (memory.total_mib, memory.total_mib - memory.available_mib) if board and memory else (NANO_MIB, SYSTEM_MIB)
    build, built_here = _build_mib(bundle, total - system)
    rows = {name: _row(total, system, taken) for name, taken in (("running", running_mib), ("building", build))}
    least = min(rows, key=lambda name: rows[name]["head room"])
    room = total - system - {"running": running_mib, "building": build}[least]
    if room < 0:
        verdict = f"too much by {-room:.0f} MiB while {least}: end the desktop (sudo systemctl isolate multi-user.target), or take a smaller model"
    elif room < LEAST_ROOM_MIB:
        verdict = f"tight while {least}: {room:.0f} MiB are left: end the desktop (sudo systemctl isolate multi-user.target)"
    else:
        verdict = f"fits: {room:.0f} MiB are left while {least}, which takes most"
    verdict += "" if board else " (estimated: not yet measured on a board)"
    return {"total_mib": total, "rows": rows, "measured": {"system": board, "running": board, "building": built_here}, "verdict": verdict}


def _row(total: float, system: float, taken: float) -> dict[str, float]:
    return {"system": round(system, 1), "Signwing": round(taken, 1), "head room": round(max(total - system - taken, 0.0), 1)}


def _build_mib(bundle: Bundle, free_mib: float) -> tuple[float, bool]:
    """Return what the build of the hungriest engine takes of what the system leaves, and whether it was measured on this board."""
    told = []
    for precision in built_precisions(bundle, ROLE):
        with suppress(BundleError):
            sidecar = read_sidecar(plan_path(bundle.folder, ROLE, precision), "")
            # What the process had resident leaves out most of the GPU's: what the system had left tells more.
            told.append(max(sidecar.peak_mib, free_mib - sidecar.least_available_mib if sidecar.least_available_mib is not None else 0.0))
    if told:
        return max(told), True
    spec = bundle.model(ROLE, "fp16")
    return build_need_mib(bundle.verified_path(spec.file, spec.sha256).stat().st_size / 2**20), False
