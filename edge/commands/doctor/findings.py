"""What is wrong with a machine, and what cures it: facts in, findings out. Pure but for the user who asks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from edge.board.extras import install
from edge.board.identity import known_faults
from edge.board.jetpack import jetpack_of, parse_version, refusal
from edge.board.telemetry import HOT_C
from edge.commands.doctor import outputs
from edge.commands.doctor.facts import Facts, Library

Severity = Literal["broken", "warning", "note"]

LEAST_AVAILABLE_MIB = 1024
LEAST_DISK_MIB = 1024
"""An engine, its log and TensorRT's timing cache, with room."""


@dataclass(frozen=True)
class Finding:
    """What is wrong, how bad it is, and what cures it, a command where there is one."""

    severity: Severity
    text: str
    cure: str


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
    again = "sudo apt install python3-opencv, in a venv with --system-site-packages" if jetson else install("edge")
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
        found.append(Finding("broken", f"nothing to run a model with: no onnxruntime{_why(libraries['onnxruntime'])}", install("edge")))
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
    found = [Finding("warning", text, cure) for text, cure in outputs.halves(facts.absent)]
    if facts.serial_console:
        text = "nvgetty, a login console, starts on a serial port of the board: an autopilot that is wired there hears it"
        found.append(Finding("note", text, "sudo systemctl disable --now nvgetty"))
    return found


def _why(library: Library) -> str:
    return f" ({library.fault})" if library.fault else ""
