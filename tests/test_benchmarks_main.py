"""The command line of the benchmarks: options, refusals in one line, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main


@pytest.mark.parametrize("command", ["accuracy", "latency", "memory", "pipeline", "detector", "peers", "clients", "views"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    for option in ("--bundle", "--engine", "--precision", "--provider", "--json", "default"):
        assert option in printed


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["speed"],
        ["accuracy"],
        ["accuracy", "--data", "x"],
        ["accuracy", "--data", "x", "--split", "train"],
        ["latency", "--batch", "0"],
        ["latency", "--batch", "-1"],
        ["latency", "--runs", "many"],
        ["memory", "--engine", "tflite"],
        ["views"],
        ["views", "--frames", "x", "--split", "all"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2


@pytest.mark.parametrize("arguments", [["latency"], ["memory"], ["accuracy", "--data", ".", "--split", "test"]], ids=lambda arguments: arguments[0])
def test_a_missing_bundle_or_data_set_is_one_line_and_ends_with_1(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--bundle", str(tmp_path), "--json", str(tmp_path / "out.json")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("python -m benchmarks: wanted ")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--engine", "tensorrt"], ["--precision", "int8"], ["--provider", "tensorrt"]], ids=lambda options: options[1])
def test_what_cannot_run_here_is_never_replaced(tiny_bundle: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert main(["latency", "--bundle", str(tiny_bundle), "--runs", "1", *options]) == 1
    assert "p50" not in capsys.readouterr().out


def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "--bundle", str(tiny_bundle), "--json", str(tiny_bundle / "manifest.json" / "out.json")]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("python -m benchmarks: wanted to write")
    assert printed.out == ""


def test_latency_runs_without_any_model_on_the_fake_engine(tiny_bundle: Path, tmp_path: Path) -> None:
    for file in tiny_bundle.glob("*.onnx"):
        file.unlink()
    assert main(["latency", "--bundle", str(tiny_bundle), "--engine", "fake", "--batch", "1", "2", "--runs", "3", "--json", str(tmp_path / "a.json")]) == 0
    assert json.loads((tmp_path / "a.json").read_text())["engine"] == "fake"
