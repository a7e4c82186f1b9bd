"""What a benchmark runs and in what conditions: chosen by the same options for all, printed before every figure and written beside it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.engine import Engine, open_engine
from edge.files import write_json
from edge.lineage import lineage, result
from edge.machine import describe
from edge.manifest import read_bundle

ROLE = "classifier"
BUSY_SHARE = 0.7
"""Load of a minute, as a share of the cores, above which times are not to be trusted."""


@dataclass(frozen=True)
class Setting:
    """An engine as the user asks for it: the bundle's folder and the options of `edge.engine.open_engine`."""

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
        name, load = read_bundle(self.bundle).manifest.name, describe()["load_1min"]
        return {"bundle": name, "folder": str(self.bundle), "provider": self.provider, "commit": lineage()["commit"], "load_before": load, **more}


def print_conditions(engine: str, precision: str, setting: Setting) -> None:
    """Print what is measured and where, and a warning on stderr if the machine is busy with something else."""
    machine = describe()
    place = machine["board"] or machine["cpu"]
    print(f"{engine} on {setting.provider}, {precision}, bundle {setting.bundle}; {place}, {machine['cores']} cores, load {machine['load_1min']}")
    warning = busy(machine["load_1min"], machine["cores"])
    if warning:
        print(warning, file=sys.stderr)


def busy(load_1min: float | None, cores: int) -> str | None:
    """Return a warning if `load_1min` says that something else runs on the `cores`."""
    if load_1min is None or load_1min <= cores * BUSY_SHARE:
        return None
    return f"warning: load {load_1min} on {cores} cores: something else runs here, times come out longer than on a quiet machine"


def write_result(path: Path | None, command: str, started_at: str, conditions: dict[str, Any], figures: dict[str, Any]) -> None:
    """Write the `--json` document to `path`, if one was asked for.

    Raises:
        OutputError: the file cannot be written.
    """
    if path is not None:
        write_json(path, result(f"benchmarks {command}", started_at, conditions, figures))
        print(f"result in {path}")
