"""Engines built in real child processes, with a stand-in for TensorRT: rungs, kills, interruptions, full disks, and what is left under final names."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorrt_builder_stand_in as stand_in
from commands import rehash_golden, rewrite, started
from gpu_stand_ins import stub_of
from tensorrt_stand_in import STUB

from edge.errors import BundleError, EngineError, SignwingError, VerificationError
from edge.bundle.manifest import Golden, read_bundle
from edge.bundle.sidecar import Sidecar, guard, plan_path, read_sidecar
from export.engines.child import Rung
from export.engines.ladder import Options, build_engines, ladder

ROOT = Path(__file__).resolve().parents[3]
WAIT_S = 120
Knobs = Callable[..., None]


def test_each_rung_has_less_memory_and_fewer_tactics() -> None:
    assert ladder(5120, None, shared=True) == [Rung(1024, 4096, 3), Rung(512, 3584, 2), Rung(256, 3072, 1), Rung(128, 2560, 0)]
    assert ladder(2100, None, shared=True) == [Rung(525, 2048, 3), Rung(262, 2048, 2), Rung(131, 2048, 1), Rung(65, 2048, 0)]
    assert ladder(64_000, 100, shared=False) == [Rung(100, None, 3), Rung(50, None, 2), Rung(32, None, 1), Rung(32, None, 0)]
    assert ladder(64_000, 8, shared=False)[-1] == Rung(8, None, 0)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which children find the stand-ins for TensorRT and for CUDA under the names of the real ones."""
    folder, library = tmp_path_factory.mktemp("site"), stub_of(13)
    (folder / "tensorrt.py").write_text("from tensorrt_stand_in import *\nfrom tensorrt_stand_in import __version__\n")
    for name in (library.name, "libcuda.so.1"):
        (folder / name).symlink_to(library)
    return folder


def furnish(patch: pytest.MonkeyPatch, site: Path, cache: Path) -> None:
    patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (site, ROOT / "tests"))))
    patch.setenv("LD_LIBRARY_PATH", str(site))
    patch.setenv(STUB, str(stub_of(13)))
    patch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture
