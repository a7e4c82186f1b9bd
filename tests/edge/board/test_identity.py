"""A board's identity from the files of boards: Orin Nanos with JetPack 5.1, 6.2, the faulty 36.4.7 and 7.2, and a PC."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.board.identity import (
    Identity,
    Memory,
    known_faults,
    parse_memory,
    parse_module,
    parse_power_mode,
    parse_release,
    read_identity,
    read_memory,
)
from edge.bundle.sidecar import this_board

MEMINFO = """MemTotal:        7802996 kB
MemFree:          412060 kB
MemAvailable:    5402280 kB
Buffers:           96516 kB
SwapCached:         5120 kB
SwapTotal:       3901488 kB
SwapFree:        2628608 kB
HugePages_Total:       0
"""
FILES: dict[str, dict[str, str]] = {
    "JetPack 5.1": {
        "proc/device-tree/model": "NVIDIA Orin Nano Developer Kit\0",
        "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0nvidia,tegra23x\0",
        "etc/nv_tegra_release": "# R35 (release), REVISION: 3.1, GCID: 32827747, BOARD: t186ref, EABI: aarch64, DATE: Sun Mar 19 15:19:21 UTC 2023\n",
        "etc/nv_boot_control.conf": "TNSPEC 3767-300-0005-M.1-1-1-jetson-orin-nano-devkit-\n",
        "sys/class/devfreq/17000000.ga10b/max_freq": "624750000\n",
        "nvpmodel": "NV Power Mode: 15W\n0\n",
    },
    "JetPack 6.2": {
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
        "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
        "etc/nv_tegra_release": (
            "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n"
            "# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\nTARGET_USERSPACE_LIB_DIR_PATH=usr/lib/aarch64-linux-gnu/nvidia\n"
        ),
        "etc/nv_boot_control.conf": "TNSPEC 3767-301-0005-M.1-1-1-jetson-orin-nano-devkit-super-\nTEGRA_CHIPID 0x23\n",
        "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
        "nvpmodel": "NV Power Mode: MAXN_SUPER\n2\n",
    },
    "36.4.7": {
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0003\0nvidia,p3767-0003\0nvidia,tegra234\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64, DATE: Thu Sep 18 22:54:44 UTC 2025\n",
        "nvpmodel": "NV Fan Mode:quiet\nNV Power Mode: 25W\n1\n",
        "sys/class/devfreq/17000000.gpu/max_freq": "624750000\n",
    },
    "JetPack 7.2": {
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0",
        "etc/nv_tegra_release": "# R39 (release), REVISION: 2.0, GCID: 46000000, BOARD: generic, EABI: aarch64, DATE: Mon Jun  1 14:16:51 UTC 2026\n",
        "etc/nv_boot_control.conf": "TNSPEC 3767-300-0005-X.1-1-1-jetson-orin-nano-devkit-\n",
        "nvpmodel": "NV Power Mode: 15W\n0\n",
    },
    "a PC": {},
}
IDENTITIES = {
    "JetPack 5.1": Identity(
        "NVIDIA Orin Nano Developer Kit", "p3767-0005", "35.3.1", "15W", "3767-300-0005-M.1-1-1-jetson-orin-nano-devkit-", 624_750_000, jetson=True
    ),
    "JetPack 6.2": Identity(
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "p3767-0005",
        "36.4.3",
        "MAXN_SUPER",
        "3767-301-0005-M.1-1-1-jetson-orin-nano-devkit-super-",
        1_020_000_000,
        jetson=True,
    ),
    "36.4.7": Identity("NVIDIA Jetson Orin Nano Developer Kit", "p3767-0003", "36.4.7", "25W", None, 624_750_000, jetson=True),
    "JetPack 7.2": Identity(
        "NVIDIA Jetson Orin Nano Developer Kit", "p3767-0005", "39.2.0", "15W", "3767-300-0005-X.1-1-1-jetson-orin-nano-devkit-", None, jetson=True
    ),
    "a PC": Identity(None, None, None, None, None, None, jetson=False),
}


def file_system(root: Path, name: str) -> Path:
    """The files of a board below `root`, its nvpmodel as a script that says what the board's own said."""
    for place, content in FILES[name].items():
        path = root / ("usr/sbin/nvpmodel" if place == "nvpmodel" else place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{content}END\n" if place == "nvpmodel" else content)
        path.chmod(0o755)
    return root


@pytest.mark.parametrize("name", FILES)
def test_a_board_is_known_by_its_files(tmp_path: Path, name: str) -> None:
    assert read_identity(file_system(tmp_path, name)) == IDENTITIES[name]


@pytest.mark.parametrize(
    ("name", "faults"),
    [("JetPack 5.1", []), ("JetPack 6.2", []), ("36.4.7", ["update to 36.5", "stays at 624 MHz"]), ("JetPack 7.2", ["update to 39.2.1"]), ("a PC", [])],
)
def test_releases_that_are_known_to_fail_are_told_with_the_cure(name: str, faults: list[str]) -> None:
    found = known_faults(IDENTITIES[name])
    assert len(found) == len(faults)
    assert all(wanted in told for wanted, told in zip(faults, found, strict=True))


def test_a_sidecar_tells_modules_apart_that_call_their_gpu_alike(tmp_path: Path) -> None:
    boards = [this_board("10.3.0", "Orin", "8.7", file_system(tmp_path / name, name)) for name in ("JetPack 6.2", "36.4.7")]
    assert [board.gpu for board in boards] == ["Orin (p3767-0005)", "Orin (p3767-0003)"]
    assert [(board.l4t, board.power_mode) for board in boards] == [("36.4.3", "MAXN_SUPER"), ("36.4.7", "25W")]
    desk = this_board("10.16.1", "NVIDIA A40", "8.6", tmp_path)
    assert (desk.gpu, desk.l4t, desk.power_mode) == ("NVIDIA A40", None, None)


def test_a_power_mode_is_read_from_a_talkative_nvpmodel_and_is_none_where_it_fails(tmp_path: Path) -> None:
    assert parse_power_mode("NVPM VERB: Current mode: NV Power Mode: MODE_15W_6CORE\n2\n") == "MODE_15W_6CORE"
    assert parse_power_mode("NVPM ERROR: failed to read the power mode\n") is None
    tool = tmp_path / "usr/sbin/nvpmodel"
    tool.parent.mkdir(parents=True)
    tool.write_bytes(b"\x7fELF")
    assert read_identity(tmp_path).power_mode is None


def test_what_is_damaged_is_unknown_and_no_error() -> None:
    assert parse_release("# R36 (release), REVISION") is None
    assert parse_module("nvidia,tegra234\0") is None
    assert parse_memory("MemTotal: 7 kB\nMemFree:\n") is None


def test_memory_is_read_in_mib(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    assert read_memory(tmp_path) == Memory(total_mib=7620, available_mib=5275, free_mib=402, swap_mib=3810)
    assert read_memory(tmp_path / "nothing") is None
    here = read_memory()
    assert here is None or 0 < here.available_mib <= here.total_mib
