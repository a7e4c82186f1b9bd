"""The classes of a data set: GTSRB's 43, or those that its own `labels.csv` tells.

labels.csv   ClassId, Name; and where they are known Number (the sign's own, such as 274-50) and WidthsMm (in which its face is made: 420/600/750)
faces/       pictures of faces, by class id, of all classes or of the first ones: these can be drawn
mirror.csv   One, Other: names of classes of which a mirror makes one of the other; one name twice where it makes the sign itself
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge.bundle.manifest import MANIFEST, Bundle, Manifest, read_bundle
from edge.datasets.faces import Face, read_faces, read_packed
from edge.datasets.gtsrb_labels import ARROWS, LABELS, MIRRORED, SHAPES, Shape
from edge.datasets.tables import Row, read_rows
from edge.errors import DataError, InputError
from edge.outside.text import printable

TABLE, MIRROR_TABLE = "labels.csv", "mirror.csv"
WITHIN = (".", "gtsrb", "GTSRB", "gtsrb/GTSRB")
"""Where a data set lies in the folder that is given."""
FEWEST, MOST = 2, 1000
LONGEST_NAME = 100
NONE, REVIEWED = "none", "reviewed"
"""What the folder of photos is called that show no sign, and that of all photos that a person judged."""
_LEAST_MM, _MOST_MM = 10.0, 20_000.0


@dataclass(frozen=True)
class Classes:
    """What can be named, by class id.

    Attributes:
        names: in any script.
        numbers: the signs' own numbers, each "" where it has none; empty where none has one.
        sizes_mm: the widths in which each face is made, or nothing; empty where none is known.
        mirrored: what a sign becomes in a mirror, where that is a sign too: class id to class id.
        arrows: classes that differ from each other by where an arrow points.
        shapes: outlines of the faces, of the first classes or of none.
        faces: what draws the first classes, or none.
        own: they are the data set's own, and not GTSRB's alone.
    """

    names: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    sizes_mm: tuple[tuple[float, ...], ...] = ()
    mirrored: Mapping[int, int] = field(default_factory=dict)
    arrows: frozenset[int] = frozenset()
    shapes: tuple[Shape, ...] = ()
    faces: tuple[Face, ...] = ()
    own: bool = True

    def __len__(self) -> int:
        return len(self.names)

    @property
    def drawn(self) -> int:
        """How many of them, the first ones, can be drawn."""
        return len(self.faces)

    @property
    def official(self) -> bool:
        """Whether GTSRB's come first, which drawn flights show."""
        return self.names[: len(LABELS)] == LABELS

    def shape(self, class_id: int) -> Shape:
        """Return the outline of a class's face."""
        return self.shapes[class_id] if class_id < len(self.shapes) else "unknown"

    def as_record(self) -> dict[str, Any]:
        """Return what a run and a bundle keep of own classes; of GTSRB's nothing is kept but the names."""
        return {"names": list(self.names), "numbers": list(self.numbers), "sizes_mm": [list(size) for size in self.sizes_mm]} if self.own else {}


GTSRB = Classes(LABELS, mirrored=MIRRORED, arrows=ARROWS, shapes=SHAPES, faces=tuple(range(len(LABELS))), own=False)


def table_of(root: Path) -> Path | None:
    """Return the table of own classes of a data set; None where it has none."""
    return next((path for folder in WITHIN if (path := Path(root) / folder / TABLE).is_file()), None)


def read_classes(root: Path) -> Classes:
    """Read the classes of a data set: its own where it has a `labels.csv`, else GTSRB's.

    Raises:
        DataError: a damaged table, or class ids that do not count from 0, names that are missing or the same, too few or too many.
    """
    table = table_of(root)
    if table is None:
        return GTSRB
    rows = read_rows(table, ("ClassId", "Name"))
    ids = [row.get("classid", "").strip() for row, _ in rows]
    if ids != [str(place) for place in range(len(rows))] or not FEWEST <= len(rows) <= MOST:
        raise DataError(f"wanted ClassId 0, 1, 2 and so on in {table}, {FEWEST} to {MOST} rows, found {', '.join(ids[:5]) or 'none'} ({len(rows)}): correct it")
    names = tuple(name_of(row.get("name", ""), where) for row, where in rows)
    if len(set(names)) < len(names):
        raise DataError(f"wanted names that differ in {table}, found {next(name for name in names if names.count(name) > 1)!r} twice: correct it")
    numbers = tuple(printable(row.get("number", "").strip())[:LONGEST_NAME] for row, _ in rows)
    sizes = tuple(_sizes(row, where) for row, where in rows)
    told = Classes(names, numbers if any(numbers) else (), sizes if any(sizes) else (), _mirrored(table.with_name(MIRROR_TABLE), names))
    official = GTSRB.faces if told.official else ()
    told = replace(told, faces=(*official, *read_faces(table.parent, len(official), len(names))))
    return replace(told, mirrored={**MIRRORED, **told.mirrored}, arrows=ARROWS, shapes=SHAPES) if told.official else told


