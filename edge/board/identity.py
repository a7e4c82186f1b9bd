"""What board this is, as far as building an engine and guarding it needs: module, Jetson Linux, power mode, memory. On a PC all but the memory is None."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edge.bundle.sidecar import Board

SYSTEM = Path("/")

_BUILDER_MIB = 1700
"""What TensorRT 10.3's builder takes on an Orin before it looks at a model: its kernel library, 928 MiB for the CPU and 752 for the GPU."""
_COPIES = 4
"""The model's weights in the builder's memory: the file, its parsed form, TensorRT's weights, the plan."""

_RELEASE = re.compile(r"^# R(\d+) \(release\), REVISION: ([\d.]+)", re.MULTILINE)
_POWER_MODE = re.compile(r"NV Power Mode: *(\S+)")
_PART = re.compile(r"p\d{4}-\d{4}")
_TEGRA = "nvidia,tegra"
_NVPMODEL_TIMEOUT_S = 10
_GPU_NODES = ("17000000.gpu", "17000000.ga10b")
_FULL_GPU_HZ = 900_000_000
_FAST_MODES = ("25W", "MAXN_SUPER")


@dataclass(frozen=True)
class Identity:
    """A board by name.

    Attributes:
        model: in the device tree's words, such as "NVIDIA Jetson Orin Nano Developer Kit"; None on a PC.
        module: part number, such as "p3767-0005".
        l4t: release of Jetson Linux, such as "36.4.7".
        power_mode: by name, such as "MAXN_SUPER".
        boot_spec: the TNSPEC that the firmware was flashed for; it ends in "-super-" where the fast power modes are there.
        gpu_max_hz: clock that the GPU may reach now.
        jetson: whether this is a Jetson, where the CPU and the GPU share one memory.
    """

    model: str | None
    module: str | None
    l4t: str | None
    power_mode: str | None
    boot_spec: str | None
    gpu_max_hz: int | None
    jetson: bool


@dataclass(frozen=True)
class Memory:
    """What the system says of its memory, in MiB: all of it, what a process may still get, what is free without dropping caches, and the swap."""

    total_mib: int
    available_mib: int
    free_mib: int
    swap_mib: int


def read_identity(root: Path = SYSTEM) -> Identity:
    """Read what this machine is; `root` is where its file system starts."""
    release = read_text(root / "etc/nv_tegra_release")
    return Identity(
        model=read_model(root),
        module=parse_module(_device_tree(root, "compatible")),
        l4t=parse_release(release),
        power_mode=read_power_mode(root),
        boot_spec=_field(read_text(root / "etc/nv_boot_control.conf"), "TNSPEC"),
        gpu_max_hz=read_gpu_hz("max_freq", root),
        jetson=is_jetson(root),
    )


def is_jetson(root: Path = SYSTEM) -> bool:
    """Tell whether this is a Jetson, where the CPU and the GPU share one memory."""
    return _TEGRA in _device_tree(root, "compatible")


def read_gpu_hz(name: str, root: Path = SYSTEM) -> int | None:
    """Return a frequency of a Jetson's GPU in Hz, such as "max_freq"; None where there is none."""
    told = [read_text(root / "sys/class/devfreq" / node / name).strip() for node in _GPU_NODES]
    return next((int(clock) for clock in told if clock.isdecimal()), None)


def read_cuda(root: Path = SYSTEM) -> str | None:
    """Return the version of CUDA's toolkit, or of its runtime alone, from the file that its packages bring; None where there is none."""
    try:
        told = json.loads(read_text(root / "usr/local/cuda/version.json"))
        return str((told.get("cuda") or told["cuda_cudart"])["version"])
    except (ValueError, KeyError, TypeError, AttributeError):  # none, or written by somebody else
        return None


def read_power_mode(root: Path = SYSTEM) -> str | None:
    """Ask `nvpmodel` for the name of the power mode; None on a PC."""
    return parse_power_mode(_nvpmodel(root))


