"""The page on Python: its examples run as they stand, and hold against a strict type checker."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from films import filmed

from edge.drawn.drone.flight import DroneFlight
from edge.drawn.scenes import Flight, SceneFrame

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "edge" / "api" / "README.md").read_text(encoding="utf-8")
FLIGHT = "demo://?view=car&seed=1&frames=40&width=640&height=360"


def examples() -> dict[str, str]:
    """The page's blocks of Python, by the heading above each."""
    found = {}
    for part in re.split(r"^#+ ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        found[title], *more = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert not more
    return found


def largest(frame: SceneFrame) -> float:
    """The shorter side of a frame's largest sign."""
    return max((min(truth.box_xyxy[2] - truth.box_xyxy[0], truth.box_xyxy[3] - truth.box_xyxy[1]) for truth in frame.truths), default=0)


@pytest.fixture
def street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A folder to work in, with a picture and a folder of pictures."""
    monkeypatch.chdir(tmp_path)
    flight = Flight(1, (640, 360), 40)
    picture = max((flight.frame(index) for index in range(0, 40, 4)), key=largest).image
    cv2.imwrite("street.jpg", picture)
    Path("photos").mkdir()
    cv2.imwrite("photos/a.jpg", picture)
    cv2.imwrite("photos/b.jpg", np.full_like(picture, 90))
    return picture


def run(title: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "example"}
    exec(compile(examples()[title], title, "exec"), space)
    return space


def test_there_are_seven() -> None:
    assert list(examples()) == ["From Python", "A folder", "A stream", "Your own frames", "Beside MAVSDK", "Where signs stand", "A ROS 2 node"]


@pytest.mark.usefixtures("street")
def test_one_picture(capsys: pytest.CaptureFixture[str]) -> None:
    run("From Python")
    assert len(capsys.readouterr().out.splitlines()) >= 1


@pytest.mark.usefixtures("street")
def test_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    run("A folder")
    a, b = capsys.readouterr().out.splitlines()
    assert a.startswith("a.jpg ['")
    assert b == "b.jpg []"
    assert Path("photos/a.signs.png").is_file()


def test_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    run("A stream")["watch"](FLIGHT)
    assert capsys.readouterr().out


def test_own_frames_from_a_callback(street: np.ndarray) -> None:
    space = run("Your own frames")

    def camera() -> None:
        for _ in range(30):
            space["on_frame"](street)
            while space["newest"].full():  # this camera has time
                time.sleep(0.001)
        space["on_frame"](None)

    threading.Thread(target=camera, daemon=True).start()
    assert len(space["recognize_what_comes"]()) >= 1


def test_beside_mavsdk_events_have_the_pose_that_was_told(street: np.ndarray) -> None:
    space = run("Beside MAVSDK")

    async def listen(address: str) -> None:
        space["pose"] = space["Pose"](lat=48.1, lon=11.5, alt_m=20.0)

    space["listen"] = listen  # no vehicle answers here

    def frames() -> Any:
        while space["pose"] is None:
            time.sleep(0.001)
        for _ in range(12):
            yield street

    events = list(space["fly"](frames()))
    assert events
    assert all(event.pose["lat"] == 48.1 for event in events)


def test_signs_of_a_film_and_its_log_stand_somewhere(tmp_path: Path) -> None:
    film, log = filmed(DroneFlight(1, (640, 360), frames=60, lens=False), tmp_path)
    places = run("Where signs stand")["places"](str(film), str(log))
    assert places
    assert all(place and 0 < place["sigma_m"] < 60 for place in places)


def test_the_ros_node_is_whole() -> None:
    assert callable(run("A ROS 2 node")["main"])


def test_a_strict_type_checker_takes_them_all(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="scripts/test brings it")
    for number, text in enumerate(examples().values()):
        (tmp_path / f"example_{number}.py").write_text(text, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = true\n[mypy-mavsdk.*,rclpy.*,cv_bridge.*,rosidl_runtime_py.*,sensor_msgs.*,vision_msgs.*]\nignore_missing_imports = true\n"
    )
    files = [f"example_{number}.py" for number in range(len(examples()))]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", str(tmp_path / "cache"), *files],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "MYPYPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
