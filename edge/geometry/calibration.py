"""A camera's calibration: found from looks at a chessboard, and kept as OpenCV does, in YAML with camera_matrix, distortion_coefficients and the size.

Method: Z. Zhang, "A flexible new technique for camera calibration", 2000, as OpenCV has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.errors import InputError
from edge.geometry.camera import Camera, Floats, Lens, Mount
from edge.outside.reading import named_for_libraries

_MATRIX, _BENDS = ("camera_matrix", "Camera_Matrix", "K"), ("distortion_coefficients", "Distortion_Coefficients", "dist_coeff", "dist_coeffs", "D")
_SIZES = (("image_width", "image_Width"), ("image_height", "image_Height"))
_FISHEYE = ("fisheye_model", "fisheye")
_OFF, _LEAST_VIEWS = 3.0, 4
"""A view whose corners lie so many times as far off as the median view's was blurred, or of a bent board: it is left out."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What looks at a chessboard tell of a camera.

    Attributes:
        size_wh: width and height of its pictures.
        matrix: of the camera as OpenCV has it, (3, 3): pixels, whose middles are whole numbers.
        bends: coefficients of the lens, (5,) of OpenCV's own model, (4,) of its fisheye model.
        fisheye: which of the two it is.
        off_px: how far corners lie from where it puts them, root of the mean square.
        views: that it goes by.
    """

    size_wh: tuple[int, int]
    matrix: Floats
    bends: Floats
    fisheye: bool
    off_px: float
    views: int

    @property
    def hfov_deg(self) -> float:
        """What the camera sees from left to right."""
        camera = Camera(self.size_wh, *_inner(self.matrix), "fisheye" if self.fisheye else "opencv", tuple(self.bends.tolist()))
        left, right = camera.straight([(0, camera.middle_xy[1]), (self.size_wh[0], camera.middle_xy[1])])[:, 0].tolist()
        return math.degrees(math.atan(right) - math.atan(left))


def calibrated(looks: Sequence[Floats], board: tuple[int, int], size_wh: tuple[int, int], *, fisheye: bool) -> Calibration:
    """Return the camera by its looks at a chessboard.

    Args:
        looks: places of the inner corners in each picture, (columns * rows, 2) pixels, row by row.
        board: columns and rows of inner corners.
        size_wh: of the pictures.
        fisheye: by OpenCV's fisheye model, for lenses that see more than about 120 degrees.

    Raises:
        InputError: the looks fit no camera.
    """
    try:
        found, off = _fitted(looks, board, size_wh, fisheye=fisheye)
        sharp = [look for look, one in zip(looks, off, strict=True) if one <= _OFF * float(np.median(off))]
        if _LEAST_VIEWS <= len(sharp) < len(looks):
            found, _ = _fitted(sharp, board, size_wh, fisheye=fisheye)
    except cv2.error as error:
        raise InputError("wanted looks at a chessboard that fit a camera, found that they fit none: film it anew, from more sides") from error
    return found


def _fitted(looks: Sequence[Floats], board: tuple[int, int], size_wh: tuple[int, int], *, fisheye: bool) -> tuple[Calibration, Floats]:
    """Return the camera, and how far off the corners of each look are, pixels."""
    grid = np.zeros((1, board[0] * board[1], 3), np.float32)
    grid[0, :, :2] = np.mgrid[: board[0], : board[1]].T.reshape(-1, 2)
    corners = [np.asarray(look, np.float32).reshape(1, -1, 2) for look in looks]
    if fisheye:
        model = cv2.fisheye if hasattr(cv2.fisheye, "CALIB_FIX_SKEW") else cv2  # OpenCV 5 has the flags elsewhere
        flags = model.CALIB_FIX_SKEW | model.CALIB_RECOMPUTE_EXTRINSIC
        answer = cv2.fisheye.calibrate([grid.astype(np.float64)] * len(looks), [each.astype(np.float64) for each in corners], size_wh, None, None, flags=flags)  # type: ignore[call-overload]
    else:
        answer = cv2.calibrateCamera([grid] * len(looks), corners, size_wh, None, None)
    _, matrix, bends, turns, moves = answer
    project = cv2.fisheye.projectPoints if fisheye else cv2.projectPoints
    put = [project(grid.astype(np.float64), turn, move, matrix, bends)[0].reshape(-1, 2) for turn, move in zip(turns, moves, strict=True)]
    off = np.array([math.sqrt(np.square(one - look.reshape(-1, 2)).sum(axis=1).mean()) for one, look in zip(put, corners, strict=True)])
    return Calibration(size_wh, np.asarray(matrix), np.asarray(bends).ravel(), fisheye, math.sqrt(np.square(off).mean()), len(looks)), off


def _inner(matrix: Floats) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return focal lengths and middle, pixels from the corner of the first one, of OpenCV's matrix."""
    return (float(matrix[0, 0]), float(matrix[1, 1])), (float(matrix[0, 2]) + 0.5, float(matrix[1, 2]) + 0.5)


def yaml_of(camera: Calibration) -> str:
    """Return a calibration as `read_camera` and OpenCV's own programs read it."""
    store = cv2.FileStorage(".yml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    store.write("image_width", camera.size_wh[0])
    store.write("image_height", camera.size_wh[1])
    store.write("camera_matrix", camera.matrix)
    store.write("distortion_coefficients", camera.bends.reshape(1, -1))
    store.write("fisheye_model", int(camera.fisheye))
    store.write("avg_reprojection_error", camera.off_px)
    return str(store.releaseAndGetString())


def read_camera(path: Path, mount: Mount) -> Camera:
    """Read a calibration; a camera whose file says fisheye_model is of OpenCV's fisheye model.

    Raises:
        InputError: no such file, another kind of file, or one that lacks something.
    """
    if not path.is_file():
        raise InputError(f"wanted --camera hfov=DEGREES or a calibration file, found nothing at {path}: check the path")
    try:
        with named_for_libraries(path) as readable:
            store = cv2.FileStorage(readable, cv2.FILE_STORAGE_READ)
    except (OSError, cv2.error, SystemError) as error:  # OpenCV 5 raises one within the other
        raise InputError(f"wanted OpenCV's calibration (YAML) in {path}, cannot read it: calibrate again, or give hfov=DEGREES") from error
    try:
        matrix, bends = (next((found for name in names if (found := store.getNode(name).mat()) is not None), None) for names in (_MATRIX, _BENDS))
        width, height = (next((int(store.getNode(name).real()) for name in names if not store.getNode(name).empty()), 0) for names in _SIZES)
        fisheye = any(not store.getNode(name).empty() and store.getNode(name).real() for name in _FISHEYE)
    except cv2.error as error:
        raise InputError(f"wanted OpenCV's calibration (YAML) in {path}, cannot read it: calibrate again, or give hfov=DEGREES") from error
    finally:
        store.release()
    if matrix is None or matrix.shape != (3, 3) or not np.isfinite(matrix).all() or min(matrix[0, 0], matrix[1, 1], width, height) <= 0:
        raise InputError(f"wanted camera_matrix, image_width and image_height in {path}, found not all of them: calibrate again, or give hfov=DEGREES")
    lens: Lens = "fisheye" if fisheye else "opencv"
    focal, middle = _inner(np.asarray(matrix, np.float64))
    coefficients = () if bends is None else tuple(float(value) for value in bends.ravel())
    return Camera((width, height), focal, middle, lens, coefficients if any(coefficients) else (), mount)
