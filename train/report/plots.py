"""Pictures of a run as numbers: curves by epoch, confusion matrix, photos a class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from edge.files import written_beside

WIDTH_PX = 1000
"""Every picture is this wide on the page."""

TRAIN, VALID, WRONG, QUIET = "#2b6cb0", "#dd6b20", "#c53030", "#667085"
FOUND = ("tune_recall", "tune_ap50")
"""A spotter's figures in its history, of every few epochs: recall at the recipe's false boxes a frame and AP50, on the tuning frames."""
LEAST_ERROR = 1e-4  # what a logarithmic axis shows where nothing is wrong
PAIRS_SHOWN = 10

_DPI = 100
_CELL_PX, _MOST_ROWS_PX = 17, 740
_LABELS_PX = 235
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#98a2b3",
    "axes.titlesize": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e7ec",
    "legend.frameon": False,
    "xtick.color": "#475467",
    "ytick.color": "#475467",
    "axes.labelcolor": "#475467",
    "text.color": "#101828",
}


@contextmanager
def picture(path: Path, height_px: int, sharpness: int = 2) -> Iterator[Figure]:
    """Give a figure of `WIDTH_PX` by `height_px` to draw on; written as PNG with `sharpness` dots a pixel on the way out.

    Raises:
        OutputError: the file cannot be written.
    """
    with rc_context(_STYLE), written_beside(path) as beside:
        figure = Figure((WIDTH_PX / _DPI, height_px / _DPI), dpi=_DPI)
        yield figure
        figure.savefig(beside, format="png", dpi=_DPI * sharpness)


def draw_curves(rows: list[dict[str, float]], path: Path) -> None:
    """Draw a run's history as a PNG: loss and error, and rate and duration where the rows have them.

    Args:
        rows: one dict an epoch: epoch, loss, and of a classifier accuracy, val_loss, val_accuracy, of a spotter `FOUND`; learning_rate and seconds may be
            there.
        path: the PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    more = [key for key in ("learning_rate", "seconds") if any(key in row for row in rows)]
    with picture(path, 600 if more else 360) as figure:
        figure.set_layout_engine("constrained")
        grid = figure.add_gridspec(2 if more else 1, 2, height_ratios=[3, 2] if more else None)
        panels = [figure.add_subplot(grid[place // 2, place % 2]) for place in range(2 + len(more))]
        if FOUND[0] in rows[0]:
            _draw_found(panels[0], panels[1], rows)
        else:
            _draw_pair(panels[0], rows, "loss", "loss")
            _draw_pair(panels[1], rows, "accuracy", "error (1 - top-1)")
        for panel, key in zip(panels[2:], more, strict=True):
            values = _column(rows, key)
            panel.plot(_column(rows, "epoch"), values, marker=".", color=QUIET)
            panel.set(ylabel={"learning_rate": "learning rate", "seconds": "seconds an epoch"}[key], ylim=(0, 1.1 * np.nanmax(values) or 1))
        for panel in panels:
            panel.set_xlabel("epoch")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_found(loss: Axes, found: Axes, rows: list[dict[str, float]]) -> None:
    loss.plot(_column(rows, "epoch"), _column(rows, "loss"), marker=".", color=TRAIN, label="train (augmented)")
    loss.set(ylabel="loss", yscale="log")
    loss.legend()
    for key, colour in zip(FOUND, (TRAIN, VALID), strict=True):
        told = np.isfinite(_column(rows, key))
        values = np.maximum(1 - _column(rows, key)[told], LEAST_ERROR)
        found.plot(_column(rows, "epoch")[told], values, marker=".", color=colour, label=f"1 - {key.replace('_', ' ')}")
    found.set(ylabel="missed", yscale="log")
    found.legend()


def _draw_pair(panel: Axes, rows: list[dict[str, float]], key: str, name: str) -> None:
    for prefix, label, colour in (("", "train (augmented, dropout)", TRAIN), ("val_", "valid (unseen signs)", VALID)):
        values = _column(rows, prefix + key)
        if key == "accuracy":
            values = np.maximum(1 - values, LEAST_ERROR)
        panel.plot(_column(rows, "epoch"), values, marker=".", color=colour, label=label)
    panel.set_ylabel(name)
    panel.legend()
    if key == "accuracy":
        best = max(rows, key=lambda row: row["val_accuracy"])
        panel.set_yscale("log")
        panel.set_title(f"least on valid: {1 - best['val_accuracy']:.4f} after epoch {best['epoch']:.0f}", loc="right", color=QUIET)


def _column(rows: list[dict[str, float]], key: str) -> NDArray[np.float64]:
    return np.array([row.get(key, np.nan) for row in rows])


def count_confusions(class_ids: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Count photos by true class (row) and predicted class (column), (classes, classes), from (n,) class ids each."""
    return np.bincount(class_ids * classes + predicted, minlength=classes**2).reshape(classes, classes)


def confused_pairs(counts: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """List the mistakes in a (classes, classes) matrix as (true class, predicted class, photos), most photos first."""
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
    return [(int(true), int(said), int(wrong[true, said])) for true, said in zip(*np.unravel_index(order, wrong.shape), strict=True)]


def draw_confusion(class_ids: NDArray[np.int64], probabilities: NDArray[np.float32], names: Sequence[str], path: Path) -> None:
    """Draw which class was taken for which, with counts, on a logarithmic colour scale; below it the most confused pairs.

    Args:
        class_ids: (n,), the true ones.
        probabilities: (n, classes).
        names: of the classes.
        path: the PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    labels, classes = drawable(names), len(names)
    counts = count_confusions(class_ids, probabilities.argmax(axis=1), classes)
    pairs = confused_pairs(counts)
    side = _rows_px(classes)
    shown = [f"{labels[true]} taken for {labels[said]}: {n} of {counts[true].sum()}" for true, said, n in pairs[:PAIRS_SHOWN]]
    lines = -(-max(1, len(shown)) // 2)
    height = side + 80 + 18 * lines
    with picture(path, height) as figure:
        axes = figure.add_axes((_LABELS_PX / WIDTH_PX, 1 - (side + 22) / height, side / WIDTH_PX, side / height))
        _fill_cells(axes, counts)
        _label_classes(axes, labels)
        axes.set_xticks(range(classes), [str(class_id) for class_id in range(classes)], fontsize=7.5)
        axes.tick_params(length=0, top=True, labeltop=True)
        for class_id in {true for true, _, _ in pairs}:
            axes.get_yticklabels()[class_id].set_color(WRONG)
        axes.set_xlabel("predicted class; rows: true class; colour: logarithm of the number of photos (blue right, red wrong)")
        for place, line in enumerate(shown or ["No photo was taken for another class."]):
            figure.text(0.02 + 0.5 * (place // lines), 1 - (side + 85 + 18 * (place % lines)) / height, line, fontsize=8.5)


def _fill_cells(axes: Axes, counts: NDArray[np.int64]) -> None:
    right = np.eye(len(counts), dtype=bool)
    for there, colours in ((right, "Blues"), (~right, "Reds")):
        # Well below 1, so that a single photo has a colour.
        cells = np.ma.masked_where(~there | (counts == 0), counts)
        axes.imshow(cells, cmap=colours, norm=LogNorm(0.3, max(10, int(counts[there].max()))))
    axes.grid(visible=False)
    for edge in np.arange(0.5, len(counts) - 1):
        axes.axhline(edge, color="#e4e7ec", linewidth=0.5)
        axes.axvline(edge, color="#e4e7ec", linewidth=0.5)
    for true, said in np.argwhere(counts):
        axes.text(said, true, str(counts[true, said]), ha="center", va="center_baseline", fontsize=6.5, color="white" if counts[true, said] > 4 else "black")


def draw_balance(train: NDArray[np.int64], sampled: NDArray[np.int64], valid: NDArray[np.int64], names: Sequence[str], path: Path) -> None:
    """Draw the photos of each class: to train, as drawn in one epoch, and to validate; each an (n,) array of class ids of classes of these names.

    Raises:
        OutputError: the file cannot be written.
    """
    classes = len(names)
    height = _rows_px(classes) + 80
    top, share = 1 - 30 / height, _rows_px(classes) / height
    rows = np.arange(classes)
    with picture(path, height) as figure:
        left = figure.add_axes((_LABELS_PX / WIDTH_PX, top - share, 0.5, share))
        right = figure.add_axes((_LABELS_PX / WIDTH_PX + 0.53, top - share, 0.21, share))
        left.barh(rows, np.bincount(train, minlength=classes), color=TRAIN, alpha=0.75, label=f"train: {len(train)} photos")
        left.plot(np.bincount(sampled, minlength=classes), rows, "D", color="#101828", markersize=4, label=f"as drawn in one epoch: {len(sampled)}")
        right.barh(rows, np.bincount(valid, minlength=classes), color=VALID, alpha=0.75, label=f"valid: {len(valid)} photos")
        _label_classes(left, drawable(names))
        right.set_yticks(rows, [""] * classes)
        for axes in (left, right):
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
            axes.set(xlabel="photos", ylim=(classes - 0.4, -0.6))
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)


def _label_classes(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [f"{label}  {class_id:\u2007>2}" for class_id, label in enumerate(labels)], fontsize=8)


def _rows_px(classes: int) -> int:
    """Return the height of a row for each class, as high as a picture may be."""
    return min(classes * _CELL_PX, _MOST_ROWS_PX)


def drawable(names: Sequence[str]) -> list[str]:
    """Return names as Matplotlib's own font can write them: one in a script that it lacks becomes "class" and its place, which tables explain."""
    known = get_font(findfont(FontProperties())).get_charmap()
    shown = (name if all(ord(character) in known for character in name) else f"class {place}" for place, name in enumerate(names))
    return [name.replace("$", r"\$") for name in shown]  # between two of them it would read mathematics
