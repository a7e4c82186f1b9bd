"""Photos of signs that are drawn, and the data sets made of them."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tqdm", reason="needs the train extra")
from commands import started
from media import small_disk

from edge import cli
from edge.datasets.gtsdb import read_frames, split_by_group
from edge.datasets.gtsrb import CLASSES, read_photo, read_train, split_by_track
from edge.drawn.perspective import Camera
from edge.drawn.scenes import scene
from edge.drawn.signposts import stand_anywhere
from edge.drawn.signs import DRAWN_CLASSES, FLIGHT_CLASSES, draw_sign
from edge.errors import InputError
from edge.images import read_image
from train.__main__ import _parser
from train.photos.drawn import SIDE_PX, draw_background, draw_photo, draw_track

ROOT = Path(__file__).resolve().parents[2]


def command(*argv: object) -> int:
    return cli.main(_parser(), ["draw", *(str(part) for part in argv)])


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pattern(image: NDArray[np.uint8], side: int = 32) -> NDArray[np.float32]:
    """What is left of a picture without its light: mean 0, length 1."""
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    flat = (small - small.mean()).ravel()
    return flat / max(float(np.linalg.norm(flat)), 1e-6)


def test_a_seed_repeats_a_photo() -> None:
    first, same, other = (draw_photo(9, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_photos_are_of_gtsrbs_sizes() -> None:
    rng = np.random.default_rng(0)
    photos = [draw_photo(class_id, rng) for class_id in range(CLASSES) for _ in range(4)] + [draw_background(rng) for _ in range(40)]
    assert all(photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3 for photo in photos)
    sides = [side for photo in photos for side in photo.shape[:2]]
    assert 15 <= min(sides) < 30
    assert 110 < max(sides) < 170


@pytest.mark.parametrize("class_id", [-1, CLASSES])
def test_there_is_no_photo_of_another_class(class_id: int) -> None:
    with pytest.raises(InputError, match="no class"):
        draw_photo(class_id, np.random.default_rng(0))


def test_a_sign_lies_inside_its_margin_and_is_of_a_wanted_size() -> None:
    rng = np.random.default_rng(1)
    for class_id in range(CLASSES):
        for photo, (x1, y1, x2, y2) in draw_track(class_id, 6, rng):
            height, width = photo.shape[:2]
            assert 1 <= x1 < x2 < width
            assert 1 <= y1 < y2 < height
            assert SIDE_PX[0] - 1 <= max(x2 - x1, y2 - y1) <= SIDE_PX[1] + 1


def test_photos_show_their_own_class() -> None:
    rng = np.random.default_rng(2)
    faces = [pattern(on_grey(class_id)) for class_id in range(CLASSES)]
    for class_id in range(CLASSES):
        nearest = [draw_track(class_id, 3, rng)[-1] for _ in range(10)]
        mean = np.mean([pattern(photo[y1:y2, x1:x2]) for photo, (x1, y1, x2, y2) in nearest], axis=0)
        assert int(np.argmax([face @ mean for face in faces])) == class_id


def on_grey(class_id: int) -> NDArray[np.uint8]:
    """A face within its own box."""
    face = draw_sign(class_id, 128).astype(np.float32)
    rows, columns = np.nonzero(face[:, :, 3] > 127)
    alpha = face[:, :, 3:] / 255
    flat = (face[:, :, :3] * alpha + 100 * (1 - alpha)).astype(np.uint8)
    return flat[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def test_a_track_shows_one_sign_from_far_to_near() -> None:
    rng = np.random.default_rng(5)
    tracks = [draw_track(2, 4, rng) for _ in range(12)]
    assert all([x2 - x1 for _, (x1, _, x2, _) in track] == sorted(x2 - x1 for _, (x1, _, x2, _) in track) for track in tracks)
    near = [[pattern(photo, 12) for photo, _ in track[-2:]] for track in tracks]
    within = np.mean([first @ second for first, second in near])
    between = np.mean([first @ second for (first, _), (_, second) in pairwise(near)])
    assert within > 0.8 > 0.6 > between


def test_photos_are_a_data_set_that_train_can_split(tmp_path: Path) -> None:
    assert command("photos", "--out", tmp_path / "a", "--n", 3 * CLASSES + 1, "--seed", 7) == 0
    photos = read_train(tmp_path / "a")
    assert Counter(photo.class_id for photo in photos) == {0: 4, **dict.fromkeys(range(1, CLASSES), 3)}
    assert photos[0].path.relative_to(tmp_path / "a").as_posix() == "Train/0/00000_00000_00000.png"
    assert (tmp_path / "a" / "Train.csv").read_text().startswith("Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path\n")
    for photo in photos:
        assert photo.roi_xyxy is not None
        assert photo.roi_xyxy[2] < read_photo(photo).shape[1]
    train, valid = split_by_track(photos, 0.1, 0)
    assert {photo.class_id for photo in train} == {photo.class_id for photo in valid} == set(range(CLASSES))


def test_the_same_seed_draws_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert command("photos", "--out", tmp_path / name, "--n", 5, "--seed", seed) == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert not set(tree(tmp_path / "a").values()) & set(tree(tmp_path / "c").values())


def test_signs_are_the_faces_with_alpha_then_varied_ones_and_a_sheet(tmp_path: Path) -> None:
    assert command("signs", "--out", tmp_path / "faces", "--n", CLASSES + 1) == 0
    assert sorted(tree(tmp_path / "faces")) == sorted([*(f"{class_id:02}.png" for class_id in range(CLASSES)), "00_1.png", "sheet.png"])
    faces = {name: cv2.imread(str(tmp_path / "faces" / name), cv2.IMREAD_UNCHANGED) for name in ("00.png", "42.png", "00_1.png")}
    assert np.array_equal(faces["42.png"], draw_sign(42, 256))
    assert 0 < np.abs(faces["00.png"].astype(int) - faces["00_1.png"]).mean() < 30
    sheet = read_image(tmp_path / "faces" / "sheet.png")
    assert sheet[40:60, 160 * 7 + 60 : 160 * 7 + 100].std() > 20  # class 7 stands in the eighth column
    assert sheet[-155:-45, 160 * 3 :].std() == 0  # nothing stands after class 42


def test_scenes_are_frames_as_gtsdb_has_them(tmp_path: Path) -> None:
    assert command("scenes", "--out", tmp_path / "roads", "--n", 4) == 0
    frames = read_frames(tmp_path / "roads")
    assert [frame.path.name for frame in split_by_group(frames)[0]] == [f"{number:05}.jpg" for number in range(4)]
    assert all(read_image(frame.path).shape == (540, 960, 3) for frame in frames)
    for frame in frames:
        assert 1 <= len(frame.boxes_xyxy) <= 4
        assert (frame.boxes_xyxy[:, 2:] - frame.boxes_xyxy[:, :2]).min() >= 11
        assert frame.boxes_xyxy.min() >= 0


def test_scenes_have_the_classes_that_are_asked() -> None:
    assert {truth.class_id for seed in range(3) for truth in scene(seed, (160, 90), classes=(25, 41)).truths} == {25, 41}
    camera, rng = Camera(0, 2, 0, 0, 0, 0, (960, 540)), np.random.default_rng(0)
    assert {stand_anywhere(rng, camera, 0, DRAWN_CLASSES).class_id for _ in range(600)} == set(DRAWN_CLASSES)
    assert {stand_anywhere(rng, camera, 0).class_id for _ in range(600)} == set(FLIGHT_CLASSES)


@pytest.mark.parametrize(
    ("kind", "option", "word"), [("photos", ("--n", 0), "found 0"), ("scenes", ("--n", -2), "found -2"), ("signs", ("--seed", -1), "seed")]
)
def test_what_cannot_be_drawn_is_refused(kind: str, option: tuple[str, int], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(kind, "--out", tmp_path / "out", *option) == 1
    assert word in one_line(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["held", "held/mine.txt"])
def test_what_lies_there_already_stays(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "mine.txt").write_text("mine")
    assert command("signs", "--out", tmp_path / name) == 1
    assert "choose another --out" in one_line(capsys)
    assert tree(tmp_path) == {"held/mine.txt": b"mine"}


def test_an_empty_folder_is_taken_and_what_a_killed_call_left_goes(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "half.png").write_text("half")
    assert command("signs", "--out", tmp_path / "out", "--n", 1) == 0
    assert sorted(tree(tmp_path)) == ["out/00.png", "out/sheet.png"]


@pytest.mark.parametrize("kind", ["signs", "photos", "scenes"])
def test_a_full_disk_is_told_and_leaves_nothing(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk(1000):
        assert command(kind, "--out", tmp_path / "out", "--n", 6) == 1
    assert "system refused" in one_line(capsys)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_call_leaves_nothing(tmp_path: Path) -> None:
    running = started([sys.executable, "-m", "train", "draw", "scenes", "--out", str(tmp_path / "out"), "--n", "100000"], ROOT)
    while not list(tmp_path.glob(".out.partial/images/*")):
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    told = running.communicate(timeout=60)[1]
    assert (running.returncode, told) == (130, "python -m train: interrupted\n")
    assert not list(tmp_path.iterdir())


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    told = capsys.readouterr().err
    assert told.startswith("python -m train: wanted ")
    assert told.count("\n") == 1
    return told
