"""Contact sheets: tiles that each show what went wrong. They show photos and are not to be published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.files import written_beside

TILE_PX, ACROSS = 160, 8
_AROUND, _LEAST_REACH_PX, _LETTERS = 2.2, 24.0, 26

Image = NDArray[np.uint8]


def tile_of_box(image: Image, box_xyxy: NDArray[np.float64], lines: Sequence[str], colour: tuple[int, int, int]) -> Image:
    """Draw a box, (4,) pixels, with what is around it in a picture, (h, w, 3) uint8 BGR: (TILE_PX, TILE_PX, 3) uint8."""
    centre, reach = (box_xyxy[:2] + box_xyxy[2:]) / 2, max(_AROUND * float((box_xyxy[2:] - box_xyxy[:2]).max()) / 2, _LEAST_REACH_PX)
    scale = TILE_PX / (2 * reach)
    shift = np.array([[scale, 0, TILE_PX / 2 - scale * centre[0]], [0, scale, TILE_PX / 2 - scale * centre[1]]])
    tile = np.asarray(cv2.warpAffine(image, shift, (TILE_PX, TILE_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    corners = np.rint((box_xyxy.reshape(2, 2) - centre) * scale + TILE_PX / 2).astype(int)
    cv2.rectangle(tile, corners[0].tolist(), corners[1].tolist(), colour, 1)
    return _written_on(tile, lines)


def tile_of_photo(photo: Image, lines: Sequence[str]) -> Image:
    """Draw a whole photo, (h, w, 3) uint8 BGR, stretched: (TILE_PX, TILE_PX, 3) uint8."""
    return _written_on(np.asarray(cv2.resize(photo, (TILE_PX, TILE_PX), interpolation=cv2.INTER_NEAREST), np.uint8), lines)


def save(rows: Sequence[Sequence[Image]], path: Path) -> None:
    """Write rows of tiles, `ACROSS` of them in each at most, as a PNG file; a white tile where there is none.

    Raises:
        OutputError: the file cannot be written.
    """
    blank = np.full((TILE_PX, TILE_PX, 3), 255, np.uint8)
    across = max(map(len, rows), default=1)
    sheet = np.vstack([np.hstack([*row, *[blank] * (across - len(row))]) for row in rows or [[blank]]])
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as beside:
        beside.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())


def _written_on(tile: Image, lines: Sequence[str]) -> Image:
    for place, text in enumerate(lines):
        # The rim is the same text beside itself: OpenCV 5 sets thick letters wider.
        for x, y, level in ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, 255)):
            cv2.putText(tile, text[:_LETTERS], (3 + x, 12 + 12 * place + y), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (level,) * 3, 1, cv2.LINE_AA)
    return tile
