"""GTSRB's csv layout, its class ids, the split by physical sign, and the score."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import numpy as np
import pytest

from edge.errors import DataError
from edge.gtsrb import CLASSES, LABELS, Photo, read_test, read_train, score, split_by_track

HEADER = ["Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId", "Path"]


def write_table(root: Path, name: str, rows: list[tuple[object, str]], header: list[str] = HEADER) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with (root / name).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows([30, 30, 5, 5, 25, 25, class_id, path] for class_id, path in rows)
    return root


def photos_of(tracks_of_class: dict[int, int], frames: int = 3) -> list[Photo]:
    return [
        Photo(Path(f"Train/{class_id}/{class_id:05}_{track:05}_{frame:05}.png"), class_id, f"{class_id:05}_{track:05}")
        for class_id, tracks in tracks_of_class.items()
        for track in range(tracks)
        for frame in range(frames)
    ]


def test_class_ids_come_from_the_table_and_not_from_the_order_of_folders(tmp_path: Path) -> None:
    rows = [(class_id, f"Train/{class_id}/{class_id:05}_00000_00000.png") for class_id in range(CLASSES)]
    photos = read_train(write_table(tmp_path, "Train.csv", sorted(rows, key=lambda row: row[1])))
    assert {photo.class_id: photo.path.parent.name for photo in photos} == {class_id: str(class_id) for class_id in range(CLASSES)}
    assert sorted(photo.class_id for photo in photos) == list(range(CLASSES))
    assert all(photo.path.is_relative_to(tmp_path) for photo in photos)


def test_labels_are_those_of_the_data_set() -> None:
    known = {0: "Speed limit 20", 8: "Speed limit 120", 12: "Priority road", 13: "Yield", 14: "Stop", 17: "No entry", 33: "Turn right ahead", 40: "Roundabout"}
    assert len(LABELS) == CLASSES == 43
    assert {class_id: LABELS[class_id] for class_id in known} == known


def test_a_track_is_the_photos_of_one_sign(tmp_path: Path) -> None:
    rows = [(20, "Train/20/00020_00000_00001.png"), (20, "Train/20/00020_00000_00004.png"), (20, "Train/20/00020_00001_00001.png")]
    photos = read_train(write_table(tmp_path, "Train.csv", rows))
    assert [photo.track for photo in photos] == ["00020_00000", "00020_00000", "00020_00001"]


def test_test_photos_have_no_track(tmp_path: Path) -> None:
    assert read_test(write_table(tmp_path, "Test.csv", [(12, "Test/00010.png")])) == [Photo(tmp_path / "Test/00010.png", 12, "")]


def test_a_folder_that_holds_gtsrb_will_do(tmp_path: Path) -> None:
    write_table(tmp_path / "gtsrb", "Test.csv", [(12, "Test/00010.png")])
    assert read_test(tmp_path) == read_test(tmp_path / "gtsrb")


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as refused:
        read_train(root)
    assert "\n" not in str(refused.value)
    assert "Train.csv" in str(refused.value)
    return str(refused.value)


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    assert "--data" in refusal(tmp_path)
    assert "--data" in refusal(tmp_path / "nothing")


@pytest.mark.parametrize("missing", ["ClassId", "Path"])
def test_a_missing_column_is_refused(tmp_path: Path, missing: str) -> None:
    write_table(tmp_path, "Train.csv", [(1, "a.png")], ["other" if column == missing else column for column in HEADER])
    assert "columns ClassId and Path" in refusal(tmp_path)


@pytest.mark.parametrize("class_id", ["43", "-1", "", "stop", "1.0", "²", "9" * 5000])
def test_a_class_id_that_gtsrb_does_not_have_is_refused(tmp_path: Path, class_id: str) -> None:
    write_table(tmp_path, "Train.csv", [(1, "a.png"), (class_id, "b.png")])
    assert "from 0 to 42" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found None"),
        (b"ClassId,Path\n", "only a header"),
        (b"ClassId,Path\n3\n", "a row without"),
        (b"Path,ClassId\na.png\n", "a row without"),
        (b"ClassId,Path\n3,\n", "a row without"),
        (b"ClassId,Path\n3,a\xff.png\n", "UTF-8"),
    ],
    ids=["empty", "header only", "no path", "no class id", "empty path", "another encoding"],
)
def test_a_damaged_table_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "Train.csv").write_bytes(content)
    assert found in refusal(tmp_path)


def test_the_split_cuts_through_no_track_and_loses_no_photo() -> None:
    photos = photos_of({class_id: 2 + class_id for class_id in range(CLASSES)})
    train, valid = split_by_track(photos, 0.1, 0)
    assert not {photo.track for photo in train} & {photo.track for photo in valid}
    assert sorted([*train, *valid], key=lambda photo: photo.path) == sorted(photos, key=lambda photo: photo.path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_every_class_stands_on_both_sides(share: float) -> None:
    for side in split_by_track(photos_of({class_id: 2 + class_id for class_id in range(CLASSES)}), share, 0):
        assert {photo.class_id for photo in side} == set(range(CLASSES))


def test_the_share_is_one_of_tracks() -> None:
    _, valid = split_by_track(photos_of({5: 40}), 0.25, 0)
    assert len({photo.track for photo in valid}) == 10


def test_the_split_depends_on_the_seed_and_not_on_the_order_or_on_other_classes() -> None:
    photos = photos_of({1: 30, 2: 30})
    shuffled = random.Random(0).sample(photos, len(photos))
    valid = {photo.track for photo in split_by_track(photos, 0.2, 0)[1]}
    assert {photo.track for photo in split_by_track(shuffled, 0.2, 0)[1]} == valid
    assert {photo.track for photo in split_by_track(photos, 0.2, 1)[1]} != valid
    assert {photo.track for photo in split_by_track(photos_of({1: 30}), 0.2, 0)[1]} == {track for track in valid if track.startswith("00001")}


def test_both_sides_keep_the_order_of_the_photos() -> None:
    photos = photos_of({1: 5, 2: 5})
    for side in split_by_track(photos, 0.4, 0):
        assert side == [photo for photo in photos if photo in side]


def test_a_class_with_one_track_is_refused_by_its_name() -> None:
    with pytest.raises(DataError, match=r"class 14 \(Stop\).*found 1"):
        split_by_track(photos_of({13: 2, 14: 1}), 0.1, 0)


def test_the_score_counts_by_class() -> None:
    figures = score(np.array([14, 14, 1, 2]), np.array([14, 1, 1, 1]))
    assert figures == {
        "n": 4,
        "top1": 0.5,
        "per_class": {"1": {"label": "Speed limit 30", "n": 3, "top1": pytest.approx(1 / 3)}, "14": {"label": "Stop", "n": 1, "top1": 1.0}},
    }


def test_nothing_is_not_scored() -> None:
    with pytest.raises(DataError, match="at least one"):
        score(np.array([], int), np.array([], int))


def test_real_photos_are_where_the_tables_say_and_split_as_they_should(data_root: Path) -> None:
    train, test = read_train(data_root / "gtsrb"), read_test(data_root / "gtsrb")
    assert all(photo.path.is_file() for photo in random.Random(0).sample([*train, *test], 100))
    assert all(photo.class_id == int(photo.path.parent.name) for photo in train)
    seen, held = split_by_track(train, 0.1, 0)
    assert {photo.class_id for photo in held} == {photo.class_id for photo in seen} == set(range(CLASSES))
    assert not {photo.track for photo in seen} & {photo.track for photo in held}
    assert 0.07 < len(held) / len(train) < 0.13
