"""Reviewed photos made a data set that a bundle learns on from: what stands on which side, how often, and beside what."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("supervision", reason="needs the train extra")

from training import main, options

from edge.bundle.manifest import SHIPPED, Manifest, read_bundle
from edge.datasets.classes import NONE, read_classes
from edge.datasets.gtsrb import Photo, Split, read_photo, read_split, read_test
from edge.datasets.gtsrb_labels import LABELS
from edge.errors import InputError
from train.own import added
from train.own.added import write_added
from train.own.prepare import prepare
from train.photos.data import load_sign_free
from train.photos.teacher import SHARE, Teacher
from train.recipes import ADDING, OWN, recipe

MANIFEST = read_bundle(SHIPPED).manifest
STOP = LABELS.index("Stop")


def picture(path: Path, seed: int) -> Path:
    image = np.random.default_rng(seed).integers(0, 256, (30, 30, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def reviewed(folder: Path, signs: dict[str, int], views: int = 3, none: int = 0) -> Path:
    """What a review leaves: so many signs of each class, with so many views of each, and so many that are none."""
    for place, (name, count) in enumerate([*signs.items(), (NONE, none)]):
        for sign in range(count):
            for view in range(views):
                picture(folder / "reviewed" / name / f"20310506T070809Z-0000ab-{sign:04d}" / f"{view}.png", 10_000 * place + 100 * sign + view)
    (folder / "reviewed" / "judged.json").write_text("{}")
    return folder


@pytest.fixture(autouse=True)
def _quick_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn is tested elsewhere, and takes a minute here."""
    monkeypatch.setattr(added, "OLD", {"train": 2, "valid": 1, "test": 1})


def sides(out: Path) -> dict[str, list[Photo]]:
    train, valid = read_split(out, Split())
    return {"train": train, "valid": valid, "test": read_test(out)}


def of_review(photos: list[Photo]) -> list[Photo]:
    return [photo for photo in photos if photo.track.startswith("reviewed/")]


def tracks(out: Path, name: str) -> list[str]:
    """Tracks of a table, test photos' too, which reading leaves out."""
    with (out / name).open(newline="", encoding="utf-8") as file:
        return [row["Track"] for row in csv.DictReader(file)]


def test_reviewed_photos_stand_often_beside_drawn_ones(tmp_path: Path) -> None:
    told = write_added(reviewed(tmp_path, {"Stop": 6}, none=2), tmp_path / "data", MANIFEST, None)
    assert "18 reviewed photos of 6 signs, 6 without a sign; 12 to train on, each 5 times, beside 86 drawn ones of the 43 classes" in told
    found = sides(tmp_path / "data")
    assert read_classes(tmp_path / "data").names == LABELS
    ours = of_review(found["train"])
    assert set(Counter(photo.path for photo in ours).values()) == {5}
    assert {photo.class_id for photo in ours} == {STOP}
    assert len(found["train"]) == 86 + len(ours) == 86 + 60
    assert Counter(photo.class_id for photo in found["valid"])[STOP] == 1 + 3
    # No sign on two sides.
    seen = [{photo.track for photo in ours}, {photo.track for photo in of_review(found["valid"])}, set(tracks(tmp_path / "data", "Test.csv"))]
    assert [len({track for track in side if track.startswith("reviewed")}) for side in seen] == [4, 1, 1]
    assert len(seen[0] | seen[1] | seen[2]) == sum(map(len, seen))
    assert all(read_photo(photo).ndim == 3 for photo in found["train"][::40])
    assert len(load_sign_free(tmp_path / "data", 0)) == 6


def test_few_signs_are_all_trained_on_and_new_names_become_classes(tmp_path: Path) -> None:
    reviewed(tmp_path, {"Halt": 2, "Ahead only": 1})
    picture(tmp_path / "reviewed" / "Halt" / "lies here.png", 9)
    told = write_added(tmp_path / "reviewed", tmp_path / "data", MANIFEST, None)
    assert "new: Halt" in told
    assert "0 held out" not in told
    names = read_classes(tmp_path / "data").names
    assert names == (*LABELS, "Halt")
    found = sides(tmp_path / "data")
    halts = [photo for photo in found["train"] if photo.class_id == 43]
    assert {photo.track.rpartition("/")[2] for photo in halts} <= {"20310506T070809Z-0000ab-0000", "20310506T070809Z-0000ab-0001", "lies here"}
    assert [photo for photo in found["valid"] if photo.class_id == LABELS.index("Ahead only") and photo.track.startswith("reviewed")] == []
    write_added(tmp_path / "reviewed", tmp_path / "data", MANIFEST, None)  # again: in place of the first
    assert len(sides(tmp_path / "data")["train"]) == len(found["train"])


