"""Building a plan: NVIDIA's own parser and builder (TensorRT-RTX needs no GPU to build), and what the full TensorRT is documented to do, by a stand-in."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorrt_builder_stand_in as stand_in

from edge.board.identity import Identity, Memory
from edge.errors import EngineError
from edge.bundle.manifest import ModelSpec, read_bundle
from export.engines.build import BuildError, Settings, build_plan
from export.engines.preflight import findings
from export.engines.progress import Bar, Phases


class SpiedBuilder(stand_in.Builder):
    """Keeps what a build was asked for."""

    network: Any
    config: Any

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        type(self).network, type(self).config = network, config
        return super().build_serialized_network(network, config)


def spied(version: str = "10.3.0") -> Any:
    module = stand_in.release(version)
    module.Builder = SpiedBuilder
    return module


@pytest.fixture
def knobs(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets how the stand-in goes wrong, as JSON."""
    return lambda document: monkeypatch.setenv(stand_in.KNOBS, document)


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    path = tmp_path / "classifier.fp16.onnx"
    path.write_bytes(b"\x08\x08model")
    return path


def sm86(config: Any) -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    config.num_compute_capabilities = 1
    assert config.set_compute_capability(rtx.ComputeCapability.SM86, 0)


def test_nvidias_builder_takes_what_is_shipped_for_it(shipped_bundle: Path) -> None:
    rtx = pytest.importorskip("tensorrt_rtx", reason="needs NVIDIA's tensorrt-rtx from the dev group")
    for spec in read_bundle(shipped_bundle).manifest.models:
        if spec.target != "tensorrt":
            continue
        seen: list[tuple[float, str]] = []

        def watch(share: float, phase: str, seen: list[tuple[float, str]] = seen) -> bool:
            seen.append((share, phase))
            return True

        plan = build_plan(rtx, shipped_bundle / spec.file, spec, Settings(workspace_mib=256, tactic_mib=1024, level=2), configure=sm86, watch=watch)
        assert plan[1:4] == b"trt"
        assert len(plan) > 0.9 * (shipped_bundle / spec.file).stat().st_size
        assert len({phase for _, phase in seen}) > 2
        shares = [share for share, _ in seen]
        assert shares == sorted(shares)
        assert 0 < shares[0] < 0.1 < 0.8 < shares[-1] <= 1


def test_nvidias_builder_can_be_cancelled_and_says_so(shipped_bundle: Path) -> None:
    rtx = pytest.importorskip("tensorrt_rtx", reason="needs NVIDIA's tensorrt-rtx from the dev group")
    spec = read_bundle(shipped_bundle).model("classifier", "fp16")
    with pytest.raises(BuildError, match="BuildCanceled"):
        build_plan(rtx, shipped_bundle / spec.file, spec, Settings(), configure=sm86, watch=lambda share, phase: False)


