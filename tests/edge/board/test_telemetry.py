"""Telemetry: recorded lines and files of boards, a stand-in for tegrastats, and this very machine."""

from __future__ import annotations

import mmap
import threading
import time
from pathlib import Path

import pytest
from board_files import lay_out

from edge.board.machine import pss_mib, rss_mib
from edge.board.tegrastats import Tegrastats, parse_line
from edge.board.telemetry import Monitor, Telemetry, cpu_load, is_gpu, parse_cpu, read_gpu_load, read_rails, read_temperatures, read_throttled

ORIN_NANO = (
    "11-30-2025 13:26:01 RAM 2461/7620MB (lfb 3x2MB) SWAP 1243/3810MB (cached 5MB) CPU [19%@729,14%@729,22%@729,8%@729,15%@729,17%@729] EMC_FREQ 4%@2133 "
    "GR3D_FREQ 7%@[305] NVDEC off NVJPG off NVJPG1 off VIC off OFA off APE 200 cpu@46.531C soc2@47.312C soc0@46.593C gpu@48.218C tj@48.843C soc1@48.843C "
    "VDD_IN 5704mW/5631mW VDD_CPU_GPU_CV 831mW/840mW VDD_SOC 1624mW/1620mW"
)
ZONES = {"cpu": 46.531, "soc2": 47.312, "soc0": 46.593, "gpu": 48.218, "tj": 48.843, "soc1": 48.843}
RAILS = {"VDD_IN": 5704, "VDD_CPU_GPU_CV": 831, "VDD_SOC": 1624}
STAT = "cpu  100 20 30 800 50 0 0 0 7 0\ncpu0 50 10 15 400 25 0 0 0 0 0\nintr 1 2\n"

FILES = {
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
    "proc/meminfo": "MemTotal: 7802996 kB\nMemFree: 412060 kB\nMemAvailable: 5402280 kB\nSwapTotal: 3901488 kB\n",
    "proc/stat": STAT,
    "usr/sbin/nvpmodel": "#!/bin/sh\necho 'NV Power Mode: MAXN_SUPER'\necho 2\n",
    "sys/class/devfreq/15340000.vic/device/of_node/name": "vic\0",
    "sys/class/devfreq/15340000.vic/device/load": "999\n",
    "sys/class/devfreq/17000000.gpu/device/of_node/name": "gpu\0",
    "sys/class/devfreq/17000000.gpu/device/load": "876\n",
    **{f"sys/class/thermal/thermal_zone{number}/type": f"{name}-thermal\n" for number, name in enumerate(["cpu", "gpu", "cv0", "tj"])},
    **{f"sys/class/thermal/thermal_zone{number}/temp": f"{value}\n" for number, value in enumerate([46531, 48218, -256000, 48843])},
    **{f"sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in{number}_label": f"{name}\n" for number, name in enumerate([*RAILS, "sum of shunt voltages"], 1)},
    **{f"sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in{number}_input": f"{value}\n" for number, value in ((1, 5000), (2, 5010), (3, 4990), (4, 1))},
    **{f"sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr{number}_input": f"{value}\n" for number, value in ((1, 1141), (2, 166), (3, 325))},
    "sys/class/hwmon/hwmon0/name": "pwmfan\n",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc2_event_cnt": "15\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "37\n",
    "sys/class/hwmon/hwmon3/oc1_throt_en": "1\n",
}


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return lay_out(tmp_path, FILES)


def without(board: Path, *places: str) -> Path:
    for place in places:
        for file in board.glob(place):
            file.unlink()
    return board


def waited(condition: object, limit_s: float = 20.0) -> bool:
    end = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize(
    ("line", "gpu_load", "temperatures_c", "power_mw"),
    [
        (ORIN_NANO, 0.07, ZONES, RAILS),
        ("RAM 1343/7620MB (lfb 157x4MB) GR3D_FREQ 0%@[305] tj@49.312C VDD_IN 5251mW/8535mW", 0.0, {"tj": 49.312}, {"VDD_IN": 5251}),
        ("CPU [19%@729,off,off] EMC_FREQ 0% GR3D_FREQ 88% cv0@-256C cpu@51C VDD_IN 5336/4970", 0.88, {"cpu": 51.0}, {"VDD_IN": 5336}),
        ("GR3D_FREQ 12%@[1300,1300] VDD_GPU_SOC 5139mW/5140mW/5141mW", 0.12, {}, {"VDD_GPU_SOC": 5139}),
        ("GR3D_FREQ @[1000,1000,1000]", None, {}, {}),
        ("RAM 2461/7620MB SWAP 1/2MB", None, {}, {}),
        ("", None, {}, {}),
    ],
)
def test_lines_of_tegrastats_of_all_releases_are_read(line: str, gpu_load: float | None, temperatures_c: dict[str, float], power_mw: dict[str, int]) -> None:
    found = parse_line(line)
    assert (found.gpu_load, found.temperatures_c, found.power_mw) == (gpu_load, temperatures_c, power_mw)


