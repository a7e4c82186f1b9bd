"""What machine this is, what is wrong with it for this project, and what cures it. Facts are read, then judged: the judging is pure.

Libraries are asked in processes of their own, so that one that is broken is a finding and not the end.
"""

from __future__ import annotations

import grp
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edge.board.clocks import Clocks, read_clocks
from edge.board.identity import SYSTEM, Identity, Memory, known_faults, read_cuda, read_identity, read_memory, read_text
from edge.board.jetpack import jetpack_of, parse_version, refusal
from edge.board.machine import describe
from edge.board.telemetry import read_temperatures, read_throttled
from edge.bundle.lineage import now, result
from edge.bundle.manifest import read_bundle
from edge.commands.doctor import outputs as doctor_outputs
from edge.engines.open import built_precisions
from edge.errors import BundleError, MachineError, SignwingError
from edge.files import write_json
from edge.frame import FeedState
from edge.sources.uri import without_credentials

Severity = Literal["broken", "warning", "note"]

LIBRARIES = ("numpy", "cv2", "onnxruntime", "tensorrt")
LEAST_AVAILABLE_MIB = 1024
LEAST_DISK_MIB = 1024
"""An engine, its log and TensorRT's timing cache, with room."""
HOT_C = 85.0
"""An Orin slows itself from 99 degrees on; with the drone standing still this is near."""
TRIED_S = 10.0

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


@dataclass(frozen=True)
class Finding:
    """What is wrong, how bad it is, and what cures it, a command where there is one."""

    severity: Severity
    text: str
    cure: str


def doctor(source: str | None, bundle: Path | None, json_path: Path | None, root: Path = SYSTEM) -> None:
    """Print what this machine is and what is wrong; with a source, what would be opened for it, and whether frames come.

    Args:
        source: to be tried, or None.
        bundle: its folder; None looks at the machine alone, on which nothing need be deployed yet.
        json_path: where facts and findings go, or None.
        root: where the machine's file system starts.

    Raises:
        MachineError: something is broken; it was printed with its cure.
        OutputError: `json_path` cannot be written.
    """
    started_at = now()
    facts = read_facts(bundle, root)
    findings = judge(facts)
    for name, value in _shown(facts):
        print(f"{name:<14}{value}")
    tried = None
    if source is not None:
        tried, found = try_source(source, TRIED_S)
        findings += found
        for name, value in tried.items():
            print(f"{name:<14}{value}")
    for finding in findings:
        print(f"\n{finding.severity}: {finding.text}\n    {finding.cure}")
    broken = sum(finding.severity == "broken" for finding in findings)
    if json_path is not None:
        figures = {"facts": asdict(facts), "findings": [asdict(finding) for finding in findings], "source": tried, "broken": broken}
        write_json(json_path, result("edge doctor", started_at, {"bundle": bundle and str(bundle), "source": source and without_credentials(source)}, figures))
    if broken:
        raise MachineError(f"wanted a machine that everything works on, found {broken} thing{'s' * (broken > 1)} broken: the cures stand above")
    print(f"\nnothing is broken{f', {len(findings)} to know' if findings else ''}")


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
        absent=doctor_outputs.lacking(),
        serial_console=doctor_outputs.has_serial_console(root),
    )


