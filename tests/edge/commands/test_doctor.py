"""The doctor: each thing that can be wrong is found with its cure, on the files of boards; and it runs here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_files import lay_out
from commands import done, refused
from media import write_video
from stations import free_port

from edge.board.clocks import Clocks
from edge.board.extras import install
from edge.board.identity import Identity, Memory
from edge.commands.doctor import outputs as doctor_outputs
from edge.commands.doctor.command import _shown
from edge.commands.doctor.facts import Facts, Library, ask, read_facts
from edge.commands.doctor.findings import Finding, judge
from edge.commands.doctor.trial import parted, try_source

ROOT = Path(__file__).resolve().parents[3]
PC = Identity(None, None, None, None, None, None, jetson=False)
NANO = Identity("NVIDIA Jetson Orin Nano", "p3767-0005", "36.4.3", "MAXN_SUPER", "3767-super-", 1_020_000_000, jetson=True)
DIST = "/usr/lib/python3.10/dist-packages"
GOOD_PC = Facts(
    board=PC,
    jetpack=None,
    python=(3, 11),
    libraries={"numpy": Library("2.4.6"), "cv2": Library("4.12.0", "x", gstreamer=False), "onnxruntime": Library("1.32.0"), "tensorrt": Library(None)},
    twins=("onnxruntime",),
    cuda=None,
    clocks=Clocks(None, None, None, None, None),
    memory=Memory(16000, 12000, 8000, 0),
    zram_mib=0,
    disk_mib=50_000,
    groups=("users",),
    desktop=True,
    temperatures_c={},
    throttled=None,
    bundle="vgg16-64",
    bundle_fault="",
    engines=(),
    absent={"web": (), "mavlink": ("pymavlink", "serial", "anyascii")},
    serial_console=False,
)
GOOD_NANO = replace(
    GOOD_PC,
    board=NANO,
    jetpack="6.1 or 6.2",
    python=(3, 10),
    libraries={
        "numpy": Library("1.26.1", DIST),
        "cv2": Library("4.8.0", f"{DIST}/cv2", gstreamer=True),
        "onnxruntime": Library(None),
        "tensorrt": Library("10.3.0", f"{DIST}/tensorrt/__init__.py"),
    },
    twins=(),
    cuda="12.6.68",
    clocks=Clocks(729, 1728, "schedutil", 306, 1020),
    memory=Memory(7620, 5000, 4000, 3810),
    zram_mib=3810,
    groups=("dialout", "video"),
    desktop=False,
    throttled=0,
    engines=("classifier int8",),
)


def with_library(facts: Facts, name: str, library: Library) -> Facts:
    return replace(facts, libraries={**facts.libraries, name: library})


def test_nothing_is_found_where_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert judge(GOOD_PC) == []
    assert judge(GOOD_NANO) == []


@pytest.mark.parametrize(
    ("facts", "severity", "text", "cure"),
    [
        (replace(GOOD_NANO, board=replace(NANO, l4t="35.3.1"), jetpack="5.1", python=(3, 8)), "broken", "TensorRT 8.5", "JetPack 6.1 or newer"),
        (replace(GOOD_NANO, board=replace(NANO, l4t="36.3.0"), jetpack="6.0"), "broken", "TensorRT 8.6", "JetPack 6.1 or newer"),
        (replace(GOOD_NANO, board=replace(NANO, l4t="38.2.0"), python=(3, 12)), "broken", "Thor", "JetPack 6.2 or 7.2"),
        (replace(GOOD_NANO, board=replace(NANO, l4t="40.1.0")), "warning", "not known", "release that is"),
        (replace(GOOD_NANO, board=replace(NANO, l4t="36.4.7")), "warning", "5602402", "36.5"),
        (replace(GOOD_NANO, board=replace(NANO, l4t="39.2.0", boot_spec="devkit-"), python=(3, 12)), "warning", "super power modes", "39.2.1"),
        (replace(GOOD_NANO, board=replace(NANO, gpu_max_hz=624_750_000)), "warning", "624 MHz", "nvpmodel -m"),
        (replace(GOOD_NANO, board=replace(NANO, power_mode="15W")), "note", "power mode 15W", "nvpmodel"),
        (replace(GOOD_NANO, python=(3, 11)), "broken", "Python 3.11", "--system-site-packages"),
        (replace(GOOD_NANO, throttled=3), "warning", "3 times", "supply"),
        (replace(GOOD_NANO, temperatures_c={"tj-thermal": 91.0}), "warning", "tj-thermal at 91", "fan"),
        (replace(GOOD_NANO, groups=("video",)), "warning", "dialout (a serial autopilot)", "usermod -aG dialout"),
        (with_library(GOOD_NANO, "tensorrt", Library(None)), "broken", "no TensorRT", "python3-libnvinfer"),
        (
            with_library(GOOD_NANO, "tensorrt", Library(None, fault="OSError: libnvdla_compiler.so: no such file")),
            "broken",
            "libnvdla",
            "outside the container",
        ),
        (with_library(GOOD_NANO, "tensorrt", Library("10.7.0", "/v/lib/site-packages/tensorrt")), "broken", "pip's", "pip uninstall tensorrt"),
        (with_library(GOOD_NANO, "cv2", Library("4.12.0", "/v/cv2", gstreamer=False)), "broken", "no GStreamer", "opencv-python-headless"),
        (with_library(GOOD_NANO, "cv2", Library(None, fault="ImportError: numpy.core.multiarray failed to import")), "broken", "no OpenCV", "NumPy 1.x"),
        (with_library(GOOD_PC, "cv2", Library(None, fault="ImportError: libGL.so.1: cannot open shared object file")), "broken", "libGL", install("edge")),
        (with_library(GOOD_PC, "numpy", Library(None)), "broken", "no NumPy", "pip install"),
        (with_library(GOOD_PC, "onnxruntime", Library(None)), "broken", "nothing to run a model with", install("edge")),
        (with_library(GOOD_PC, "cv2", Library("4.6.0", gstreamer=True)), "note", "older than 4.8", "pip install"),
        (replace(GOOD_PC, twins=("onnxruntime", "onnxruntime-gpu")), "broken", "both installed", "pip uninstall"),
        (replace(GOOD_NANO, memory=Memory(7620, 600, 300, 3810)), "warning", "600 MiB of memory", "multi-user.target"),
        (replace(GOOD_NANO, memory=Memory(7620, 5000, 4000, 0)), "note", "no swap", "provision"),
        (replace(GOOD_NANO, absent={"web": (), "mavlink": ("serial",)}), "warning", "mavlink is there in part, without serial", install("mavlink")),
        (replace(GOOD_NANO, serial_console=True), "note", "nvgetty", "systemctl disable --now nvgetty"),
        (replace(GOOD_NANO, desktop=True), "note", "desktop", "set-default multi-user.target"),
        (replace(GOOD_PC, disk_mib=100), "warning", "100 MiB of disk", "free 1024 MiB"),
        (replace(GOOD_NANO, engines=()), "warning", "no engine of bundle", "python -m export engine"),
        (replace(GOOD_PC, bundle=None, bundle_fault="wanted a bundle, found none: make one"), "broken", "wanted a bundle, found none", "make one"),
    ],
)
def test_each_fault_is_found_with_its_cure(facts: Facts, severity: str, text: str, cure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    found = [finding for finding in judge(facts) if text in finding.text]
    assert [(finding.severity, cure in finding.cure) for finding in found] == [(severity, True)], judge(facts)


def test_the_worst_comes_first() -> None:
    facts = replace(GOOD_NANO, board=replace(NANO, l4t="36.4.7", power_mode="15W"), libraries={**GOOD_NANO.libraries, "tensorrt": Library(None)})
    assert [finding.severity for finding in judge(facts)] == ["broken", "warning", "note"]


def test_facts_are_read_from_a_boards_files(tmp_path: Path, tiny_bundle: Path) -> None:
    files = {
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.7, GCID: 1, BOARD: generic, EABI: aarch64, DATE: x\n",
        "proc/meminfo": "MemTotal: 7802996 kB\nMemFree: 412060 kB\nMemAvailable: 5402280 kB\nSwapTotal: 0 kB\n",
        "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition 650240 0 5\n/dev/zram1 partition 650240 0 5\n/swap file 8388604 0 -2\n",
        "usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "12.6.68"}}',
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1510400\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
        "sys/devices/system/cpu/cpu4/cpufreq/scaling_cur_freq": "1190400\n",
        "sys/devices/system/cpu/cpu4/cpufreq/scaling_max_freq": "1510400\n",
        "sys/devices/system/cpu/cpu4/cpufreq/scaling_governor": "schedutil\n",
        "sys/class/devfreq/17000000.gpu/cur_freq": "305997000\n",
        "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    }
    lay_out(tmp_path, files)
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/systemd/system/default.target").symlink_to("/lib/systemd/system/graphical.target")
    assert not read_facts(tiny_bundle, tmp_path).serial_console
    console = tmp_path / "etc/systemd/system/multi-user.target.wants/nvgetty.service"
    console.parent.mkdir()
    console.symlink_to("/etc/systemd/system/nvgetty.service")
    facts = read_facts(tiny_bundle, tmp_path)
    assert facts.serial_console
    assert (facts.board.l4t, facts.jetpack, facts.desktop, facts.bundle) == ("36.4.7", "6.1 or 6.2", True, "tiny")
    assert facts.memory == Memory(7620, 5275, 402, 0)
    assert facts.clocks == Clocks(1190, 1510, "schedutil", 305, 1020)
    assert (facts.cuda, facts.zram_mib) == ("12.6.68", 1270)
    assert {"CPU clock": "1190 of 1510 MHz, schedutil", "CUDA": "12.6.68", "swap": "0 MiB, 1270 of it zram"}.items() <= dict(_shown(facts)).items()
    told = {finding.text for finding in judge(facts)}
    assert any("5602402" in text for text in told)
    assert any("no swap" in text for text in told)


@pytest.mark.parametrize(
    ("absent", "shown"),
    [
        ({"web": (), "mavlink": ()}, "page, MAVLink"),
        ({"web": (), "mavlink": ("serial",)}, "page, without the extra mavlink"),
        ({"web": ("uvicorn",), "mavlink": ("pymavlink", "serial")}, "without the extras web and mavlink"),
    ],
)
def test_outputs_that_are_there_are_told(absent: dict[str, tuple[str, ...]], shown: str) -> None:
    assert doctor_outputs.shown(absent) == shown


def test_packages_of_the_extras_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_outputs, "PACKAGES", {"web": ("json", "no_such_package"), "mavlink": ("json",)})
    assert doctor_outputs.lacking() == {"web": ("no_such_package",), "mavlink": ()}


def test_a_library_that_breaks_is_a_finding_and_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    (tmp_path / "tensorrt.py").write_text("import os; os.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert ask("cv2") == Library(None, fault="ImportError: libGL.so.1: cannot open shared object file")
    assert ask("tensorrt").version is None
    assert "ended with" in ask("tensorrt").fault
    assert ask("nothing_of_this_name") == Library(None)
    assert ask("numpy").version == np.__version__


def test_the_doctor_runs_here_and_keeps_what_it_found(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    done("doctor", "--bundle", tiny_bundle, "--json", tmp_path / "doctor.json")
    document = json.loads((tmp_path / "doctor.json").read_text())
    assert (document["command"], document["broken"], document["facts"]["bundle"]) == ("edge doctor", 0, "tiny")
    assert "nothing is broken" in capsys.readouterr().out


def test_what_is_broken_is_exit_code_1_and_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "1 thing broken" in refused(capsys, "doctor", "--bundle", tmp_path)


def test_a_source_is_tried(tmp_path: Path) -> None:
    video = write_video(tmp_path / "x.avi", 12)
    told, findings = try_source(str(video), 5)
    assert (told["frames"], told["size_wh"], findings) == (12, (96, 64), [])


@pytest.mark.parametrize(("uri", "text"), [("nothing.mp4", "found nothing"), ("rtp://@", "HOST:PORT"), ("csi://0", "nvarguscamerasrc")])
def test_a_source_that_cannot_be_opened_is_a_finding(uri: str, text: str) -> None:
    _, findings = try_source(uri, 1)
    assert [finding.severity for finding in findings] == ["broken"]
    assert text in findings[0].text


def test_a_source_that_gives_nothing_is_a_finding() -> None:
    told, findings = try_source("v4l2:///dev/video77", 1)
    assert told["frames"] == 0
    assert findings == [Finding("broken", "wanted video from /dev/video77, V4L2 cannot open it", "check that it is there and sends")]
    assert told["detail"].startswith("connecting: wanted video from /dev/video77")


def test_it_runs_without_opencv(tmp_path: Path, tiny_bundle: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    argv = [sys.executable, "-m", "edge", "doctor", "--bundle", str(tiny_bundle)]
    told = subprocess.run(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 1
    assert "libGL" in told.stdout
    assert "Traceback" not in told.stderr


@pytest.fixture
def silent() -> Iterator[int]:
    """A TCP port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("source", ["rtsp://127.0.0.1:{port}/s", "http://127.0.0.1:{port}/v", "rtp://@127.0.0.1:{free}", "udp://@127.0.0.1:{free}", "rtsp://127.0.0.1:{free}/s",
    "srt://127.0.0.1:{free}", "fifo.mp4", "empty", "text.mp4", "/dev/zero", "nothing", "xyz://a", "@nothing", "v4l2:///dev/video77"])  # fmt: skip