def test_a_jetson_is_read_from_its_files(board: Path) -> None:
    assert read_temperatures(board) == {"cpu": 46.531, "gpu": 48.218, "tj": 48.843}
    assert read_gpu_load(board) == 0.876
    assert read_rails(board) == {"VDD_IN": 5705, "VDD_CPU_GPU_CV": 832, "VDD_SOC": 1622}
    assert read_throttled(board) == 52


@pytest.mark.parametrize(("node", "known"), [("gpu\0", True), ("ga10b\0", True), ("gv11b", True), ("17000000.gpu\n", True), ("vic\0", False), ("", False)])
def test_a_gpu_is_known_by_its_node(node: str, known: bool) -> None:
    assert is_gpu(node) is known


def test_a_machine_without_these_files_says_so_and_no_more(tmp_path: Path) -> None:
    assert (read_temperatures(tmp_path), read_gpu_load(tmp_path), read_rails(tmp_path), read_throttled(tmp_path)) == ({}, None, {}, None)
    assert parse_cpu("") is None
    assert parse_cpu("cpu 1 2 x 4 5\n") is None
    with Monitor(tmp_path) as monitor:
        sample = monitor.newest
    assert (sample.cpu_load, sample.memory, sample.hottest_c, sample.power_mode) == (None, None, None, None)


def test_cpu_load_is_the_share_of_time_between_two_looks() -> None:
    before = parse_cpu(STAT)
    assert before == (150, 1000)
    assert cpu_load(before, parse_cpu("cpu  150 20 30 850 50 0 0 0 57 0\n")) == 0.5
    assert cpu_load(before, before) is None
    assert cpu_load(None, before) is None


def test_a_monitor_gathers_all_of_it_and_keeps_what_was(board: Path) -> None:
    told: list[Telemetry] = []
    with Monitor(board, period_s=0.01) as monitor:
        assert len(monitor.samples) == 1
        monitor.tell(told.append)
        (board / "proc/stat").write_text("cpu  175 20 30 825 50 0 0 0 0 0\n")
        assert waited(lambda: len(told) > 3)
    sample = monitor.samples[0]
    assert (sample.gpu_load, sample.power_mode, sample.throttled, sample.hottest_c) == (0.876, "MAXN_SUPER", 52, 48.843)
    assert sample.memory is not None
    assert sample.memory.total_mib == 7620
    assert sample.rss_mib == pytest.approx(rss_mib(), rel=0.5)
    assert [sample.cpu_load for sample in monitor.samples].count(0.75) == 1
    assert monitor.newest == told[-1] == monitor.samples[-1]
    assert [sample.at_ns for sample in monitor.samples] == sorted(sample.at_ns for sample in monitor.samples)
    assert not any(thread.name in ("telemetry", "tegrastats") for thread in threading.enumerate())


def test_where_a_jetsons_files_are_silent_tegrastats_speaks(board: Path) -> None:
    program = board / "usr/bin/tegrastats"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n[ \"$1 $2\" = '--interval 1000' ] || exit 1\necho '{ORIN_NANO}'\nexec sleep 60\n")
    program.chmod(0o755)
    without(board, "sys/class/devfreq/17000000.gpu/device/load", "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in*_label", "sys/class/thermal/*/temp")
    with Monitor(board, period_s=0.01) as monitor:
        assert waited(lambda: monitor.newest.gpu_load is not None)
        sample = monitor.newest
    assert (sample.gpu_load, sample.power_mw, sample.temperatures_c) == (0.07, RAILS, ZONES)
    assert not any(thread.name in ("telemetry", "tegrastats") for thread in threading.enumerate())


def test_a_tegrastats_that_ends_or_is_absent_leaves_no_old_figures(tmp_path: Path) -> None:
    with Tegrastats(tmp_path) as absent:
        assert absent.newest is None
    program = tmp_path / "usr/bin/tegrastats"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{ORIN_NANO}'\nsleep 0.3\n")
    program.chmod(0o755)
    with Tegrastats(tmp_path) as ending:
        assert waited(lambda: ending.newest is not None)
        assert waited(lambda: ending.newest is None)


def test_shared_pages_count_in_parts() -> None:
    share = pss_mib()
    if share is None:
        pytest.skip("this system tells no PSS")
    assert 1 < share <= rss_mib() * 1.05
    with mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE) as block:  # pages of its own: an array may lie in what other tests have left
        block.write(b"\1" * len(block))
        grown = pss_mib()
        assert grown is not None
        assert grown - share > 0.9 * (len(block) >> 20)
