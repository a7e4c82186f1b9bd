"""A folder of one's own made a data set: `labels.csv`, tables of photos, and `frames/` with `gt.txt`, each with the side on which it stands.

Everything that is wrong is told at once, a line for each, before anything is written.
"""

from __future__ import annotations

import csv
import io
import logging
import lzma
import re
import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.bundle.lineage import lineage
from edge.bundle.manifest import read_bundle
from edge.datasets.classes import MIRROR_TABLE, NONE, drawn_classes_of
from edge.datasets.classes import TABLE as LABELS_TABLE
from edge.datasets.faces import PaintedFace, write_faces
from edge.datasets.gtsdb import HELD, SIDES_TABLE, TABLE, TRAIN, TUNING
from edge.datasets.tables import read_rows
from edge.errors import DataError, InputError
from edge.files import telling_refusal, write_json, write_text, written_beside
from edge.images import encode_image, read_image
from edge.recognition.classifier import cut_out
from train.own.checks import NAMED, check_classes, check_sides, shown
from train.own.faces import read_own_faces
from train.own.folders import Table, find_photos, read_table
from train.own.found import Found, Looked, Photo, Scene, Shot, Side, named
from train.own.frames import find_frames
from train.own.groups import ALIKE_BITS, hash_of, stem_of
from train.own.split import split_frames, split_photos

_LOG = logging.getLogger(__name__)
PREPARED = "prepared.json"
FRAMES, PHOTOS = "gtsdb", "photos"
LONGEST_PX = 160
"""Photos of single signs are kept at most so large: more than twice what the network sees, and quickly read."""
SMALLEST_CROP_PX = 12.0
_OUTSIDE_PX = 2.0
_MOST_UNZIPPED = 64 << 30
_TABLES: dict[Side | None, str] = {"train": "Train.csv", "valid": "Valid.csv", "test": "Test.csv"}
_FRAME_SIDES: dict[Side | None, str] = {"train": TRAIN, "valid": TUNING, "test": HELD}
_ROI = ("Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2")


@dataclass(frozen=True)
class Options:
    """How a folder is read and split.

    Attributes:
        table: of photos, instead of folders that are named by class.
        alike: bits in which near duplicates differ at most; below 0 only names and folders group pictures.
        seed: of the split.
        leave_out_broken: go on without pictures that cannot be read, and without boxes outside their frame.
        extend: bundle whose classes come first; those that are found and that it does not know are added.
        faces: folder with an SVG or a PNG of each class's face, by its name: then signs can be drawn (`train.own.faces`).
    """

    table: Table | None = None
    alike: int = ALIKE_BITS
    seed: int = 0
    leave_out_broken: bool = False
    extend: Path | None = None
    faces: Path | None = None

    def asked(self, root: Path) -> dict[str, Any]:
        """Return what `prepared.json` keeps of what was asked for, and of what lay there: a digest of names and sizes."""
        files = sorted(path for path in (root, *root.rglob("*")) if path.is_file())
        lay = sha256("\n".join(f"{path.relative_to(root)} {path.stat().st_size}" for path in files).encode()).hexdigest()
        told = {**vars(self), "table": self.table and str(self.table), "extend": self.extend and str(self.extend), "faces": self.faces and str(self.faces)}
        return {"root": str(root.resolve()), "lay": lay, **told}


def prepare(root: Path, out: Path, options: Options | None = None) -> dict[str, Any]:
    """Make a data set of what lies in a folder or a zip, say what was found, and return what `prepared.json` holds.

    Args:
        root: photos of single signs in folders named by class, frames with boxes (YOLO, COCO, Pascal VOC, TT100K), or both; or a zip of these.
        out: new or empty folder.
        options: how; None as by default.

    Raises:
        DataError: nothing that can be read, or data that are wrong: the last fault, the others are logged, a line each.
        InputError: no such folder, a zip that is not whole, or a place for the data set that holds something or lies in what is read.
        OutputError: `out` cannot be written.
    """
    options = options or Options()
    if out.exists() and any(out.iterdir()):
        raise InputError(f"wanted a new or empty folder for the data set, found files in {out}: give another --out")
    if root.is_dir() and out.resolve().is_relative_to(root.resolve()):
        raise InputError(f"wanted a folder for the data set outside of what is read, found {out} in {root}: give another --out")
    asked = options.asked(root)
    base = drawn_classes_of(read_bundle(options.extend)) if options.extend else None
    known = base.names if base else ()
    with _unzipped(root) as folder:
        found = look(folder, options.table)
        looked = _read(found, options)
        check_classes(found, looked)
        _refuse(looked)
        split_frames(looked, options.alike, options.seed)
        _cut(looked)
        split_photos(looked, options.alike, options.seed)
        check_sides(looked)
        _refuse(looked)
        if options.faces is not None:
            drawable = base.names[: base.drawn] if base else ()
            looked.faces = read_own_faces(options.faces, sorted({*known, *(photo.name for photo in looked.photos)} - set(drawable)))
        if base:
            looked.faces |= {name: face.png for name, face in zip(base.names, base.faces, strict=False) if isinstance(face, PaintedFace)}
        told = _written(out, folder, found, looked, known, asked)
    print(told["said"])
    return told


