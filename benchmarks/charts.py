"""Pictures of results, by matplotlib, which is optional: PNG bytes for a page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

WIDTH_PX = 1000
_DPI = 100
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")  # Okabe and Ito's, which colour-blind people can tell apart

_MARKERS = "os^D"
_PANELS_A_ROW = 3
_BESIDE = 0.015
"""Of the longest way across: by so much a line is drawn beside the one before."""
_WIDE = 20
"""From this ratio of the largest to the smallest on, an axis is logarithmic."""


def bars(rows: Mapping[str, Mapping[str, float]], unit: str) -> bytes:
    """Draw groups of horizontal bars: name of the group -> name of the bar -> value."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    axes = _axes(1 + 0.22 * len(rows) * (len(names) + 1))
    high = 0.8 / len(names)
    for place, name in enumerate(names):
        at = [index + place * high for index, row in enumerate(rows.values()) if name in row]
        values = [row[name] for row in rows.values() if name in row]
        drawn = axes.barh(at, values, high * 0.9, color=_COLOURS[place % len(_COLOURS)], label=name)
        axes.bar_label(drawn, [f"{value:.4g}" for value in values], padding=3, fontsize=8)
    axes.set_yticks([index + 0.4 - high / 2 for index in range(len(rows))], list(rows))
    axes.margins(x=0.12)
    axes.set_xlabel(unit)
    return _png(axes)


def stacked(rows: Mapping[str, Mapping[str, float]], unit: str, limit: tuple[str, float] | None = None) -> bytes:
    """Draw one stacked horizontal bar a row, and a line at a limit (its name and value)."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    axes = _axes(1.4 + 0.5 * len(rows))
    left = [0.0] * len(rows)
    for place, name in enumerate(names):
        values = [row.get(name, 0.0) for row in rows.values()]
        drawn = axes.barh(range(len(rows)), values, 0.6, left, color=_COLOURS[place % len(_COLOURS)], label=name)
        whole = max(sum(row.values()) for row in rows.values())
        axes.bar_label(
            drawn,
            [f"{value:{'.0f' if value >= 100 else '.3g'}}" if value > 0.04 * whole else "" for value in values],
            label_type="center",
            fontsize=8,
            color="white",
        )
        left = [start + value for start, value in zip(left, values, strict=True)]
    if limit is not None:
        axes.axvline(limit[1], color="#b00020", linestyle="--", label=limit[0])
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_xlabel(unit)
    return _png(axes)


def curves(panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, float, float]]]], up: str) -> bytes:
    """Draw small pictures, three a row: what is across -> name of the line -> its points (x, y from 0 to 1, low and high end of y's interval)."""
    plt.close("all")
    high = -(-len(panels) // _PANELS_A_ROW)
    figure, grid = plt.subplots(high, _PANELS_A_ROW, figsize=(WIDTH_PX / _DPI, 2.9 * high), sharey=True, squeeze=False, layout="constrained")
    for axes, (across, lines) in zip(grid.flat, panels.items(), strict=False):
        reach = max((point[0] for points in lines.values() for point in points), default=1.0)
        for place, (name, points) in enumerate(lines.items()):
            x, y, low, top = (np.array(column) for column in zip(*points, strict=True)) if points else np.empty((4, 0))
            # Lines that lie on each other are drawn beside each other.
            beside = x + place * _BESIDE * reach
            axes.errorbar(beside, y, (y - low, top - y), color=_COLOURS[place], marker=_MARKERS[place], linestyle=("-", "--")[place % 2], capsize=3, label=name)
        axes.set(xlabel=across, ylim=(0, 1.02))
        axes.grid(alpha=0.3)
    for axes in grid[:, 0]:
        axes.set_ylabel(up)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    return _content(figure)


def scatter(points: Sequence[tuple[str, float, float]], across: str, up: str) -> bytes:
    """Draw named points (name, x, y)."""
    axes = _axes(4.5)
    for place, (name, x, y) in enumerate(points):
        axes.plot(x, y, _MARKERS[place // len(_COLOURS) % len(_MARKERS)], color=_COLOURS[place % len(_COLOURS)], label=f"{name}: {x:.3g}, {y:.4f}")
    axes.set(xlabel=across, ylabel=up)
    if max(x for _, x, _ in points) > _WIDE * min(x for _, x, _ in points):
        axes.set_xscale("log")
    else:
        axes.set_xlim(left=0)
    axes.margins(y=0.2)
    return _png(axes)


def _axes(high_in: float) -> Axes:
    plt.close("all")
    return plt.subplots(figsize=(WIDTH_PX / _DPI, high_in), layout="constrained")[1]


def _png(axes: Any) -> bytes:
    axes.invert_yaxis() if axes.get_yticklabels() and axes.containers else None
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    return _content(axes.figure)


def _content(figure: Any) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI)
    plt.close(figure)
    return content.getvalue()