def judge(facts: Facts) -> list[Finding]:
    """Return what is wrong, the worst first."""
    found = [*_of_board(facts), *_of_libraries(facts), *_of_room(facts), *_of_bundle(facts), *_of_outputs(facts)]
    order = ("broken", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _of_board(facts: Facts) -> list[Finding]:
    board, found = facts.board, []
    if board.l4t and (reason := refusal(board.l4t)):
        text, _, cure = reason.rpartition(": ")
        found.append(Finding("broken" if jetpack_of(board.l4t) else "warning", text, cure))
    for fault in known_faults(board):
        text, _, cure = fault.rpartition(": ")
        found.append(Finding("warning", text, cure))
    if board.jetson and board.power_mode and not board.power_mode.startswith("MAXN"):
        found.append(Finding("note", f"power mode {board.power_mode}: a faster one may be there", "sudo nvpmodel -q --verbose, then sudo nvpmodel -m NUMBER"))
    if facts.throttled:
        found.append(Finding("warning", f"the board slowed itself {facts.throttled} times for want of power", "a stronger supply, or a lower power mode"))
    hot = {name: degrees for name, degrees in facts.temperatures_c.items() if degrees >= HOT_C}
    if hot:
        found.append(Finding("warning", f"{', '.join(f'{name} at {degrees:.0f} degrees' for name, degrees in hot.items())}", "a fan, or a lower power mode"))
    lacking = [group for group in ("video", "dialout") if group not in facts.groups] if board.jetson and os.getuid() != 0 else []
    if lacking:
        use = {"video": "cameras and the GPU", "dialout": "a serial autopilot"}
        what = " and ".join(f"{group} ({use[group]})" for group in lacking)
        found.append(Finding("warning", f"this user is not in the group {what}", f"sudo usermod -aG {','.join(lacking)} $USER, then log in again"))
    return found


def _of_libraries(facts: Facts) -> list[Finding]:
    jetson, libraries, found = facts.board.jetson, facts.libraries, []
    known = jetpack_of(facts.board.l4t) if facts.board.l4t else None
    python = ".".join(map(str, facts.python))
    if known and not known.refusal and facts.python != known.python:
        own = ".".join(map(str, known.python))
        cure = "/usr/bin/python3 -m venv --system-site-packages .venv"
        found.append(Finding("broken", f"Python {python}: JetPack {known.name}'s TensorRT and OpenCV are for its own Python {own} alone", cure))
    opencv, numpy = libraries["cv2"], libraries["numpy"]
    again = "sudo apt install python3-opencv, in a venv with --system-site-packages" if jetson else "pip install -c constraints.txt 'signwing[edge]'"
    if numpy.version is None:
        found.append(Finding("broken", f"no NumPy{_why(numpy)}", again.replace("python3-opencv", "python3-numpy")))
    if opencv.version is None:
        old = "numpy" in opencv.fault.lower() or "_ARRAY_API" in opencv.fault
        cure = "pip install -c constraints-system.txt numpy: the system's OpenCV wants NumPy 1.x" if old else again
        found.append(Finding("broken", f"no OpenCV{_why(opencv)}", cure))
    elif jetson and not opencv.gstreamer:
        text = f"the OpenCV in {opencv.place} has no GStreamer, so no CSI camera and no hardware decoder: pip's hides JetPack's"
        found.append(Finding("broken", text, "pip uninstall opencv-python opencv-python-headless, in a venv with --system-site-packages"))
    if len(facts.twins) > 1:
        cure = "pip uninstall -y onnxruntime onnxruntime-gpu, then install the one that is wanted"
        found.append(Finding("broken", "onnxruntime and onnxruntime-gpu are both installed: each overwrites the other's files", cure))
    tensorrt = libraries["tensorrt"]
    if jetson and tensorrt.version is None:
        own = "sudo apt install python3-libnvinfer, in a venv with --system-site-packages"
        # A board without a DLA wants the DLA's compiler all the same, and some of NVIDIA's containers for JetPack 7.2 lack it.
        cure = "run outside the container, or mount the board's libnvdla_compiler.so into it" if "libnvdla_compiler" in tensorrt.fault else own
        found.append(Finding("broken", f"no TensorRT{_why(tensorrt)}", cure))
    elif jetson and known and known.python == (3, 10) and "dist-packages" not in (tensorrt.place or ""):
        text = f"TensorRT {tensorrt.version} in {tensorrt.place} is pip's, which does not know this GPU on JetPack 6"
        found.append(Finding("broken", text, "pip uninstall tensorrt tensorrt-cu12 tensorrt-cu13: JetPack's own is there"))
    if not jetson and libraries["onnxruntime"].version is None and tensorrt.version is None:
        found.append(
            Finding("broken", f"nothing to run a model with: no onnxruntime{_why(libraries['onnxruntime'])}", "pip install -c constraints.txt 'signwing[edge]'")
        )
    if not jetson and opencv.version is not None and parse_version(opencv.version) < (4, 8):
        found.append(Finding("note", f"OpenCV {opencv.version} is older than 4.8, which is what is tested", again))
    return found


def _of_room(facts: Facts) -> list[Finding]:
    found, memory, jetson = [], facts.memory, facts.board.jetson
    if memory and memory.available_mib < LEAST_AVAILABLE_MIB:
        cure = "sudo systemctl isolate multi-user.target ends the desktop" if jetson else "close other programs"
        found.append(Finding("warning", f"{memory.available_mib} MiB of memory are available", cure))
    if memory and jetson and memory.swap_mib == 0:
        found.append(Finding("note", "no swap: the build of an engine has nothing to give way to", "scripts/provision makes some"))
    if jetson and facts.desktop:
        found.append(Finding("note", "a desktop starts with the board, and takes memory that the GPU shares", "sudo systemctl set-default multi-user.target"))
    if facts.disk_mib < LEAST_DISK_MIB:
        found.append(Finding("warning", f"{facts.disk_mib} MiB of disk are free where the bundle lies", f"free {LEAST_DISK_MIB} MiB"))
    return found


def _of_bundle(facts: Facts) -> list[Finding]:
    if facts.bundle_fault:
        text, _, cure = facts.bundle_fault.rpartition(": ")
        return [Finding("broken", text, cure)]
    if facts.board.jetson and facts.bundle and not facts.engines:
        return [Finding("warning", f"no engine of bundle {facts.bundle} was built on this board", "python -m export engine BUNDLE")]
    return []


def _of_outputs(facts: Facts) -> list[Finding]:
    found = [Finding("warning", text, cure) for text, cure in doctor_outputs.halves(facts.absent)]
    if facts.serial_console:
        text = "nvgetty, a login console, starts on a serial port of the board: an autopilot that is wired there hears it"
        found.append(Finding("note", text, "sudo systemctl disable --now nvgetty"))
    return found


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


def try_source(uri: str, seconds: float) -> tuple[dict[str, Any], list[Finding]]:
    """Open a source and take frames for a while.

    Returns:
        What is opened, and what came of it (`frames`, `size_wh`, `fps`, `detail`); and a finding if no frame came.
    """
    from edge.sources.live.feed import LiveSource
    from edge.sources.open import open_source

    shown = without_credentials(uri)
    told: dict[str, Any] = {"source": shown}
    try:
        with open_source(uri) as source:
            counted = _Counted()
            reading = threading.Thread(target=counted.read, args=(source, seconds), daemon=True)
            reading.start()
            reading.join(seconds + 1)  # a live source that gives nothing never ends
            feed = source.feed
            if isinstance(source, LiveSource):
                told["opens"] = source.opens
        told |= {"frames": counted.frames, "size_wh": counted.size_wh, "fps": counted.fps}
        if feed is not None:
            told["detail"] = f"{feed.state}: {feed.detail}"
    except SignwingError as error:
        text, _, cure = str(error).replace(uri, shown).rpartition(": ")
        return told, [Finding("broken", text, cure)]
    if counted.frames == 0:
        cure = told.get("detail", "choose another source")
        return told, [Finding("broken", f"no frame came from {shown} within {seconds:.0f} s", cure)]
    return told, []


class _Counted:
    """Frames of a source, counted in a thread."""

    def __init__(self) -> None:
        self.frames = 0
        self.size_wh: tuple[int, int] | None = None
        self._first_s = self._last_s = 0.0

    @property
    def fps(self) -> float | None:
        """Frames a second between the first and the last."""
        took = self._last_s - self._first_s
        return round((self.frames - 1) / took, 1) if self.frames > 1 and took > 0 else None

    def read(self, source: Any, seconds: float) -> None:
        end = time.monotonic() + seconds
        for came in source:
            if not isinstance(came, FeedState):
                self._last_s = time.monotonic()
                self._first_s = self._first_s or self._last_s
                self.frames += 1
                self.size_wh = came.image.shape[1], came.image.shape[0]
            if time.monotonic() >= end:
                return


def _shown(facts: Facts) -> list[tuple[str, str]]:
    board, memory, clocks = facts.board, facts.memory, facts.clocks
    opencv = facts.libraries["cv2"]
    rows = [
        ("machine", board.model or "a PC"),
        ("Jetson Linux", f"{board.l4t} (JetPack {facts.jetpack or 'unknown'})" if board.l4t else ""),
        ("power mode", board.power_mode or ""),
        ("CPU clock", _clock(clocks.cpu, clocks.cpu_max) + (f", {clocks.governor}" if clocks.governor else "") if clocks.cpu_max else ""),
        ("GPU clock", _clock(clocks.gpu, clocks.gpu_max) if clocks.gpu_max else ""),
        ("memory", f"{memory.available_mib} of {memory.total_mib} MiB available" if memory else ""),
        ("swap", f"{memory.swap_mib} MiB{f', {facts.zram_mib} of it zram' if facts.zram_mib else ''}" if memory else ""),
        ("disk", f"{facts.disk_mib} MiB free"),
        ("Python", ".".join(map(str, facts.python))),
        ("OpenCV", f"{opencv.version}, {'with' if opencv.gstreamer else 'without'} GStreamer" if opencv.version else "none"),
        *((name, library.version or "none") for name, library in facts.libraries.items() if name != "cv2"),
        ("CUDA", facts.cuda or ""),
        ("temperature", f"{max(facts.temperatures_c.values()):.0f} degrees" if facts.temperatures_c else ""),
        ("bundle", facts.bundle or ("none" if facts.bundle_fault else "")),
        ("engines", ", ".join(facts.engines)),
        ("outputs", doctor_outputs.shown(facts.absent)),
    ]
    return [(name, value) for name, value in rows if value]


def _clock(now_mhz: int | None, most_mhz: int | None) -> str:
    return f"{f'{now_mhz} of ' if now_mhz is not None else 'up to '}{most_mhz} MHz"


def _why(library: Library) -> str:
    return f" ({library.fault})" if library.fault else ""


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
