"""Detection: drawn frames whose signs are known, scored by INTERFACES' rules, through the runtime."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.detection import Runtime, Told, draw, faults, score, tally, tell
from benchmarks.measuring.intervals import f1_interval, wilson
from edge.bundle.manifest import read_bundle
from edge.datasets.aerial import FRAME_VIEWS
from edge.datasets.gtsdb import RoadFrame, paint_out
from edge.datasets.gtsrb import LABELS
from edge.engines.open import open_engine
from edge.recognition.classifier import Classifier
from edge.recognition.finding import match
from edge.recognition.proposals import Proposals
from edge.result import Detection


def told(truth: list[tuple[float, float, float, float, int]], said: list[tuple[float, float, float, float, int, float]], path: Path = Path("0.png")) -> Told:
    rows = np.array(truth, np.float64).reshape(-1, 5)
    frame = RoadFrame(path, rows[:, :4], rows[:, 4].astype(np.int64))
    detections = [Detection(tuple(row[:4]), int(row[4]), row[5]) for row in said]  # type: ignore[arg-type]
    return Told(frame, detections, match(np.array([one.box_xyxy for one in detections]).reshape(-1, 4), frame.boxes_xyxy))


def test_found_and_named_are_told_apart() -> None:
    figures = score(
        [
            told([(0, 0, 20, 20, 14), (50, 50, 90, 90, 1), (0, 60, 30, 90, 2)], [(0, 0, 20, 20, 14, 0.99), (51, 51, 91, 91, 5, 0.98)]),
            told([], [(5, 5, 25, 25, 3, 0.97)]),
        ]
    )
    json.dumps(figures)  # plain numbers, not NumPy's
    assert (figures["frames"], figures["signs"], figures["misnamed"], figures["false_a_frame"]) == (2, 3, 1, 0.5)
    assert figures["find"] | {"recall": 0.6667, "precision": 0.6667, "f1": 0.6667} == figures["find"]
    assert figures["name"] | {"recall": 0.3333, "precision": 0.3333, "f1": 0.3333} == figures["name"]
    assert figures["name"]["recall_interval"] == figures["name"]["precision_interval"] == wilson(1, 3)
    assert figures["name"]["interval"] == f1_interval(1, 3, 3)
    assert (figures["said"], figures["find"]["recall_at_1_interval"]) == (3, wilson(2, 3))
    assert figures["find"]["recall_at_1"] == 0.6667
    assert figures["by_size"]["16-23"] == {"signs": 1, "found": 1, "named": 1}
    assert figures["by_size"]["24-31"] == {"signs": 1, "found": 0, "named": 0}
    assert figures["by_size"]["32-47"] == {"signs": 1, "found": 1, "named": 0}


@pytest.mark.parametrize("place", [0, 1])
def test_a_still_is_levelled_by_the_roll_that_is_told(tiny_bundle: Path, place: int) -> None:
    """The spotter sees the upright frame, and its boxes are matched in the turned one, as an autopilot's roll has it."""
    view, box = FRAME_VIEWS["roll 45 levelled"], np.array([[150.0, 40, 190, 80]])
    upright = np.full((160, 256, 3), 114, np.uint8)
    cv2.rectangle(upright, (150, 40), (189, 79), (0, 0, 250), cv2.FILLED)
    turned, boxes = view.apply(upright, box, place)
    seen: list[np.ndarray] = []

    def spotter(image: np.ndarray) -> Proposals:
        seen.append(image)
        return Proposals(box.astype(np.float32), np.ones(1, np.float32))

    frame = RoadFrame(Path("0.png"), boxes, np.array([14]))
    bundle = read_bundle(tiny_bundle)
    with open_engine(bundle, "classifier", engine="fake", precision="int8-cpu") as engine:
        one = tell(frame, turned, Runtime(engine, Classifier(engine, 0.0), spotter, LABELS), (256, 160), view.camera_roll(place))
    assert np.abs(seen[0][30:130, 60:200].astype(int) - upright[30:130, 60:200]).mean() < 3
    assert list(one.matched) == [0]
    assert one.detections[0].box_xyxy == pytest.approx(boxes[0], abs=0.6)


def test_small_signs_are_neither_hit_nor_miss() -> None:
    figures = score([told([(0, 0, 15, 40, 14)], [(0, 0, 15, 40, 14, 0.9)])])
    assert (figures["signs"], figures["find"]["precision"], figures["find"]["f1"], figures["name"]["f1"]) == (0, 1.0, 1.0, 1.0)


