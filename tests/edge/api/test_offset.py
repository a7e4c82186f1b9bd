"""The offset between a film and the file of its poses, found by how both turn; and films and files that leave it open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import HEAD, row

from edge.api.offset import best_offset, file_turns, find_offset
from edge.api.placing import told_by
from edge.drawn.drone.flight import DroneFlight
from edge.errors import InputError
from edge.geometry.camera import Mount
from edge.geometry.pose import Pose
from edge.vehicle.attitudes import RecordedAttitude
from edge.vehicle.pose_track import PoseTrack

FLIGHT = DroneFlight(4, (240, 136), frames=400, fps=20, lens=False)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds and more out of the middle of a flight."""
    folder = tmp_path_factory.mktemp("flight")
    writer = cv2.VideoWriter(str(folder / "f.avi"), cv2.VideoWriter.fourcc(*"MJPG"), FLIGHT.fps, FLIGHT.size_wh)
    for index in range(180, 320):
        writer.write(FLIGHT.frame(index).image)
    writer.release()
    return folder / "f.avi"


def log(every: int = 2, change=lambda pose: pose) -> PoseTrack:
    """The whole flight's poses, ten a second, whose file begins at 100 s."""
    return PoseTrack((100 + index / FLIGHT.fps, change(FLIGHT.pose(index))) for index in range(0, FLIGHT.frames, every))


def test_it_is_found_to_a_frame(film: Path) -> None:
    assert find_offset(str(film), log(), Mount(), "f.csv") == pytest.approx(109.0, abs=0.05)


def test_a_camera_that_is_mounted_aside_turns_about_other_axes(film: Path) -> None:
    carrier = log(change=Mount(yaw_deg=90).turned)
    assert find_offset(str(film), carrier, Mount(yaw_deg=-90), "f.csv") == pytest.approx(109.0, abs=0.05)


def test_as_it_is_typed(film: Path, tmp_path: Path) -> None:
    poses = tmp_path / "f.csv"
    poses.write_text("\n".join([HEAD, *(row(FLIGHT.pose(index)) for index in range(FLIGHT.frames))]))
    told = told_by(f"{poses},offset=auto", "--pose", "place", linked=False, recorded=True, film=str(film), camera="hfov=70")
    assert isinstance(told, RecordedAttitude)
    assert told.offset_s == pytest.approx(9.0, abs=0.05)
    with pytest.raises(InputError, match="wanted offset=NUMBER"):
        told_by(f"{poses},offset=auto", "--level", "attitude", linked=False, recorded=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda pose: replace(pose, roll_deg=1.0, pitch_deg=2.0, yaw_deg=3.0), "found none that is clear"),
        (lambda pose: replace(pose, yaw_deg=None), "wanted roll, pitch and yaw"),
    ],
)
def test_what_leaves_it_open_is_told(film: Path, change, says: str) -> None:
    with pytest.raises(InputError, match=says):
        find_offset(str(film), log(change=change), Mount(), "f.csv")


@pytest.mark.parametrize(
    ("filmed", "warned"), [("2026-05-31T23:00:00Z", False), ("2026-06-03T10:00:00Z", True), ("1970-01-01T00:00:09Z", False), (None, False)]
)
def test_poses_of_another_day_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture, filmed: str | None, warned: bool) -> None:
    av = pytest.importorskip("av", reason="the extra video is not installed")
    with av.open(str(tmp_path / "f.mp4"), "w") as container:
        if filmed is not None:
            container.metadata["creation_time"] = filmed
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="bgr24")))
        container.mux(stream.encode())
    poses = tmp_path / "f.csv"
    poses.write_text("time,lat,lon,alt,roll,pitch,yaw\n2026-05-31T12:00:00Z,48,11,3,0,0,0\n")
    told_by(str(poses), "--pose", "place", linked=False, recorded=True, film=str(tmp_path / "f.mp4"))
    said = "f.csv is of 2026-05-31, and the film says that it is of 2026-06-03"
    assert (said in caplog.text) == warned
    assert bool(caplog.records) == warned


@pytest.mark.parametrize("seed", [5, 7])
def test_the_file_of_another_day_is_told(film: Path, seed: int) -> None:
    other = replace(FLIGHT, seed=seed, frames=800)
    with pytest.raises(InputError, match="found none that is clear"):
        find_offset(str(film), PoseTrack((index / FLIGHT.fps, other.pose(index)) for index in range(0, 800, 2)), Mount(), "f.csv")


def test_a_short_film_is_told() -> None:
    with pytest.raises(InputError, match="wanted a film of 4 s and more"):
        find_offset("demo://?frames=20&width=160&height=90", log(), Mount(), "f.csv")


def test_gaps_in_the_file_are_no_turning() -> None:
    rng = np.random.default_rng(0)
    yaw = np.cumsum(rng.normal(0, 1, 600))
    poses = [(index / 20, Pose(roll_deg=0.0, pitch_deg=0.0, yaw_deg=float(value))) for index, value in enumerate(yaw) if not 200 < index < 260]
    start_s, rates = file_turns(PoseTrack(poses), Mount())
    assert np.isnan(rates[0]).mean() == pytest.approx(60 / 600, abs=0.01)
    seen = np.nan_to_num(rates[:, 700:1100])
    offset_s, alike, ahead = best_offset((0.0, seen), (start_s, rates))
    assert offset_s == pytest.approx(14.0 + start_s, abs=0.01)
    assert alike > 0.9
    assert ahead > 1.4
