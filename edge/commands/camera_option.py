"""What `--pose` and `--camera` mean: where the camera was, and what it sees."""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.commands.level_option import told_by
from edge.errors import InputError
from edge.outside.reading import named_for_libraries
from edge.sources.uri import exists, parse_uri, source_of

if TYPE_CHECKING:
    from edge.frame import Source
    from edge.geometry.camera import Camera, Lens, Mount
    from edge.mapping.surveyor import Optics, Surveyor
    from edge.vehicle.levelling import Attitudes, Leveller

_POSE = (
    "where the camera is and how it is turned: FILE[,offset=S] (.tlog, .bin, .SRT, .csv, .gpx of a recorded flight; S later in the file), or "
    "mavlink[,delay=MS]; without it a live camera's pose is that of the vehicle of --mavlink"
)
_CAMERA = (
    "what the camera sees, so that signs get a place: hfov=DEGREES, or FILE (OpenCV's calibration, YAML); each with pitch=, yaw=, roll= where it is mounted "
    "so against what tells the attitude, such as hfov=82,pitch=-20"
)
_MATRIX, _BENDS = ("camera_matrix", "Camera_Matrix", "K"), ("distortion_coefficients", "Distortion_Coefficients", "dist_coeff", "dist_coeffs", "D")
_SIZES = (("image_width", "image_Width"), ("image_height", "image_Height"))
_FISHEYE = ("fisheye_model", "fisheye")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--pose` and `--camera`."""
    parser.add_argument("--pose", metavar="FILE", help=_POSE)
    parser.add_argument("--camera", metavar="FILE", help=_CAMERA)


def open_surveyor(arguments: argparse.Namespace, source: Source, labels: Sequence[str], leveller: Leveller | None) -> Surveyor | None:
    """Return what gives frames their pose and signs their place; None where nothing tells a pose.

    Raises:
        InputError: an option stands for nothing, or does not go with the others.
        MissingDependency: the file needs a package that is not installed.
    """
    from edge.datasets.gtsrb_labels import LABELS
    from edge.mapping.sizes import size_of
    from edge.mapping.surveyor import Surveyor

    drone = _flown(arguments.source)
    poses = _poses(arguments, source, leveller)
    if poses is None and drone is None:
        if arguments.camera is not None:
            raise InputError("wanted --pose FILE, or --mavlink ADDRESS beside a live camera, with --camera, found none: add it, or leave --camera out")
        return None
    optics = camera_of(arguments.camera) if arguments.camera is not None else None if drone is None else drone.scaled
    known = frozenset(LABELS)
    return Surveyor(poses, optics, [size_of(label, known) for label in labels])


def _flown(source: str) -> Camera | None:
    """Return the camera of a drawn flight of a drone."""
    from edge.drawn.drone.flight import DroneFlight
    from edge.sources.demo import flight_of

    uri = parse_uri(source_of(source))
    flight = flight_of(uri) if uri.scheme == "demo" else None
    return flight.optics if isinstance(flight, DroneFlight) else None


def _poses(arguments: argparse.Namespace, source: Source, leveller: Leveller | None) -> Attitudes | None:
    from edge.sources.realtime import Realtime
    from edge.vehicle.attitudes import LiveAttitude

    linked = arguments.mavlink is not None
    if arguments.pose is not None:
        return told_by(arguments.pose, "--pose", "place", linked=linked, recorded=not (source.live or source.stills))
    if not linked or not (source.live or isinstance(source, Realtime)):
        return None
    return leveller.attitudes if leveller is not None and isinstance(leveller.attitudes, LiveAttitude) else LiveAttitude(0.0)


def camera_of(text: str) -> Optics:
    """Return the camera that the text of `--camera` describes, for frames of a size.

    Raises:
        InputError: it describes none.
    """
    from edge.geometry.camera import Camera, Mount

    name, *settings = [text] if exists(text) else text.split(",")
    told = dict(_setting(text, setting) for setting in ([name, *settings] if name.startswith("hfov=") else settings))
    hfov = told.pop("hfov", None)
    unknown = sorted(set(told) - {"pitch", "yaw", "roll"})
    if unknown or (hfov is not None and not 1 <= hfov < 179):
        raise InputError(f"wanted hfov=DEGREES from 1 to 179, or a file, with pitch=, yaw=, roll= in --camera, found {text!r}: write hfov=82,pitch=-20")
    mount = Mount(told.get("roll", 0.0), told.get("pitch", 0.0), told.get("yaw", 0.0))
    if hfov is not None:
        return functools.partial(Camera.seeing, hfov, mount=mount)
    return _read(Path(name), mount).scaled


def _setting(text: str, setting: str) -> tuple[str, float]:
    key, _, value = setting.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 360:
        raise InputError(f"wanted NAME=DEGREES in --camera, found {setting!r} in {text!r}: write hfov=82,pitch=-20")
    return key.strip(), number


def _read(path: Path, mount: Mount) -> Camera:
    """Read what OpenCV's calibration wrote: camera_matrix, distortion_coefficients, image_width, image_height; fisheye_model where it is that one."""
    import cv2
    import numpy as np

    from edge.geometry.camera import Camera

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
