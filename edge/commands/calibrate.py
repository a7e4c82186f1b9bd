"""`python -m edge calibrate`: what a camera sees, from a film or photos of a chessboard, for `--camera`."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.files import check_place, write_text
from edge.frame import Frame
from edge.geometry.calibration import calibrated, yaml_of
from edge.geometry.camera import Floats
from edge.outside.text import printable, without_credentials
from edge.sources.open import open_source

LEAST_VIEWS, MOST_VIEWS = 10, 40
_APART = 0.04
"""Looks count as different ones whose corners lie so far apart, as a share of the picture's width."""
_EVERY_S, _SMALL_PX, _LEAST_COVER, _MOST_OFF = 0.2, 640, 0.6, 1 / 640
_HINT = "move it near and far, to all edges, and tilt it to all sides"


def board(text: str) -> tuple[int, int]:
    """Read the option that is a board's inner corners, such as 9x6.

    Raises:
        InputError: it is none.
    """
    found = re.fullmatch(r"(\d{1,2})[xX](\d{1,2})", text)
    if found is None or min(int(found[1]), int(found[2])) < 3:
        raise InputError(f"wanted --board COLUMNSxROWS of inner corners, 3 to 99 each, found {text!r}: write --board 9x6")
    return int(found[1]), int(found[2])


def calibrate(source: str, out: Path, corners: tuple[int, int], *, fisheye: bool) -> None:
    """Look at a chessboard, and write what that tells of the camera.

    Args:
        source: a film, photos, or a live camera, which is looked at until there are enough views.
        out: the file to write, YAML.
        corners: columns and rows of the board's inner corners.
        fisheye: whether the lens is of OpenCV's fisheye model.

    Raises:
        InputError: too few views, too much alike, or not sharp enough.
        SourceError: no such source.
        OutputError: the file cannot be written.
    """
    if out.suffix.lower() not in (".yml", ".yaml"):
        raise InputError(f"wanted --out FILE.yml, found {out}: name it so, for --camera reads YAML")
    check_place(out)
    views, size_wh, looked, seen = _views(source, corners)
    name = f"{corners[0]}x{corners[1]}"
    if len(views) < LEAST_VIEWS:
        cure = _HINT if views else "--board COLUMNSxROWS counts inner corners, one less than squares; all of it must be in sight, flat and sharp"
        raise InputError(
            f"wanted {LEAST_VIEWS} different views of a chessboard of {name} inner corners in {without_credentials(source)}, "
            f"found {len(views)} ({seen} of the {looked} frames looked at show it): {cure}"
        )
    places = np.concatenate(views)
    cover = np.ptp(places, axis=0) / size_wh
    if cover.min() < _LEAST_COVER:
        raise InputError(f"wanted the chessboard all over the picture, found it in {cover[0]:.0%} of the width and {cover[1]:.0%} of the height: {_HINT}")
    camera = calibrated(views, corners, size_wh, fisheye=fisheye)
    if not camera.off_px <= max(_MOST_OFF * size_wh[0], 1.0):
        raise InputError(
            f"wanted corners that fit a camera, found them off by {camera.off_px:.1f} px: film it sharp and lit, a flat board, "
            f"{'without' if fisheye else 'or with'} --fisheye"
        )
    write_text(out, yaml_of(camera))
    print(f"{'views':<14}{camera.views} of {len(views)}, of {looked} frames")
    print(f"{'corners off':<14}{camera.off_px:.2f} px")
    print(f"{'sees':<14}{camera.hfov_deg:.1f} degrees from left to right, {size_wh[0]}x{size_wh[1]}")
    print(f"{'written':<14}{printable(out)}: --camera {printable(out)}")


def _views(source: str, corners: tuple[int, int]) -> tuple[list[Floats], tuple[int, int], int, int]:
    """Return the corners of views that differ, the pictures' size, how many frames were looked at, and how many showed the board."""
    views: list[Floats] = []
    size_wh, looked, seen, last_s = (0, 0), 0, 0, -1.0
    with open_source(source) as opened:
        for came in opened:
            if not isinstance(came, Frame):
                continue
            now_s = came.received_ns / 1e9 if came.media_s is None else came.media_s
            if not opened.stills and now_s - last_s < _EVERY_S:
                continue
            last_s, looked = now_s, looked + 1
            height, width = came.image.shape[:2]
            if size_wh not in ((0, 0), (width, height)):
                raise InputError(f"wanted pictures of one size, found {size_wh[0]}x{size_wh[1]} and {width}x{height}: leave the others out")
            size_wh = width, height
            found = _corners(came.image, corners)
            if found is None:
                continue
            seen += 1
            if all(np.abs(found - view).mean(axis=0).max() > _APART * width for view in views):
                views.append(found)
                if len(views) == MOST_VIEWS:
                    break
    return views, size_wh, looked, seen


def _corners(image: NDArray[np.uint8], board: tuple[int, int]) -> Floats | None:
    """Return the inner corners of a chessboard in a picture, (columns * rows, 2) pixels as OpenCV counts them; None where it is not wholly in sight."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    shrunk = min(_SMALL_PX / grey.shape[1], 1.0)
    if not cv2.checkChessboard(cv2.resize(grey, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA), board):
        return None
    whole, found = cv2.findChessboardCornersSB(grey, board, flags=cv2.CALIB_CB_ACCURACY | cv2.CALIB_CB_NORMALIZE_IMAGE)
    return np.asarray(found, np.float64).reshape(-1, 2) if whole else None
