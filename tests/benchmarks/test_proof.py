"""The protocols of others: measures against what they are by their definitions, corruptions that get worse, and the command from photos to the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_sets import SIGN_XYXY, write_frames, write_test_photos

from benchmarks.__main__ import main
from benchmarks.detection import Runtime
from benchmarks.proof.anchors import ANCHORS
from benchmarks.proof.corruptions import CORRUPTIONS, SIDE_PX
from benchmarks.proof.frames import CATEGORIES, detected
from benchmarks.proof.rejection import calibration_error, separation
from edge.datasets.gtsdb import read_frames
from edge.drawn.signs import draw_sign
from edge.recognition.proposals import Proposals

RNG = np.random.default_rng(0)


def test_separation_is_the_share_of_pairs_in_order() -> None:
    known, unknown = RNG.choice([0.2, 0.5, 0.8, 0.9], 40), RNG.choice([0.1, 0.2, 0.5, 0.8], 25)
    pairs = [(a > b) + (a == b) / 2 for a in known for b in unknown]
    assert separation(known, unknown)["auroc"] == pytest.approx(np.mean(pairs), abs=1e-5)
    told = separation(np.linspace(0.5, 1, 101), np.array([0.51, 0.524, 0.6, 0.1]))  # 95% of the known are at 0.525 and more
    assert (told["n"], told["passing"]) == (4, 0.25)


def test_calibration_error_is_zero_where_confidence_is_accuracy() -> None:
    assert calibration_error(np.full(100, 0.9), np.arange(100) < 90) == pytest.approx(0)
    assert calibration_error(np.full(100, 0.9), np.arange(100) < 50) == pytest.approx(0.4)
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0


def test_there_are_ten_corruptions_each_worse_with_its_strength() -> None:
    sign = draw_sign(14, SIDE_PX)
    photo = np.asarray(sign[:, :, :3] * (sign[:, :, 3:] / 255) + 90 * (1 - sign[:, :, 3:] / 255), np.uint8)
    assert len(CORRUPTIONS) == 10
    for name, kind in CORRUPTIONS.items():
        assert len(kind.strengths) == 5
        far = []
        for strength in kind.strengths:
            worse = [kind.apply(photo, strength, np.random.default_rng(seed)) for seed in range(5)]
            assert all(each.shape == photo.shape and each.dtype == np.uint8 for each in worse), name
            assert np.array_equal(worse[0], kind.apply(photo, strength, np.random.default_rng(0)))
            far.append(np.mean([np.abs(each.astype(float) - photo).mean() for each in worse]))
        assert far == sorted(far), name
        assert far[0] > 0


def test_boxes_are_judged_by_category_and_by_class(tmp_path: Path) -> None:
    pytest.importorskip("supervision", reason="needs the train extra")
    frames = read_frames(write_frames(tmp_path) / "gtsdb")

    def runtime(shift: float, class_of: Callable[[np.ndarray], int]) -> Runtime:
        box = np.array([SIGN_XYXY], np.float32) + np.float32(shift)
        boxes = Proposals(np.vstack([box, [[5, 5, 40, 40]]]).astype(np.float32), np.array([0.9, 0.1], np.float32))
        names = SimpleNamespace(name_in=lambda image, boxes: [SimpleNamespace(class_id=class_of(image), confidence=0.9) for _ in boxes])
        return Runtime(None, names, lambda image: boxes, ())  # type: ignore[arg-type]

    truth = {cv2.imread(str(frame.path)).tobytes(): int(frame.class_ids[0]) for frame in frames}
    right = detected(runtime(0, lambda image: truth[image.tobytes()]), frames)
    assert (right["others"]["n"], right["others"]["ap50"], right["others"]["ap50_95"]) == (3, 1.0, 1.0)
    assert (right["danger"]["n"], right["danger"]["ap50"]) == (0, None)
    assert (right["classes"]["n"], right["classes"]["ap50"]) == (3, 1.0)
    assert detected(runtime(10, lambda image: truth[image.tobytes()]), frames)["others"]["ap50_95"] < 0.5
    confused = detected(runtime(0, lambda image: 31 - truth[image.tobytes()]), frames)  # 14 for 17 and 17 for 14: of one category
    assert (confused["others"]["ap50"], confused["classes"]["ap50"]) == (1.0, 0.0)
    assert sorted(class_id for ids in CATEGORIES.values() for class_id in ids) == list(range(43))


def test_from_photos_to_the_table(tmp_path: Path, draw_crops: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("supervision", reason="needs the train extra")
    data, out = write_test_photos(write_frames(tmp_path / "data"), draw_crops), tmp_path / "proof.json"
    unknown = tmp_path / "unknown"
    unknown.mkdir()
    cv2.imwrite(str(unknown / "grey.png"), np.full((40, 40, 3), 128, np.uint8))
    assert main(["proof", "--data", str(data), "--limit", "3", "--unknown", str(unknown), "--json", str(out)]) == 0
    told = json.loads(out.read_text())
    assert (told["photos"]["n"], told["photos"]["errors"], told["photos"]["top1"]) == (30, 0, 1.0)
    assert told["corruptions"]["n"] == 3
    assert set(told["corruptions"]["mean_highest"]) == {"fp32", "int8-cpu"}
    assert told["frames"]["others"]["ap50"] == 1.0
    assert told["rejection"]["unknown"]["n"] == 1
    printed = capsys.readouterr().out
    assert "photos: 0 errors of 30, top-1 1.0000 (0.886 to 1.000)" in printed
    rows = [line for line in printed.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + sum(anchor.ours(told) is not None for anchor in ANCHORS)
    assert any("0.99794" in row for row in rows)


def test_an_empty_folder_of_unknown_signs_is_told(tmp_path: Path, draw_crops: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    data = write_test_photos(write_frames(tmp_path / "data"), draw_crops, 5)
    (tmp_path / "none").mkdir()
    assert main(["proof", "--data", str(data), "--parts", "rejection", "--unknown", str(tmp_path / "none")]) == 1
    assert "wanted photos of unknown signs" in capsys.readouterr().err
