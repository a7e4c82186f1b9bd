"""`edge check`: a whole bundle passes in every precision, any other is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import done, refused, rehash_golden


def test_check_proves_every_precision(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done("check", tiny_bundle)
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in shown[-3:]] == [["classifier", "onnxruntime", precision] for precision in ("int8-cpu", "fp16", "fp32")]
    assert all(line.endswith(" -  ok") for line in shown[-3:])


@pytest.mark.parametrize(("options", "precisions"), [(["--precision", "fp32"], ["fp32"]), (["--engine", "onnxruntime"], ["int8-cpu", "fp16", "fp32"])])
def test_check_proves_what_is_chosen(tiny_bundle: Path, capsys: pytest.CaptureFixture[str], options: list[str], precisions: list[str]) -> None:
    done("check", tiny_bundle, *options)
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines() if line.endswith("ok")] == precisions


def test_check_refuses_a_precision_without_a_tolerance(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "golden tolerance for int8" in refused(capsys, "check", tiny_bundle, "--precision", "int8")


def test_check_refuses_outputs_out_of_tolerance(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(tiny_bundle / "golden.npz") as golden:
        images, probabilities = golden["images"], golden["probabilities"]
    np.savez(tiny_bundle / "golden.npz", images=images, probabilities=probabilities + np.float32(0.05))
    rehash_golden(tiny_bundle)
    assert "classifier fp16, classifier fp32" in refused(capsys, "check", tiny_bundle)


@pytest.mark.parametrize("arrays", [{}, {"images": np.zeros((1, 24, 24, 3), np.uint8)}, {"images": np.zeros(3), "probabilities": np.zeros((3, 43))}])
def test_check_refuses_a_golden_file_without_its_arrays(tiny_bundle: Path, capsys: pytest.CaptureFixture[str], arrays: dict[str, Any]) -> None:
    np.savez(tiny_bundle / "golden.npz", **arrays)
    assert "sha256" in refused(capsys, "check", tiny_bundle)
    rehash_golden(tiny_bundle)
    assert "golden.npz" in refused(capsys, "check", tiny_bundle)
