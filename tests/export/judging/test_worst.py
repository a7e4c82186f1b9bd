"""The sheet of photos on which int8 strays furthest."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the export extra")

from edge.datasets.gtsrb import CLASSES, LABELS, Photo
from export.judging.worst import SHOWN, draw_worst, sheet_path

RED, GREY = (0, 0, 220), (128, 128, 128)


def test_the_worst_photos_come_first(tmp_path: Path) -> None:
    reference = np.full((SHOWN + 4, CLASSES), 1 / CLASSES, np.float32)
    found = {precision: reference.copy() for precision in ("int8", "int8-cpu")}
    for place in range(SHOWN + 4):
        cv2.imwrite(str(tmp_path / f"{place}.png"), np.full((20, 20, 3), RED if place in (9, 11) else GREY, np.uint8))
    found["int8"][9, 5], found["int8"][11, 5], found["int8-cpu"][9, 7] = 0.9, 0.5, 0.8
    photos = [Photo(tmp_path / f"{place}.png", 14, "") for place in range(SHOWN + 4)]
    path = sheet_path(tmp_path / "made" / "bundle")
    draw_worst(found, reference, photos, LABELS, path)
    assert path == tmp_path / "made" / "bundle-worst.png"
    picture = cv2.imread(str(path))
    assert picture is not None
    red = (picture == RED).all(axis=2)
    halves = np.array_split(red, 2)
    assert [int((half.any(axis=0)[1:] > half.any(axis=0)[:-1]).sum()) for half in halves] == [2, 1]  # red squares in each row
    assert not red[:, red.shape[1] * 2 // SHOWN :].any()
    assert path.stat().st_size < 500_000


def test_few_photos_fill_fewer_columns(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.full((20, 20, 3), RED, np.uint8))
    reference = np.full((1, CLASSES), 1 / CLASSES, np.float32)
    draw_worst({"int8": reference}, reference, [Photo(tmp_path / "0.png", 0, "")], LABELS, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()
