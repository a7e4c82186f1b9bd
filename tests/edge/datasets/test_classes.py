"""Classes as a data set tells them: names in any script, sizes, mirrors; GTSRB's where it tells none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.datasets.classes import GTSRB, Classes, classes_of, read_classes
from edge.datasets.gtsdb import read_frames, read_sides, split_by_group
from edge.datasets.gtsrb import Split, read_split, read_test, score
from edge.datasets.gtsrb_labels import LABELS
from edge.errors import DataError, InputError

NAMES = ("注意儿童", "Überholverbot", "توقف")


def tell(root: Path, text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding=encoding)
    return root


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((20, 20, 3), 90, np.uint8))


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-16")])
def test_names_numbers_and_sizes_are_the_data_sets_own(tmp_path: Path, delimiter: str, encoding: str) -> None:
    rows = [
        ("ClassId", "Name", "Number", "WidthsMm"),
        ("0", NAMES[0], "W-1", "600"),
        ("1", NAMES[1], "", "420/630,5"),
        ("2", NAMES[2], "", ""),
    ]
    text = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    found = read_classes(tell(tmp_path, text, encoding=encoding))
    assert (found.names, found.numbers, found.own) == (NAMES, ("W-1", "", ""), True)
    assert found.sizes_mm == ((600.0,), (420.0, 630.5), ())
    assert (found.mirrored, found.arrows, found.shape(1)) == ({}, frozenset(), "unknown")
    assert classes_of(found.as_record()) == found


def test_a_data_set_without_a_table_is_gtsrb(tmp_path: Path) -> None:
    assert read_classes(tmp_path) is GTSRB
    assert (GTSRB.names, GTSRB.as_record(), GTSRB.mirrored[33], GTSRB.shape(13), GTSRB.shape(14)) == (LABELS, {}, 34, "downward", "round")
    assert classes_of({}) is GTSRB


def test_mirrors_are_told_by_name(tmp_path: Path) -> None:
    tell(tmp_path, "One,Other\nleft,right\nstop,stop\n", "mirror.csv")
    assert read_classes(tell(tmp_path, "ClassId,Name\n0,left\n1,right\n2,stop\n")).mirrored == {0: 1, 1: 0, 2: 2}
    tell(tmp_path, "One,Other\nleft,wrong\n", "mirror.csv")
    with pytest.raises(DataError, match=r"wanted names of labels\.csv in line 2 of .*mirror\.csv, found 'wrong': correct it"):
        read_classes(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ClassId,Name\n0,one\n", "wanted ClassId 0, 1, 2 and so on"),
        ("ClassId,Name\n0,one\n2,two\n", "found 0, 2"),
        ("ClassId,Name\n0,one\n1,one\n", "found 'one' twice"),
        ("ClassId,Name\n0,one\n1,\n", "wanted a name of 1 to 100 characters in line 3"),
        ("ClassId,Label\n0,one\n1,two\n", "wanted columns ClassId and Name"),
        ("ClassId,Name,WidthsMm\n0,one,big\n1,two,\n", "wanted WidthsMm as 600 or"),
        ("ClassId,Name,WidthsMm\n0,one,-3\n1,two,\n", "wanted WidthsMm as 600 or"),
    ],
)
def test_a_damaged_table_is_told_in_a_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told) as refusal:
        read_classes(tell(tmp_path, text))
    assert "\n" not in str(refusal.value)


def test_a_damaged_record_is_told() -> None:
    with pytest.raises(InputError, match="wanted the classes in the record of a training"):
        classes_of({"names": ["a", "b"]})


def test_photos_of_own_classes_are_read_by_their_tables(tmp_path: Path) -> None:
    tell(tmp_path, "ClassId,Name\n" + "".join(f"{place},{name}\n" for place, name in enumerate(NAMES)))
    for name, rows in (("Train.csv", 3), ("Valid.csv", 1), ("Test.csv", 2)):
        paths = [(class_id, f"photos/{name[:2]}{class_id}_{row}.png") for class_id in range(3) for row in range(rows)]
        tell(tmp_path, "ClassId,Path,Track\n" + "".join(f"{class_id},{path},{class_id}-a\n" for class_id, path in paths), name)
        for _, path in paths:
            photo(tmp_path / path)
    train, valid = read_split(tmp_path, Split())
    assert (len(train), len(valid), len(read_test(tmp_path))) == (9, 3, 6)
    assert {one.track for one in train} == {"0-a", "1-a", "2-a"}
    assert score(np.array([2]), np.array([2]), NAMES)["per_class"]["2"]["label"] == NAMES[2]
    tell(tmp_path, "ClassId,Path\n3,photos/Tr0_0.png\n", "Train.csv")
    with pytest.raises(DataError, match="wanted a ClassId from 0 to 2 in line 2"):
        read_split(tmp_path, Split())
    tell(tmp_path, "ClassId,Path\n" + "".join(f"{class_id},photos/Tr{class_id}_{row}.png\n" for class_id in range(3) for row in range(3)), "Train.csv")
    with pytest.raises(DataError, match=f"wanted 2 photos of class 0 \\({NAMES[0]}\\) in Valid, found 1"):
        read_split(tmp_path, Split(train_per_class=2, valid_per_class=2))


def test_frames_of_ones_own_tell_their_side(tmp_path: Path) -> None:
    names = ["Straße 1.png", "b.png", "c.png", "d.png"]
    for name in names:
        photo(tmp_path / "images" / name)
    tell(tmp_path, "b.png;1;2;18;19;1\n", "gt.txt")
    table = dict(zip(names, ("train", "tuning", "held-out", "train"), strict=True))
    tell(tmp_path, "File,Side\n" + "".join(f"{name},{side}\n" for name, side in table.items()), "sides.csv")
    sides = read_sides(tmp_path)
    assert [[frame.path.name for frame in side] for side in (sides.train, sides.tuning, sides.held)] == [[names[0], "d.png"], ["b.png"], ["c.png"]]
    assert [frame.path.name for frame in split_by_group(read_frames(tmp_path))[1]] == ["c.png"]
    assert [frame.path.name for frame in split_by_group([replace(frame, side=None) for frame in read_frames(tmp_path)][:0])[1]] == []
    tell(tmp_path, "File,Side\nb.png,train\n", "sides.csv")
    with pytest.raises(DataError, match=r"wanted train, tuning or held-out for every frame in .*sides\.csv, found None"):
        read_sides(tmp_path)


def test_of_a_few_classes_any_number_can_be(tmp_path: Path) -> None:
    many = "ClassId,Name\n" + "".join(f"{place},sign {place}\n" for place in range(1000))
    assert len(read_classes(tell(tmp_path, many))) == 1000
    with pytest.raises(DataError, match="2 to 1000 rows"):
        read_classes(tell(tmp_path, many + "1000,sign 1000\n"))
    assert not Classes(("a", "b")).sizes_mm
