"""Proves that a bundle is whole and computes here what it computed where it was made."""

from __future__ import annotations

from pathlib import Path

from edge.bundle.golden import ROLES
from edge.bundle.manifest import read_bundle
from edge.engines.self_test import Choice, Outcome, self_test
from edge.errors import VerificationError
from edge.outside.text import printable


def check(folder: Path, choice: Choice | None = None) -> None:
    """Check a bundle's files and outputs and print a table.

    Raises:
        BundleError: a file is missing, damaged or incomplete, or there is no engine for this board.
        EngineError: a model cannot be run.
        MissingDependency: the engine's library is not installed.
        VerificationError: a precision is out of its tolerance.
    """
    bundle = read_bundle(folder)
    for part in bundle.manifest.files:
        bundle.verified_path(part.file, part.sha256)
    print(f"{printable(folder)}: {bundle.manifest.name}, {len(bundle.manifest.files)} files are as they were exported")
    outcomes = []
    print(f"{'model':<11} {'engine':<12} {'precision':<10} {'difference':>10} {'tolerance':>10} {'ms each':>10} {'resident MiB':>13} {'GPU MiB':>8}")
    for role in ROLES:
        for outcome in self_test(bundle, role, choice or Choice()) if bundle.holds(role) else ():
            outcomes.append(outcome)
            print(_row(outcome))
    failed = [f"{outcome.role} {outcome.precision}" for outcome in outcomes if not outcome.passed]
    if failed:
        raise VerificationError(f"wanted the outputs that {folder} was made with, found others in {', '.join(failed)}: export the bundle again on this version")


def _row(outcome: Outcome) -> str:
    figures = f"{outcome.difference:>10.2g} {outcome.tolerance:>10.2g} {outcome.median_ms:>10.2f} {outcome.resident_mib:>13.1f}"
    gpu = "-" if outcome.gpu_mib is None else f"{outcome.gpu_mib:.1f}"
    return f"{outcome.role:<11} {outcome.engine:<12} {outcome.precision:<10} {figures} {gpu:>8}  {'ok' if outcome.passed else 'OUT OF TOLERANCE'}"
