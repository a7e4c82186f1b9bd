"""Why a process of its own, in which benchmarks measure, ended."""

from __future__ import annotations


def last_line(said: str, code: int | None) -> str:
    """Return the last line that a process said on stderr, or its exit code where it said nothing."""
    return (said.strip().splitlines() or [f"exit code {code}"])[-1]
