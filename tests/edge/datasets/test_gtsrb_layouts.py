"""GTSRB's three public layouts, each as a small tree of drawn pictures in the published form, and all that can be wrong with one."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.datasets.gtsrb import CLASSES, Photo, Split, has_test, read_photo, read_split, read_test, read_train, read_valid
from edge.errors import DataError, InputError

CLASS_IDS = (2, 10, 1)  # as text they sort 1, 10, 2
TRACKS, FRAMES = 3, 2
TEST = (("00000", 10), ("00001", 2), ("00002", 1))
WIDTH, HEIGHT, ROI = 30, 28, (5, 6, 25, 22)
COLUMNS = ["Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId"]

Build = Callable[[Path], Path]


def draw(path: Path, class_id: int) -> str:
    """Draw a photo whose blue tells the class; returns its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), (class_id, 90, 200), np.uint8))
    return path.name


def write_table(table: Path, rows: list[tuple[str, object]], first: list[str], last: list[str], delimiter: str, roi: tuple[int, ...] = ROI) -> None:
    """Write rows of (file, class id); the file stands in the first column or in the last."""
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, delimiter=delimiter)
        out.writerow([*first, *COLUMNS, *last])
        out.writerows([*[name for _ in first], WIDTH, HEIGHT, *roi, class_id, *[name for _ in last]] for name, class_id in rows)


def kaggle_table(root: Path, name: str, rows: list[tuple[str, object]]) -> None:
    write_table(root / name, rows, [], ["Path"], ",")


def frames_of(class_id: int) -> list[str]:
    return [f"{track:05}_{frame:05}" for track in range(TRACKS) for frame in range(FRAMES)]


def tables(root: Path) -> Path:
    rows = [(f"Train/{c}/{draw(root / 'Train' / str(c) / f'{c:05}_{frame}.png', c)}", c) for c in CLASS_IDS for frame in frames_of(c)]
    kaggle_table(root, "Train.csv", list(rows))
    kaggle_test(root)
    return root


def kaggle_test(root: Path) -> None:
    kaggle_table(root, "Test.csv", [(f"Test/{draw(root / 'Test' / f'{name}.png', c)}", c) for name, c in TEST])


def official(root: Path, train: str = "Final_Training/Images", table: str = "Final_Test/Images") -> Path:
    for c in CLASS_IDS:
        folder = root / train / f"{c:05}"
        write_table(folder / f"GT-{c:05}.csv", [(draw(folder / f"{frame}.ppm", c), c) for frame in frames_of(c)], ["Filename"], [], ";")
    images = root / "Final_Test" / "Images"
    write_table(root / table / "GT-final_test.csv", [(draw(images / f"{name}.ppm", c), c) for name, c in TEST], ["Filename"], [], ";")
    (images / "GT-final_test.test.csv").write_text("Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2\n")
    return root


def folders(root: Path) -> Path:
    for c in CLASS_IDS:
        for frame in frames_of(c):
            draw(root / ("Valid" if frame.startswith("00002") else "Train") / str(c) / f"{c:05}_{frame}.png", c)
    kaggle_test(root)
    return root


LAYOUTS: dict[str, Build] = {"tables": tables, "official": official, "folders": folders}


