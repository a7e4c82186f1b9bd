"""How the machine fares while it runs: load, memory and temperature, and on a Jetson the GPU's load, the power of each rail, power mode and throttling."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edge.board.identity import SYSTEM, Memory, is_jetson, read_memory, read_power_mode, read_text
from edge.board.machine import pss_mib, rss_mib
from edge.board.tegrastats import ABSENT_C, Line, Tegrastats
from edge.process.threads import Worker

PERIOD_S = 1.0
KEPT = 600
"""Samples that are kept: ten minutes."""
HOT_C = 85.0
"""An Orin slows itself from 99 degrees on; with the drone standing still this is near."""

# What costs more than a glance is asked less often: the kernel walks all pages for PSS, and the power mode is a process.
_SLOW_EVERY = 30
_RAILS = "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_label"
_RAIL_LABEL = re.compile(r"in(\d+)_label")
_OVER_CURRENT = "soctherm_oc"
_CPU_IDLE = (3, 4)


@dataclass(frozen=True)
class Telemetry:
    """One sample. What a machine does not tell is None, or left out of a dictionary.

    Attributes:
        at_ns: `time.monotonic_ns`.
        cpu_load: share of all cores' time that was used since the sample before, 0 to 1.
        memory: of the system; on a Jetson the GPU's is part of it.
        rss_mib: resident memory of this process; on a Jetson what CUDA allocates is mostly not in it.
        pss_mib: the same with shared pages divided among those who share them; some seconds old.
        temperatures_c: degrees Celsius by sensor.
        gpu_load: 0 to 1.
        power_mw: milliwatts by rail; VDD_IN is the whole module, and no rail of an Orin Nano is the GPU's alone.
        power_mode: by name, such as "MAXN_SUPER"; some seconds old.
        throttled: how often over-current or under-voltage slowed the board since it started; None where it is not told.
    """

    at_ns: int
    cpu_load: float | None
    memory: Memory | None
    rss_mib: float
    pss_mib: float | None
    temperatures_c: dict[str, float]
    gpu_load: float | None
    power_mw: dict[str, int]
    power_mode: str | None
    throttled: int | None

    @property
    def hottest_c(self) -> float | None:
        """The highest temperature of all sensors."""
        return max(self.temperatures_c.values(), default=None)


class Monitor:
    """Takes a sample each second, in a thread of its own, and keeps those of the last ten minutes."""

    def __init__(self, root: Path = SYSTEM, *, period_s: float = PERIOD_S) -> None:
        """Read the machine whose file system starts at `root`."""
        self._root, self._period_s = root, period_s
        self._samples: deque[Telemetry] = deque(maxlen=KEPT)
        self._listeners: list[Callable[[Telemetry], None]] = []
        self._cpu: tuple[int, int] | None = None
        self._slow: tuple[float | None, str | None] = (None, None)
        self._turn = 0
        self._tegrastats: Tegrastats | None = None
        self._stack = ExitStack()
        self._thread = Worker(self._work, "telemetry")

    def __enter__(self) -> Monitor:
        if is_jetson(self._root) and (read_gpu_load(self._root) is None or not read_rails(self._root)):
            self._tegrastats = self._stack.enter_context(Tegrastats(self._root))
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._thread.stop()
        self._stack.close()

    @property
    def newest(self) -> Telemetry:
        """The newest sample; there is one from the beginning on."""
        return self._samples[-1]

    @property
    def samples(self) -> list[Telemetry]:
        """All that are kept, oldest first."""
        return list(self._samples.copy())

    def tell(self, listener: Callable[[Telemetry], None]) -> None:
        """Call `listener` with each sample from now on, in the monitor's thread."""
        self._listeners.append(listener)

    def _work(self) -> None:
        while not self._thread.stopping.wait(self._period_s):
            self._sample()
            for listener in self._listeners:
                listener(self._samples[-1])

    def _sample(self) -> None:
        root = self._root
        if self._turn % _SLOW_EVERY == 0:
            self._slow = (pss_mib(), read_power_mode(root))
        self._turn += 1
        before, self._cpu = self._cpu, parse_cpu(read_text(root / "proc/stat"))
        line = (self._tegrastats.newest if self._tegrastats else None) or Line(None, {}, {})
        load = read_gpu_load(root)
        self._samples.append(
            Telemetry(
                at_ns=time.monotonic_ns(),
                cpu_load=cpu_load(before, self._cpu),
                memory=read_memory(root),
                rss_mib=rss_mib(),
                pss_mib=self._slow[0],
                temperatures_c=read_temperatures(root) or line.temperatures_c,
                gpu_load=line.gpu_load if load is None else load,
                power_mw=read_rails(root) or line.power_mw,
                power_mode=self._slow[1],
                throttled=read_throttled(root),
            )
        )