def _refuse(looked: Looked) -> None:
    *others, last = dict.fromkeys(looked.faults) or [None]
    for fault in others:
        _LOG.error("%s", fault)
    if last is not None:
        raise DataError(last)


@contextmanager
def _unzipped(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield root
        return
    if not root.is_file():
        raise InputError(f"wanted a folder or a zip of photos or frames, found {'no plain file' if root.exists() else 'nothing'} at {root}: give its path")
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(root) as archive:
                size = sum(each.file_size for each in archive.infolist())
                if size > min(_MOST_UNZIPPED, shutil.disk_usage(folder).free):
                    raise InputError(
                        f"wanted room for {size >> 20} MiB that {root} unpacks to, found less in {folder}: unpack it elsewhere, and give the folder"
                    )
                if not archive.infolist():
                    raise InputError(f"wanted photos or frames in {root}, found an empty zip: pack it again")
                archive.extractall(folder)  # keeps inside, whatever the names say
        except InputError:
            raise
        except zipfile.BadZipFile as error:
            raise InputError(f"wanted a folder or a whole zip of photos or frames, found that {root} is none ({error}): pack or fetch it again") from error
        except (OSError, RuntimeError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise InputError(f"wanted a whole zip without a password in {root}, cannot unpack it ({error}): unpack it, and give the folder") from error
        yield Path(folder)


def look(root: Path, table: Table | None = None) -> Found:
    """Find what lies in a folder.

    Raises:
        DataError: nothing, or labels that cannot be read.
    """
    found, folders = find_frames(root)
    photos = read_table(table) if table else find_photos(root, folders)
    whole = Found(found.layouts + photos.layouts, photos.shots, found.scenes, found.empty + photos.empty, photos.none)
    if not whole.layouts:
        names = ", ".join(sorted(path.name for path in root.iterdir())[:NAMED]) or "nothing"
        raise DataError(
            f"wanted photos in a folder for each class, or frames as YOLO, COCO, Pascal VOC or TT100K, in {root}, found {names}: give the folder above them"
        )
    return whole


def _read(found: Found, options: Options) -> Looked:
    looked = Looked()
    unread = looked.doubts if options.leave_out_broken else looked.faults
    for shot in tqdm(found.shots, "reading photos", disable=None):
        try:
            looked.photos.append(_photo(shot))
        except (InputError, DataError) as error:
            unread.append(str(error))
    for path in found.none:
        try:
            looked.none.append(_smaller(read_image(path)))
        except (InputError, DataError) as error:
            unread.append(str(error))
    for scene in tqdm(found.scenes, "reading frames", disable=None):
        try:
            image = read_image(scene.path)
        except (InputError, DataError) as error:
            unread.append(str(error))
            continue
        kept = _inside(scene, (image.shape[1], image.shape[0]), looked, options)
        looked.frames.append(kept)
        looked.hashes.append(hash_of(image))
    return looked


def _photo(shot: Shot) -> Photo:
    image = _smaller(read_image(shot.path))
    stem, _ = stem_of(shot.path.stem)
    return Photo(shot.name, shot.side, shot.folder, stem, image, sha256(image.tobytes()).hexdigest(), hash_of(image))


def _smaller(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = LONGEST_PX / max(image.shape[:2])
    if scale >= 1:
        return image
    size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _inside(scene: Scene, size_wh: tuple[int, int], looked: Looked, options: Options) -> tuple[Scene, NDArray[np.int64]]:
    """Return a frame and its boxes in whole pixels inside it, and tell of those that are not."""
    clipped = np.clip(scene.boxes_xyxy, 0, np.tile(size_wh, 2))
    beyond = np.abs(clipped - scene.boxes_xyxy).max(axis=1, initial=0.0) > _OUTSIDE_PX
    boxes = np.rint(clipped).astype(np.int64)
    gone = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    for place in np.flatnonzero(beyond | gone):
        box = ", ".join(f"{side:g}" for side in scene.boxes_xyxy[place].round(1))
        fault = f"wanted the box of {scene.names[place]} inside {scene.path} ({size_wh[0]}x{size_wh[1]}), found {box}: correct it, or give --leave-out-broken"
        (looked.doubts if options.leave_out_broken else looked.faults).append(fault)
    kept = ~(beyond | gone)
    names = tuple(name for name, keep in zip(scene.names, kept, strict=True) if keep)
    return Scene(scene.path, scene.boxes_xyxy[kept], names, scene.side), boxes[kept]


def _cut(looked: Looked) -> None:
    """Cut a photo of every box that is large enough out of the frames, with the margin that the runtime gives a crop."""
    for place, (scene, boxes) in enumerate(looked.frames):
        chosen = [(name, box) for name, box in zip(scene.names, boxes.tolist(), strict=True) if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST_CROP_PX]
        image = read_image(scene.path) if chosen else None
        for number, (name, box) in enumerate(chosen):
            crop = cut_out(image, box)  # type: ignore[arg-type]
            across, down = (crop.shape[1] - (box[2] - box[0])) // 2, (crop.shape[0] - (box[3] - box[1])) // 2
            inner = across, down, across + box[2] - box[0], down + box[3] - box[1]
            smaller = _smaller(crop)
            if smaller is not crop:
                scale = np.tile([smaller.shape[1] / crop.shape[1], smaller.shape[0] / crop.shape[0]], 2)
                inner = tuple(np.rint(np.array(inner) * scale).astype(int).tolist())
            stem = f"frame{place}-{number}"
            looked.photos.append(Photo(name, scene.side, f"frame {place}", stem, smaller, sha256(crop.tobytes()).hexdigest(), hash_of(crop), inner))


def _written(out: Path, root: Path, found: Found, looked: Looked, first: Sequence[str], asked: dict[str, Any]) -> dict[str, Any]:
    """Write the data set beside its place, and move it there when it is whole."""
    beside = out.with_name(f".{out.name}.partial")
    with telling_refusal(out):
        if beside.is_dir():  # of a call that was cut short
            shutil.rmtree(beside)
        told = _write(beside, root, found, looked, first, asked)
        if out.is_dir():
            out.rmdir()  # it is empty
        beside.rename(out)
    return told


def _write(out: Path, root: Path, found: Found, looked: Looked, first: Sequence[str], asked: dict[str, Any]) -> dict[str, Any]:
    """Write the data set and return what `prepared.json` holds."""
    names = [*first, *sorted({photo.name for photo in looked.photos} - set(first), key=_natural)]
    with telling_refusal(out):
        (out / PHOTOS).mkdir(parents=True, exist_ok=True)
    known = _known(root, names)
    write_text(out / LABELS_TABLE, _table(("ClassId", "Name", "Number", "WidthsMm"), [(place, name, *known[name]) for place, name in enumerate(names)]))
    if (root / MIRROR_TABLE).is_file():
        with written_beside(out / MIRROR_TABLE) as beside:
            shutil.copyfile(root / MIRROR_TABLE, beside)
    rows: dict[Side | None, list[tuple[object, ...]]] = {side: [] for side in _TABLES}
    for number, photo in enumerate(tqdm(looked.photos, "writing photos", disable=None)):
        file = f"{PHOTOS}/{number:06}.png"
        with telling_refusal(out / file):
            (out / file).write_bytes(encode_image(photo.image))
        size = photo.image.shape[1::-1] if photo.box else ("", "")
        rows[photo.side].append((names.index(photo.name), file, f"{photo.name}/{photo.folder}/{photo.stem}", *size, *(photo.box or ("",) * 4)))
    for side, of_side in rows.items():
        if of_side:
            write_text(out / _TABLES[side], _table(("ClassId", "Path", "Track", "Width", "Height", *_ROI), of_side))
    for number, image in enumerate(looked.none):
        (out / NONE).mkdir(exist_ok=True)
        (out / NONE / f"{number:06}.png").write_bytes(encode_image(image))
    write_faces(out, {names.index(name): png for name, png in looked.faces.items()})
    if looked.frames:
        _write_frames(out / FRAMES, looked, names)
    told = _told(found, looked, names, {side: len(of_side) for side, of_side in rows.items()}) | {"asked": asked}
    write_json(out / PREPARED, told)
    return told


def _write_frames(folder: Path, looked: Looked, names: Sequence[str]) -> None:
    images = folder / "images"
    with telling_refusal(images):
        images.mkdir(parents=True, exist_ok=True)
    boxes, sides = [], []
    for number, (scene, whole) in enumerate(tqdm(looked.frames, "writing frames", disable=None)):
        kept = scene.path.suffix.lower() in (".jpg", ".png")
        stem = re.sub(r"[^\w.-]+", "_", stem_of(scene.path.stem)[0])[:80]
        name = f"{number:06}-{stem}{scene.path.suffix.lower() if kept else '.png'}"
        with telling_refusal(images / name):
            if kept:
                shutil.copyfile(scene.path, images / name)
            else:
                (images / name).write_bytes(encode_image(read_image(scene.path)))
        boxes += [";".join([name, *map(str, box), str(names.index(of))]) for of, box in zip(scene.names, whole.tolist(), strict=True)]
        sides.append((name, _FRAME_SIDES[scene.side]))
    write_text(folder / TABLE, "\n".join(boxes) + "\n")
    write_text(folder / SIDES_TABLE, _table(("File", "Side"), sides))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts "sign 9" before "sign 10"."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def _known(root: Path, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Read what a `labels.csv` of the user's, with a column Name, tells of numbers and sizes."""
    told = dict.fromkeys(names, ("", ""))
    table = root / LABELS_TABLE
    for row, where in read_rows(table, ("Name",)) if table.is_file() else []:
        name = named(row.get("name", ""))
        if name not in told:
            raise DataError(f"wanted names of classes that have photos in {where}, found {name!r}: correct it")
        told[name] = (row.get("number", ""), row.get("widthsmm", ""))
    return told


def _told(found: Found, looked: Looked, names: Sequence[str], photos: dict[Side | None, int]) -> dict[str, Any]:
    """Return what is kept of a data set, and in `said` what is said of it."""
    by_class = Counter(photo.name for photo in looked.photos)
    signs = [min(box[2] - box[0], box[3] - box[1]) for _, boxes in looked.frames for box in boxes.tolist()]
    frames = Counter(_FRAME_SIDES[scene.side] for scene, _ in looked.frames)
    cut = sum(photo.box is not None for photo in looked.photos)
    lines = [
        f"found {', '.join(dict.fromkeys(found.layouts))}: {len(names)} classes ({shown(names)})",
        f"{sum(photos.values())} photos of signs, {cut} of them cut from frames, {min(by_class.values())} to {max(by_class.values())} a class",
        f"{photos['train']} photos to train, {photos['valid']} to validate, {photos['test']} to test",
    ]
    if looked.faces:
        lines.append(f"a face of each of {len(looked.faces)} classes, to be drawn")
    if signs:
        sizes = f"{min(signs)} to {max(signs)} pixels, half of them below {np.median(signs):g}"
        sides = ", ".join(f"{frames[side]} {side}" for side in (TRAIN, TUNING, HELD))
        lines.append(f"{len(looked.frames)} frames with {len(signs)} signs of {sizes}: {sides}")
    lines += [f"{len(looked.none)} photos without a sign"] if looked.none else []
    lines += [f"worth a look: {doubt}" for doubt in looked.doubts]
    return {
        "schema": 1,
        "layouts": found.layouts,
        "classes": dict(sorted(by_class.items())),
        "photos": photos,
        "frames": dict(frames),
        "signs": len(signs),
        "doubts": looked.doubts,
        "said": "\n".join(lines),
        "lineage": lineage("numpy", "supervision", "imagehash"),
    }
