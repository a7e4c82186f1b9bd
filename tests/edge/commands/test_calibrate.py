"""`calibrate` as it is typed: a drawn chessboard through a known lens gives that lens back, and what is no such film is told."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import done, refused

from edge.api.placing import camera_of
from edge.geometry.camera import Camera, Lens, axes_of

SIZE_WH, BOARD = (640, 360), (7, 5)
ORDINARY = Camera(SIZE_WH, (500.0, 502.0), (330.0, 175.0), "opencv", (-0.18, 0.05, 0.001, -0.001, 0.0))
WIDE = Camera(SIZE_WH, (260.0, 260.0), (318.0, 183.0), "fisheye", (0.03, -0.01, 0.004, -0.001))


@functools.cache
def rays_of(camera: Camera) -> np.ndarray:
    """Where the quarters of all pixels look, (3, n)."""
    width, height = SIZE_WH
    y, x = np.mgrid[0 : 2 * height, 0 : 2 * width] / 2 + 0.25
    flat = camera.straight(np.stack([x.ravel(), y.ravel()], axis=1))
    return np.vstack([flat.T, np.ones(len(flat))]).astype(np.float32)


def seen(camera: Camera, rng: np.random.Generator, near: float) -> np.ndarray:
    """A picture of a chessboard of squares 1 wide, held somewhere before the camera."""
    width, height = SIZE_WH
    rays = rays_of(camera)
    turn = axes_of(*rng.uniform((-25, -35, -35), (25, 35, 35)))
    axes = turn * np.array([1.0, -1.0, 1.0])  # the world's x, y and z are the camera's right, down and ahead
    away = rng.uniform(near, 1.6 * near)
    middle = np.array([*rng.uniform(-0.3, 0.3, 2) * np.array([width / camera.focal_xy[0], height / camera.focal_xy[1]]), 1.0]) * away
    (x, y, z), at = axes.astype(np.float32) @ rays, axes @ middle
    across, down = x * (at[2] / z) - at[0] + (BOARD[0] + 1) / 2, y * (at[2] / z) - at[1] + (BOARD[1] + 1) / 2
    on = (across >= -1) & (across < BOARD[0] + 2) & (down >= -1) & (down < BOARD[1] + 2)
    squares = (across >= 0) & (across < BOARD[0] + 1) & (down >= 0) & (down < BOARD[1] + 1)
    dark = squares & ((np.floor(across) + np.floor(down)) % 2 == 0)
    shade = np.where(on, np.where(dark, 25.0, 225.0), 110.0).reshape(2 * height, 2 * width)
    small = cv2.resize(shade, SIZE_WH, interpolation=cv2.INTER_AREA) + rng.normal(0, 2, (height, width))
    return cv2.merge([np.clip(small, 0, 255).astype(np.uint8)] * 3)


def photographed(folder: Path, camera: Camera, near: float, count: int = 24) -> Path:
    rng = np.random.default_rng(2)
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), seen(camera, rng, near))
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographed(tmp_path_factory.mktemp("board") / "photos", ORDINARY, 13.0)


def off_deg(found: Camera, camera: Camera) -> float:
    """By how much two cameras disagree on where the points of a picture lie, degrees at most, the corners left out that no board reached."""
    points = [(x, y) for x in np.linspace(60, 580, 9) for y in np.linspace(40, 320, 7)]
    one, other = (np.hstack([each.straight(points), np.ones((len(points), 1))]) for each in (found, camera))
    cosines = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).max())


def test_photos_of_a_board_give_the_lens_that_took_them(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "camera.yml"
    done("calibrate", photos, "--board", "7x5", "--out", out)
    said = capsys.readouterr().out
    assert f"--camera {out}" in said
    assert "degrees from left to right, 640x360" in said
    found = camera_of(f"{out},pitch=-20")(SIZE_WH)
    assert (found.lens, found.mount.pitch_deg) == ("opencv", -20)
    assert found.focal_xy == pytest.approx(ORDINARY.focal_xy, rel=0.01)
    assert off_deg(found, ORDINARY) < 0.3


def test_a_film_through_a_fisheye(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(3)
    writer = cv2.VideoWriter(str(tmp_path / "b.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 4, SIZE_WH)
    for _ in range(24):
        writer.write(seen(WIDE, rng, 6.0))
    writer.release()
    done("calibrate", tmp_path / "b.avi", "--board", "7x5", "--fisheye", "--out", tmp_path / "wide.yml")
    found = camera_of(str(tmp_path / "wide.yml"))(SIZE_WH)
    lens: Lens = "fisheye"
    assert found.lens == lens
    assert off_deg(found, WIDE) < 0.6
    left, right = WIDE.straight([(0, 183), (640, 183)])[:, 0]
    sees = float(capsys.readouterr().out.split("sees")[1].split("degrees")[0])
    assert sees == pytest.approx(np.degrees(np.arctan(right) - np.arctan(left)), abs=3)


def test_what_it_refuses(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", tmp_path / "c.yml")
    assert "--board COLUMNSxROWS counts inner corners" in refused(capsys, "calibrate", photos, *out)  # 9x6 is not what was filmed
    assert "wanted --board COLUMNSxROWS" in refused(capsys, "calibrate", photos, *out, "--board", "9")
    assert "wanted --out FILE.yml" in refused(capsys, "calibrate", photos, "--out", tmp_path / "c.json", "--board", "7x5")
    few = tmp_path / "few"
    few.mkdir()
    for number in range(12):
        (few / f"{number}.png").write_bytes((photos / "3.png").read_bytes())
    assert "found 1 (12 of the 12 frames looked at show it): move it near and far" in refused(capsys, "calibrate", few, *out, "--board", "7x5")
    cv2.imwrite(str(few / "z.png"), np.full((100, 100, 3), 90, np.uint8))
    assert "wanted pictures of one size, found 640x360 and 100x100" in refused(capsys, "calibrate", few, *out, "--board", "7x5")
    assert "found 0 (0 of the" in refused(capsys, "calibrate", "demo://?frames=20&width=320&height=180", *out)
    assert "nothing at" in refused(capsys, "calibrate", tmp_path / "none.mp4", *out)
    assert not (tmp_path / "c.yml").exists()


def test_a_board_in_one_corner_is_not_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng, folder = np.random.default_rng(5), tmp_path / "corner"
    folder.mkdir()
    for number in range(30):
        picture = cv2.resize(seen(ORDINARY, rng, 12.0), None, fx=0.625, fy=0.625, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{number:02}.png"), cv2.copyMakeBorder(picture, 0, 135, 0, 240, cv2.BORDER_CONSTANT, value=(90, 90, 90)))
    assert "wanted the chessboard all over the picture" in refused(capsys, "calibrate", folder, "--board", "7x5", "--out", tmp_path / "c.yml")
