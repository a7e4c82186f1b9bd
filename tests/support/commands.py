"""Commands of `python -m edge` as tests type them, and bundles that are changed for a test."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.__main__ import main
from edge.bundle.manifest import read_bundle, write_manifest
from edge.files import sha256_of


def done(*argv: object) -> None:
    assert main([str(part) for part in argv]) == 0


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Run a command that must be refused: exit code 1 and one line on the standard error, which is returned."""
    assert main([str(part) for part in argv]) == 1
    told = capsys.readouterr().err
    assert told.startswith("python -m edge: wanted ")
    assert told.count("\n") == 1
    return told


def command(*argv: object) -> list[str]:
    """The same for a process of its own."""
    return [sys.executable, "-m", "edge", *(str(part) for part in argv)]


def started(argv: list[str], cwd: Path, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start a process that heeds SIGINT, also where the test run itself was started in the background and ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(argv, cwd=cwd, stdout=stdout, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rewrite(bundle: Path, **changes: Any) -> None:
    """Change fields of a bundle's manifest."""
    write_manifest(bundle, replace(read_bundle(bundle).manifest, **changes))


def rehash(bundle: Path, **changes: Any) -> None:
    """Set the models' hashes to those of the files that are there, and change fields of the models."""
    models = read_bundle(bundle).manifest.models
    rewrite(bundle, models=tuple(replace(model, sha256=sha256_of(bundle / model.file), **changes) for model in models))


def rehash_golden(bundle: Path) -> None:
    golden = read_bundle(bundle).manifest.golden
    rewrite(bundle, golden=replace(golden, sha256=sha256_of(bundle / golden.file)))
