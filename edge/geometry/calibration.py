"""A camera's calibration as OpenCV writes it: YAML with camera_matrix, distortion_coefficients, image_width and image_height."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge.errors import InputError
from edge.geometry.camera import Camera, Lens, Mount
from edge.outside.reading import named_for_libraries

_MATRIX, _BENDS = ("camera_matrix", "Camera_Matrix", "K"), ("distortion_coefficients", "Distortion_Coefficients", "dist_coeff", "dist_coeffs", "D")
_SIZES = (("image_width", "image_Width"), ("image_height", "image_Height"))
_FISHEYE = ("fisheye_model", "fisheye")


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
    middle = float(matrix[0, 2]) + 0.5, float(matrix[1, 2]) + 0.5
    coefficients = () if bends is None else tuple(float(value) for value in bends.ravel())
    return Camera((width, height), (float(matrix[0, 0]), float(matrix[1, 1])), middle, lens, coefficients if any(coefficients) else (), mount)
