"""Processes of their own that benchmarks measure in: they find this project from anywhere, and tell in a line why they ended."""

from __future__ import annotations

import os
from pathlib import Path


def child_environment() -> dict[str, str]:
    """Return this process's environment with the project in front of its module path."""
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def last_line(said: str, code: int | None) -> str:
    """Return the last line that a process said on stderr, or its exit code where it said nothing."""
    return (said.strip().splitlines() or [f"exit code {code}"])[-1]
