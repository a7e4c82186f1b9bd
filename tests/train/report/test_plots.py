"""Pictures of a run, on drawn signs: what is counted, what comes first, and that the pixels are where a person looks for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the train extra")

from edge.datasets.gtsrb import CLASSES, LABELS
from edge.errors import OutputError
from edge.images import fit_crop, read_image
from train.report import plots, sheets

ROW = {"epoch": 1.0, "loss": 3.0, "accuracy": 0.1, "val_loss": 2.5, "val_accuracy": 0.2}


def probabilities(predicted: list[int], confidence: list[float]) -> np.ndarray:
    rows = np.zeros((len(predicted), CLASSES), np.float32)
    for row, class_id, share in zip(rows, predicted, confidence, strict=True):
        row[:] = (1 - share) / (CLASSES - 1)
        row[class_id] = share
    return rows


def size_wh(path: Path) -> tuple[int, int]:
    height, width = read_image(path).shape[:2]
    return width, height


def test_confusions_are_counted_by_true_and_predicted_class() -> None:
    counts = plots.count_confusions(np.array([1, 1, 1, 42, 0]), np.array([1, 2, 2, 0, 0]), len(LABELS))
    assert counts.shape == (CLASSES, CLASSES)
    assert counts.sum() == 5
    assert (counts[1, 1], counts[1, 2], counts[42, 0], counts[0, 0]) == (1, 2, 1, 1)
    assert plots.confused_pairs(counts) == [(1, 2, 2), (42, 0, 1)]
    assert plots.confused_pairs(np.diag(np.arange(CLASSES))) == []


@pytest.mark.parametrize("wrong", [0, 1, 30])
def test_the_confusion_matrix_colours_right_and_wrong_apart(tmp_path: Path, wrong: int) -> None:
    class_ids = np.arange(200) % CLASSES
    said = class_ids.copy()
    said[:wrong] = (said[:wrong] + 5) % CLASSES
    plots.draw_confusion(class_ids, probabilities(said.tolist(), [0.9] * len(said)), LABELS, tmp_path / "confusion.png")
    picture = read_image(tmp_path / "confusion.png").astype(int)
    assert picture.shape[1] == 2 * plots.WIDTH_PX
    blue, _, red = np.moveaxis(picture[:, 2 * 240 :], 2, 0)  # beside the labels, which are red where a class has mistakes
    assert (blue - red > 60).sum() > 43 * 300
    # A cell is 17 px wide, shown twofold.
    assert wrong * 300 <= (red - blue > 60).sum() <= wrong * 34**2


def test_curves_show_rate_and_duration_where_the_history_has_them(tmp_path: Path) -> None:
    for name, rows in {
        "one": [ROW],
        "plain": [ROW, {**ROW, "epoch": 2.0, "val_accuracy": 1.0}],
        "more": [ROW, {**ROW, "epoch": 2.0, "learning_rate": 0.1, "seconds": 3.0}],
        "still": [{**ROW, "learning_rate": 0.0}],
    }.items():
        plots.draw_curves(rows, tmp_path / f"{name}.png")
    assert size_wh(tmp_path / "one.png") == size_wh(tmp_path / "plain.png") < size_wh(tmp_path / "more.png") == size_wh(tmp_path / "still.png")


def test_class_balance_has_bars_for_train_and_valid(tmp_path: Path) -> None:
    train, valid = np.repeat(np.arange(CLASSES), 20), np.arange(CLASSES)
    plots.draw_balance(train, train[::2], valid, LABELS, tmp_path / "balance.png")
    plots.draw_balance(train, train[::2], valid[:3], LABELS, tmp_path / "few.png")
    whole, few = (read_image(tmp_path / name).astype(int) for name in ("balance.png", "few.png"))
    orange, fewer = ((image[..., 2] - image[..., 0] > 80).sum() for image in (whole, few))
    assert 0 < fewer < orange / 5


def test_wrong_crops_come_first_by_confidence_then_right_ones_by_doubt() -> None:
    class_ids = np.array([0, 1, 2, 3, 4])
    wrong, right = sheets.telling_order(class_ids, probabilities([0, 1, 9, 9, 4], [0.9, 0.4, 0.5, 0.8, 0.7]))
    assert wrong.tolist() == [3, 2]
    assert right.tolist() == [1, 4, 0]


@pytest.mark.parametrize("size", [32, 48, 128])
def test_the_sheet_shows_the_crops_themselves_the_wrong_one_first(tmp_path: Path, draw_crops, size: int) -> None:
    crops, class_ids = draw_crops(8, size)
    said = list(class_ids)
    said[5] = (said[5] + 1) % CLASSES
    sheets.draw_predictions(crops, np.array(class_ids), probabilities(said, [0.99, 0.98, 0.5, 0.96, 0.95, 0.9, 0.93, 0.92]), LABELS, tmp_path / "sheet.png")
    sheet = read_image(tmp_path / "sheet.png")
    second_section = sheets._HEAD_PX + sheets._ROW_PX + sheets._HEAD_PX
    for index, top, left in ((5, sheets._HEAD_PX, 6), (2, second_section, 6), (7, second_section, 206)):
        np.testing.assert_array_equal(sheet[top : top + sheets.CROP_PX, left : left + sheets.CROP_PX], fit_crop(crops[index], sheets.CROP_PX))


def test_the_sheet_ends_where_it_would_be_too_long(tmp_path: Path, draw_crops) -> None:
    crops, class_ids = draw_crops(1, 24)
    for wrong, sections in ((0, 1), (1, 2), (sheets.SHOWN, 1), (100, 1)):
        n = 100
        said = [(class_ids[0] + (index < wrong)) % CLASSES for index in range(n)]
        sheets.draw_predictions(np.repeat(crops, n, 0), np.repeat(class_ids, n), probabilities(said, [0.5] * n), LABELS, tmp_path / "sheet.png")
        rows = sheets.SHOWN // sheets.COLUMNS + (sections == 2)
        assert size_wh(tmp_path / "sheet.png") == (plots.WIDTH_PX, sections * sheets._HEAD_PX + rows * sheets._ROW_PX)


def test_samples_show_the_photo_and_its_views_in_a_row(tmp_path: Path, draw_crops) -> None:
    crops, class_ids = draw_crops(9, 48)
    sheets.draw_samples([(class_ids[0], crops[0], list(crops[1:8])), (class_ids[8], crops[8], [])], LABELS, tmp_path / "samples.png")
    sheet = read_image(tmp_path / "samples.png")
    first = plots.WIDTH_PX - 2 - 100 * 7
    for crop, row, left in ((crops[0], 0, first - 110), (crops[1], 0, first), (crops[7], 0, first + 600), (crops[8], 1, first - 110)):
        top = sheets._HEAD_PX + row * sheets._ROW_PX
        np.testing.assert_array_equal(sheet[top : top + sheets.CROP_PX, left : left + sheets.CROP_PX], fit_crop(crop, sheets.CROP_PX))


def test_a_picture_that_cannot_be_written_is_one_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"curves\.png"):
        plots.draw_curves([ROW], tmp_path / "file" / "curves.png")
    with pytest.raises(KeyError), plots.picture(tmp_path / "broken.png", 100):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
