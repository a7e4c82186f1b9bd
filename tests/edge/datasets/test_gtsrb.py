"""GTSRB's class ids, the splits by physical sign, the record of a training, and the score."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.datasets.gtsrb import CLASSES, LABELS, Photo, Split, held_out, read_split, read_test, read_train, sample_by_track, score, split_by_track
from edge.errors import DataError, InputError


def photos_of(tracks_of_class: dict[int, int], frames: int = 3) -> list[Photo]:
    return [
        Photo(Path(f"Train/{class_id}/{class_id:05}_{track:05}_{frame:05}.png"), class_id, f"{class_id:05}_{track:05}")
        for class_id, tracks in tracks_of_class.items()
        for track in range(tracks)
        for frame in range(frames)
    ]


def test_labels_are_those_of_the_data_set() -> None:
    known = {0: "Speed limit 20", 8: "Speed limit 120", 12: "Priority road", 13: "Yield", 14: "Stop", 17: "No entry", 33: "Turn right ahead", 40: "Roundabout"}
    assert len(LABELS) == CLASSES == 43
    assert {class_id: LABELS[class_id] for class_id in known} == known


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


def test_a_photo_whose_name_tells_no_track_is_not_split_by_track() -> None:
    photos = [*photos_of(dict.fromkeys(range(CLASSES), 3)), Photo(Path("Train/1/stop.png"), 1, "")]
    with pytest.raises(DataError, match=r"<track>_<frame>.*stop\.png"):
        split_by_track(photos, 0.1, 0)
    with pytest.raises(DataError, match=r"<track>_<frame>.*stop\.png"):
        sample_by_track(photos, 1, 1, 0)


def by_class_and_track(photos: Sequence[Photo]) -> dict[int, Counter[str]]:
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for photo in photos:
        found[photo.class_id][photo.track] += 1
    return found


MANY = {class_id: (4, 7, 40, 75)[class_id % 4] for class_id in range(CLASSES)}


@pytest.mark.parametrize(("frames", "numbers"), [(30, (28, 12)), (10, (20, 10))])
def test_so_many_photos_a_class_come_from_as_many_tracks_as_can_be_and_no_track_stands_on_both_sides(frames: int, numbers: tuple[int, int]) -> None:
    sides = sample_by_track(photos_of(MANY, frames), *numbers, 0)
    assert not {photo.track for photo in sides[0]} & {photo.track for photo in sides[1]}
    for side, wanted in zip(sides, numbers, strict=True):
        assert len(set(side)) == len(side)
        found = by_class_and_track(side)
        assert {class_id: tracks.total() for class_id, tracks in found.items()} == dict.fromkeys(range(CLASSES), wanted)
        assert all(max(tracks.values()) - min(tracks.values()) <= 1 for tracks in found.values())
    used = {class_id: len(tracks) for class_id, tracks in by_class_and_track(sides[0] + sides[1]).items()}
    assert used == {class_id: min(tracks, sum(numbers)) for class_id, tracks in MANY.items()}


def test_the_photos_of_a_class_are_even_over_the_approach() -> None:
    for side in sample_by_track(photos_of(MANY, 30), 28, 12, 0):
        for class_id in range(CLASSES):
            thirds = Counter(int(photo.path.stem[-5:]) // 10 for photo in side if photo.class_id == class_id)
            assert min(thirds.values()) >= 0.5 * max(thirds.values())
            assert set(thirds) == {0, 1, 2}
        for track in {photo.track for photo in side if MANY[photo.class_id] == 4}:  # 6 or 7 photos of each: no hole longer than 30 frames / 6
            frames = sorted(int(photo.path.stem[-5:]) for photo in side if photo.track == track)
            assert all(later - earlier <= 6 for earlier, later in zip([-3, *frames], [*frames, 32], strict=True))


def test_the_sample_depends_on_the_seed_and_not_on_the_order_of_the_photos() -> None:
    photos = photos_of(MANY, 10)
    drawn = sample_by_track(photos, 20, 10, 0)
    assert sample_by_track(random.Random(1).sample(photos, len(photos)), 20, 10, 0) == drawn
    assert sample_by_track(photos, 20, 10, 1) != drawn


@pytest.mark.parametrize(
    ("tracks", "frames", "found"),
    [(0, 30, "0 in 0 tracks"), (1, 90, "90 in 1 tracks"), (4, 10, "40 in 4 tracks"), (39, 1, "39 in 39 tracks")],
    ids=["no photo", "one track", "no division gives both sides enough", "too few"],
)
def test_a_class_with_too_few_photos_or_tracks_is_refused_by_its_name(tracks: int, frames: int, found: str) -> None:
    photos = [*photos_of({class_id: 5 for class_id in range(CLASSES) if class_id != 14}, 10), *photos_of({14: tracks}, frames)]
    with pytest.raises(DataError, match=rf"28 photos to train and 12 to validate of class 14 \(Stop\).*found {found}"):
        sample_by_track(photos, 28, 12, 0)


def test_tracks_of_unequal_length_are_divided_so_that_each_side_has_enough() -> None:
    photos = [photo for class_id in range(CLASSES) for photo in [*photos_of({class_id: 3}, 2), *photos_of({class_id: 5}, 12)[36:]]]
    train, valid = sample_by_track(photos, 12, 12, 0)
    assert (len(train), len(valid)) == (12 * CLASSES, 12 * CLASSES)
    assert not {photo.track for photo in train} & {photo.track for photo in valid}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"valid_share": 1.5}, "valid_share from 0 to 1, found 1.5"),
        ({"valid_share": float("nan")}, "found nan"),
        ({"seed": -1}, "seed of 0 or more"),
        ({"train_per_class": 28}, "found 28 to train and None to validate"),
        ({"train_per_class": 0, "valid_per_class": 12}, "positive number"),
    ],
)
def test_a_split_that_cannot_be_is_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Split(**values)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A data set of empty files: 2 classes of 4 tracks, 2 photos each."""
    rows = [f"{c},{c:05}_{track:05}_{frame:05}.png" for c in (1, 14) for track in range(4) for frame in range(2)]
    (tmp_path / "Train.csv").write_text("\n".join(["ClassId,Path", *rows]) + "\n")
    for row in rows:
        (tmp_path / row.split(",")[1]).touch()
    return tmp_path


