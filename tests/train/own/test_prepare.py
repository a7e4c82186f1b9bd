"""Folders of one's own, as people and tools leave them: read, split without leaks, and refused in lines that are true."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("supervision", reason="needs the train extra")

from foreign_signs import NAMES

from edge import cli
from edge.bundle.manifest import SHIPPED
from edge.datasets.classes import read_classes
from edge.datasets.gtsdb import read_frames, read_sides
from edge.datasets.gtsrb import Split, has_test, read_photo, read_split, read_test
from edge.datasets.gtsrb_labels import LABELS
from edge.drawn.signs import draw_sign
from edge.errors import DataError, InputError
from train.__main__ import _parser
from train.own.folders import Table
from train.own.groups import dealt, stem_of, telling, together
from train.own.prepare import Options, prepare

SIZE_WH = 320, 200


def picture(path: Path, seed: int, size_wh: tuple[int, int] = (40, 40)) -> Path:
    """Write a picture that is unlike others of other seeds."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 256, (7, 7, 3)).astype(np.uint8), size_wh, interpolation=cv2.INTER_CUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imencode(path.suffix, image)[1].tofile(path)
    return path


def classes(root: Path, names=NAMES[:3], count: int = 10, start: int = 0) -> Path:
    for place, name in enumerate(names):
        for number in range(count):
            picture(root / name / f"IMG_{number:03}.png", start + 1000 * place + number)
    return root