def test_a_sign_that_reaches_beyond_the_view_is_neither_hit_nor_miss() -> None:
    truth = [(10, 10, 40, 40, 14), (80, 10, 130, 60, 1), (60, -20, 80, 4, 2)]
    said = [(10, 10, 40, 40, 14, 0.99), (80, 10, 100, 60, 5, 0.98), (0, 50, 20, 70, 3, 0.97)]
    one = replace(told(truth, said), size_wh=(100, 80))
    one = replace(one, matched=match([row[:4] for row in said], one.frame.boxes_xyxy, one.size_wh))
    counts = tally([one])
    assert (counts.signs, counts.found, counts.named, counts.said) == (1, 1, 1, 2)
    assert [fault.said for fault in faults(one, LABELS)] == [f"false {LABELS[3]} 0.97"]


def test_the_sheet_shows_misses_wrong_names_and_false_boxes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((100, 100, 3), 90, np.uint8))
    one = told([(0, 0, 20, 20, 14), (50, 50, 90, 90, 1)], [(50, 50, 90, 90, 5, 0.98), (5, 60, 25, 80, 3, 0.97)], tmp_path / "1.png")
    draw([one], LABELS, tmp_path / "out" / "sheet.png")
    assert cv2.imread(str(tmp_path / "out" / "sheet.png")).shape == (160, 480, 3)


def test_a_sign_is_painted_out_and_the_rest_stays() -> None:
    image = np.full((90, 120, 3), 80, np.uint8)
    image[30:50, 40:60] = (0, 0, 255)
    image[0:20, 100:120] = (0, 255, 0)
    found = paint_out(image, np.array([[40.5, 30.5, 59.5, 49.5], [110.0, -5.0, 130.0, 4.0]]))
    assert (np.abs(found[30:50, 40:60].astype(int) - 80) < 10).all()
    assert (found[60:] == image[60:]).all()
    assert (found[10:20, 101:108] == (0, 255, 0)).all()
    assert (image[40, 50] == (0, 0, 255)).all()


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    (tmp_path / "frames").mkdir()
    rows = []
    for number in (0, 1, 30):
        cv2.imwrite(str(tmp_path / "frames" / f"{number:05}.png"), np.full((64, 96, 3), 40 * (number % 3), np.uint8))
        rows.append(f"{number:05}.png;10;10;40;40;14")
    (tmp_path / "table.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("split", "count"), [("all", 3), ("train", 2), ("held-out", 1)])
def test_the_command_runs_the_runtime_over_a_side_of_the_split(tiny_bundle: Path, frames: Path, split: str, count: int) -> None:
    options = ["--bundle", str(tiny_bundle), "--engine", "fake", "--spotter", "none", "--json", str(frames / "out.json"), "--sheet", str(frames / "sheet.png")]
    assert main(["detection", "--frames", str(frames / "frames"), "--gt", str(frames / "table.txt"), "--split", split, *options]) == 0
    document = json.loads((frames / "out.json").read_text())
    assert (document["command"], document["frames"], document["signs"]) == ("benchmarks detection", count, count)
    assert {"recall", "precision", "f1", "ap50"} <= set(document["find"])
    assert set(document["name"]) == {"recall", "recall_interval", "precision", "precision_interval", "f1", "interval"}
    assert set(document["painted_out"]) == {"false", "where_signs_were"}
    assert (frames / "sheet.png").is_file()


def test_no_table_is_told_in_a_line(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detection", "--frames", str(tmp_path), "--bundle", str(tiny_bundle), "--engine", "fake"]) == 1
    assert "wanted gt.txt in" in capsys.readouterr().err


def test_the_shipped_runtime_finds_and_names_in_frames_that_it_never_saw(shipped_bundle: Path, data_root: Path, tmp_path: Path) -> None:
    options = ["--bundle", str(shipped_bundle), "--split", "held-out", "--json", str(tmp_path / "out.json"), "--sheet", str(tmp_path / "sheet.png")]
    assert main(["detection", "--frames", str(data_root / "gtsdb"), *options]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["find"]["recall"] >= 0.96
    assert figures["name"]["f1"] >= 0.96
    assert figures["false_a_frame"] <= 0.1