@pytest.mark.parametrize("place", [".", "gtsrb", "GTSRB", "gtsrb/GTSRB"])
@pytest.mark.parametrize("build", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_gives_each_photo_its_own_class(tmp_path: Path, build: Build, place: str) -> None:
    build(tmp_path / place)
    photos = [*read_train(tmp_path), *(read_valid(tmp_path) or []), *read_test(tmp_path)]
    assert len(photos) == len(CLASS_IDS) * TRACKS * FRAMES + len(TEST)
    assert {photo.class_id for photo in photos} == set(CLASS_IDS)
    assert [int(read_photo(photo)[0, 0, 0]) for photo in photos] == [photo.class_id for photo in photos]
    assert all(photo.path.is_relative_to(tmp_path / place) for photo in photos)
    assert has_test(tmp_path)


def test_all_43_class_folders_keep_their_numbers(tmp_path: Path) -> None:
    for class_id in range(CLASSES):
        draw(tmp_path / "Train" / str(class_id) / f"{class_id:05}_00000_00000.png", class_id)
    assert {photo.path.parent.name: photo.class_id for photo in read_train(tmp_path)} == {str(class_id): class_id for class_id in range(CLASSES)}


def test_tracks_and_so_the_split_are_the_same_in_every_layout(tmp_path: Path) -> None:
    def tell(photos: list[Photo]) -> list[tuple[int, str, str]]:
        return sorted((photo.class_id, photo.track, photo.path.stem[-5:]) for photo in photos)

    roots = [build(tmp_path / name) for name, build in LAYOUTS.items()]
    by_table, by_folder, own = [read_split(root, Split(0.3, 5)) for root in roots]
    assert [tell(side) for side in by_table] == [tell(side) for side in by_folder]
    assert tell([*own[0], *own[1]]) == tell([*by_table[0], *by_table[1]])
    assert {photo.track for photo in own[1]} == {f"{class_id:05}_00002" for class_id in CLASS_IDS}
    assert {photo.track for photo in read_test(roots[0])} == {""}


def test_only_a_folder_valid_beside_train_is_a_held_out_side(tmp_path: Path) -> None:
    assert {name: read_valid(build(tmp_path / name)) is not None for name, build in LAYOUTS.items()} == {"tables": False, "official": False, "folders": True}
    (tmp_path / "folders" / "Valid").rename(tmp_path / "folders" / "Later")
    assert len(read_train(tmp_path / "folders")) == len(CLASS_IDS) * 2 * FRAMES
    assert read_valid(tmp_path / "folders") is None


def test_numbers_of_photos_are_drawn_from_each_side_of_a_layout_with_its_own_valid(tmp_path: Path) -> None:
    for side, count in (("Train", 4), ("Valid", 3)):
        for class_id in range(CLASSES):
            for frame in range(count):
                draw(tmp_path / side / str(class_id) / (f"{frame:05}_00000.png" if side == "Train" else f"{frame}.png"), class_id)
    train, valid = read_split(tmp_path, Split(train_per_class=2, valid_per_class=3))
    assert [(photo.class_id, photo.path.parts[-3]) for photo in train] == [(class_id, "Train") for class_id in range(CLASSES) for _ in range(2)]
    assert len({photo.path for photo in valid if photo.path.parts[-3] == "Valid"}) == 3 * CLASSES
    assert read_split(tmp_path, Split(seed=1, train_per_class=2, valid_per_class=3))[0] != train
    with pytest.raises(DataError, match=r"wanted 4 photos of class 0 \(Speed limit 20\) in Valid, found 3"):
        read_split(tmp_path, Split(train_per_class=2, valid_per_class=4))


@pytest.mark.parametrize("table", ["Final_Test/Images", "Final_Test", ".", ".."])
def test_the_official_test_table_is_found_where_archives_put_it(tmp_path: Path, table: str) -> None:
    official(tmp_path / "gtsrb" / "GTSRB", table=table)
    assert [(photo.path.stem, photo.class_id) for photo in read_test(tmp_path)] == list(TEST)


def test_the_official_archive_of_2011_is_read_too_and_the_later_one_goes_first(tmp_path: Path) -> None:
    official(tmp_path, train="Training")
    assert {photo.path.parts[-3] for photo in read_train(tmp_path)} == {"Training"}
    official(tmp_path)
    assert {photo.path.parts[-3] for photo in read_train(tmp_path)} == {"Images"}


def test_boxes_are_end_exclusive_and_stand_where_a_table_says(tmp_path: Path) -> None:
    for name, build in LAYOUTS.items():
        root = build(tmp_path / name)
        assert {photo.roi_xyxy for photo in read_train(root)} == ({None} if name == "folders" else {ROI})
        assert {photo.roi_xyxy for photo in read_test(root)} == {ROI}


def test_hidden_and_foreign_files_are_no_photos(tmp_path: Path) -> None:
    folders(tmp_path)
    count = len(read_train(tmp_path))
    (tmp_path / "Train" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "Train" / "2" / "._00002_00000_00000.png").touch()
    (tmp_path / "Train" / "2" / "Thumbs.db").touch()
    (tmp_path / "Train" / "Readme.txt").touch()
    assert len(read_train(tmp_path)) == count


def refusal(read: Callable[[Path], Any], root: Path) -> str:
    with pytest.raises(DataError) as refused:
        read(root)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda root: None, "there is no such folder"),
        (lambda root: root.mkdir(), "there is an empty folder"),
        (lambda root: root.write_bytes(b"PK"), "there is a file"),
        (
            lambda root: [(root / f"{name}.txt").parent.mkdir(exist_ok=True) or (root / f"{name}.txt").touch() for name in "abcdefg"],
            "a.txt, b.txt.* and 2 more",
        ),
    ],
    ids=["nothing", "empty", "a zip", "other files"],
)
def test_a_root_of_no_known_layout_says_what_was_looked_for_and_what_is_there(tmp_path: Path, make: Callable[[Path], Any], found: str) -> None:
    root = tmp_path / "root"
    make(root)
    for read, names in ((read_train, ("Train.csv", "Final_Training/Images/<class>", "Train/<class>")), (read_test, ("Test.csv", "Final_Test/Images"))):
        with pytest.raises(DataError, match=rf"{found}.*--data") as refused:
            read(root)
        assert all(name in str(refused.value) for name in (*names, str(root)))
    assert not has_test(root)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "columns ClassId and Path .*found nothing"),
        (b"ClassId,File\n3,a.png\n", "columns ClassId and Path"),
        (b"ClassId,Path\n", "only a header"),
        (b"ClassId,Path\n3\n", "a row without"),
        (b"Path,ClassId\na.png\n", "a row without"),
        (b"ClassId,Path\n3,\n", "line 2 of .*a row without"),
        (b"ClassId,Path\n,a.png\n", "a row without"),
        (b"ClassId,Path\n3,a\xff.png\n", "UTF-8"),
        *((f"ClassId,Path\n{text},a.png\n".encode(), "from 0 to 42") for text in ("43", "-1", "1e1", "stop", "1.5", "²", "9" * 5000)),
        (b"ClassId,Path,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2\n3,a.png,5,5,left,20\n", "whole numbers in the Roi columns in line 2 of"),
        (b"ClassId,Path,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2\n3,a.png,5,5,20\n", "whole numbers in the Roi columns in line 2 of"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "Train.csv").write_bytes(content)
    with pytest.raises(DataError, match=found) as refused:
        read_train(tmp_path)
    assert str(tmp_path / "Train.csv") in str(refused.value)


