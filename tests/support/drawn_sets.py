"""GTSRB's test photos and GTSDB's frames, drawn: a few of each in their own layouts."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.drawn.signs import draw_sign

SIGN_XYXY = (120, 80, 184, 144)


def write_test_photos(root: Path, draw_crops: Callable[..., Any], count: int = 30) -> Path:
    """Write drawn test photos of 48 px into `gtsrb/` below a folder."""
    folder = root / "gtsrb"
    (folder / "Test").mkdir(parents=True)
    with (folder / "Test.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["ClassId", "Path"])
        for number, (crop, class_id) in enumerate(zip(*draw_crops(count, 48), strict=True)):
            cv2.imwrite(str(folder / "Test" / f"{number:05}.png"), crop)
            table.writerow([class_id, f"Test/{number:05}.png"])
    return root


def write_frames(root: Path) -> Path:
    """Write a frame for each side of the split, one large sign in each, into `gtsdb/` below a folder."""
    folder = root / "gtsdb"
    folder.mkdir(parents=True)
    rows = []
    x1, y1, x2, y2 = SIGN_XYXY
    for number, class_id in ((0, 14), (10, 14), (30, 17)):
        image = np.full((240, 320, 3), (180, 150, 120), np.uint8)
        sign = draw_sign(class_id, x2 - x1)
        share = sign[..., 3:] / 255.0
        image[y1:y2, x1:x2] = (sign[..., :3] * share + image[y1:y2, x1:x2] * (1 - share)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:05}.png"), image)
        rows.append(f"{number:05}.png;{x1};{y1};{x2};{y2};{class_id}")
    (folder / "gt.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root