def with_faces(root: Path) -> Classes:
    """Read the classes of a data set that was prepared with faces, or of a bundle that carries them.

    Raises:
        BundleError: a damaged bundle.
        DataError: as `read_classes`.
        InputError: no such data set and no bundle, or one without a face of every class.
    """
    classes = drawn_classes_of(read_bundle(root)) if (root / MANIFEST).is_file() else read_classes(root)
    if not classes.own or classes.drawn < len(classes):
        raise InputError(
            f"wanted a data set or a bundle with a face of each of its classes at {root}, found {'another' if classes.own else 'none'}: "
            "prepare the data with --faces"
        )
    return classes


def classes_of(record: Mapping[str, Any]) -> Classes:
    """Return the classes of which a run or a bundle kept `as_record`: GTSRB's where it kept none.

    Raises:
        InputError: a record with a fault.
    """
    if not record:
        return GTSRB
    try:
        names, numbers = tuple(map(str, record["names"])), tuple(map(str, record["numbers"]))
        sizes = tuple(tuple(map(float, size)) for size in record["sizes_mm"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"wanted the classes in the record of a training, found a fault ({error!r}): train again") from error
    return Classes(names, numbers, sizes)


def classes_of_bundle(manifest: Manifest) -> Classes:
    """Return the classes that a bundle knows."""
    return GTSRB if manifest.labels == LABELS else Classes(manifest.labels, manifest.numbers, manifest.sizes_mm)


def drawn_classes_of(bundle: Bundle) -> Classes:
    """Return the classes that a bundle knows, with the faces that it carries.

    Raises:
        BundleError: its faces are damaged.
    """
    classes, carried = classes_of_bundle(bundle.manifest), bundle.manifest.faces
    if not classes.own:
        return classes
    official = GTSRB.faces if classes.official else ()
    painted = read_packed(bundle.verified_path(carried.file, carried.sha256), len(official), len(classes)) if carried else ()
    return replace(classes, faces=(*official, *painted))


def check_known(labels: Sequence[str], data: Path, model: str) -> None:
    """Refuse pictures of other classes than those that a model names: their ids would mean others.

    Args:
        labels: what the model names, in order; one that was extended knows the data's classes as its first.
        data: the data set, or its folder of frames.
        model: what it is called.

    Raises:
        DataError: other classes, or a damaged table of them.
    """
    root = Path(data)
    check_names(labels, read_classes(root.parent if root.name == "gtsdb" and table_of(root) is None else root).names, data, model)


def check_names(labels: Sequence[str], found: Sequence[str], data: Path, model: str) -> None:
    """Refuse what is not the first of a model's labels, or all of them: `found` in `data`; the rest as `check_known`.

    Raises:
        DataError: other classes.
    """
    if tuple(found) != tuple(labels[: len(found)]):
        raise DataError(
            f"wanted pictures of what {model} knows, {_shown(labels)}, found those of {_shown(found)} in {data}: give the data set that it was taught"
        )


def _shown(names: Sequence[str]) -> str:
    return f"{len(names)} classes ({', '.join(names[:2])}, ...)"


def name_of(text: str, where: str) -> str:
    """Return a class's name as it is shown: on one line, not too long.

    Raises:
        DataError: none, or a longer one; `where` says where it stands.
    """
    name = printable(text.strip())
    if not name or len(name) > LONGEST_NAME:
        raise DataError(f"wanted a name of 1 to {LONGEST_NAME} characters in {where}, found {name[:20]!r} ({len(name)}): correct it")
    return name


def folder_name(name: str) -> str:
    """Return what a class's folder is called: its name, as far as a folder can bear it."""
    safe = name.replace("/", "\N{DIVISION SLASH}").replace("\\", "\N{SET MINUS}")
    return f"_{safe}" if safe.startswith(".") or safe.casefold() == NONE else safe


def _sizes(row: Row, where: str) -> tuple[float, ...]:
    told = row.get("widthsmm", "").strip()
    try:
        widths = tuple(float(text.replace(",", ".")) for text in told.split("/")) if told else ()
    except ValueError:
        widths = (math.nan,)
    if not all(_LEAST_MM <= width <= _MOST_MM for width in widths):
        raise DataError(f"wanted WidthsMm as 600 or 420/600/750, {_LEAST_MM:g} to {_MOST_MM:g}, in {where}, found {told!r}: correct it, or leave it empty")
    return widths


def _mirrored(table: Path, names: tuple[str, ...]) -> dict[int, int]:
    found: dict[int, int] = {}
    for row, where in read_rows(table, ("One", "Other")) if table.is_file() else []:
        pair = [row.get(side, "").strip() for side in ("one", "other")]
        unknown = [name for name in pair if name not in names]
        if unknown:
            raise DataError(f"wanted names of {TABLE} in {where}, found {unknown[0]!r}: correct it")
        one, other = map(names.index, pair)
        found |= {one: other, other: one}
    return found