def knobs(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Knobs:
    """Gives children the stand-in, and sets how it goes wrong."""
    furnish(monkeypatch, site, tmp_path / "cache")
    return lambda **values: monkeypatch.setenv(stand_in.KNOBS, json.dumps(values))


@pytest.fixture(scope="session")
def engine_master(tiny_bundle_master: Path, site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = Path(shutil.copytree(tiny_bundle_master, tmp_path_factory.mktemp("with_engine") / "bundle"))
    with pytest.MonkeyPatch.context() as patch:
        furnish(patch, site, bundle.parent / "cache")
        build(bundle)
    return bundle


@pytest.fixture
def with_engine(engine_master: Path, knobs: Knobs, tmp_path: Path) -> tuple[Path, Sidecar]:
    """A bundle with an engine already, and its sidecar."""
    bundle = Path(shutil.copytree(engine_master, tmp_path / "with_engine"))
    return bundle, sidecar_of(bundle)


def build(bundle: Path, **options: Any) -> None:
    build_engines(bundle, None, "fp16", Options(**options))


def held(bundle: Path) -> list[str]:
    """Names below engines/, without the log."""
    return sorted(path.name for path in (bundle / "engines").iterdir() if path.suffix != ".log") if (bundle / "engines").exists() else []


def sidecar_of(bundle: Path) -> Sidecar:
    return read_sidecar(plan_path(bundle, "classifier", "fp16"), "")


WHOLE = ["classifier.fp16.json", "classifier.fp16.plan"]


def test_an_engine_is_built_proven_and_guarded(tiny_bundle: Path, tmp_path: Path, knobs: Knobs, capsys: pytest.CaptureFixture[str]) -> None:
    knobs(takes_mib=150, step_s=0.05)
    build(tiny_bundle, workspace_mib=512)
    assert held(tiny_bundle) == WHOLE
    bundle, sidecar = read_bundle(tiny_bundle), sidecar_of(tiny_bundle)
    assert guard(bundle, bundle.model("classifier", "fp16"), sidecar.board)[1] == sidecar
    assert (sidecar.typing, sidecar.max_batch, sidecar.workspace_mib, sidecar.optimization_level) == ("strong", 16, 512, 3)
    assert sidecar.board.tensorrt == "10.3.0"
    assert 150 < sidecar.peak_mib < 1000
    assert sidecar.seconds > 8 * 0.05 / 2
    assert sidecar.difference is not None
    assert sidecar.difference < 1e-2
    told = capsys.readouterr()
    assert "attempt 1 of 4, workspace 512 MiB, optimisation level 3" in told.out
    assert "golden outputs within" in told.out
    assert "attempt" not in told.err
    assert "oom_score_adj 1000" in (tiny_bundle / "engines/classifier.fp16.log").read_text()
    caches = list((tmp_path / "cache/signwing").iterdir())
    assert [cache.read_bytes() for cache in caches] == [stand_in.TimingCache.MAGIC + b"timed"]
    assert caches[0].name.startswith("timings-10.3.0-")


@pytest.mark.parametrize(
    ("faults", "why", "rung"),
    [
        ({"killed_above_mib": 300, "takes_mib": 100}, "it was killed at 1", (3, 250, 1)),
        ({"fails_above_level": 2}, "Could not find any implementation for node", (2, 500, 2)),
    ],
)
def test_a_build_that_is_killed_or_fails_goes_on_with_less_aloud(
    tiny_bundle: Path, knobs: Knobs, capsys: pytest.CaptureFixture[str], faults: dict[str, int], why: str, rung: tuple[int, int, int]
) -> None:
    number, workspace, level = rung
    knobs(**faults)
    build(tiny_bundle, workspace_mib=1000)
    told = capsys.readouterr()
    assert told.err.count(why) == number - 1
    assert f"attempt {number} of 4, workspace {workspace} MiB, optimisation level {level}" in told.out
    assert (sidecar_of(tiny_bundle).workspace_mib, sidecar_of(tiny_bundle).optimization_level) == (workspace, level)
    assert held(tiny_bundle) == WHOLE


@pytest.mark.parametrize(
    ("faults", "error", "why", "attempts"),
    [
        ({"killed_above_mib": 1}, EngineError, r"it was killed at .* \(TensorRT's own words: .*classifier\.fp16\.log\)", 4),
        ({"parser_errors": [["c1", "Conv", "bad scale"]]}, EngineError, "Conv c1: bad scale", 1),
        ({"no_gpu": True}, EngineError, r"wanted a GPU for TensorRT 10\.3\.0", 1),
    ],
)
def test_a_failure_leaves_the_engine_that_was_there(
    with_engine: tuple[Path, Sidecar],
    knobs: Knobs,
    capsys: pytest.CaptureFixture[str],
    faults: dict[str, Any],
    error: type[SignwingError],
    why: str,
    attempts: int,
) -> None:
    bundle, before = with_engine
    capsys.readouterr()
    knobs(**faults)
    with pytest.raises(error, match=why) as refused:
        build(bundle)
    assert "\n" not in str(refused.value)
    assert capsys.readouterr().out.count("attempt") == attempts
    assert held(bundle) == WHOLE
    assert sidecar_of(bundle) == before


def test_an_engine_that_computes_something_else_is_not_installed(with_engine: tuple[Path, Sidecar]) -> None:
    bundle, before = with_engine
    with np.load(bundle / "golden.npz") as golden:
        np.savez(bundle / "golden.npz", images=golden["images"], probabilities=np.roll(golden["probabilities"], 1, axis=1))
    rehash_golden(bundle)
    with pytest.raises(VerificationError, match=r"wanted golden outputs within 0\.01 from the new classifier in fp16, found"):
        build(bundle)
    assert held(bundle) == WHOLE
    assert sidecar_of(bundle) == before


def test_weak_typing_is_said_and_recorded(tiny_bundle: Path, knobs: Knobs, capsys: pytest.CaptureFixture[str]) -> None:
    knobs()
    build(tiny_bundle, typing="weak", max_batch=3)
    assert "weak typing" in capsys.readouterr().err
    assert (sidecar_of(tiny_bundle).typing, sidecar_of(tiny_bundle).max_batch) == ("weak", 3)


def test_a_crash_between_the_two_renames_is_refused_and_cured_by_a_rebuild(with_engine: tuple[Path, Sidecar]) -> None:
    folder, before = with_engine
    bundle = read_bundle(folder)
    spec, plan = bundle.model("classifier", "fp16"), plan_path(folder, "classifier", "fp16")
    plan.write_bytes(plan.read_bytes() + b"newer")  # the plan was renamed, the sidecar not yet
    (folder / "engines/.building/engines").mkdir(parents=True)
    with pytest.raises(BundleError, match="damaged or half replaced, build it again with"):
        guard(bundle, spec, before.board)
    build(folder)
    assert guard(bundle, spec, before.board)[0] == plan
    assert held(folder) == WHOLE


def engine_command(bundle: Path) -> list[str]:
    return [sys.executable, "-m", "export", "engine", str(bundle), "--precision", "fp16"]


def builder_of(bundle: Path, parent: subprocess.Popen[str]) -> int:
    """Wait until the builder times tactics and return its process id."""
    log, until = bundle / "engines/classifier.fp16.log", time.monotonic() + WAIT_S
    while time.monotonic() < until and parent.poll() is None:
        if log.exists() and "oom_score_adj" in log.read_text():
            return int(log.read_text().split("process ")[1].split()[0])
        time.sleep(0.05)
    parent.kill()
    raise AssertionError(parent.communicate())


def gone(process: int) -> bool:
    """Whether a process ends in time; one that nobody has waited for is over too."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_ctrl_c_ends_the_build_and_leaves_nothing(tiny_bundle: Path, knobs: Knobs) -> None:
    knobs(step_s=0.2)
    parent = started(engine_command(tiny_bundle), ROOT)
    builder = builder_of(tiny_bundle, parent)
    parent.send_signal(signal.SIGINT)
    _, told = parent.communicate(timeout=WAIT_S)
    assert parent.returncode == 130
    assert told.splitlines()[-1] == "python -m export: interrupted"
    assert "Traceback" not in told
    assert gone(builder)
    assert "BuildCanceled" in (tiny_bundle / "engines/classifier.fp16.log").read_text()
    assert held(tiny_bundle) == []


def test_a_builder_whose_parent_is_killed_gives_up(tiny_bundle: Path, knobs: Knobs) -> None:
    knobs(step_s=0.2)
    parent = started(engine_command(tiny_bundle), ROOT)
    builder = builder_of(tiny_bundle, parent)
    parent.kill()
    parent.communicate()
    assert gone(builder)
    assert "BuildCanceled" in (tiny_bundle / "engines/classifier.fp16.log").read_text()
    assert held(tiny_bundle) == [".building"]
    knobs()
    build(tiny_bundle)
    assert held(tiny_bundle) == WHOLE


def test_a_full_disk_is_one_line(tiny_bundle: Path, knobs: Knobs) -> None:
    knobs(pads_mib=1)
    limited = f"ulimit -f 500; exec {' '.join(engine_command(tiny_bundle))}"  # KiB that a file may have: the plan alone has more
    ended = subprocess.run(["bash", "-c", limited], cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "the system refused: File too large" in ended.stderr
    assert ".plan" in ended.stderr
    assert held(tiny_bundle) == []


def test_what_cannot_be_built_is_refused_before_any_work(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"wanted int8 for TensorRT in .*, it holds classifier fp16: choose another --precision"):
        build_engines(tiny_bundle, None, "int8", Options())
    rewrite(tiny_bundle, golden=Golden("golden.npz", "0" * 64, {}))
    with pytest.raises(BundleError, match="wanted a golden tolerance for fp16"):
        build(tiny_bundle)
    assert held(tiny_bundle) == []


def test_a_board_that_is_too_full_is_refused_unless_forced(tiny_bundle: Path, tmp_path: Path, knobs: Knobs, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/compatible").write_text("nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 7802996 kB\nMemFree: 409600 kB\nMemAvailable: 1536000 kB\nSwapTotal: 0 kB\n")
    knobs()
    with pytest.raises(
        EngineError, match=r"can build classifier fp16: 1500 MiB of memory are available, a build wants about .* \(--force tries all the same\)"
    ):
        build(tiny_bundle, root=tmp_path)
    assert held(tiny_bundle) == []
    build(tiny_bundle, root=tmp_path, force=True)
    told = capsys.readouterr()
    assert "1500 MiB of memory are available" in told.err
    assert "there is no swap" in told.err
    assert "attempt 1 of 4, workspace 375 MiB, tactics within 2048 MiB, optimisation level 3" in told.out
    assert held(tiny_bundle) == WHOLE


def test_without_tensorrt_the_cure_is_named(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvdla_compiler.so: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"wanted TensorRT's Python bindings, .*libnvdla_compiler\.so.*sudo apt install nvidia-jetpack"):
        build(tiny_bundle)
