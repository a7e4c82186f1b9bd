"""Small drawn images and videos for tests, whole and damaged."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

JPEG_START = b"\xff\xd8\xff"


def picture(index: int, size_wh: tuple[int, int] = (96, 64)) -> NDArray[np.uint8]:
    """A picture whose brightness tells its index: grey 20 + 6 * index, with a patch of noise that a codec cannot throw away."""
    image = np.full((size_wh[1], size_wh[0], 3), 20 + 6 * index % 220, np.uint8)
    image[: size_wh[1] // 4] = np.random.default_rng(index).integers(0, 255, (size_wh[1] // 4, size_wh[0], 3))
    return image


def index_of(image: NDArray[np.uint8]) -> int:
    """The index of a `picture` that went through a codec, which may darken it by up to 4."""
    return int((float(image[image.shape[0] // 2 :].mean()) - 20 + 4.5) // 6)


def write_video(path: Path, frames: int, fps: float = 25.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*("mp4v" if path.suffix == ".mp4" else "MJPG")), fps, (96, 64))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(picture(index))
    writer.release()
    return path


def damage(path: Path, frames: Sequence[int]) -> Path:
    """Zero the bytes of some frames of a MJPG video."""
    blob = bytearray(path.read_bytes())
    starts = [at for at in range(len(blob) - 2) if blob[at : at + 3] == JPEG_START]
    for frame in frames:
        end = starts[frame + 1] if frame + 1 < len(starts) else starts[frame] + 400
        blob[starts[frame] : end - 60] = bytes(end - 60 - starts[frame])
    path.write_bytes(blob)
    return path


def write_image(path: Path, image: NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes, as a full disk would."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
