"""Names crops: images that hold one sign and little else, as GTSRB's photos do. No spotter, no tracks."""

from __future__ import annotations

import csv
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import read_bundle
from edge.engines.open import open_engine
from edge.errors import InputError
from edge.files import STDOUT, check_place, descriptor, written_beside
from edge.images import fit_crop, read_image
from edge.outside.text import printable
from edge.recognition.classifier import Classifier, Naming
from edge.sources.recorded import find_images

HEADER = ("path", "class_id", "label", "confidence")

_LOG = logging.getLogger(__name__)
_BATCH = 64


@dataclass(frozen=True)
class Row:
    """An image and its most likely class, accepted or not; `naming` is None for an image that cannot be read."""

    path: Path
    naming: Naming | None


def classify(paths: Sequence[Path], bundle_folder: Path, csv_path: Path | None) -> None:
    """Name the crops at `paths` and write a table, or print it where `csv_path` is None.

    Raises:
        InputError: a path that is not there, or no image that can be read.
        SourceError: a folder without images.
        BundleError: no bundle, or a damaged one.
        EngineError: the engine fails.
        OutputError: the table cannot be written.
    """
    images = list_images(paths)
    bundle = read_bundle(bundle_folder)
    with Classifier(open_engine(bundle, "classifier"), bundle.manifest.thresholds.confidence) as classifier:
        rows = name_images(images, classifier)
        labels = bundle.manifest.labels
        readable = _print(rows, labels, classifier) if csv_path is None else _write_csv(csv_path, rows, labels)
    aside = csv_path is not None and descriptor(csv_path) == STDOUT
    print(f"{readable} of {len(images)} images named{f', table in {printable(csv_path)}' if csv_path else ''}", file=sys.stderr if aside else sys.stdout)


def list_images(paths: Iterable[Path]) -> list[Path]:
    """Replace each folder among `paths` by the images in it and below it, sorted; the order of `paths` stays.

    Raises:
        InputError: a path that is not there.
        SourceError: a folder without images.
    """
    images: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"wanted an image or a folder of images, found nothing at {path}: check the path")
        images += find_images(path) if path.is_dir() else [path]
    return images


def name_images(images: Iterable[Path], classifier: Classifier) -> Iterator[Row]:
    """Name images one batch after the other, so that memory does not grow with their number; unreadable ones are warned about.

    Raises:
        EngineError: the engine fails.
    """
    rest = iter(images)
    while paths := list(islice(rest, _BATCH)):
        crops = [_read(path, classifier.size) for path in paths]
        readable = [crop for crop in crops if crop is not None]
        namings = iter(classifier.name(np.stack(readable)) if readable else ())
        for path, crop in zip(paths, crops, strict=True):
            yield Row(path, None if crop is None else next(namings))


def _read(path: Path, size: int) -> NDArray[np.uint8] | None:
    try:
        return fit_crop(read_image(path), size)
    except InputError as error:
        _LOG.warning("%s: passed over", error)
        return None


def _write_csv(path: Path, rows: Iterable[Row], labels: Sequence[str]) -> int:
    check_place(path)
    readable = 0
    with written_beside(path) as beside:
        with beside.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(HEADER)
            for row in rows:
                readable += row.naming is not None
                table.writerow((printable(row.path), *_fields(row.naming, labels)))
        _check_any(readable)
    return readable


def _fields(naming: Naming | None, labels: Sequence[str]) -> tuple[object, str, str]:
    return ("", "", "") if naming is None else (naming.class_id, labels[naming.class_id], f"{naming.confidence:.6f}")


def _print(rows: Iterable[Row], labels: Sequence[str], classifier: Classifier) -> int:
    readable = 0
    for row in rows:
        if row.naming is None:
            continue
        readable += 1
        doubt = "" if classifier.accepts(row.naming) else "  (below the threshold)"
        print(f"{printable(row.path)}: {row.naming.class_id} {labels[row.naming.class_id]} {row.naming.confidence:.3f}{doubt}")
    _check_any(readable)
    return readable


def _check_any(readable: int) -> None:
    if not readable:
        raise InputError("wanted at least one image that can be read, found none: see the warnings above")
