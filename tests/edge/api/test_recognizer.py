"""The Python API: the same answers as the command line gives, for every form of picture and stream, closed whatever happens."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import filmed

import edge
from edge import Event, Recognizer, Signs
from edge.__main__ import main
from edge.drawn.drone.flight import DroneFlight
from edge.drawn.drone.path import ORIGIN
from edge.drawn.scenes import Flight
from edge.errors import InputError, SourceError
from edge.geometry.geodesy import Plane

SIZE_WH, FRAMES = (640, 360), 60
FLIGHT = f"demo://?view=car&seed=1&frames={FRAMES}&width={SIZE_WH[0]}&height={SIZE_WH[1]}"


@pytest.fixture(scope="module")
def recognizer(shipped_bundle: Path) -> Iterator[Recognizer]:
    with Recognizer(shipped_bundle, engine="onnxruntime") as opened:
        yield opened


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A frame of the flight in which signs are large."""
    flight = Flight(1, SIZE_WH, FRAMES)
    frames = [flight.frame(index) for index in range(0, FRAMES, 4)]
    return max(frames, key=lambda frame: max((truth.box_xyxy[2] - truth.box_xyxy[0] for truth in frame.truths), default=0)).image


def test_a_picture_gives_its_signs_whatever_it_comes_as(recognizer: Recognizer, picture: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "street.png"
    cv2.imwrite(str(path), picture)
    signs = recognizer.recognize(picture)
    assert signs
    assert isinstance(signs, Signs)
    assert [sign.confidence for sign in signs] == sorted((sign.confidence for sign in signs), reverse=True)
    assert all(recognizer.labels[sign.class_id] == sign.label for sign in signs)
    assert recognizer.recognize(path) == recognizer.recognize(str(path)) == signs
    assert recognizer.recognize(picture[:, :, ::-1], color="rgb") == signs
    assert recognizer.recognize([picture, path]) == recognizer.recognize(np.stack([picture, picture])) == [signs, signs]
    assert recognizer.recognize([]) == []
    assert recognizer.recognize(np.full((48, 64, 3), 114, np.uint8)) == []


def test_it_says_what_the_command_line_says(recognizer: Recognizer, picture: np.ndarray, shipped_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "0.png"), picture)
    events = tmp_path / "e.jsonl"
    assert main(["run", str(tmp_path / "frames"), "--bundle", str(shipped_bundle), "--engine", "onnxruntime", "--events", str(events)]) == 0
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    told = {(line["label"], round(line["confidence"], 3)) for line in lines if line["event"] == "sighting"}
    assert told == {(sign.label, round(sign.confidence, 3)) for sign in recognizer.recognize(picture)}


def test_a_stream_gives_events_in_order_and_own_frames_the_same(recognizer: Recognizer) -> None:
    events = list(recognizer.follow(FLIGHT))
    assert {event.kind for event in events} >= {"sighting", "gone"}
    for event in events:
        assert event.label in recognizer.labels
        assert event.box_xyxy is not None
        assert len(event.box_xyxy) == 4
    first = next(event for event in events if event.kind == "sighting")
    assert first.media_s == pytest.approx((first.frame or 0) / 30, abs=1e-3)
    flight = Flight(1, SIZE_WH, FRAMES)
    own = list(recognizer.follow(flight.frame(index).image for index in range(FRAMES)))
    assert [(one.kind, one.frame, one.label, one.box_xyxy) for one in own] == [(one.kind, one.frame, one.label, one.box_xyxy) for one in events]
    assert own[0].time
    assert own[0].time.endswith("Z")


def test_a_pose_travels_with_its_frame(recognizer: Recognizer) -> None:
    flight = Flight(1, SIZE_WH, FRAMES)
    events = recognizer.follow((flight.frame(index).image, edge.Pose(lat=48.0, lon=11.0, alt_m=float(index))) for index in range(FRAMES))
    event = next(event for event in events if event.kind == "sighting")
    assert event.pose
    assert event.pose["lat"] == 48.0
    assert event.pose["alt_m"] == event.frame


def stands_off(flight: DroneFlight, event: Event) -> float:
    """How far an event's sign is from the nearest one of its class, metres."""
    assert event.where is not None
    east, north = Plane(*ORIGIN).metres(float(event.where["lat"] or 0), float(event.where["lon"] or 0))
    posts = [post for index in range(0, flight.frames, 10) for post in flight.signposts(index) if post.class_id == event.class_id]
    return min(math.hypot(east - post.x, north - post.z) for post in posts)