def test_whatever_it_is_the_trial_ends_with_what_is_wrong_and_a_cure(source: str, silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo.mp4")
    Path("empty").mkdir()
    Path("text.mp4").write_text("no video")
    began_s = time.monotonic()
    told, findings = try_source(source.format(port=silent, free=free_port()), 3.0)
    assert time.monotonic() - began_s < 3.5
    (finding,) = findings
    assert finding.severity == "broken"
    assert len(finding.text) > 10
    assert len(finding.cure) > 10
    assert not finding.cure.startswith(("connecting", "lost"))
    assert told["source"]


@pytest.mark.parametrize(
    ("message", "title", "cure"),
    [
        ("wanted a, found b: do c", "wanted a, found b", "do c"),
        ("wanted RTP, found no RTP: hand it on by ffmpeg: -c:v libx264", "wanted RTP, found no RTP", "hand it on by ffmpeg: -c:v libx264"),
        ("wanted it, cannot read it ([Errno 2] No such file: 'x'): write it", "wanted it, cannot read it ([Errno 2] No such file: 'x')", "write it"),
        ("wanted v in rtsp://h:1/s, found 'a: b' there: check", "wanted v in rtsp://h:1/s, found 'a: b' there", "check"),
        ("nothing comes to UDP 5: check that the sender's on", "nothing comes to UDP 5", "check that the sender's on"),
    ],
)
def test_a_message_is_taken_apart_where_its_cure_begins(message: str, title: str, cure: str) -> None:
    assert parted(message) == (title, cure)


def test_a_message_without_a_cure_gets_one() -> None:
    title, cure = parted("nothing to say")
    assert (title, bool(cure)) == ("nothing to say", True)
