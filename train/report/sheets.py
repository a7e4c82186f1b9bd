"""Sheets of photos of a run: what it predicted, and what augmentation makes of a photo. They show the data set's photos: never commit them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edge.images import fit_crop
from train.report.plots import WIDTH_PX, WRONG, drawable, picture

CROP_PX = 96
"""Side of a shown crop: twice the 48 px that most recipes see."""

SHOWN = 60
COLUMNS = 5
VIEWS = 7

_TILE_PX = WIDTH_PX // COLUMNS
_ROW_PX = CROP_PX + 12
_HEAD_PX = 34
_LINE_PX = 13
_RIGHT = "#2f855a"

Example = tuple[int, NDArray[np.uint8], list[NDArray[np.uint8]]]


def telling_order(class_ids: NDArray[np.int64], probabilities: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort crops by what they teach: (indices of the wrong ones, most confident first; indices of the right ones, least confident first).

    Args:
        class_ids: (n,), the true ones.
        probabilities: (n, classes).
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == class_ids
    order = np.argsort(confidence, kind="stable")
    return order[~right[order]][::-1], order[right[order]]


def draw_predictions(crops: NDArray[np.uint8], class_ids: NDArray[np.int64], probabilities: NDArray[np.float32], names: Sequence[str], path: Path) -> None:
    """Draw up to `SHOWN` crops with true label, predicted label and confidence: the wrong ones first, then the least confident right ones.

    Args:
        crops: (n, size, size, 3) uint8 BGR.
        class_ids: (n,), the true ones.
        probabilities: (n, classes).
        names: of the classes.
        path: the PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    labels = drawable(names)
    wrong, right = telling_order(class_ids, probabilities)
    sections = []
    for name, kind, found, room in (("wrong", "most", wrong, SHOWN), ("right", "least", right, max(0, SHOWN - len(wrong)))):
        if len(part := found[:room]):
            sections.append((f"{name}: {len(found)} of {len(class_ids)} ({len(part)} shown, {kind} confident first)", part))
    height = sum(_HEAD_PX + _ROW_PX * -(-len(part) // COLUMNS) for _, part in sections)
    canvas = np.full((height, WIDTH_PX, 3), 255, np.uint8)
    with picture(path, height, sharpness=1) as figure:
        top = 0
        for head, part in sections:
            _write(figure, 6, top + 22, head, fontsize=10, weight="bold")
            for place, index in enumerate(part):
                left, upper = _TILE_PX * (place % COLUMNS) + 6, top + _HEAD_PX + _ROW_PX * (place // COLUMNS)
                _paste(canvas, crops[index], left, upper)
                _caption(figure, left + CROP_PX + 6, upper, int(class_ids[index]), probabilities[index], labels)
            top += _HEAD_PX + _ROW_PX * -(-len(part) // COLUMNS)
        figure.figimage(canvas)


def draw_samples(examples: list[Example], names: Sequence[str], path: Path) -> None:
    """Draw one row an example: its label, the photo, then up to `VIEWS` augmented views.

    Args:
        examples: class id, photo and views, each (side, side, 3) uint8 BGR.
        names: of the classes.
        path: the PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    height = _HEAD_PX + _ROW_PX * len(examples)
    first = WIDTH_PX - (CROP_PX + 4) * VIEWS - 2
    photo_left = first - CROP_PX - 14
    canvas, labels = np.full((height, WIDTH_PX, 3), 255, np.uint8), drawable(names)
    with picture(path, height, sharpness=1) as figure:
        _write(figure, photo_left, 22, "photo", fontsize=10, weight="bold")
        _write(figure, first, 22, "as training sees it", fontsize=10, weight="bold")
        for row, (class_id, photo, views) in enumerate(examples):
            upper = _HEAD_PX + _ROW_PX * row
            _write(figure, 6, upper + CROP_PX // 2, "\n".join(textwrap.wrap(f"{class_id} {labels[class_id]}", 24)), fontsize=8.5, va="center")
            _paste(canvas, photo, photo_left, upper)
            for place, view in enumerate(views[:VIEWS]):
                _paste(canvas, view, first + (CROP_PX + 4) * place, upper)
        figure.figimage(canvas)


def _caption(figure: Figure, left: int, top: int, class_id: int, row: NDArray[np.float32], labels: Sequence[str]) -> None:
    said = int(row.argmax())
    lines = [(line, "#101828") for line in textwrap.wrap(labels[class_id], 16)]
    if said != class_id:
        lines += [(line, WRONG) for line in textwrap.wrap(f"\u2192 {labels[said]}", 16)]
    lines.append((f"{row[said]:.3f}", WRONG if said != class_id else _RIGHT))
    for place, (line, colour) in enumerate(lines):
        _write(figure, left, top + 10 + _LINE_PX * place, line, fontsize=7.5, color=colour)


def _paste(canvas: NDArray[np.uint8], crop: NDArray[np.uint8], left: int, top: int) -> None:
    canvas[top : top + CROP_PX, left : left + CROP_PX] = fit_crop(crop, CROP_PX)[:, :, ::-1]


def _write(figure: Figure, x: int, y: int, text: str, **style: object) -> None:
    figure.text(x / WIDTH_PX, 1 - y / (figure.get_figheight() * figure.get_dpi()), text, **style)  # type: ignore[arg-type]