@pytest.mark.parametrize(
    ("build", "lost", "rows"), [(tables, "Train/10/00010_00001_00000.png", 18), (official, "Final_Training/Images/00010/00001_00000.ppm", 6)]
)
def test_a_row_without_its_file_is_refused_by_name(tmp_path: Path, build: Build, lost: str, rows: int) -> None:
    (build(tmp_path) / lost).unlink()
    assert f"found no {tmp_path / lost} (1 of {rows} are missing)" in refusal(read_train, tmp_path)


def test_rows_whose_folder_is_gone_are_counted(tmp_path: Path) -> None:
    (tables(tmp_path) / "Train" / "10").rename(tmp_path / "elsewhere")
    assert "(6 of 18 are missing)" in refusal(read_train, tmp_path)


@pytest.mark.parametrize(
    ("build", "damage", "found"),
    [
        (official, lambda root: (root / "Final_Training/Images/00010/GT-00010.csv").unlink(), "GT-00010.csv, cannot read it"),
        (official, lambda root: (root / "Final_Training/Images/00010/GT-00010.csv").write_text("Filename;ClassId\n"), "GT-00010.csv, found only a header"),
        (official, lambda root: (root / "Final_Training/Images/00010").rename(root / "Final_Training/Images/00011"), "GT-00011.csv, cannot read it"),
        (official, lambda root: (root / "Final_Training/Images/00010").rename(root / "Final_Training/Images/ten"), "0 to 42, in .*found 'ten'"),
        (folders, lambda root: (root / "Train/10").rename(root / "Train/stop"), "0 to 42, in .*found 'stop'"),
        (folders, lambda root: (root / "Train/10").rename(root / "Train/43"), "found '43'"),
        (folders, lambda root: (root / "Train/7").mkdir(), "wanted photos of class 7 in .*found none"),
        (folders, lambda root: (root / "Train").rename(root / "moved") and (root / "Train").mkdir(), "a folder for each class in .*found none"),
    ],
)
def test_damaged_class_folders_are_refused(tmp_path: Path, build: Build, damage: Callable[[Path], Any], found: str) -> None:
    damage(build(tmp_path))
    with pytest.raises(DataError, match=found):
        read_train(tmp_path)


