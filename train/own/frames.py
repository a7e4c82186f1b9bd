"""Frames with boxes as tools export them: YOLO, COCO and Pascal VOC by way of `supervision`, TT100K by its one JSON file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from defusedxml.ElementTree import parse

from edge.errors import DataError, one_line
from train.own.found import SIDES, Found, Scene, folders_below, named, pictures_in, side_of

_NAMES = ("obj.names", "classes.txt")
"""Where Darknet and LabelImg tell YOLO's classes, one a line."""
_IMAGES = ("images", "JPEGImages", "img")
_CVAT = "wanted frames as YOLO, COCO or Pascal VOC, found CVAT's own XML in {}: export them from CVAT again in one of these"


def find_frames(root: Path) -> tuple[Found, set[Path]]:
    """Find frames with boxes anywhere below a folder; returns them, and the folders that hold them.

    Raises:
        DataError: what seems such a layout cannot be read; the message names the file.
    """
    found, folders = Found(), set[Path]()
    for reader in (_yolo, _coco_and_tt100k, _voc):
        for layout, scenes, names in reader(root):
            found.layouts.append(layout)
            found.scenes += scenes
            used = {name for scene in scenes for name in scene.names}
            found.empty += [name for name in names if name not in used]
            folders |= {parent.resolve() for scene in scenes for parent in (scene.path.parent, *scene.path.parent.parents) if root in parent.parents}
    found.scenes.sort(key=lambda scene: scene.path)
    used = {name for scene in found.scenes for name in scene.names}
    found.empty = sorted({name for name in found.empty if name not in used})
    return found, folders


Read = Iterator[tuple[str, list[Scene], list[str]]]


def _yolo(root: Path) -> Read:
    for told in (path for folder in folders_below(root) for path in sorted(folder.iterdir())):
        if told.suffix.lower() in (".yaml", ".yml") and isinstance(_parsed(told), Mapping) and "names" in _parsed(told):
            yield from _yolo_of(root, told.parent, told)
        elif told.name in _NAMES:
            names = [line.strip() for line in told.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
            with tempfile.TemporaryDirectory() as beside:
                (Path(beside) / "data.yaml").write_text(yaml.safe_dump({"names": names}), encoding="utf-8")
                yield from _yolo_of(root, told.parent, Path(beside) / "data.yaml")


def _parsed(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"wanted YAML in {path}, cannot read it ({one_line(error)}): correct it, or export the frames again") from error


def _yolo_of(root: Path, base: Path, table: Path) -> Read:
    scenes: list[Scene] = []
    names: list[str] = []
    for folder in folders_below(base):
        labels = _labels_of(folder, base)
        if labels is None:
            continue
        names, some = _taken(lambda sets: sets.from_yolo(str(folder), str(labels), str(table)), folder, root)  # noqa: B023 - called at once
        scenes += some
    if scenes:
        yield "YOLO", scenes, names
    elif table.parent == base:
        raise DataError(
            f"wanted frames and their labels beside {table}, found none (images/ and labels/, in train/ and valid/ or above them): unpack them again"
        )


def _labels_of(folder: Path, base: Path) -> Path | None:
    """Return the folder of YOLO's labels for a folder of pictures: the same path with `labels` for `images`, or itself; None where there are none."""
    if not pictures_in(folder):
        return None
    parts = list(folder.relative_to(base).parts)
    for place in reversed([place for place, part in enumerate(parts) if part in _IMAGES]):
        labels = base.joinpath(*parts[:place], "labels", *parts[place + 1 :])
        if labels.is_dir():
            return labels
    stems = {path.stem for path in pictures_in(folder)}
    return folder if any(path.stem in stems for path in folder.glob("*.txt")) else None


def _coco_and_tt100k(root: Path) -> Read:
    for path in (path for folder in folders_below(root) for path in sorted(folder.glob("*.json"))):
        try:
            document = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"wanted JSON in {path}, cannot read it ({one_line(error)}): export the frames again, or remove it") from error
        if isinstance(document, dict) and {"images", "annotations", "categories"} <= set(document):
            images = _folder_of([image.get("file_name", "") for image in document["images"]], path, root)
            names, scenes = _taken(lambda sets: sets.from_coco(str(images), str(path)), path, root)  # noqa: B023 - called at once
            used = {name for scene in scenes for name in scene.names}
            above = {named(each.get("supercategory", "")) for each in document["categories"]}  # Roboflow's first category stands for all others
            yield "COCO", scenes, [name for name in names if name in used or name not in above]
        elif isinstance(document, dict) and {"imgs", "types"} <= set(document):
            yield "TT100K", _tt100k(path, document, root), []


