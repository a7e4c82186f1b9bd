"""Where a result comes from: when, by which versions, from which commit."""

from __future__ import annotations

import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge.board.machine import describe

RESULT_SCHEMA = 1


def now() -> str:
    """Return the present time as ISO 8601 in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def lineage(*packages: str) -> dict[str, Any]:
    """Return `made_at`, `commit` (None outside a checkout; "+" behind it means local changes), `python` and the versions of `packages` (None if absent)."""
    return {"made_at": now(), "commit": _commit(), "python": platform.python_version(), "versions": {name: _version(name) for name in packages}}


def result(command: str, started_at: str, conditions: dict[str, Any], figures: dict[str, Any]) -> dict[str, Any]:
    """Return one `--json` document: the keys that every result has (schema, command, machine, conditions, started_at), then its figures."""
    return {"schema": RESULT_SCHEMA, "command": command, "machine": describe(), "conditions": conditions, "started_at": started_at, **figures}


def _version(name: str) -> str | None:
    for distribution in (name, f"{name}-cpu", f"{name}-gpu"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).resolve().parents[1]), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