def test_a_record_gives_back_the_photos_of_its_training(few: Path) -> None:
    record = {"recipe": {"valid_share": 0.5, "seed": 3}, "photos": {"train": 8, "valid": 8}}
    assert held_out(few, record) == split_by_track(read_train(few), 0.5, 3) == read_split(few, Split(0.5, 3))
    none = {"train_per_class": None, "valid_per_class": None}
    assert held_out(few, {**record, "recipe": {**record["recipe"], **none}}) == held_out(few, record)


def test_photos_that_a_training_left_out_are_left_out_again(few: Path) -> None:
    train, valid = read_split(few, Split(0.5, 3))
    gone = [train.pop(2), valid.pop(0)]
    names = [str(photo.path.relative_to(few)) for photo in gone]
    record: dict[str, Any] = {"recipe": {"valid_share": 0.5, "seed": 3}, "photos": {"train": 7, "valid": 7, "left_out": names}}
    assert held_out(few, record) == (train, valid)
    record["photos"]["left_out"] = []
    with pytest.raises(DataError, match="'train': 8"):
        held_out(few, record)


def test_another_data_set_than_that_of_the_record_is_refused(few: Path) -> None:
    with pytest.raises(DataError, match=r"'train': 11740, 'valid': 1330\}, found \{'train': 12, 'valid': 4\} in .*--data"):
        held_out(few, {"recipe": {"valid_share": 0.1, "seed": 0}, "photos": {"train": 11740, "valid": 1330}})


COUNTS = {"train": 12, "valid": 4}


@pytest.mark.parametrize(
    "record",
    [
        {},
        [],
        "text",
        None,
        {"recipe": {"valid_share": 0.1, "seed": 0}},
        {"recipe": {"valid_share": 0.1, "seed": 0}, "photos": {"train": 12}},
        {"recipe": [], "photos": COUNTS},
        {"recipe": {"seed": 0}, "photos": COUNTS},
        {"recipe": {"valid_share": "much", "seed": 0}, "photos": COUNTS},
        {"recipe": {"valid_share": 0.1, "seed": None}, "photos": COUNTS},
        {"recipe": {"valid_share": 2, "seed": 0}, "photos": COUNTS},
    ],
)
def test_a_record_of_another_form_is_refused(few: Path, record: Any) -> None:
    with pytest.raises(InputError, match="wanted"):
        held_out(few, record)


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


def digest(photos: Sequence[Photo], root: Path) -> str:
    return hashlib.sha256("\n".join(photo.path.relative_to(root).as_posix() for photo in photos).encode()).hexdigest()[:16]


def test_real_photos_split_as_they_did_when_the_shipped_bundle_was_trained(data_root: Path) -> None:
    root = data_root / "gtsrb"
    assert [digest(side, root) for side in read_split(root, Split())] == ["cbac5b9078aa4590", "2dfd470ae65a15d3"]
    assert [digest(side, root) for side in read_split(root, Split(0.25, 7))] == ["fda4f6e907224159", "e77e475aa639c678"]
    record: dict[str, Any] = {"recipe": {"name": "full", "valid_share": 0.1, "seed": 0}, "photos": {"train": 11740, "valid": 1330}}
    assert digest(held_out(data_root, record)[1], root) == "2dfd470ae65a15d3"


def test_real_photos_are_sampled_as_the_tutorial_does_and_a_record_repeats_it(data_root: Path) -> None:
    train, valid = read_split(data_root, Split(seed=3, train_per_class=28, valid_per_class=12))
    assert (len(train), len(valid)) == (28 * CLASSES, 12 * CLASSES)
    assert not {photo.track for photo in train} & {photo.track for photo in valid}
    assert all(photo.class_id == int(photo.path.parent.name) for photo in train + valid)
    frames = Counter(int(photo.path.stem[-5:]) for photo in train)
    assert len(frames) == 10
    assert min(frames.values()) > 0.7 * max(frames.values())
    recipe = {"valid_share": 0.1, "seed": 3, "train_per_class": 28, "valid_per_class": 12}
    assert held_out(data_root, {"recipe": recipe, "photos": {"train": len(train), "valid": len(valid)}}) == (train, valid)


def test_real_photos_are_those_of_their_folders(data_root: Path) -> None:
    train, test = read_train(data_root / "gtsrb"), read_test(data_root / "gtsrb")
    assert (len(train), len(test)) == (13070, 2526)
    assert all(photo.class_id == int(photo.path.parent.name) for photo in train)
