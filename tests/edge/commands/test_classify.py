"""`edge classify`: a row for every image, in order, and what cannot be named."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from commands import done, refused, rewrite
from media import picture, write_image

from edge.bundle.manifest import Thresholds
from edge.datasets.gtsrb import LABELS


def test_classify_writes_a_row_for_every_image(tiny_bundle: Path, tmp_path: Path) -> None:
    for number in range(150):
        write_image(tmp_path / "crops" / f"{number // 100}" / f"{number}.png", picture(number))
    (tmp_path / "crops" / "0" / "3.png").write_bytes(b"no image")
    single = write_image(tmp_path / "a, b.png", picture(7))
    done("classify", single, tmp_path / "crops", "--bundle", tiny_bundle, "--csv", tmp_path / "out" / "n.csv")
    with (tmp_path / "out" / "n.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["path", "class_id", "label", "confidence"]
    assert [row[0] for row in rows] == [str(single)] + [str(tmp_path / "crops" / f"{n // 100}" / f"{n}.png") for n in range(150)]
    assert rows[4][1:] == ["", "", ""]
    named = rows[:4] + rows[5:]
    assert all(LABELS[int(class_id)] == label and 0 < float(confidence) <= 1 for _, class_id, label, confidence in named)
    # The same picture gets the same row, whatever batch it is in.
    assert rows[0][1:] == rows[8][1:]


def test_classify_prints_what_a_table_would_hold(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(tiny_bundle, thresholds=Thresholds(1.0))
    path = write_image(tmp_path / "x.png", picture(7))
    done("classify", path, "--bundle", tiny_bundle)
    named, total = capsys.readouterr().out.splitlines()
    assert named.startswith(f"{path}: ")
    assert named.endswith("(below the threshold)")
    assert total.startswith("1 of 1 ")


def test_classify_refuses_what_it_cannot_name(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert "nothing at" in refused(capsys, "classify", tmp_path / "missing.png", "--bundle", tiny_bundle)
    assert "found none" in refused(capsys, "classify", tmp_path / "empty", "--bundle", tiny_bundle)
    (tmp_path / "x.png").write_bytes(b"no image")
    assert "can be read" in refused(capsys, "classify", tmp_path / "x.png", "--bundle", tiny_bundle, "--csv", tmp_path / "out" / "n.csv")
    assert not list((tmp_path / "out").iterdir())
    write_image(tmp_path / "x.png", picture(0))
    assert "x.png" in refused(capsys, "classify", tmp_path / "x.png", "--bundle", tiny_bundle, "--csv", tmp_path / "x.png" / "n.csv")