def test_nvidias_parser_refuses_in_one_line(shipped_bundle: Path, tmp_path: Path) -> None:
    rtx = pytest.importorskip("tensorrt_rtx", reason="needs NVIDIA's tensorrt-rtx from the dev group")
    spec = read_bundle(shipped_bundle).model("classifier", "fp16")
    content = (shipped_bundle / spec.file).read_bytes()
    for name, wrong in (("text", b"no model"), ("half", content[: len(content) // 2]), ("empty", b"")):  # nothing is a graph without tensors
        (tmp_path / name).write_bytes(wrong)
        with pytest.raises(EngineError, match=rf"{name}, (its parser refused: .*|found \[\]): export the bundle again") as refused:
            build_plan(rtx, tmp_path / name, spec, Settings(), configure=sm86)
        assert "\n" not in str(refused.value)
    other = replace(spec, input=replace(spec.input, shape=(-1, 32, 32, 3)))
    found = re.escape(f"found [('images', 'UINT8', {spec.input.shape})]")
    with pytest.raises(EngineError, match=rf"wanted images uint8 \(-1, 32, 32, 3\) alone in .* {found}"):
        build_plan(rtx, shipped_bundle / spec.file, other, Settings(), configure=sm86)


@pytest.mark.parametrize(("version", "flag"), [("10.3.0", 0b10), ("10.16.1", 0b10), ("11.4.0", 0b1)])
def test_strong_typing_is_asked_for_by_the_flag_that_the_release_has(onnx: Path, tiny_spec: ModelSpec, version: str, flag: int) -> None:
    plan = build_plan(spied(version), onnx, tiny_spec, Settings(max_batch=16, workspace_mib=512, tactic_mib=3000, level=2))
    assert plan.startswith(b"ftrt")
    assert plan.endswith(onnx.read_bytes())
    assert SpiedBuilder.network.flags == flag
    config = SpiedBuilder.config
    assert config.set_flags == []
    assert config.pools == {stand_in.MemoryPoolType.WORKSPACE: 512 << 20, stand_in.MemoryPoolType.TACTIC_DRAM: 3000 << 20}
    assert (config.builder_optimization_level, config.max_aux_streams, config.profiling_verbosity.name) == (2, 0, "DETAILED")
    assert [(profile.name, profile.batches) for profile in config.profiles] == [("images", (1, 4, 16))]


def test_defaults_stay_tensorrts_own_and_a_spotter_takes_one_frame(onnx: Path, tiny_spec: ModelSpec) -> None:
    build_plan(spied(), onnx, tiny_spec, Settings(max_batch=1))
    assert SpiedBuilder.config.pools == {}
    assert SpiedBuilder.config.profiles[0].batches == (1, 1, 1)


@pytest.mark.parametrize(("precision", "flags"), [("fp16", ["FP16"]), ("int8", ["FP16", "INT8"])])
def test_weak_typing_is_there_where_tensorrt_10_is(onnx: Path, tiny_spec: ModelSpec, precision: str, flags: list[str]) -> None:
    build_plan(spied(), onnx, replace(tiny_spec, precision=precision), Settings(typing="weak"))
    assert SpiedBuilder.network.flags == 0
    assert [flag.name for flag in SpiedBuilder.config.set_flags] == flags
    with pytest.raises(EngineError, match=r"TensorRT 11\.4\.0 has none: leave --typing weak away"):
        build_plan(spied("11.4.0"), onnx, tiny_spec, Settings(typing="weak"))


def test_a_tensorrt_without_strong_typing_names_the_cure(onnx: Path, tiny_spec: ModelSpec) -> None:
    with pytest.raises(EngineError, match=r"TensorRT 8\.6\.2 has none: update to JetPack 6\.1"):
        build_plan(spied("8.6.2"), onnx, tiny_spec, Settings())


@pytest.mark.parametrize(
    ("document", "kind", "told"),
    [
        ('{"no_gpu": true}', EngineError, "found none that it can use: .*CUDA initialization failure with error: 35"),
        ('{"parser_errors": [["c1", "Conv", "bad\\nscale"], ["d2", "Gemm", "worse"]]}', EngineError, "Conv c1: bad scale; Gemm d2: worse: export"),
        ('{"inputs": [["images", [-1, 24, 24, 3], "FLOAT"]]}', EngineError, "wanted images uint8 .* found .*'FLOAT'"),
        ('{"inputs": [["images", [-1, -1, 24, 3], "UINT8"]]}', EngineError, r"found .*\(-1, -1, 24, 3\)"),
        ('{"inputs": [["images", [-1, 24, 24, 3], "UINT8"], ["mask", [-1], "FLOAT"]]}', EngineError, "alone in .* found .*'mask'"),
        ('{"outputs": [["probabilities", [-1, 42], "FLOAT"]]}', EngineError, r"wanted probabilities .* found .*\(-1, 42\)"),
        ('{"fails_above_level": 2}', BuildError, r"built none: .*Could not find any implementation for node block1_conv1"),
    ],
)
def test_what_tensorrt_says_by_none_is_told_with_its_own_words(
    onnx: Path, tiny_spec: ModelSpec, knobs: Callable[[str], None], document: str, kind: type[Exception], told: str
) -> None:
    knobs(document)
    with pytest.raises(kind, match=told) as refused:
        build_plan(stand_in, onnx, tiny_spec, Settings())
    assert type(refused.value) is kind
    assert "\n" not in str(refused.value)


def test_timings_are_kept_and_a_cache_of_another_release_is_replaced_aloud(onnx: Path, tiny_spec: ModelSpec, tmp_path: Path) -> None:
    told: list[str] = []
    cache = tmp_path / "new" / "timings.cache"
    build_plan(stand_in, onnx, tiny_spec, Settings(timing_cache=cache), tell=told.append)
    kept = cache.read_bytes()
    assert kept == stand_in.TimingCache.MAGIC + b"timed"
    build_plan(stand_in, onnx, tiny_spec, Settings(timing_cache=cache), tell=told.append)
    assert not any(str(cache) in line for line in told)
    cache.write_bytes(b"timings of another release")
    build_plan(stand_in, onnx, tiny_spec, Settings(timing_cache=cache), tell=told.append)
    assert cache.read_bytes() == kept
    assert any(f"{cache} does not fit here" in line for line in told)
    build_plan(stand_in, onnx, tiny_spec, Settings(timing_cache=Path("/dev/full/timings.cache")), tell=told.append)  # a lost cache is no lost plan
    assert "wanted to write /dev/full/timings.cache" in told[-1]


def test_the_log_has_warnings_and_no_chatter(onnx: Path, tiny_spec: ModelSpec, knobs: Callable[[str], None]) -> None:
    told: list[str] = []
    knobs('{"fails_above_level": 0}')
    with pytest.raises(BuildError):
        build_plan(stand_in, onnx, tiny_spec, Settings(), tell=told.append)
    assert any("Tactic Device request: 414MB Available: 216MB" in line for line in told)
    assert not any("every tactic" in line for line in told)


class Terminal(io.StringIO):
    """A stream that says it is watched."""

    def isatty(self) -> bool:
        return True


def test_progress_is_a_line_with_an_estimate_on_a_terminal_and_nothing_elsewhere() -> None:
    screen, file = Terminal(), io.StringIO()
    for stream in (screen, file):
        with Bar("classifier int8", stream) as bar:
            bar.show(0.0, "Parsing")
            bar.show(0.5, "Timing graph nodes")
    first, second = screen.getvalue().split("\r\x1b[K")[1:3]
    assert first == "classifier int8:   0% |                    | 0:00 gone, Parsing"
    assert second.startswith("classifier int8:  50% |##########          | 0:00 gone, about 0:00 left, Timing"[: len(second)])
    assert screen.getvalue().endswith("\r\x1b[K")
    assert file.getvalue() == ""


def test_the_share_of_a_build_counts_phases_within_phases() -> None:
    phases = Phases()
    phases.start("build", None, 2)
    phases.start("timing", "build", 4)
    assert phases.step("timing", 0) == pytest.approx(1 / 8)
    phases.start("node", "timing", 2)
    assert phases.step("node", 0) == pytest.approx((1 + 1 / 2) / 8)
    phases.finish("node")
    assert phases.step("timing", 1) == pytest.approx(2 / 8)
    phases.finish("timing")
    assert phases.step("build", 0) == pytest.approx(1 / 2)
    assert phases.step("build", 1) == 1
    assert phases.step("never started", 7) == 1


ROOMY = Memory(total_mib=7620, available_mib=5300, free_mib=4000, swap_mib=3810)


def jetson(release: str, power_mode: str = "MAXN_SUPER") -> Identity:
    return Identity("Orin Nano", "p3767-0005", release, power_mode, "devkit-super-", 1_020_000_000, jetson=True)


@pytest.mark.parametrize(
    ("board", "memory", "disk_mib", "told"),
    [
        (jetson("36.4.3"), ROOMY, 9000, []),
        (jetson("39.2.1"), ROOMY, 9000, []),
        (jetson("35.3.1"), ROOMY, 9000, ["REFUSED wanted JetPack 6.1, 6.2 or 7.2 (Jetson Linux 36.4, 36.5 or 39.2), found JetPack 5.1"]),
        (jetson("36.3.0"), ROOMY, 9000, ["REFUSED wanted JetPack 6.1, 6.2 or 7.2 (Jetson Linux 36.4, 36.5 or 39.2), found JetPack 6.0"]),
        (jetson("40.1.0"), ROOMY, 9000, ["wanted JetPack 6.1, 6.2 or 7.2"]),
        (jetson("36.4.7"), ROOMY, 9000, ["Jetson Linux 36.4.7 fails large GPU allocations"]),
        (jetson("36.4.3", "15W"), ROOMY, 9000, ["tactics are timed in power mode 15W"]),
        (jetson("36.4.3"), replace(ROOMY, available_mib=1500), 9000, ["REFUSED 1500 MiB of memory are available, a build wants about 2068"]),
        (jetson("36.4.3"), replace(ROOMY, free_mib=300), 9000, ["only 300 MiB are free"]),
        (jetson("36.4.3"), replace(ROOMY, swap_mib=0), 9000, ["there is no swap"]),
        (jetson("36.4.3"), ROOMY, 100, ["REFUSED 100 MiB of disk are free, 120 are wanted"]),
        (Identity(None, None, None, None, None, None, jetson=False), replace(ROOMY, available_mib=1500, swap_mib=0), 9000, ["1500 MiB of memory"]),
        (Identity(None, None, None, None, None, None, jetson=False), None, 9000, []),
    ],
)
def test_what_speaks_against_a_build_is_said_before_it(board: Identity, memory: Memory | None, disk_mib: int, told: list[str]) -> None:
    found = [f"{'REFUSED ' if finding.refuses else ''}{finding.text}" for finding in findings(board, memory, disk_mib, onnx_mib=28)]
    assert len(found) == len(told)
    assert all(line.startswith(wanted) for line, wanted in zip(found, told, strict=True)), found
