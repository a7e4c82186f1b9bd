"""What a benchmark runs and in what conditions: chosen by the same options for all, printed before every figure and written beside it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring.state import read_state, shown, warnings_of
from edge.board.machine import cores, describe
from edge.bundle.lineage import lineage, result
from edge.bundle.manifest import read_bundle
from edge.datasets.classes import classes_of_bundle
from edge.engines.contract import Engine
from edge.engines.open import open_engine
from edge.errors import InputError
from edge.files import write_json

ROLE = "classifier"


@dataclass(frozen=True)
class Setting:
    """An engine as the user asks for it: the bundle's folder and the options of `edge.engines.open.open_engine`."""

    bundle: Path
    engine: str = "auto"
    precision: str = "auto"
    provider: str = "cpu"

    def open(self) -> Engine:
        """Load the bundle's classifier.

        Raises:
            BundleError: no bundle, a damaged one, or one without this precision.
            EngineError: the engine refuses the model or an option.
            MissingDependency: the engine's library is not installed.
        """
        return open_engine(read_bundle(self.bundle), ROLE, engine=self.engine, precision=self.precision, provider=self.provider)

    def conditions(self, **more: Any) -> dict[str, Any]:
        """Return the `conditions` of a result as they are before anything is measured; `more` are those of one benchmark.

        Raises:
            BundleError: no bundle, or a damaged one.
        """
        name = read_bundle(self.bundle).manifest.name
        return {"bundle": name, "folder": str(self.bundle), "provider": self.provider, "commit": lineage()["commit"], **more, "before": read_state()}


def check_flown(setting: Setting) -> None:
    """Refuse a bundle that does not know the signs of drawn flights: it would be held against ids that mean others.

    Raises:
        BundleError: no bundle, or a damaged one.
        InputError: it knows others.
    """
    manifest = read_bundle(setting.bundle).manifest
    if not classes_of_bundle(manifest).official:
        raise InputError(
            f"wanted a bundle that knows the signs of drawn flights, found {manifest.name}, whose {len(manifest.labels)} classes are others: "
            "measure it on frames of its own (signwing bench detection, signwing bench views), or with faces of its own (signwing bench tracks --faces)"
        )


def print_conditions(engine: str, precision: str, setting: Setting) -> None:
    """Print what is measured and where, and on stderr what spoils it."""
    machine, state = describe(), read_state()
    place = machine["board"] or machine["cpu"]
    print(f"{engine} on {setting.provider}, {precision}, bundle {setting.bundle}; {place}, {machine['cores']} cores, {shown(state)}")
    for warning in warnings_of(state, machine["cores"]):
        print(warning, file=sys.stderr)


def write_result(path: Path | None, command: str, started_at: str, conditions: dict[str, Any], figures: dict[str, Any], noise: Sequence[str] = ()) -> None:
    """Print what spoiled the measurement while it went on, with the `noise` that it saw itself; write the `--json` document to `path`, if one was asked for.

    Raises:
        OutputError: the file cannot be written.
    """
    before, after = conditions["before"], read_state()
    spoiled = [*warnings_of(after, cores(), before), *noise]
    for warning in spoiled:
        print(warning, file=sys.stderr)
    if path is not None:
        told = conditions | {"after": after, "warnings": warnings_of(before, cores()) + spoiled}
        write_json(path, result(f"benchmarks {command}", started_at, told, figures))
        print(f"result in {path}")
