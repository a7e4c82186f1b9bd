"""How the machine stands before and after a measurement, and what of that spoils it. Read, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge.board.clocks import read_clocks
from edge.board.identity import SYSTEM, known_faults, read_cuda, read_identity
from edge.board.jetpack import jetpack_of
from edge.board.machine import describe
from edge.board.telemetry import HOT_C, read_temperatures, read_throttled

BUSY_SHARE = 0.7
"""Load of a minute, as a share of the cores, above which times are not to be trusted."""


def read_state(root: Path = SYSTEM) -> dict[str, Any]:
    """Read what may change between two runs.

    Returns:
        `load_1min`, `clocks` (MHz, as `edge.board.clocks.Clocks`), `hottest_c`, `throttled`, `power_mode`, `l4t`, `jetpack`, `cuda`, `faults` known of this release;
        None, or an empty list, for what a machine does not tell.
    """
    board = read_identity(root)
    known = jetpack_of(board.l4t) if board.l4t else None
    return {
        "load_1min": describe()["load_1min"],
        "clocks": asdict(read_clocks(root)),
        "hottest_c": max(read_temperatures(root).values(), default=None),
        "throttled": read_throttled(root),
        "power_mode": board.power_mode,
        "l4t": board.l4t,
        "jetpack": known.name if known else None,
        "cuda": read_cuda(root),
        "faults": known_faults(board),
    }


def shown(state: Mapping[str, Any]) -> str:
    """Return the state in a line, as far as the machine tells it."""
    clocks = state["clocks"]
    parts = [
        f"load {state['load_1min']}",
        f"L4T {state['l4t']}" if state["l4t"] else "",
        f"power mode {state['power_mode']}" if state["power_mode"] else "",
        f"CPU at {clocks['cpu']} of {clocks['cpu_max']} MHz ({clocks['governor']})" if clocks["cpu"] and clocks["cpu_max"] else "",
        f"GPU up to {clocks['gpu_max']} MHz" if clocks["gpu_max"] else "",
        f"{state['hottest_c']:.0f} degrees" if state["hottest_c"] is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def warnings_of(state: Mapping[str, Any], cores: int, before: Mapping[str, Any] | None = None) -> list[str]:
    """Say what spoils a result, each with its cure; after a measurement, `before` is the state that it began in."""
    found = []
    load, hottest_c = state["load_1min"], state["hottest_c"]
    if before is None and load is not None and load > cores * BUSY_SHARE:
        found.append(f"load {load} on {cores} cores: something else runs here, times come out longer than on a quiet machine: end it and measure again")
    if hottest_c is not None and hottest_c >= HOT_C:
        found.append(f"{hottest_c:.0f} degrees: the processor may slow itself: let it cool, or give it a fan, and measure again")
    if before is None:
        found += state["faults"]
    elif state["throttled"] is not None and before["throttled"] is not None and state["throttled"] > before["throttled"]:
        times = state["throttled"] - before["throttled"]
        found.append(f"the board slowed itself {times} times for want of power: give it a stronger supply, or a lower power mode, and measure again")
    if before is not None and state["power_mode"] != before["power_mode"]:
        found.append(f"the power mode changed from {before['power_mode']} to {state['power_mode']}: measure again")
    return [f"warning: {text}" for text in found]
