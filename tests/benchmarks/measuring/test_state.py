"""What a machine tells of itself stands beside every figure, and what spoils one is said with its cure: on the files of a board, since none is here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from board_files import lay_out

from benchmarks.measuring.state import read_state, shown, warnings_of

BOARD = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64, DATE: x\n",
    "usr/sbin/nvpmodel": "#!/bin/sh\necho 'NV Power Mode: MAXN_SUPER'\necho 2\n",
    "usr/local/cuda/version.json": '{"cuda": {"version": "12.6.68"}}',
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1190400\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1728000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    "sys/class/thermal/thermal_zone0/type": "tj-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61500\n",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "2\n",
}


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return lay_out(tmp_path, BOARD)


def quiet(**changes: Any) -> dict[str, Any]:
    return {"load_1min": 0.1, "hottest_c": 50.0, "throttled": 2, "power_mode": "MAXN_SUPER", "faults": [], **changes}


def test_a_board_tells_all_of_it(board: Path) -> None:
    state = read_state(board)
    assert {key: state[key] for key in ("hottest_c", "throttled", "power_mode", "l4t", "jetpack", "cuda", "faults")} == {
        "hottest_c": 61.5,
        "throttled": 2,
        "power_mode": "MAXN_SUPER",
        "l4t": "36.4.3",
        "jetpack": "6.1 or 6.2",
        "cuda": "12.6.68",
        "faults": [],
    }
    line = shown(state)
    assert line.endswith("L4T 36.4.3, power mode MAXN_SUPER, CPU at 1190 of 1728 MHz (schedutil), GPU up to 1020 MHz, 62 degrees")


def test_a_board_with_a_known_fault_says_so(board: Path) -> None:
    (board / "sys/class/devfreq/17000000.gpu/max_freq").write_text("624750000\n")
    (warning,) = [text for text in warnings_of(read_state(board), 64) if "load" not in text]
    assert "624 MHz" in warning


def test_here_it_tells_the_load_at_least() -> None:
    assert shown(read_state()).startswith("load ")


@pytest.mark.parametrize(("load", "cores", "warns"), [(1.4, 2, False), (1.5, 2, True), (0.0, 1, False), (0.71, 1, True), (None, 2, False)])
def test_a_busy_machine_is_told(load: float | None, cores: int, warns: bool) -> None:
    warnings = warnings_of(quiet(load_1min=load), cores)
    assert len(warnings) == warns
    assert all(str(load) in warning and "\n" not in warning for warning in warnings)


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (quiet(), None),
        (quiet(load_1min=2.0), None),  # of the measurement itself
        (quiet(throttled=5), "3 times for want of power"),
        (quiet(hottest_c=97.0), "97 degrees"),
        (quiet(hottest_c=None, throttled=None), None),
        (quiet(power_mode="15W"), "from MAXN_SUPER to 15W"),
    ],
)
def test_what_happens_while_measuring_is_told(after: dict[str, Any], text: str | None) -> None:
    warnings = warnings_of(after, 2, quiet())
    assert len(warnings) == (text is not None)
    assert all(text in warning for warning in warnings if text)