def test_signs_stand_somewhere_where_poses_are_given(recognizer: Recognizer, tmp_path: Path) -> None:
    flight = DroneFlight(1, (640, 360), frames=60, lens=False)
    hfov = f"hfov={2 * math.degrees(math.atan(flight.size_wh[0] / 2 / flight.optics.focal_xy[0])):.6f}"
    images = [flight.frame(index).image for index in range(flight.frames)]
    own = list(recognizer.follow(((image, flight.pose(index)) for index, image in enumerate(images)), camera=hfov))
    assert own
    assert all(stands_off(flight, event) < 2 for event in own if event.kind == "gone")
    film, log = filmed(flight, tmp_path)
    of_film = [stands_off(flight, event) for event in recognizer.follow(film, pose=str(log), camera=hfov) if event.kind == "gone"]
    assert of_film
    assert max(of_film) < 2
    assert all(event.where is None for event in recognizer.follow((images[0], flight.pose(0)) for _ in range(3)))
    drawn = [event for event in recognizer.follow("demo://?seed=1&frames=60&width=640&height=360") if event.kind == "gone"]
    assert drawn
    assert all(stands_off(DroneFlight(1, (640, 360), frames=60), event) < 2 for event in drawn)


def test_a_stream_ends_when_it_is_left(recognizer: Recognizer, picture: np.ndarray) -> None:
    given = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal given
        while True:
            given += 1
            yield picture

    events = recognizer.follow(endless())
    assert next(events).kind == "sighting"
    events.close()  # type: ignore[attr-defined]
    assert given < 30
    assert len(list(recognizer.follow((picture for _ in range(100)), max_frames=3))) <= 3


def test_who_waits_is_told_that_nothing_comes(recognizer: Recognizer, picture: np.ndarray) -> None:
    come = threading.Event()

    def slow() -> Iterator[np.ndarray]:
        yield picture
        come.wait(60)
        yield picture

    kinds = []
    for event in recognizer.follow(slow(), idle_s=0.05):
        kinds.append(event.kind)
        if kinds.count("idle") == 2:
            come.set()
    assert kinds.count("idle") >= 2
    assert come.is_set()


def test_a_feed_without_a_camera_tells_its_state_and_can_be_left(recognizer: Recognizer) -> None:
    begun = time.monotonic()
    events = recognizer.follow("rtsp://127.0.0.1:9/none", idle_s=0.2)
    first = next(events)
    assert (first.kind, first.state) == ("state", "connecting")
    assert first.feed is not None
    assert first.feed["captured"] == 0
    assert next(event for event in events if event.kind == "idle") == Event("idle")
    events.close()  # type: ignore[attr-defined]
    assert time.monotonic() - begun < 60


def test_what_cannot_be_followed_is_refused(recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an iterable of frames, found int"):
        recognizer.follow(7)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="nothing at"):
        recognizer.follow(tmp_path / "none.mp4")
    with pytest.raises(InputError, match="wanted a picture"):
        list(recognizer.follow([b"no"]))
    with pytest.raises(InputError, match="give each frame its pose"):
        recognizer.follow([], pose="f.csv")
    with pytest.raises(InputError, match="found none: add it"):
        recognizer.follow("demo://?view=car", camera="hfov=80")
    with pytest.raises(InputError, match="wanted hfov=DEGREES"):
        recognizer.follow([], camera="hfov=200")
    with pytest.raises(InputError, match="wanted a picture"):
        recognizer.recognize(None)


def test_signs_are_drawn_on_a_copy(recognizer: Recognizer, picture: np.ndarray) -> None:
    before = picture.copy()
    signs = recognizer.recognize(picture)
    drawn = recognizer.annotate(picture, signs)
    np.testing.assert_array_equal(picture, before)
    assert (drawn != picture).any(axis=2).sum() > 200
    np.testing.assert_array_equal(recognizer.annotate(picture, []), picture)


def test_threads_get_their_own_answers(recognizer: Recognizer, picture: np.ndarray) -> None:
    empty = np.full_like(picture, 114)
    wanted, found = recognizer.recognize(picture), []

    def ask(image: np.ndarray, signs: list) -> None:
        found.extend(recognizer.recognize(image) == signs for _ in range(5))

    threads = [threading.Thread(target=ask, args=pair) for pair in ((picture, wanted), (empty, [])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 20


def test_it_is_closed_twice_without_harm(shipped_bundle: Path) -> None:
    opened = Recognizer(shipped_bundle, engine="fake")
    opened.close()
    opened.close()


def test_edge_promises_what_its_page_says() -> None:
    assert {"Recognizer", "Sign", "Signs", "Event", "Pose", "SignwingError"} <= set(edge.__all__)
    for name in edge.__all__:
        assert getattr(edge, name) is not None
    assert set(edge.__all__) <= set(dir(edge))
    with pytest.raises(AttributeError, match="nonsense"):
        edge.nonsense  # type: ignore[attr-defined]  # noqa: B018
