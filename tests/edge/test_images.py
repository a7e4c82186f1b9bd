"""Images of every kind that users have, and files that are none."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import InputError
from edge.images import decode_image, fit_crop, read_image

LOSSLESS = (".png", ".bmp", ".ppm", ".tiff", ".tif")
LOSSY = (".jpg", ".webp", ".jpe", ".jp2")


@pytest.fixture
def picture() -> np.ndarray:
    """Colours that run smoothly, so that a lossy format keeps them: blue to the right, green down, red against both."""
    down, right = np.mgrid[0:40, 0:56].astype(np.float32)
    return np.stack([right * 4, down * 5, 255 - right * 2 - down * 2], axis=2).astype(np.uint8)


@pytest.mark.parametrize("suffix", [*LOSSLESS, *LOSSY])
def test_colours_come_as_bgr(tmp_path: Path, picture: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    cv2.imwrite(str(path), picture)
    read = read_image(path)
    assert (read.shape, read.dtype) == (picture.shape, np.uint8)
    assert np.abs(read.astype(int) - picture).mean() < (0.1 if suffix in LOSSLESS else 4)


def test_a_name_beyond_ascii_is_read(tmp_path: Path, picture: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    (tmp_path / "a.png").rename(tmp_path / "Straße 1.png")
    np.testing.assert_array_equal(read_image(tmp_path / "Straße 1.png"), picture)


def test_grey_files_are_spread(tmp_path: Path, picture: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), picture[:, :, 0])
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.repeat(picture[:, :, :1], 3, axis=2))


def test_alpha_of_files_is_dropped(tmp_path: Path, picture: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([picture, np.full(picture.shape[:2], 9, np.uint8)]))
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), picture)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_files_of_16_bit_are_scaled_down(tmp_path: Path, picture: np.ndarray, channels: int) -> None:
    deep = np.dstack([picture, picture[:, :, :1]]).astype(np.uint16)[:, :, :channels] * 256 + 128
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    wanted = picture if channels > 1 else np.repeat(picture[:, :, :1], 3, axis=2)
    assert np.abs(read_image(tmp_path / "deep.png").astype(int) - wanted).max() <= 1


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as refused:
        read_image(path)
    assert "\n" not in str(refused.value)
    assert path.name in str(refused.value)
    return str(refused.value)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "nothing.png")
    assert "directory" in refusal(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    assert "empty file" in refusal(tmp_path / "empty.png")


@pytest.mark.parametrize("content", [b"\0", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xd9", b"P6 0 0 255\n"], ids=["zero", "text", "png", "jpeg", "0x0"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.png").write_bytes(content)
    refusal(tmp_path / "image.png")


@pytest.mark.parametrize("suffix", [*LOSSLESS, *LOSSY])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.99])
def test_half_a_file_is_refused(tmp_path: Path, picture: np.ndarray, suffix: str, share: float) -> None:
    path = tmp_path / f"picture{suffix}"
    cv2.imwrite(str(path), picture)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refusal(path)


def test_a_jpeg_is_whole_with_something_behind_it_and_cut_off_with_a_whole_thumbnail(picture: np.ndarray) -> None:
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    thumbnail = cv2.imencode(".jpg", picture[::4, ::4])[1].tobytes()
    exif = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    both = jpeg[:2] + exif + jpeg[2:]
    assert decode_image(np.frombuffer(both + b"\0" * 30, np.uint8), "name").shape == picture.shape
    with pytest.raises(InputError, match="JPEG without its end"):
        decode_image(np.frombuffer(both[:-40], np.uint8), "name")


@pytest.mark.parametrize("cut", [0, 1, 40, 400])
def test_a_motion_photo_is_whole_and_one_that_is_cut_is_not(picture: np.ndarray, cut: int) -> None:
    # A film behind the photo, and a thumbnail, a second picture and restarts within it, hold the bytes of every marker.
    film = b"\0\0\0\x18ftypisom" + bytes(range(256)) * 9 + b"\xff\xda\xff\xd8\xff\xc4" * 5
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2, cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    thumbnail = cv2.imencode(".jpg", picture[::4, ::4])[1].tobytes()
    exif = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    photo = jpeg[:2] + exif + b"\xff" + jpeg[2:]  # markers may be filled up with FF
    if cut:
        with pytest.raises(InputError, match="JPEG without its end"):
            decode_image(np.frombuffer(photo[:-cut], np.uint8), "name")
    else:
        assert decode_image(np.frombuffer(photo + film, np.uint8), "name").shape == picture.shape


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (48, 48), (200, 30)])
def test_a_crop_of_any_shape_fits_the_square(shape: tuple[int, int]) -> None:
    crop = np.full((*shape, 3), (10, 20, 30), np.uint8)
    fitted = fit_crop(crop, 48)
    assert (fitted.shape, fitted.dtype) == ((48, 48, 3), np.uint8)
    assert (fitted == (10, 20, 30)).all()


def test_a_large_crop_is_averaged_down_not_sampled() -> None:
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (fit_crop(stripes, 48) == 100).all()


SIZED = {  # where a format's header has the size of a picture, and how
    ".png": (16, ">II"),
    ".bmp": (18, "<ii"),
    ".gif": (6, "<HH"),
}


@pytest.mark.parametrize("suffix", SIZED)
def test_a_picture_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path, picture: np.ndarray, suffix: str) -> None:
    place, layout = SIZED[suffix]
    content = bytearray(cv2.imencode(suffix, picture)[1].tobytes())
    struct.pack_into(layout, content, place, 32760, 32760)
    (tmp_path / f"large{suffix}").write_bytes(content)
    assert "32760x32760" in refusal(tmp_path / f"large{suffix}")


def test_so_is_a_jpeg_whatever_its_thumbnail_tells(tmp_path: Path, picture: np.ndarray) -> None:
    content = cv2.imencode(".jpg", picture)[1].tobytes()
    at = content.index(b"\xff\xc0")
    large = content[: at + 5] + struct.pack(">HH", 32760, 32760) + content[at + 9 :]
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + len(content)) + content
    (tmp_path / "large.jpg").write_bytes(large[:2] + thumbnail + large[2:])
    assert "32760x32760" in refusal(tmp_path / "large.jpg")


def test_so_is_a_text_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "large.ppm").write_bytes(b"P6 # as large as\n32760 32760\n255\n")
    assert "32760x32760" in refusal(tmp_path / "large.ppm")


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    assert "else than a plain file" in refusal(tmp_path / "x.png")
