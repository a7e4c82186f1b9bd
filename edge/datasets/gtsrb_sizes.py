"""How large the faces of Germany's signs are: what the map goes by for GTSRB's labels, unless a bundle tells sizes of its own.

Widths are those of Germany's catalogue (VzKat 2017, sizes 1, 2 and 3) for round signs, triangles, stop signs and the square on its corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge.datasets.gtsrb_labels import LABELS
from edge.mapping.sizes import UNKNOWN, Size

ROUND, TRIANGLE = Size.among((0.42, 0.6, 0.75)), Size.among((0.63, 0.9, 1.26), math.sqrt(3) / 2)
STOP, ON_ITS_CORNER = Size.among((0.6, 0.9, 1.05)), Size.among((0.594, 0.849, 1.188))

_UPRIGHT_TRIANGLES = (
    "Priority at next crossing, Danger, Bend left, Bend right, Double bend, Bumpy road, Slippery road, Road narrows, Road works, Traffic signals, "
    "Pedestrians, Children, Bicycles, Snow or ice, Wild animals"
)
_SHAPES = {**dict.fromkeys((*_UPRIGHT_TRIANGLES.split(", "), "Yield"), TRIANGLE), "Stop": STOP, "Priority road": ON_ITS_CORNER}


def size_of(label: str) -> Size:
    """Return what is known of the size of a class by its name; of GTSRB's labels, those that have no shape of their own are round."""
    return _SHAPES.get(label, ROUND if label in LABELS else UNKNOWN)


def sizes_of(labels: Sequence[str], sizes_mm: Sequence[Sequence[float]] = ()) -> list[Size]:
    """Return what is known of the sizes of classes, in their order: by the widths in millimetres that a bundle tells of them, else by their names."""
    told = sizes_mm or [()] * len(labels)
    known = [size_of(label) for label in labels]
    return [Size.among(tuple(width / 1000 for width in widths), size.aspect) if widths else size for size, widths in zip(known, told, strict=True)]