def refusal(root: Path, out: Path, options: Options | None = None) -> str:
    with pytest.raises(DataError) as told:
        prepare(root, out, options)
    assert not out.exists()
    return str(told.value)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_folders_of_names_in_three_scripts_become_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = classes(tmp_path / "main_directory", ("注意儿童", "Überholverbot", "توقف"))
    (root / "labels.csv").write_text("Name,Number,WidthsMm\nÜberholverbot,276,600\n", encoding="utf-8")
    (root / "mirror.csv").write_text("One,Other\nتوقف,توقف\n", encoding="utf-8")
    out = tmp_path / "data"
    assert cli.main(_parser(), ["prepare", str(tmp_path / "main_directory"), "--out", str(out)]) == 0
    assert "found image folders: 3 classes" in capsys.readouterr().out
    found = read_classes(out)
    assert (set(found.names), found.own) == ({"注意儿童", "Überholverbot", "توقف"}, True)
    place = found.names.index("Überholverbot")
    assert (found.numbers[place], found.sizes_mm[place], found.mirrored) == ("276", (600.0,), {found.names.index("توقف"): found.names.index("توقف")})
    train, valid = read_split(out, Split())
    assert (len(train), len(valid), has_test(out)) == (24, 6, False)
    for side in (train, valid):
        assert {photo.class_id for photo in side} == {0, 1, 2}
    wanted = cv2.imdecode(np.fromfile(root / found.names[train[0].class_id] / f"{train[0].track.rpartition('/')[2]}.png", np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read_photo(train[0]), wanted)


def test_sides_that_the_folders_tell_are_kept(tmp_path: Path) -> None:
    for side, count, start in (("train", 6, 0), ("val", 3, 100), ("test", 2, 200)):
        classes(tmp_path / "set" / side, NAMES[:2], count, start)
    prepare(tmp_path / "set", tmp_path / "data")
    train, valid = read_split(tmp_path / "data", Split())
    assert (len(train), len(valid), len(read_test(tmp_path / "data"))) == (12, 6, 4)


def test_near_duplicates_versions_and_folders_stay_together(tmp_path: Path) -> None:
    root = classes(tmp_path / "set", NAMES[:2], 8)
    for number in range(8):
        image = cv2.imread(str(picture(tmp_path / "one.png", number)))
        cv2.imencode(".png", cv2.convertScaleAbs(image, alpha=0.9, beta=6))[1].tofile(root / NAMES[0] / f"again-{number}.png")  # darker: the same photo
        for version in range(3):
            picture(root / NAMES[1] / f"stop{number}_jpg.rf.{version}abc.jpg", 5000 + 10 * number + version)
    for track in range(4):
        for number in range(3):
            picture(root / "Tracks" / f"track {track}" / f"{number}.png", 9000 + 10 * track + number)
    prepare(root, tmp_path / "data")
    sides: dict[str, set[str]] = defaultdict(set)
    for table in ("Train.csv", "Valid.csv"):
        for row in rows(tmp_path / "data" / table):
            name, folder, stem = row["Track"].split("/")
            key = stem.replace("again-", "IMG_00") if name == NAMES[0] else folder or stem
            sides[f"{name}/{key}"].add(table)
    assert len(sides) == 8 + 16 + 4
    assert all(len(of) == 1 for of in sides.values()), sides


def test_what_groups_pictures() -> None:
    assert stem_of("a_12_jpg.rf.0f3c") == ("a_12", "a")
    assert not telling(["img"] * 20)
    assert telling([f"sign {number // 4}" for number in range(20)])
    assert together([["a"], ["b"], ["a"], ["c"]], [0, 2**64 - 1, 255 << 20, 1], 1) == [0, 1, 0, 0]
    sides = dealt([0, 0, 1, 2, 3, 3, 4, 5, 6, 7], [0.2, 0.2], "seed")
    assert all(sides[one] == sides[other] for one, other in ((0, 1), (4, 5)))
    assert [sides.count(side) >= 1 for side in range(3)] == [True] * 3
    assert dealt([0, 0, 0], [0.2], "seed") == [0, 0, 0]


def test_a_table_names_photos_and_classes(tmp_path: Path) -> None:
    lines = ["Bild;Zeichen;Note"]
    for place, name in enumerate(NAMES[:2]):
        for number in range(6):
            path = picture(tmp_path / "set" / "all" / f"{place}-{number}.png", 100 * place + number)
            lines.append(f"all\\{path.name};{name};x")
    table = tmp_path / "set" / "list.csv"
    table.write_text("\r\n".join(lines), encoding="utf-16")
    argv = ["prepare", str(tmp_path / "set"), "--out", str(tmp_path / "data"), "--table", str(table), "--path-column", "Bild", "--class-column", "Zeichen"]
    assert cli.main(_parser(), argv) == 0
    assert sum(map(len, read_split(tmp_path / "data", Split()))) == 12
    assert "found no" in refusal(tmp_path / "set", tmp_path / "other", Options(Table(shutil.copy(table, tmp_path / "list.csv"), "Bild", "Zeichen")))


def test_everything_that_is_wrong_with_photos_is_told_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = classes(tmp_path / "set", NAMES[:2], 6)
    (root / "Empty").mkdir()
    for number in range(3):
        picture(root / "Three" / f"{number}.png", 7000 + number)
        shutil.copy(root / NAMES[0] / f"IMG_{number:03}.png", root / NAMES[1] / f"copy{number}.png")
    (root / NAMES[0] / "broken.png").write_bytes(b"no picture")
    last = refusal(root, tmp_path / "data")
    told = [*caplog.messages, last]
    assert len(told) == 3
    assert any("found none of Empty: add some" in line for line in told)
    assert any(f"found 3 in both {' and '.join(sorted(NAMES[:2]))}: remove them from one" in line for line in told)
    assert any("broken.png" in line for line in told)
    (root / "Empty").rmdir()
    (root / NAMES[0] / "broken.png").unlink()
    for number in range(3):
        (root / NAMES[1] / f"copy{number}.png").unlink()
    assert refusal(root, tmp_path / "data") == "wanted at least 4 photos of Three, found 3: add photos (20 and more are better)"


def test_photos_that_were_saved_anew_under_another_name_are_told_and_signs_that_look_alike_are_not(tmp_path: Path) -> None:
    root = classes(tmp_path / "set", NAMES[:2], 6)
    (root / "Again").mkdir()
    for number in range(4):
        image = cv2.imread(str(root / NAMES[0] / f"IMG_{number:03}.png"))
        cv2.imencode(".jpg", cv2.resize(image, (64, 64)))[1].tofile(root / "Again" / f"{number}.jpg")
    assert refusal(root, tmp_path / "data") == f"wanted each photo in one class, found 4 in both Again and {NAMES[0]}: remove them from one"
    shutil.rmtree(root / "Again")
    for class_id in (1, 2, 5):  # 30, 50 and 80, before the same ground
        for number in range(4):
            ground = cv2.imread(str(root / NAMES[0] / f"IMG_{number:03}.png"))
            face = cv2.resize(draw_sign(class_id, 200), (40, 40), interpolation=cv2.INTER_AREA)
            (root / f"limit {class_id}").mkdir(exist_ok=True)
            cv2.imwrite(str(root / f"limit {class_id}" / f"{number}.png"), np.where(face[:, :, 3:] > 127, face[:, :, :3], ground))
    prepare(root, tmp_path / "data")


def test_one_class_and_a_class_in_test_alone_are_refused(tmp_path: Path) -> None:
    assert refusal(classes(tmp_path / "one", NAMES[:1]), tmp_path / "data").startswith("wanted 2 to 1000 classes, found 1 (School crossing): add photos")
    classes(tmp_path / "set" / "train", NAMES[:2], 6)
    classes(tmp_path / "set" / "test", NAMES[:3], 3, 500)
    assert refusal(tmp_path / "set", tmp_path / "data") == f"wanted photos of {NAMES[2]} to train on, found all 3 of them in test: move some to train"


def test_nothing_and_a_place_that_is_taken_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty", tmp_path / "data").startswith("wanted photos in a folder for each class, or frames as YOLO, COCO")
    with pytest.raises(InputError, match="wanted a folder or a zip of photos or frames, found nothing"):
        prepare(tmp_path / "nowhere", tmp_path / "data")
    with pytest.raises(InputError, match="wanted a new or empty folder for the data set"):
        prepare(classes(tmp_path / "set"), tmp_path / "set")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    for inside in (tmp_path / "set" / "data", tmp_path / "set" / "a" / "b", tmp_path / "link" / "data"):
        with pytest.raises(InputError, match="wanted a folder for the data set outside of what is read, found"):
            prepare(tmp_path / "set", inside)
        assert not inside.exists()


def test_a_zip_that_is_not_whole_is_told(tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("stop/1.txt", "some text " * 400)
    raw = whole.read_bytes()
    with zipfile.ZipFile(tmp_path / "without.zip", "w"):
        pass
    damaged = {
        "": "found that .*z.zip is none",
        "no zip": "found that .*z.zip is none",
        raw[:-30].decode("latin-1"): "found that .*z.zip is none",
        (raw[:45] + b"\xff" * 8 + raw[53:]).decode("latin-1"): "wanted a whole zip without a password in .*z.zip, cannot unpack it|z.zip is none",
        (tmp_path / "without.zip").read_bytes().decode("latin-1"): "found an empty zip: pack it again",
    }
    for content, says in damaged.items():
        (tmp_path / "z.zip").write_bytes(content.encode("latin-1"))
        with pytest.raises(InputError, match=says):
            prepare(tmp_path / "z.zip", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def drawn_frames(count: int = 24):
    """Frames with a box for each of two classes, in whole pixels: {name: (image, boxes, class ids)}."""
    made = {}
    for number in range(count):
        rng = np.random.default_rng(number)
        image = cv2.resize(rng.integers(0, 256, (9, 13, 3)).astype(np.uint8), SIZE_WH, interpolation=cv2.INTER_CUBIC)
        corners = rng.integers(0, (120, 100), (2, 2)) + np.array([(0, 0), (140, 0)])
        boxes = np.hstack([corners, corners + rng.integers(20, 60, (2, 2))]).astype(np.float64)
        made[f"cam{number}x.png"] = (image, boxes, [0, 1])
    return made


def write_supervision(folder: Path, layout: str) -> Path:
    import supervision as sv

    made = drawn_frames()
    images = folder / "images"
    images.mkdir(parents=True)
    for name, (image, _, _) in made.items():
        cv2.imwrite(str(images / name), image)
    annotations = {str(images / name): sv.Detections(xyxy=boxes.astype(np.float32), class_id=np.array(ids)) for name, (_, boxes, ids) in made.items()}
    dataset = sv.DetectionDataset(classes=list(NAMES[:2]), images=list(annotations), annotations=annotations)
    if layout == "yolo":
        dataset.as_yolo(annotations_directory_path=str(folder / "labels"), data_yaml_path=str(folder / "data.yaml"))
    elif layout == "coco":
        dataset.as_coco(annotations_path=str(folder / "annotations.json"))
    elif layout == "voc":
        dataset.as_pascal_voc(annotations_directory_path=str(folder / "Annotations"))
    else:
        sides = ("xmin", "ymin", "xmax", "ymax")
        objects = {
            name: [{"bbox": dict(zip(sides, box, strict=True)), "category": NAMES[of]} for box, of in zip(boxes.tolist(), ids, strict=True)]
            for name, (_, boxes, ids) in made.items()
        }
        imgs = {name: {"id": name, "path": f"images/{name}", "objects": some} for name, some in objects.items()}
        (folder / "annotations.json").write_text(json.dumps({"types": list(NAMES[:2]), "imgs": imgs}), encoding="utf-8")
    return folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_yolo_coco_voc_and_tt100k_are_the_same_to_the_box(tmp_path: Path) -> None:
    written = {}
    for layout in ("yolo", "coco", "voc", "tt100k"):
        out = tmp_path / f"{layout}-data"
        prepare(write_supervision(tmp_path / layout, layout), out)
        written[layout] = {
            path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file() and path.name != "prepared.json"
        }
    first = written["yolo"]
    assert len(first) == 24 + 2 * 24 + 6
    for other in written.values():
        assert other == first
    truth = drawn_frames()
    for frame in read_frames(tmp_path / "yolo-data" / "gtsdb"):
        _, boxes, ids = truth[f"{frame.path.stem.partition('-')[2]}.png"]
        np.testing.assert_array_equal(frame.boxes_xyxy, boxes)
        assert frame.class_ids.tolist() == ids
    sides = read_sides(tmp_path / "yolo-data")
    assert [len(side) for side in (sides.train, sides.tuning, sides.held)] == [15, 4, 5]
    train, valid = read_split(tmp_path / "yolo-data", Split())
    assert (len(train), len(valid), len(read_test(tmp_path / "yolo-data"))) == (30, 8, 10)
    photo = train[0]
    x1, y1, x2, y2 = photo.box_in(read_photo(photo))
    frame = next(each for each in read_frames(tmp_path / "yolo-data" / "gtsdb") if each.path.name.startswith(f"{int(photo.track.split('/')[1].split()[1]):06}"))
    sign = frame.boxes_xyxy[int(photo.track.rpartition("-")[2])].astype(int)
    np.testing.assert_array_equal(read_photo(photo)[int(y1) : int(y2), int(x1) : int(x2)], cv2.imread(str(frame.path))[sign[1] : sign[3], sign[0] : sign[2]])


def yolo(root: Path, side: str, numbers, name="{}_jpg.rf.{}abc", line="0 0.5 0.5 0.2 0.2\n1 0.2 0.2 0.2 0.25\n") -> None:
    for number in numbers:
        stem = name.format(f"cam{number}", number)
        picture(root / side / "images" / f"{stem}.jpg", 300 + number, SIZE_WH)
        (root / side / "labels").mkdir(parents=True, exist_ok=True)
        (root / side / "labels" / f"{stem}.txt").write_text(line, encoding="utf-8")


def test_roboflows_export_is_read_with_its_versions_together(tmp_path: Path) -> None:
    for side, numbers in (("train", range(12)), ("valid", range(20, 24)), ("test", range(30, 33))):
        yolo(tmp_path / "robo", side, numbers)
    (tmp_path / "robo" / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['Dock', '前方学校']\n", encoding="utf-8")
    prepare(tmp_path / "robo", tmp_path / "data")
    sides = read_sides(tmp_path / "data")
    assert [len(side) for side in (sides.train, sides.tuning, sides.held)] == [12, 4, 3]
    assert read_classes(tmp_path / "data").names == ("Dock", "前方学校")
    yolo(tmp_path / "alone", "train", range(12))
    yolo(tmp_path / "alone", "train", range(12), "{}_jpg.rf.{}def")
    (tmp_path / "alone" / "data.yaml").write_text("names: {0: Dock, 1: Pier}\n", encoding="utf-8")
    prepare(tmp_path / "alone", tmp_path / "both")
    parts: dict[str, set[str]] = defaultdict(set)
    for row in rows(tmp_path / "both" / "gtsdb" / "sides.csv"):
        parts[row["File"].partition("-")[2]].add(row["Side"])
    assert len(parts) == 12
    assert all(len(of) == 1 for of in parts.values())


def test_roboflows_coco_has_a_category_for_all_others(tmp_path: Path) -> None:
    root = tmp_path / "robo" / "train"
    images, annotations = [], []
    for number in range(10):
        picture(root / f"{number}.jpg", number, SIZE_WH)
        images.append({"id": number, "file_name": f"{number}.jpg", "width": SIZE_WH[0], "height": SIZE_WH[1]})
        annotations += [
            {"id": 2 * number + of, "image_id": number, "category_id": of, "bbox": [10 + 100 * of, 20, 40, 50], "area": 2000, "segmentation": []}
            for of in (1, 2)
        ]
    categories = [{"id": 0, "name": "signs", "supercategory": "none"}] + [
        {"id": of, "name": name, "supercategory": "signs"} for of, name in ((1, "Dock"), (2, "Pier"))
    ]
    (root / "_annotations.coco.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}), encoding="utf-8")
    prepare(tmp_path / "robo", tmp_path / "data")
    assert read_classes(tmp_path / "data").names == ("Dock", "Pier")
    np.testing.assert_array_equal(read_frames(tmp_path / "data" / "gtsdb")[3].boxes_xyxy, [[110, 20, 150, 70], [210, 20, 250, 70]])


def test_cvats_zip_is_read_and_its_own_xml_refused_with_the_reason(tmp_path: Path) -> None:
    yolo(tmp_path / "cvat", "obj_train_data", range(12), "{}")
    flat = tmp_path / "cvat" / "obj_train_data"
    for folder in ("images", "labels"):
        for path in (flat / folder).iterdir():
            path.rename(flat / path.name)
        (flat / folder).rmdir()
    (tmp_path / "cvat" / "obj.names").write_text("Dock\nPier\n", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
        for path in sorted((tmp_path / "cvat").rglob("*")):
            archive.write(path, path.relative_to(tmp_path / "cvat"))
    prepare(tmp_path / "task.zip", tmp_path / "data")
    assert (len(read_frames(tmp_path / "data" / "gtsdb")), read_classes(tmp_path / "data").names) == (12, ("Dock", "Pier"))
    (tmp_path / "own" / "images").mkdir(parents=True)
    (tmp_path / "own" / "annotations.xml").write_text("<annotations><version>1.1</version></annotations>", encoding="utf-8")
    assert "found CVAT's own XML in" in refusal(tmp_path / "own", tmp_path / "other")


def test_labelimgs_xml_with_paths_of_another_machine_is_read(tmp_path: Path) -> None:
    for number in range(10):
        picture(tmp_path / "set" / f"{number}.jpg", number, SIZE_WH)
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x + 1}</xmin><ymin>21</ymin><xmax>{x + 40}</xmax><ymax>70</ymax></bndbox></object>"
            for name, x in (("Dock", 10), ("Pier", 110))
        )
        text = f"<annotation><folder>x</folder><filename>{number}.jpg</filename><path>C:\\Users\\me\\x\\{number}.jpg</path>{objects}</annotation>"
        (tmp_path / "set" / f"{number}.xml").write_text(text, encoding="utf-8")
    prepare(tmp_path / "set", tmp_path / "data")
    np.testing.assert_array_equal(read_frames(tmp_path / "data" / "gtsdb")[0].boxes_xyxy, [[10, 20, 50, 70], [110, 20, 150, 70]])


def test_labels_outside_the_picture_of_no_class_or_damaged_are_told(tmp_path: Path) -> None:
    root = tmp_path / "set"
    yolo(root, "train", range(12))
    (root / "data.yaml").write_text("names: [Dock, Pier]\n", encoding="utf-8")
    label = sorted((root / "train" / "labels").iterdir())[0]
    label.write_text("0 0.98 0.5 0.2 0.2\n1 0.2 0.2 0.2 0.25\n", encoding="utf-8")
    told = refusal(root, tmp_path / "data")
    assert told.startswith("wanted the box of Dock inside ")
    assert told.endswith("(320x200), found 281.6, 80, 345.6, 120: correct it, or give --leave-out-broken")
    assert prepare(root, tmp_path / "data", Options(leave_out_broken=True))["signs"] == 23
    label.write_text("2 0.5 0.5 0.2 0.2\n", encoding="utf-8")
    assert "outside the valid range [0, 1]" in refusal(root, tmp_path / "other")
    label.write_text("0 0.5 half 0.2 0.2\n", encoding="utf-8")
    assert "wanted labels that can be read in" in refusal(root, tmp_path / "other")
    label.write_text("0 0.5 0.5 0.2 0.2\n", encoding="utf-8")
    (root / "data.yaml").write_text("names: [Dock, Pier, Buoy]\n", encoding="utf-8")
    assert refusal(root, tmp_path / "other") == "wanted photos or boxes of every class, found none of Buoy: add some, or take the name away"
    (root / "data.yaml").write_text("names: [Dock, Pier", encoding="utf-8")
    assert "wanted YAML in" in refusal(root, tmp_path / "other")


def test_photos_and_frames_in_one_folder_make_one_data_set(tmp_path: Path) -> None:
    root = tmp_path / "set"
    classes(root / "photos", ("Dock", "Pier", "Buoy"), 6)
    yolo(root / "frames", "all", range(12))
    (root / "frames" / "data.yaml").write_text("names: [Dock, Pier]\n", encoding="utf-8")
    told = prepare(root, tmp_path / "data")
    assert (told["layouts"], told["classes"]) == (["YOLO", "image folders"], {"Buoy": 6, "Dock": 18, "Pier": 18})


def test_classes_are_added_to_those_of_a_bundle(tmp_path: Path) -> None:
    root = classes(tmp_path / "set", ("Dock", "Stop"), 6)
    prepare(root, tmp_path / "data", Options(extend=SHIPPED))
    found = read_classes(tmp_path / "data")
    assert found.names == (*LABELS, "Dock")
    assert (found.own, found.drawn, found.mirrored[33], found.shape(13), found.shape(43)) == (True, 43, 34, "downward", "unknown")
    assert {photo.class_id for photo in read_split(tmp_path / "data", Split())[0]} == {43, LABELS.index("Stop")}
