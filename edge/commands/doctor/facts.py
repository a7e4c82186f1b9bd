"""What this machine is, read and not judged. Libraries are asked in processes of their own, so that one that is broken is a finding and not the end."""

from __future__ import annotations

import grp
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edge.board.clocks import Clocks, read_clocks
from edge.board.identity import SYSTEM, Identity, Memory, read_cuda, read_identity, read_memory, read_text
from edge.board.jetpack import jetpack_of
from edge.board.machine import describe
from edge.board.telemetry import read_temperatures, read_throttled
from edge.bundle.manifest import read_bundle
from edge.commands.doctor import outputs
from edge.engines.open import built_precisions
from edge.errors import BundleError

LIBRARIES = ("numpy", "cv2", "onnxruntime", "tensorrt")

_ASK_TIMEOUT_S = 60
_TWINS = ("onnxruntime", "onnxruntime-gpu")
_ASKED = """
import json, sys
module = __import__(sys.argv[1])
told = {"version": getattr(module, "__version__", "unknown"), "place": getattr(module, "__file__", None)}
if sys.argv[1] == "cv2":
    told["gstreamer"] = any(line.split()[:2] == ["GStreamer:", "YES"] for line in module.getBuildInformation().splitlines())
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Library:
    """A library as an import of it finds it.

    Attributes:
        version: None if it cannot be imported.
        place: its file.
        gstreamer: of OpenCV, whether it was built with it.
        fault: the last line of why it cannot be imported; "" if it is simply not there.
    """

    version: str | None
    place: str | None = None
    gstreamer: bool | None = None
    fault: str = ""


@dataclass(frozen=True)
class Facts:
    """A machine.

    Attributes:
        board: by name; on a PC without most of it.
        jetpack: its name, None on a PC or for an unknown release.
        python: version of the interpreter that asks.
        libraries: those of `LIBRARIES` by name.
        twins: distributions of ONNX Runtime that are installed.
        cuda: version of CUDA's toolkit or runtime; None where there is none.
        clocks: of the processors.
        memory: of the system.
        zram_mib: how much of the swap is compressed memory.
        disk_mib: free where the bundle lies.
        groups: that the user belongs to.
        desktop: whether a graphical session starts with the machine; None where that is not told.
        temperatures_c: degrees Celsius by sensor.
        throttled: how often the board slowed itself for want of power; None where it is not told.
        bundle: its name, None if there is no good one.
        bundle_fault: why not; "" if none was asked for.
        engines: built in the bundle, such as "classifier int8".
        absent: of the extras web and mavlink the packages that are not installed.
        serial_console: whether a login console starts on a serial port of the board.
    """

    board: Identity
    jetpack: str | None
    python: tuple[int, int]
    libraries: dict[str, Library]
    twins: tuple[str, ...]
    cuda: str | None
    clocks: Clocks
    memory: Memory | None
    zram_mib: int
    disk_mib: int
    groups: tuple[str, ...]
    desktop: bool | None
    temperatures_c: dict[str, float]
    throttled: int | None
    bundle: str | None
    bundle_fault: str
    engines: tuple[str, ...]
    absent: dict[str, tuple[str, ...]]
    serial_console: bool


def read_facts(bundle: Path | None, root: Path = SYSTEM) -> Facts:
    """Read what this machine is, and about a bundle if there is one; `root` is where its file system starts."""
    board = read_identity(root)
    known = jetpack_of(board.l4t) if board.l4t else None
    name, fault, engines = _read_bundle(bundle) if bundle else (None, "", ())
    return Facts(
        board=board,
        jetpack=known.name if known else None,
        python=sys.version_info[:2],
        libraries={library: ask(library) for library in LIBRARIES},
        twins=tuple(library for library in _TWINS if library in describe()["libraries"]),
        cuda=read_cuda(root),
        clocks=read_clocks(root),
        memory=read_memory(root),
        zram_mib=_zram_mib(root),
        disk_mib=_free_mib(bundle or root),
        groups=tuple(sorted(_group_names())),
        desktop=_has_desktop(root),
        temperatures_c=read_temperatures(root),
        throttled=read_throttled(root),
        bundle=name,
        bundle_fault=fault,
        engines=engines,
        absent=outputs.lacking(),
        serial_console=outputs.has_serial_console(root),
    )


def ask(library: str) -> Library:
    """Import a library in a process of its own."""
    command = [sys.executable, "-c", _ASKED, library]
    try:
        # This Python, and a library's name of ours.
        told = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return Library(None, fault=str(error))
    if told.returncode == 0:
        return Library(**json.loads(told.stdout.splitlines()[-1]))
    if told.returncode < 0:
        return Library(None, fault=f"importing it ended with signal {-told.returncode}")
    lines = told.stderr.strip().splitlines() or [f"importing it ended with {told.returncode}"]
    return Library(None, fault="" if f"No module named '{library}'" in lines[-1] else lines[-1])


def _read_bundle(folder: Path) -> tuple[str | None, str, tuple[str, ...]]:
    try:
        bundle = read_bundle(folder)
    except BundleError as error:
        return None, str(error), ()
    engines = [f"{role} {precision}" for role in ("classifier", "spotter") for precision in built_precisions(bundle, role)]
    return bundle.manifest.name, "", tuple(engines)


def _zram_mib(root: Path) -> int:
    rows = [line.split() for line in read_text(root / "proc/swaps").splitlines()[1:]]
    return sum(int(row[2]) for row in rows if len(row) > 2 and row[0].startswith("/dev/zram") and row[2].isdecimal()) // 1024


def _free_mib(folder: Path) -> int:
    place = Path(folder).resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free >> 20


def _group_names() -> set[str]:
    names = set()
    for number in {*os.getgroups(), os.getgid()}:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:  # a group that only a number is known of
            continue
    return names


def _has_desktop(root: Path) -> bool | None:
    target = root / "etc/systemd/system/default.target"
    try:
        return "graphical" in target.readlink().name
    except OSError:
        return None