def test_a_table_that_contradicts_its_folder_is_refused(tmp_path: Path) -> None:
    table = official(tmp_path) / "Final_Training" / "Images" / "00010" / "GT-00010.csv"
    table.write_text(table.read_text().replace(";10\n", ";2\n").replace(";10\r\n", ";2\r\n"))
    assert "wanted ClassId 10, as the folder is named" in refusal(read_train, tmp_path)


def test_test_photos_without_the_table_of_their_classes_name_the_archive_that_has_it(tmp_path: Path) -> None:
    (official(tmp_path) / "Final_Test" / "Images" / "GT-final_test.csv").unlink()
    assert "GTSRB_Final_Test_GT.zip" in refusal(read_test, tmp_path)


@pytest.mark.parametrize("roi", [(5, 6, 31, 22), (5, 6, 25, 29), (-1, 6, 25, 22), (5, -1, 25, 22), (5, 6, 5, 22), (5, 22, 25, 6)])
def test_a_box_outside_its_photo_is_refused(tmp_path: Path, roi: tuple[int, int, int, int]) -> None:
    photo = Photo(tmp_path / "a.png", 14, "", roi)
    draw(photo.path, 14)
    with pytest.raises(DataError, match=r"a\.png, found \(.*\) in 30x28 pixels") as refused:
        read_photo(photo)
    assert "\n" not in str(refused.value)


def test_a_box_may_fill_its_photo(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 14)
    assert read_photo(Photo(tmp_path / "a.png", 14, "", (0, 0, WIDTH, HEIGHT))).shape == (HEIGHT, WIDTH, 3)


def test_a_broken_photo_is_refused_when_it_is_read(tmp_path: Path) -> None:
    photo = read_train(folders(tmp_path))[0]
    photo.path.write_bytes(photo.path.read_bytes()[:40])
    with pytest.raises(InputError, match=photo.path.name):
        read_photo(photo)


def test_real_boxes_are_inside_their_photos_with_the_border_that_the_benchmark_promises(data_root: Path) -> None:
    for photo in [*read_train(data_root)[::130], *read_test(data_root)[::50]]:
        height, width = read_photo(photo).shape[:2]
        assert photo.roi_xyxy is not None
        x1, y1, x2, y2 = photo.roi_xyxy
        assert min(x1, y1, width - x2, height - y2) >= 5


