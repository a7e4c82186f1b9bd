"""How fast the processors run now and may run, as the kernel tells it: https://docs.kernel.org/admin-guide/pm/cpufreq.html and, for a Jetson's GPU, devfreq."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.board.identity import SYSTEM, read_gpu_hz, read_text

_CPUS = "sys/devices/system/cpu"


@dataclass(frozen=True)
class Clocks:
    """Clocks in MHz; None where the system does not tell, as inside most virtual machines.

    Attributes:
        cpu: of the fastest core now.
        cpu_max: that the fastest core may reach.
        governor: what chooses the cores' clocks, such as "schedutil"; several where the cores differ.
        gpu: of a Jetson's GPU now.
        gpu_max: that it may reach.
    """

    cpu: int | None
    cpu_max: int | None
    governor: str | None
    gpu: int | None
    gpu_max: int | None


def read_clocks(root: Path = SYSTEM) -> Clocks:
    """Read the clocks; `root` is where the file system starts."""
    policies = sorted((root / _CPUS).glob("cpu[0-9]*/cpufreq"))
    governors = sorted({read_text(policy / "scaling_governor").strip() for policy in policies} - {""})
    return Clocks(
        cpu=_fastest(policies, "scaling_cur_freq"),
        cpu_max=_fastest(policies, "scaling_max_freq"),
        governor=", ".join(governors) or None,
        gpu=_mhz(read_gpu_hz("cur_freq", root)),
        gpu_max=_mhz(read_gpu_hz("max_freq", root)),
    )


def _fastest(policies: list[Path], name: str) -> int | None:
    told = [int(text) for policy in policies if (text := read_text(policy / name).strip()).isdecimal()]
    return max(told) // 1000 if told else None


def _mhz(hz: int | None) -> int | None:
    return hz // 10**6 if hz is not None else None