def parse_cpu(text: str) -> tuple[int, int] | None:
    """Return the used and the whole time of all cores together in /proc/stat, in ticks since the start; None if it is not there."""
    for line in text.splitlines():
        name, *ticks = line.split()
        if name == "cpu" and len(ticks) > max(_CPU_IDLE) and all(tick.isdecimal() for tick in ticks):
            # Time as a guest is part of the user's time, so what follows it is not added again.
            times = [int(tick) for tick in ticks[:8]]
            return sum(times) - sum(times[place] for place in _CPU_IDLE), sum(times)
    return None


def cpu_load(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    """Return the share of time used between two looks of `parse_cpu`, 0 to 1; None where nothing can be said."""
    if before is None or after is None or after[1] <= before[1]:
        return None
    return min(max((after[0] - before[0]) / (after[1] - before[1]), 0.0), 1.0)


def read_temperatures(root: Path = SYSTEM) -> dict[str, float]:
    """Return degrees Celsius by thermal zone; those that are off, or cannot be read just now, are left out."""
    found: dict[str, float] = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        degrees = _integer(zone / "temp")
        if degrees is not None and degrees / 1000 > ABSENT_C:
            name = read_text(zone / "type").strip() or zone.name
            found[name.removesuffix("-thermal") if name not in found else zone.name] = degrees / 1000
    return found


def read_gpu_load(root: Path = SYSTEM) -> float | None:
    """Return the load of a Jetson's GPU, 0 to 1, which its driver tells in thousandths; None elsewhere."""
    for name in sorted(root.glob("sys/class/devfreq/*/device/of_node/name")):
        if is_gpu(read_text(name)):
            load = _integer(name.parent.parent / "load")
            return None if load is None else min(load / 1000, 1.0)
    return None


def is_gpu(node: str) -> bool:
    """Tell whether a device tree's node is named as a GPU's is: gpu, ga10b, gv11b."""
    name = node.strip("\0\n ")
    return "gpu" in name or name in ("ga10b", "gv11b")


def read_rails(root: Path = SYSTEM) -> dict[str, int]:
    """Return the power of each rail that a Jetson's INA3221 measures, in milliwatts; rails without a reading are left out."""
    found: dict[str, int] = {}
    for label in sorted(root.glob(_RAILS)):
        number = _RAIL_LABEL.fullmatch(label.name)
        if number is None:
            continue
        millivolts, milliamperes = _integer(label.with_name(f"in{number[1]}_input")), _integer(label.with_name(f"curr{number[1]}_input"))
        if millivolts is not None and milliamperes is not None:
            found[read_text(label).strip()] = round(millivolts * milliamperes / 1000)
    return found


def read_throttled(root: Path = SYSTEM) -> int | None:
    """Return how often an Orin was slowed for under-voltage (oc1), mean (oc2) or momentary (oc3) over-current; None where its driver is not there."""
    for name in root.glob("sys/class/hwmon/hwmon*/name"):
        if read_text(name).strip() == _OVER_CURRENT:
            counts = [_integer(file) for file in name.parent.glob("oc*_event_cnt")]
            known = [count for count in counts if count is not None]
            return sum(known) if known else None
    return None


def _integer(path: Path) -> int | None:
    text = read_text(path).strip()
    return int(text) if text.removeprefix("-").isdecimal() else None
