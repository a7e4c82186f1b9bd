"""The drone's views as a benchmark: drawn frames through the command, the same figures twice, what cannot be made left out by name."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import views as benchmark
from benchmarks.__main__ import main
from benchmarks.measuring.intervals import f1_interval, wilson
from edge.datasets import aerial
from edge.datasets.aerial import CROP_VIEWS, FRAME_VIEWS, JUDGED

SIGN = (130, 40, 170, 80)
"""Wholly in the picture as it is, but no longer when that turns by 60 degrees."""


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """One frame on each side of the split, and two held out; each with a red disc in the middle and one near the edge."""
    folder = tmp_path / "gtsdb"
    folder.mkdir()
    rows = []
    for number in (0, 10, 30, 31):
        image = np.full((120, 180, 3), 90 + number, np.uint8)
        for x1, y1, x2, y2 in ((70, 40, 110, 80), SIGN):
            cv2.circle(image, ((x1 + x2) // 2, (y1 + y2) // 2), (x2 - x1) // 2, (20, 20, 200), cv2.FILLED, cv2.LINE_AA)
            rows.append(f"{number:05}.png;{x1};{y1};{x2};{y2};14")
        cv2.imwrite(str(folder / f"{number:05}.png"), image)
    (folder / "gt.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def photos(tmp_path: Path, draw_crops: Callable[..., Any]) -> Path:
    """20 drawn test photos in GTSRB's layout."""
    root = tmp_path / "gtsrb"
    (root / "Test").mkdir(parents=True)
    crops, class_ids = draw_crops(20, 30)
    with (root / "Test.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["ClassId", "Path"])
        for number, (crop, class_id) in enumerate(zip(crops, class_ids, strict=True)):
            cv2.imwrite(str(root / "Test" / f"{number:05}.png"), crop)
            table.writerow([class_id, f"Test/{number:05}.png"])
    return root


@pytest.fixture
def run(tiny_bundle: Path, frames: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs the command with the fake engine and the colour spotter and returns its result."""

    def measure(*options: str) -> dict[str, Any]:
        places = ["--json", str(tmp_path / "out.json"), "--sheet", str(tmp_path / "sheet.png")]
        assert main(["views", "--frames", str(frames), "--bundle", str(tiny_bundle), "--engine", "fake", *places, *options]) == 0
        found: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
        return found

    return measure


def test_each_view_has_its_figures_for_both_precisions_and_the_same_ones_again(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    names = ["as they are", "roll 60", "fisheye", "shake 3", "dim", "half"]
    found, again = (run("--views", ",".join(names)) for _ in range(2))
    assert (found["command"], found["frames"], found["precision"], found["left_out"]) == ("benchmarks views", 2, "int8-cpu", [])
    for side in (found, found["fp32"]):
        assert list(side["views"]) == names
        assert side["mean_f1"] is None  # most of what is judged was not asked for
    plain = found["views"]["as they are"]
    assert (plain["n"], plain["find"]["recall"]) == (4, 1.0)
    assert plain["find"]["interval"] == f1_interval(4, 4, plain["said"])
    assert set(plain["name"]) >= {"recall", "precision", "f1", "interval"}
    assert set(found["painted_out"]) == {"as they are", "dim"}
    assert "painted_out" not in found["fp32"]
    assert found["views"]["roll 60"]["n"] == 2  # the other two reach beyond the picture
    assert {key: again[key] for key in ("views", "fp32")} == {key: found[key] for key in ("views", "fp32")}
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] > 160


@pytest.mark.parametrize(("split", "count"), [("train", 1), ("tuning", 1), ("held-out", 2)])
def test_every_side_of_the_split_can_be_asked_for(run: Callable[..., dict[str, Any]], split: str, count: int) -> None:
    found = run("--split", split, "--views", "as they are", "--precision", "fp32")
    assert (found["frames"], found["precision"], "fp32" in found) == (count, "fp32", False)


def test_the_mean_is_of_the_views_that_are_judged(run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aerial, "through_h265", lambda image, quantiser: image)
    monkeypatch.setattr(benchmark, "through_h265", lambda image, quantiser: image)
    found = run()
    assert list(found["views"]) == list(FRAME_VIEWS)
    assert found["mean_f1"] == pytest.approx(np.mean([found["views"][name]["name"]["f1"] for name in JUDGED]), abs=1e-4)
    assert "crops" not in found


def test_without_an_encoder_its_views_are_left_out_by_name(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(aerial, "has_ffmpeg", lambda: False)
    found = run("--views", "as they are,h265 36,flight")
    assert (list(found["views"]), found["left_out"]) == (["as they are"], ["h265 36", "flight"])
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out")]
    assert len(told) == 1
    assert told[0].startswith("left out h265 36, flight: wanted ffmpeg")


def test_photos_are_named_in_every_view(run: Callable[..., dict[str, Any]], photos: Path) -> None:
    found = run("--views", ",".join(("as they are", *CROP_VIEWS)), "--crops", str(photos))
    assert list(found["crops"]) == ["as they are", *CROP_VIEWS]
    for row in found["crops"].values():
        assert (row["n"], row["interval"]) == (20, wilson(round(row["top1"] * 20), 20))
    assert found["mean_top1"] == pytest.approx(np.mean([found["crops"][name]["top1"] for name in CROP_VIEWS]), abs=1e-4)
    assert set(found["views"]) == {"as they are", *set(FRAME_VIEWS) & set(CROP_VIEWS)}


def test_a_limit_spreads_over_the_photos_and_each_keeps_its_view(run: Callable[..., dict[str, Any]], photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, bytes]] = []
    view = benchmark._photo_in

    def look(name: str, image: np.ndarray, place: int) -> np.ndarray:
        shown = view(name, image, place)
        seen.append((place, shown.tobytes()))
        return shown

    monkeypatch.setattr(benchmark, "_photo_in", look)
    found = run("--views", "noise 25", "--crops", str(photos), "--limit", "3")
    few = dict(seen)
    assert found["crops"]["noise 25"]["n"] == 3
    assert found["mean_top1"] is None
    assert sorted(few) == [0, 9, 19]
    run("--views", "noise 25", "--crops", str(photos))
    assert {place: dict(seen)[place] for place in few} == few


def test_a_name_that_no_view_has_is_refused_before_anything_runs(tiny_bundle: Path, frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["views", "--frames", str(frames), "--bundle", str(tiny_bundle), "--engine", "fake", "--views", "roll 30,px 24"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("python -m benchmarks: wanted views out of as they are, roll 10, ")
    assert "found 'px 24'" in told  # a view of photos, and none were given
    assert told.count("\n") == 1


def test_an_interrupt_writes_nothing(
    tiny_bundle: Path, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "tell", interrupted)
    places = ["--json", str(tmp_path / "out.json"), "--sheet", str(tmp_path / "sheet.png")]
    assert main(["views", "--frames", str(frames), "--bundle", str(tiny_bundle), "--engine", "fake", *places]) == 130
    assert capsys.readouterr().err.endswith("python -m benchmarks: interrupted\n")
    assert not (tmp_path / "out.json").exists()
    assert not (tmp_path / "sheet.png").exists()