def test_tables_as_spreadsheets_and_other_systems_write_them(tmp_path: Path) -> None:
    wanted = sorted((photo.path.name, photo.class_id, photo.track, photo.roi_xyxy) for photo in read_train(tables(tmp_path)))
    plain = (tmp_path / "Train.csv").read_text()
    columns, *rows = [line.split(",") for line in plain.splitlines()]
    numbers = "\n".join([",".join(columns), *(",".join([*(f"{cell}.0" for cell in row[:-1]), row[-1]]) for row in rows)])
    for dialect in (
        b"\xef\xbb\xbf" + plain.encode(),
        plain.encode("utf-16"),
        plain.replace(",", ";").encode(),
        plain.replace(",", "\t").encode(),
        plain.replace("/", "\\").encode(),
        numbers.encode(),
        plain.replace("ClassId,Path", " classid , PATH").encode(),
        (plain + ",,,,,,,\n\n").encode(),
        plain.replace(",2,Train", ",00002,Train").encode(),
        plain.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + numbers.replace("/", "\\").replace(",", ";").encode(),
    ):
        (tmp_path / "Train.csv").write_bytes(dialect)
        assert sorted((photo.path.name, photo.class_id, photo.track, photo.roi_xyxy) for photo in read_train(tmp_path)) == wanted


@pytest.mark.parametrize("factors", [(2, 2), (0.5, 0.5), (3, 0.5)])
def test_boxes_follow_photos_that_were_resized(tmp_path: Path, factors: tuple[float, float]) -> None:
    tables(tmp_path)
    photo = read_train(tmp_path)[0]
    size = round(WIDTH * factors[0]), round(HEIGHT * factors[1])
    cv2.imwrite(str(photo.path), cv2.resize(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), size))
    image = read_photo(photo)
    assert photo.box_in(image) == (5 * factors[0], 6 * factors[1], 25 * factors[0], 22 * factors[1])


def test_rows_without_a_box_and_tables_without_a_size_are_read(tmp_path: Path) -> None:
    name = draw(tmp_path / "00001_00000.png", 3)
    (tmp_path / "Train.csv").write_text(f"ClassId,Path,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2\n3,{name},,,,\n3,{name},1,2,9,8\n")
    none, some = read_train(tmp_path)
    assert (none.box_in(read_photo(none)), some.box_in(read_photo(some))) == (None, (1, 2, 9, 8))


@pytest.mark.parametrize(
    ("stem", "track"),
    [
        ("00014_00003_00012", "00014_00003"),
        ("00014_00003_00012_aug1", "00014_00003"),
        ("00014_00003_00012_png.rf.8c1d00012_00001", "00014_00003"),
        ("flip_00014_00003_00012", "00014_00003"),
        ("00003_00012", "00003"),
        ("00003_00012-copy (2)", "00003"),
        ("stop_7", "stop"),
        ("stop", ""),
    ],
)
def test_a_track_is_found_whatever_tools_added_to_the_name(tmp_path: Path, stem: str, track: str) -> None:
    draw(tmp_path / "Train" / "14" / f"{stem}.png", 14)
    assert [photo.track for photo in read_train(tmp_path)] == [track]


@pytest.mark.parametrize("name", ["Valid", "valid", "Val", "val", "validation", "VALIDATION", "dev"])
def test_photos_to_validate_are_found_by_their_usual_names(tmp_path: Path, name: str) -> None:
    (folders(tmp_path) / "Valid").rename(tmp_path / name)
    (tmp_path / "Train").rename(tmp_path / ("train" if name.islower() else "Train"))
    train, valid = read_split(tmp_path, Split())
    assert (len(train), len(valid)) == (len(CLASS_IDS) * 2 * FRAMES, len(CLASS_IDS) * FRAMES)


def test_a_folder_to_validate_that_is_left_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tables(tmp_path)
    (tmp_path / "Val").mkdir()
    assert read_valid(tmp_path) is None
    assert [str(tmp_path / "Val") in record.message for record in caplog.records] == [True]


def test_tracks_of_one_photo_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for class_id in CLASS_IDS:
        for number in range(4):
            draw(tmp_path / "Train" / str(class_id) / f"sign{number}_1.png", class_id)
    read_split(tmp_path, Split(0.3, 5))
    assert ["12 of 12 tracks hold one photo" in record.message for record in caplog.records] == [True]
    caplog.clear()
    read_split(folders(tmp_path / "other"), Split(0.3, 5))
    read_split(tables(tmp_path / "third"), Split(0.3, 5))
    assert not caplog.records
