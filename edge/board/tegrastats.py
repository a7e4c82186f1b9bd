"""Reads the lines of `tegrastats`, which tells a Jetson's load, temperatures and power where the kernel's own files do not."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edge.threads import Worker

PROGRAM = "usr/bin/tegrastats"

# A rail that is switched off says -256C.
ABSENT_C = -100.0

_GPU = re.compile(r"\bGR3D_FREQ (\d+)%")
_TEMPERATURE = re.compile(r"(?<![\w-])([A-Za-z][\w-]*)@(-?\d+(?:\.\d+)?)C(?!\w)")
_RAIL = re.compile(r"(?<!\w)(V[A-Z0-9_]+) (\d+)(?:mW)?/\d+")
_END_S = 2.0


@dataclass(frozen=True)
class Line:
    """What one line says.

    Attributes:
        gpu_load: 0 to 1; None where the line has none, as on a Thor.
        temperatures_c: by sensor; sensors that are off are left out.
        power_mw: by rail, the instant figure of each.
    """

    gpu_load: float | None
    temperatures_c: dict[str, float]
    power_mw: dict[str, int]


def parse_line(text: str) -> Line:
    """Read a line of any release; what it lacks is None or left out."""
    gpu = _GPU.search(text)
    temperatures_c = {name: float(degrees) for name, degrees in _TEMPERATURE.findall(text) if float(degrees) > ABSENT_C}
    return Line(int(gpu[1]) / 100 if gpu else None, temperatures_c, {name: int(power) for name, power in _RAIL.findall(text)})


class Tegrastats:
    """Runs `tegrastats` and keeps its newest line; where the program is absent or ends, there is none."""

    def __init__(self, root: Path, interval_ms: int = 1000) -> None:
        """Run the program below `root`, a line each `interval_ms`."""
        self._command = [str(root / PROGRAM), "--interval", str(interval_ms)]
        self._process: subprocess.Popen[str] | None = None
        self._thread = Worker(self._read, "tegrastats")
        self._newest: Line | None = None

    def __enter__(self) -> Tegrastats:
        try:
            # A system tool by its full path.
            self._process = subprocess.Popen(  # noqa: S603
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
            )
        except OSError:  # no Jetson, or a container without it
            return self
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._thread.stop() and self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def newest(self) -> Line | None:
        """The newest line, None before the first and after the program's end."""
        return self._newest

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for text in self._process.stdout:
            self._newest = parse_line(text)
        self._newest = None
