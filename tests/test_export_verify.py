"""What export decides by: figures, budgets, the threshold, the calibration photos, and the folder that is replaced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxslim", reason="needs the export extra")

from edge.errors import BundleError, OutputError, VerificationError
from edge.gtsrb import Photo
from export.bundle import choose_threshold
from export.folder import replacing
from export.golden import draw_crops
from export.to_int8 import PER_CLASS, calibration_photos
from export.verify import Agreement, Budget, check, compare, split

SURE, TORN, WRONG = [0.9, 0.1], [0.55, 0.45], [0.2, 0.8]


def _rows(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_compare_counts_drop_agreement_and_error() -> None:
    found = compare(_rows(SURE, WRONG, WRONG, TORN), _rows(SURE, TORN, WRONG, TORN), np.array([0, 0, 0, 1]))
    assert (found.n, found.top1, found.drop, found.agreement) == (4, 0.25, 0.25, 0.75)
    assert found.max_error == pytest.approx(0.35)
    assert found.mean_error == pytest.approx(0.7 / 8)


@pytest.mark.parametrize(
    ("drop", "error", "passes"), [(0.0, 0.0, True), (-0.1, 0.1, True), (0.01, 0.1, True), (0.011, 0.0, False), (0.0, 0.11, False), (0.0, float("nan"), False)]
)
def test_check_holds_both_sides_of_a_budget(drop: float, error: float, passes: bool) -> None:
    found = {"int8-cpu": Agreement(100, 0.9, drop, 1.0, error, 0.0)}
    if passes:
        check(found, {"int8-cpu": Budget(0.01, 0.1)})
    else:
        with pytest.raises(VerificationError, match="wanted int8-cpu within"):
            check(found, {"int8-cpu": Budget(0.01, 0.1)})


def _confidences(values: np.ndarray) -> np.ndarray:
    return np.stack([values, 1 - values], axis=1).astype(np.float32)


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_threshold_keeps_99_percent(refused: int) -> None:
    values = np.full(200, 0.9567)
    values[:refused] = 0.6
    assert choose_threshold(_confidences(values)) == pytest.approx(0.956)


def test_threshold_stays_above_one_half_and_keeps_all_of_a_few() -> None:
    assert choose_threshold(_confidences(np.full(50, 0.5001))) == 0.5
    assert choose_threshold(np.full((50, 4), 0.25, np.float32)) == 0.5
    assert choose_threshold(_confidences(np.array([0.75, 0.9, 0.9]))) == 0.75


def test_calibration_is_balanced_and_independent_of_order() -> None:
    photos = [Photo(Path(f"{class_id}/{i:03}.png"), class_id, "t") for class_id, n in ((3, 300), (7, 4)) for i in range(n)]
    drawn = calibration_photos(photos, seed=0)
    assert [sum(photo.class_id == c for photo in drawn) for c in (3, 7)] == [PER_CLASS, 4]
    assert calibration_photos(photos[::-1], seed=0) == drawn
    assert calibration_photos(photos, seed=1) != drawn


@pytest.mark.parametrize("size", [32, 48, 225])
def test_golden_crops_are_the_same_each_time(size: int) -> None:
    crops = draw_crops(size)
    assert crops.shape[1:] == (size, size, 3)
    assert crops.dtype == np.uint8
    np.testing.assert_array_equal(crops, draw_crops(size))


def test_split_needs_the_record_and_says_when_photos_differ(capsys: pytest.CaptureFixture[str]) -> None:
    photos = [Photo(Path(f"{t}.png"), 0, f"0_{t}") for t in range(4)]
    recipe = {"valid_share": 0.25, "seed": 0}
    trained, valid = split({"recipe": recipe, "photos": {"train": 3, "valid": 1}}, photos)
    assert (len(trained), len(valid), capsys.readouterr().out) == (3, 1, "")
    split({"recipe": recipe, "photos": {"train": 30, "valid": 10}}, photos)
    assert "note: these photos split into 3 and 1, the training had 30 and 10" in capsys.readouterr().out
    with pytest.raises(BundleError, match="photos"):
        split({"recipe": recipe}, photos)


def _bundle(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    return folder


def test_replacing_swaps_whole_folders(tmp_path: Path) -> None:
    out = _bundle(tmp_path / "bundle", "old")
    (out / "classifier.old.onnx").touch()
    with replacing(out) as partial:
        (partial / "manifest.json").write_text("new", encoding="utf-8")
        assert (out / "manifest.json").read_text(encoding="utf-8") == "old"
    assert {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()} == {"manifest.json": "new"}
    assert list(tmp_path.iterdir()) == [out]


def test_replacing_leaves_the_old_folder_on_failure(tmp_path: Path) -> None:
    out = _bundle(tmp_path / "bundle", "old")
    with pytest.raises(KeyboardInterrupt), replacing(out):
        raise KeyboardInterrupt
    assert (out / "manifest.json").read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_replacing_brings_back_what_a_kill_had_put_aside(tmp_path: Path) -> None:
    _bundle(tmp_path / ".bundle.partial-old", "old")
    with pytest.raises(VerificationError), replacing(tmp_path / "bundle"):
        raise VerificationError("no")
    assert (tmp_path / "bundle" / "manifest.json").read_text(encoding="utf-8") == "old"


def test_replacing_takes_an_empty_folder_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with replacing(tmp_path / "empty") as partial:
        (partial / "manifest.json").touch()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.onnx").touch()
    with pytest.raises(OutputError, match=r"mine\.onnx"), replacing(tmp_path / "models"):
        pass
