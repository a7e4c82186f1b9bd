"""What export decides by: figures, budgets, the calibration photos, and the folder that is replaced."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxslim", reason="needs the export extra")

from edge.bundle.manifest import Bundle, read_bundle, write_manifest
from edge.datasets.gtsrb import CLASSES, Photo
from edge.errors import DataError, OutputError, VerificationError
from export.folder import replacing
from export.graphs.calibrate import PER_CLASS, calibration_photos
from export.judging import verify
from export.judging.golden import draw_crops
from export.judging.verify import BUDGETS, Agreement, Budget, bearable, check, compare, verify_bundle, verify_from_the_air

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


def test_what_falls_behind_fp32_in_views_from_the_air_is_refused(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    photos = [Photo(tmp_path / f"{place}.png", place, "t") for place in range(CLASSES)]
    for photo in photos:
        cv2.imwrite(str(photo.path), rng.integers(0, 256, (40, 44, 3), np.uint8))
    bundle = read_bundle(tiny_bundle)
    found = verify_from_the_air(bundle, photos)
    assert {"fp32", "fp16"} <= set(found)
    assert all(figures.n == CLASSES for figures in found.values())
    for lost, kept in ((Agreement(1000, 0.88, 0.02, 0.97, 0.2, 0.0), False), (Agreement(40, 0.875, 0.025, 0.95, 0.2, 0.0), True)):
        told = {**found, "int8-cpu": lost}
        monkeypatch.setattr(verify, "compare_all", lambda *_, told=told: told)
        if kept:  # one photo of forty is chance
            assert verify_from_the_air(bundle, photos) == told
        else:
            with pytest.raises(VerificationError, match=r"^wanted int8-cpu within .* of fp32 from the air's top1 .*: train longer, or export again$"):
                verify_from_the_air(bundle, photos)


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


@pytest.fixture
def plain_data(tmp_path: Path) -> Path:
    """The same plain photo for each of the 43 classes, 3 tracks of 2."""
    rows = [f"{c},{c:05}_{track:05}_{frame:05}.png" for c in range(CLASSES) for track in range(3) for frame in range(2)]
    root = tmp_path / "data"
    root.mkdir()
    (root / "Train.csv").write_text("\n".join(["ClassId,Path", *rows]) + "\n", encoding="utf-8")
    photo = cv2.imencode(".png", np.full((12, 12, 3), 90, np.uint8))[1].tobytes()
    for row in rows:
        (root / row.split(",")[1]).write_bytes(photo)
    return root


def _trained(bundle: Path, recipe: dict[str, float], train: int, valid: int) -> Bundle:
    """Give a bundle another record of its training."""
    record = {"recipe": {"valid_share": 0.1, "seed": 0, **recipe}, "photos": {"train": train, "valid": valid}}
    write_manifest(bundle, dataclasses.replace(read_bundle(bundle).manifest, lineage={"train": record}))
    return read_bundle(bundle)


@pytest.mark.parametrize(("recipe", "train", "valid"), [({}, 4, 2), ({"train_per_class": 3, "valid_per_class": 1}, 3, 1)])
def test_a_bundle_is_verified_on_the_photos_that_its_training_held_out(
    tiny_bundle: Path, plain_data: Path, recipe: dict[str, float], train: int, valid: int
) -> None:
    found = verify_bundle(_trained(tiny_bundle, recipe, train * CLASSES, valid * CLASSES), plain_data)
    assert {agreement.n for agreement in found.values()} == {valid * CLASSES}


def test_a_bundle_is_not_verified_on_photos_that_its_training_may_have_seen(tiny_bundle: Path, plain_data: Path) -> None:
    with pytest.raises(DataError, match=r"11740.*found .*172"):
        verify_bundle(_trained(tiny_bundle, {}, 11740, 1330), plain_data)


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


def test_of_few_own_photos_one_may_be_lost_to_rounding_and_no_more():
    few, many = bearable(BUDGETS, 80), bearable(BUDGETS, 5000)
    assert many == BUDGETS
    assert {name for name in BUDGETS if few[name] != BUDGETS[name]} == {"int8", "int8-cpu"}
    lost = [Agreement(80, 1 - photos / 80, photos / 80, 1 - photos / 80, 0.5, 0.01) for photos in (1, 2)]
    assert [few["int8"].holds(found) for found in lost] == [True, False]