def own(tmp_path: Path) -> tuple[Path, Manifest]:
    """A data set of two classes of one's own, and a bundle's manifest that knows them."""
    for place, name in enumerate(("a/b", "c")):
        for number in range(30):
            picture(tmp_path / "own" / name.replace("/", "\N{DIVISION SLASH}") / f"IMG_{number:03}.png", 1000 * place + number)
    prepare(tmp_path / "own", tmp_path / "set")
    text = (tmp_path / "set" / "labels.csv").read_text()
    (tmp_path / "set" / "labels.csv").write_text(text.replace("\N{DIVISION SLASH}", "/"))
    return tmp_path / "set", replace(MANIFEST, labels=("a/b", "c"))


def test_photos_of_ones_own_show_what_a_bundle_of_ones_own_knows(tmp_path: Path) -> None:
    data, manifest = own(tmp_path)
    reviewed(tmp_path, {"a\N{DIVISION SLASH}b": 1, "d": 1}, none=1)
    with pytest.raises(InputError, match="--data"):
        write_added(tmp_path, tmp_path / "data", manifest, None)
    with pytest.raises(InputError, match="other classes"):
        write_added(tmp_path, tmp_path / "data", MANIFEST, data)
    assert not (tmp_path / "data").exists()
    told = write_added(tmp_path, tmp_path / "data", manifest, data)
    assert "4 of your data of the 2 classes" in told
    assert read_classes(tmp_path / "data").names == ("a/b", "c", "d")
    assert {photo.class_id for photo in of_review(sides_of_train(tmp_path / "data"))} == {0, 2}


def sides_of_train(out: Path) -> list[Photo]:
    return read_split(out, Split())[0]


def test_nothing_reviewed_is_told(tmp_path: Path) -> None:
    (tmp_path / "reviewed").mkdir()
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match="found none"):
            write_added(folder, tmp_path / "data", MANIFEST, None)


def test_a_photo_that_is_no_sign_is_none_in_a_folder_of_ones_own(tmp_path: Path) -> None:
    for place, name in enumerate(("one", "two", "None")):
        for number in range(10):
            picture(tmp_path / "own" / name / f"IMG_{number:03}.png", 1000 * place + number)
    told = prepare(tmp_path / "own", tmp_path / "set")
    assert sorted(told["classes"]) == ["one", "two"]
    assert "10 photos without a sign" in told["said"]
    assert len(load_sign_free(tmp_path / "set", 0)) == 10


def test_a_teacher_that_is_not_sure_leaves_the_label_alone() -> None:
    chosen = recipe(OWN.name, **ADDING)
    crops = np.random.default_rng(0).integers(0, 256, (chosen.batch, chosen.size, chosen.size, 3)).astype(np.uint8)
    with Teacher(SHIPPED, chosen) as doubtful, Teacher(SHIPPED, recipe(OWN.name)) as believed:
        named = believed.soften(crops).argmax(axis=1)
        targets = np.eye(len(LABELS), dtype=np.float32)[named]
        assert np.abs(believed.mix(crops, targets) - targets).max(axis=1).min() > 0.05 * SHARE
        asked = doubtful._asked(crops).max(axis=1)
        changed = np.abs(doubtful.mix(crops, targets) - targets).max(axis=1) > 1e-6
        assert changed.tolist() == (asked >= chosen.teacher_sure).tolist()
        assert not changed.all()


def test_what_does_not_go_with_reviewed_photos_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = reviewed(tmp_path, {"Stop": 2})
    for more, told in (
        (["--recipe", "full"], "recipe own"),
        (["--recipe", "spotter"], "recipe own"),
        (["--extend", SHIPPED], "--extend"),
        (["--weights", tmp_path], "manifest"),
    ):
        assert main("fit", "--add", folder, "--out", tmp_path / "run", *more) == 1
        said = capsys.readouterr().err
        assert told in said
        assert said.count("\n") == 1
    assert main(*options(tmp_path, tmp_path / "run")[:1], "--out", tmp_path / "run") == 1
    assert "--add DIR" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
