"""The guard: an engine runs only on the board, from the model and with the TensorRT that its sidecar names; anything else is one line, never a crash."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.manifest import SCHEMA as MANIFEST_SCHEMA
from edge.bundle.manifest import Bundle, Golden, Manifest, ModelSpec, Thresholds
from edge.bundle.sidecar import SCHEMA, Board, Sidecar, guard, plan_path, read_plan_version, read_sidecar, sidecar_path, write_sidecar
from edge.errors import BundleError
from edge.files import sha256_of

HERE = Board("10.3.0", "Orin (p3767-0005)", "8.7", "36.4.3", "MAXN_SUPER")
PLAN = b"ftrt" + bytes(4) + bytes(range(16)) + bytes([10, 3, 0, 30]) + b"weights" * 9


@pytest.fixture
def bundle(tmp_path: Path, tiny_spec: ModelSpec) -> Bundle:
    """A bundle with an engine for this very board."""
    spec = replace(tiny_spec, sha256="c" * 64)
    golden = Golden("golden.npz", "a" * 64, {"fp16": 0.01})
    bundle = Bundle(tmp_path, Manifest(MANIFEST_SCHEMA, "test", ("one",), (spec,), Thresholds(0.5), golden, {}))
    plan = plan_path(tmp_path, spec.role, spec.precision)
    plan.parent.mkdir()
    plan.write_bytes(PLAN)
    figures = {"peak_mib": 2310.5, "least_available_mib": 812.0, "seconds": 81.0, "difference": 0.004}
    built = {"typing": "strong", "max_batch": 16, "workspace_mib": 512, "optimization_level": 3, "built_at": "2026-01-01T00:00:00+00:00", **figures}
    write_sidecar(plan, Sidecar(SCHEMA, spec.role, spec.precision, spec.sha256, sha256_of(plan), HERE, **built))
    return bundle


def spec_of(bundle: Bundle) -> ModelSpec:
    return bundle.manifest.models[0]


def plan_of(bundle: Bundle) -> Path:
    return plan_path(bundle.folder, "classifier", "fp16")


def refusal(bundle: Bundle, here: Board = HERE) -> str:
    with pytest.raises(BundleError) as refused:
        guard(bundle, spec_of(bundle), here)
    told = str(refused.value)
    assert "\n" not in told
    assert f"`python -m export engine {bundle.folder} --precision fp16`" in told
    return told


def rewrite(bundle: Bundle, **changes: Any) -> None:
    """Change fields of the sidecar."""
    write_sidecar(plan_of(bundle), replace(read_sidecar(plan_of(bundle), ""), **changes))


def test_an_engine_of_this_board_passes_in_silence(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    plan, sidecar = guard(bundle, spec_of(bundle), HERE)
    assert plan == bundle.folder / "engines" / "classifier.fp16.plan"
    assert sidecar == read_sidecar(plan, "")
    assert json.loads(sidecar_path(plan).read_text()) == asdict(sidecar)
    assert capsys.readouterr() == ("", "")


def test_a_desk_without_power_modes_has_sidecars_too(bundle: Bundle) -> None:
    desk = Board("10.3.0", "NVIDIA A40", "8.6", None, None)
    rewrite(bundle, board=desk, least_available_mib=None, difference=None)
    assert guard(bundle, spec_of(bundle), desk)[1].board == desk


@pytest.mark.parametrize(
    ("here", "both"),
    [
        (replace(HERE, gpu="Orin (p3767-0003)"), "built for GPU Orin (p3767-0003) 8.7, found one built for Orin (p3767-0005) 8.7"),
        (replace(HERE, compute_capability="8.6"), "built for GPU Orin (p3767-0005) 8.6, found one built for Orin (p3767-0005) 8.7"),
        (replace(HERE, tensorrt="10.16.1"), "built for TensorRT 10.16.1, found one built for 10.3.0"),
    ],
)
def test_another_machine_is_refused_with_both_sides(bundle: Bundle, here: Board, both: str) -> None:
    assert both in refusal(bundle, here)


def test_another_release_of_linux_runs_the_same_engine(bundle: Bundle) -> None:
    guard(bundle, spec_of(bundle), replace(HERE, l4t="36.5.0"))


def test_another_power_mode_is_a_warning(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    guard(bundle, spec_of(bundle), replace(HERE, power_mode="15W"))
    told = capsys.readouterr().err
    assert "built in power mode MAXN_SUPER, this is 15W" in told
    assert told.count("\n") == 1
    guard(bundle, spec_of(bundle), replace(HERE, power_mode=None))  # a container that cannot tell
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"onnx_sha256": "d" * 64}, "classifier fp16 dddddddddddd"),
        ({"precision": "int8"}, "classifier int8 cccccccccccc"),
        ({"role": "spotter"}, "spotter fp16 cccccccccccc"),
    ],
)
def test_another_model_is_refused_with_both_sides(bundle: Bundle, changes: dict[str, Any], found: str) -> None:
    rewrite(bundle, **changes)
    told = refusal(bundle)
    assert "built for model classifier fp16 cccccccccccc" in told
    assert f"found one built for {found}" in told


def test_a_header_of_another_tensorrt_is_refused_though_the_sidecar_agrees(bundle: Bundle) -> None:
    plan_of(bundle).write_bytes(PLAN[:24] + bytes([10, 16, 2, 10]) + PLAN[28:])
    rewrite(bundle, plan_sha256=sha256_of(plan_of(bundle)))
    assert "TensorRT 10.3.0 in" in (told := refusal(bundle))
    assert "found one of 10.16.2.10" in told


@pytest.mark.parametrize("version", ["10.3.0", "10.3.0.30", "10.3"])
def test_the_fourth_number_may_be_left_out(bundle: Bundle, version: str) -> None:
    here = replace(HERE, tensorrt=version)
    rewrite(bundle, board=here)
    guard(bundle, spec_of(bundle), here)


def test_the_version_of_a_plan_is_in_its_header(bundle: Bundle, tmp_path: Path) -> None:
    assert read_plan_version(plan_of(bundle), "") == "10.3.0.30"
    (tmp_path / "newer").write_bytes(b"ftrt\1\0\0\0" + PLAN[8:])
    assert read_plan_version(tmp_path / "newer", "") is None
    for content in (b"", b"ftrt", PLAN[:27], b"vtrt" + PLAN[4:], b"\x7fELF" * 10):
        (tmp_path / "strange").write_bytes(content)
        with pytest.raises(BundleError, match=r"something else at its start: the cure"):
            read_plan_version(tmp_path / "strange", "the cure")


def test_what_is_missing_is_named(bundle: Bundle) -> None:
    sidecar_path(plan_of(bundle)).unlink()
    assert f"found no {sidecar_path(plan_of(bundle))}" in refusal(bundle)
    plan_of(bundle).unlink()
    assert f"found no {plan_of(bundle)}: build it with" in refusal(bundle)


def test_a_plan_that_a_crash_left_beside_an_older_sidecar_is_refused(bundle: Bundle) -> None:
    plan_of(bundle).write_bytes(PLAN + b"newer")
    assert "damaged or half replaced" in refusal(bundle)


WRONG: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda raw: raw.update(schema=True), "wanted a sidecar of schema 1"),
    (lambda raw: raw.pop("typing"), "sidecar lacks ['typing']"),
    (lambda raw: raw.update(typing="medium"), "typing is 'medium', not strong or weak"),
    (lambda raw: raw["board"].pop("gpu"), "sidecar.board lacks ['gpu']"),
    (lambda raw: raw["board"].update(l4t=36), "sidecar.board.l4t is int, not str"),
    (lambda raw: raw["board"].update(gpu="Or\nin"), "not all printable"),
    (lambda raw: raw.update(max_batch=0), "out of its range"),
    (lambda raw: raw.update(workspace_mib=-1), "out of its range"),
    (lambda raw: raw.update(optimization_level=6), "out of its range"),
    (lambda raw: raw.update(seconds=float("nan")), "not all 0 and more"),
    (lambda raw: raw.update(peak_mib="much"), "sidecar.peak_mib is str, not float"),
    (lambda raw: raw.update(plan_sha256="abc"), "sha256 of the plan is 'abc'"),
    (lambda raw: raw.update(onnx_sha256="C" * 64), "sha256 of the model"),
]


@pytest.mark.parametrize(("change", "found"), WRONG, ids=[found for _, found in WRONG])
def test_a_wrong_field_of_a_sidecar_is_named(bundle: Bundle, change: Callable[[dict[str, Any]], object], found: str) -> None:
    path = sidecar_path(plan_of(bundle))
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
    assert found in refusal(bundle)


def test_a_sidecar_of_a_newer_signwing_asks_for_it(bundle: Bundle) -> None:
    rewrite(bundle, schema=2)
    with pytest.raises(BundleError, match="found 2: update signwing"):
        guard(bundle, spec_of(bundle), HERE)


@pytest.mark.parametrize("part", ["plan", "sidecar"])
def test_bytes_changed_at_random_are_refused_or_change_nothing_that_matters(bundle: Bundle, part: str) -> None:
    path = plan_of(bundle) if part == "plan" else sidecar_path(plan_of(bundle))
    rng, content, refused = random.Random(part), path.read_bytes(), 0
    for _ in range(500):
        damaged = bytearray(content)
        if rng.random() < 0.2:
            del damaged[rng.randrange(len(damaged)) :]
        else:
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            guard(bundle, spec_of(bundle), HERE)
        except BundleError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017 - an error is one of two right outcomes
    assert refused == 500 if part == "plan" else refused > 400
