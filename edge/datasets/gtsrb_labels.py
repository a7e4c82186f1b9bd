"""The 43 signs of GTSRB by class id, and what is known of their faces.

Source of ids and labels: J. Stallkamp et al., "Man vs. computer", Neural Networks 2012.
"""

from __future__ import annotations

from typing import Literal

Shape = Literal["round", "upright", "downward", "diamond", "unknown"]

LABELS: tuple[str, ...] = (
    "Speed limit 20",
    "Speed limit 30",
    "Speed limit 50",
    "Speed limit 60",
    "Speed limit 70",
    "Speed limit 80",
    "End of speed limit 80",
    "Speed limit 100",
    "Speed limit 120",
    "No overtaking",
    "No overtaking by lorries",
    "Priority at next crossing",
    "Priority road",
    "Yield",
    "Stop",
    "No vehicles",
    "No lorries",
    "No entry",
    "Danger",
    "Bend left",
    "Bend right",
    "Double bend",
    "Bumpy road",
    "Slippery road",
    "Road narrows",
    "Road works",
    "Traffic signals",
    "Pedestrians",
    "Children",
    "Bicycles",
    "Snow or ice",
    "Wild animals",
    "End of restrictions",
    "Turn right ahead",
    "Turn left ahead",
    "Ahead only",
    "Ahead or right",
    "Ahead or left",
    "Keep right",
    "Keep left",
    "Roundabout",
    "End of no overtaking",
    "End of no overtaking by lorries",
)
CLASSES = len(LABELS)

_MIRROR_PAIRS = ((19, 20), (33, 34), (36, 37), (38, 39), *((class_id, class_id) for class_id in (11, 12, 13, 15, 17, 18, 22, 26, 30, 35)))
MIRRORED: dict[int, int] = {one: other for pair in _MIRROR_PAIRS for one, other in (pair, pair[::-1])}
"""What a sign becomes in a mirror, where that is a sign too: class id to class id."""
ARROWS = frozenset(range(33, 40))
"""Classes that differ from each other by where an arrow points."""
_OUTLINES: dict[int, Shape] = {11: "upright", 12: "diamond", 13: "downward", **dict.fromkeys(range(18, 32), "upright")}
SHAPES: tuple[Shape, ...] = tuple(_OUTLINES.get(class_id, "round") for class_id in range(CLASSES))
"""Outlines of the faces: triangles that stand on a side or on a corner, a square on its corner, and what is nearly round."""