def read_model(root: Path = SYSTEM) -> str | None:
    """Return the board's name in the device tree; None on a PC."""
    return _device_tree(root, "model").rstrip("\0\n") or None


def read_memory(root: Path = SYSTEM) -> Memory | None:
    """Read /proc/meminfo; None where there is none."""
    return parse_memory(read_text(root / "proc/meminfo"))


def this_board(tensorrt: str, gpu: str, compute_capability: str, root: Path = SYSTEM) -> Board:
    """Return this machine as a sidecar records it, from what TensorRT and CUDA say of themselves."""
    found = read_identity(root)
    return Board(tensorrt, f"{gpu} ({found.module})" if found.module else gpu, compute_capability, found.l4t, found.power_mode)


def parse_release(text: str) -> str | None:
    """Return the release of Jetson Linux in /etc/nv_tegra_release, "36.4.7"."""
    found = _RELEASE.search(text)
    return f"{found[1]}.{found[2]}" if found else None


def parse_power_mode(text: str) -> str | None:
    """Return the name of the power mode that `nvpmodel -q` tells: its numbers differ between images."""
    found = _POWER_MODE.search(text)
    return found[1] if found else None


def parse_module(compatible: str) -> str | None:
    """Return the module's part number in the device tree's `compatible`, "p3767-0005": the last one, behind the carrier's."""
    found = _PART.findall(compatible)
    return found[-1] if found else None


def parse_memory(text: str) -> Memory | None:
    """Return the figures of /proc/meminfo, or None if it lacks one."""
    mib = {line[0]: int(line[1]) // 1024 for line in (row.replace(":", " ").split() for row in text.splitlines()) if len(line) > 1 and line[1].isdecimal()}
    try:
        return Memory(mib["MemTotal"], mib["MemAvailable"], mib["MemFree"], mib["SwapTotal"])
    except KeyError:
        return None


def build_need_mib(onnx_mib: float) -> float:
    """Estimate the memory that building an engine takes, from the size of its model's file."""
    return _BUILDER_MIB + _COPIES * onnx_mib


def known_faults(found: Identity) -> list[str]:
    """Return what is known to go wrong on this release, each with its cure."""
    faults = []
    if found.l4t == "36.4.7":
        faults.append("Jetson Linux 36.4.7 fails large GPU allocations (NVIDIA's issue 5602402): update to 36.5")
    if found.l4t == "39.2.0" and found.boot_spec and "-super" not in found.boot_spec:
        faults.append("Jetson Linux 39.2.0 from its installer lacks the super power modes (NVIDIA's issue 6279443): update to 39.2.1")
    if found.power_mode in _FAST_MODES and found.gpu_max_hz and found.gpu_max_hz < _FULL_GPU_HZ:
        faults.append(
            f"the GPU stays at {found.gpu_max_hz // 10**6} MHz in power mode {found.power_mode}, as some do after an update to 36.5, and is slow: "
            "choose the mode again with sudo nvpmodel -m NUMBER and restart; if it stays, flash the release anew"
        )
    return faults


def _device_tree(root: Path, name: str) -> str:
    # A container has no /proc/device-tree, but what it is a link to.
    return read_text(root / "proc/device-tree" / name) or read_text(root / "sys/firmware/devicetree/base" / name)


def _nvpmodel(root: Path) -> str:
    try:
        # A system tool by its full path.
        asked = subprocess.run([root / "usr/sbin/nvpmodel", "-q"], capture_output=True, timeout=_NVPMODEL_TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):  # no Jetson, or a container without it
        return ""
    return asked.stdout.decode(errors="replace")


def _field(text: str, key: str) -> str | None:
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return value.strip() or None
    return None


def read_text(path: Path) -> str:
    """Return what a small file of the system says; nothing where it is not there or cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux, or not this kind of machine
        return ""