def _folder_of(files: list[str], table: Path, root: Path) -> Path:
    """Return the folder that a COCO file's pictures lie in: its own, or one beside it or above."""
    near = [
        table.parent,
        *(up / name for up in (table.parent, table.parent.parent) for name in (*_IMAGES, table.stem.removeprefix("instances_"))),
        table.parent.parent,
    ]
    for folder in (*near, *(each for up in near[1:3] if up.is_dir() for each in folders_below(up))):
        if files and (folder / files[0]).is_file() and root in (folder, *folder.parents):
            return folder
    raise DataError(f"wanted the pictures that {table} lists, found no {(files or ['pictures'])[0]} in or beside its folder: unpack them there")


def _tt100k(path: Path, document: dict[str, Any], root: Path) -> list[Scene]:
    scenes = []
    try:
        for image in document["imgs"].values():
            file = path.parent / image["path"]
            if not file.is_file():
                continue  # its archives are many, and one may do
            boxes = [[float(each["bbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax")] for each in image["objects"]]
            names = tuple(named(each["category"]) for each in image["objects"])
            scenes.append(Scene(file, np.array(boxes, np.float64).reshape(-1, 4), names, side_of(file.parent, root)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"wanted TT100K's imgs with path and objects in {path}, found a fault ({error!r}): get the file again") from error
    return scenes


def _voc(root: Path) -> Read:
    for folder in folders_below(root):
        tables = sorted(folder.glob("*.xml"))
        kinds = {table: _root_tag(table) for table in tables}
        if "annotations" in kinds.values():
            raise DataError(_CVAT.format(next(table for table, kind in kinds.items() if kind == "annotations")))
        if "annotation" not in kinds.values():
            continue
        stems = {table.stem for table in tables}
        near = (folder, *(folder.parent / name for name in _IMAGES), folder.parent)
        images = next((each for each in near if each.is_dir() and any(path.stem in stems for path in pictures_in(each))), None)
        if images is None:
            raise DataError(f"wanted the pictures of the XML files in {folder} there or in images/ beside, found none of their names: copy them there")
        names, scenes = _taken(lambda sets: sets.from_pascal_voc(str(images), str(folder)), folder, root)  # noqa: B023 - called at once
        yield "Pascal VOC", scenes, names


def _root_tag(path: Path) -> str:
    try:
        return str(parse(path).getroot().tag)
    except Exception as error:  # defusedxml and expat raise their own
        raise DataError(f"wanted XML in {path}, cannot read it ({one_line(error)}): export the frames again, or remove it") from error


def _taken(read: Callable[[Any], Any], where: Path, root: Path) -> tuple[list[str], list[Scene]]:
    """Read a layout by way of supervision: its names, and the frames."""
    from supervision import DetectionDataset

    try:
        dataset = read(DetectionDataset)
        names = [named(name) for name in dataset.classes]
        scenes = []
        for path, found in sorted(dataset.annotations.items()):
            ids = [] if found.class_id is None else found.class_id.tolist()
            file = root / Path(path).resolve().relative_to(root.resolve())
            side = side_of(file.parent, root) or next((SIDES[word] for word in where.stem.casefold().split("_") if word in SIDES), None)
            scenes.append(Scene(file, np.asarray(found.xyxy, np.float64).reshape(-1, 4), tuple(names[place] for place in ids), side))
    except Exception as error:  # supervision raises whatever Python does on a missing key or a text that is no number
        raise DataError(f"wanted labels that can be read in {where}, found a fault ({one_line(error)}): export the frames again") from error
    return names, scenes
