"""What programs give: arrays, paths, pictures of Pillow's and streams of them, made into what the runtime takes, or refused with what was wanted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.frame import Frame
from edge.geometry.pose import Pose
from edge.images import read_image

Image = NDArray[np.uint8]
Color = Literal["bgr", "rgb"]

_WANTED = "wanted a picture as (height, width, 3) uint8, a path, or a PIL image"


def is_one(picture: object) -> bool:
    """Tell a single picture from several of them."""
    return isinstance(picture, (str, os.PathLike)) or _is_pil(picture) or (isinstance(picture, np.ndarray) and picture.ndim < 4)


def as_bgr(picture: Any, color: Color = "bgr") -> Image:
    """Return a picture as (height, width, 3) uint8 BGR.

    Args:
        picture: an array, (height, width, 3) uint8; a path; or a PIL image.
        color: the order of an array's colours. Files and PIL images know their own.

    Raises:
        InputError: anything else, an empty array, or a file that is no picture.
    """
    if color not in ("bgr", "rgb"):
        raise InputError(f"wanted color='bgr' or color='rgb', found {color!r}: choose one of these")
    if isinstance(picture, (str, os.PathLike)):
        return read_image(Path(picture))
    if _is_pil(picture):
        return np.ascontiguousarray(np.asarray(picture.convert("RGB"), np.uint8)[:, :, ::-1])
    if not isinstance(picture, np.ndarray):
        raise InputError(f"{_WANTED}, found {type(picture).__name__}: convert it")
    if picture.dtype != np.uint8:
        cure = "multiply by 255 and convert it with .astype(numpy.uint8)" if picture.dtype.kind == "f" else "convert it with .astype(numpy.uint8)"
        raise InputError(f"{_WANTED}, found dtype {picture.dtype}: {cure}")
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise InputError(f"{_WANTED}, found shape {picture.shape}: {_cure_of_shape(picture)}")
    if not picture.size:
        raise InputError(f"{_WANTED}, found an empty one, {picture.shape}: leave it out")
    return np.ascontiguousarray(picture[:, :, ::-1] if color == "rgb" else picture)


def _is_pil(picture: object) -> bool:
    return hasattr(picture, "convert") and hasattr(picture, "getbands")


def _cure_of_shape(picture: NDArray[Any]) -> str:
    if picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 1):
        return "cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) gives a grey one its colours"
    if picture.ndim == 3 and picture.shape[2] == 4:
        return "leave its fourth channel out, picture[:, :, :3]"
    if picture.ndim == 3 and picture.shape[0] == 3:
        return "move its channels to the end, picture.transpose(1, 2, 0)"
    return "give one picture, or a list of them"


class OwnFrames:
    """Frames that a program has, as a source: each is worked on, in its order."""

    uri = "frames of a program"
    stills = live = False
    feed = None
    fps: float | None = None
    dropped = unreadable = 0

    def __init__(self, frames: Iterable[Any], color: Color) -> None:
        """Take frames as `as_bgr` takes them, or pairs of a frame and its `Pose`."""
        self._frames, self._color = frames, color

    def __enter__(self) -> OwnFrames:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        """Give the frames, each received as it is given; raises as `as_bgr` does."""
        for index, given in enumerate(self._frames):
            picture, pose = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
            if pose is not None and not isinstance(pose, Pose):
                raise InputError(f"wanted an edge.Pose beside a frame, found {type(pose).__name__}: give Pose(lat=..., lon=...) or None")
            received_ns = time.monotonic_ns()
            yield Frame(index, as_bgr(picture, self._color), received_ns, None, pose=pose)
