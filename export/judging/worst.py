"""A sheet of the photos on which int8 strays furthest from fp32, for people to judge. It shows photos, so it never goes into a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from numpy.typing import NDArray

from edge.datasets.gtsrb import Photo, read_photo
from edge.files import written_beside

SHOWN = 8


def sheet_path(out: Path) -> Path:
    """Return where the sheet of a bundle at `out` goes: beside it."""
    out = Path(out).resolve()
    return out.with_name(f"{out.name}-worst.png")


def draw_worst(found: Mapping[str, NDArray[np.float32]], reference: NDArray[np.float32], photos: Sequence[Photo], names: Sequence[str], path: Path) -> None:
    """Draw a row for each artefact with the `SHOWN` photos of the largest error in any probability, the worst first.

    Args:
        found: probabilities by precision, (n, classes) float32 each.
        reference: fp32's.
        photos: the n photos.
        names: of the classes; one with letters that the font lacks is told by its class id.
        path: of the PNG.

    Raises:
        OutputError: the file cannot be written.
        InputError: a broken photo.
    """
    known = get_font(findfont(FontProperties())).get_charmap()
    labels = [name.replace("$", r"\$") if all(ord(letter) in known for letter in name) else f"class {place}" for place, name in enumerate(names)]
    shown = min(SHOWN, len(photos))
    figure = Figure((1.7 * shown, 2.4 * len(found)), layout="constrained")
    panels = figure.subplots(len(found), shown, squeeze=False)
    for row, (precision, values) in zip(panels, found.items(), strict=True):
        error = np.abs(values - reference).max(axis=1)
        for panel, place in zip(row, np.argsort(-error, kind="stable")[:shown], strict=True):
            panel.imshow(cv2.cvtColor(read_photo(photos[place]), cv2.COLOR_BGR2RGB))
            panel.set_axis_off()
            named = [f"{name}: {_named(rows[place], labels)}" for name, rows in ((precision, values), ("fp32", reference))]
            panel.set_title("\n".join([labels[photos[place].class_id], *named, f"error {error[place]:.3f}"]), fontsize=6)
    with written_beside(path) as beside:
        figure.savefig(beside, dpi=120)


def _named(probabilities: NDArray[np.float32], labels: Sequence[str]) -> str:
    class_id = int(probabilities.argmax())
    return f"{labels[class_id]} {probabilities[class_id]:.2f}"
