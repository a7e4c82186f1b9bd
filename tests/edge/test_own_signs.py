"""A bundle of twelve signs of other countries, with names in three scripts, through all that takes a bundle; untrained, so that any name will do."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the export extra: onnx makes the tiny bundle")

from commands import command, done, lines, refused, started
from foreign_bundle import narrowed
from foreign_signs import NAMES, face, frame

from benchmarks.__main__ import main as bench
from edge.__main__ import signwing
from edge.bundle.manifest import SHIPPED, read_bundle, write_manifest
from edge.datasets.classes import check_known
from edge.datasets.faces import face_file
from edge.datasets.gtsrb_labels import LABELS
from edge.errors import DataError
from edge.outputs.mavlink.notices import plain
from edge.sources.demo import VIEWS, flight_of
from edge.sources.uri import parse_uri
from export.faces import carry_faces


@pytest.fixture(scope="module")
def own(tiny_bundle_master: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return narrowed(tiny_bundle_master, tmp_path_factory.mktemp("own") / "bundle")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second before a frame with foreign signs, and where it was taken from."""
    folder = tmp_path_factory.mktemp("film")
    image = frame(5)[0]
    writer = cv2.VideoWriter(str(folder / "f.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (960, 540))
    for step in range(20):
        writer.write(np.roll(image, step, axis=1))
    writer.release()
    rows = [f"{second / 10},{48 + second * 1e-5},11.0,20.0,0,-30,90" for second in range(30)]
    (folder / "pose.csv").write_text("\n".join(["time_s,lat,lon,alt_m,roll_deg,pitch_deg,yaw_deg", *rows]) + "\n", encoding="utf-8")
    return folder


def sightings(path: Path) -> list[dict[str, Any]]:
    return [event for event in lines(path) if event["event"] == "sighting"]


def test_stills_are_named_and_its_own_check_passes(own: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), frame(5)[0])
    done("run", tmp_path / "in", "--bundle", own, "--spotter", "none", "--events", tmp_path / "e.jsonl", "--video", tmp_path / "v.avi")
    seen = sightings(tmp_path / "e.jsonl")
    assert seen
    assert all(event["label"] == NAMES[event["class_id"]] for event in seen)
    done("classify", tmp_path / "in" / "a.png", "--bundle", own, "--csv", tmp_path / "c.csv")
    assert any(name in (tmp_path / "c.csv").read_text(encoding="utf-8") for name in NAMES)
    done("check", own)


def test_a_map_of_its_events_shows_what_was_seen_where_no_face_is_known(own: Path, film: Path, tmp_path: Path) -> None:
    posed = ("--pose", film / "pose.csv", "--camera", "hfov=70")
    done("run", film / "f.avi", "--bundle", own, *posed, "--events", tmp_path / "e.jsonl", "--pictures", tmp_path / "pictures")
    done("map", tmp_path / "e.jsonl", "--out", tmp_path / "m")
    page = (tmp_path / "m" / "map.html").read_text(encoding="utf-8")
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["signs"]
    assert {sign["label"] for sign in data["signs"]} <= set(NAMES)
    assert data["faces"] == {}
    assert all(sign["picture"].startswith("data:image/") for sign in data["signs"])
    written = (tmp_path / "m" / "signs.geojson").read_text(encoding="utf-8")
    assert any(name in written for name in {sign["label"] for sign in data["signs"]})


def test_a_map_shows_own_faces_where_they_are_given(own: Path, carrying: Path, film: Path, faces: Path, tmp_path: Path) -> None:
    done("run", film / "f.avi", "--bundle", own, "--pose", film / "pose.csv", "--camera", "hfov=70", "--events", tmp_path / "e.jsonl")
    for given in (faces, carrying):
        done("map", tmp_path / "e.jsonl", "--out", tmp_path / "m", "--faces", given)
        data = json.loads((tmp_path / "m" / "map.html").read_text(encoding="utf-8").split('id="data">')[1].split("</script>")[0])
        assert set(data["faces"]) == {sign["label"] for sign in data["signs"]}


def test_the_map_of_a_survey_shows_the_faces_that_its_bundle_carries(carrying: Path, film: Path, tmp_path: Path) -> None:
    for package in ("fsspec", "pyarrow"):
        pytest.importorskip(package, reason="the extra survey brings it")
    (tmp_path / "films").mkdir()
    shutil.copy(film / "f.avi", tmp_path / "films")
    shutil.copy(film / "pose.csv", tmp_path / "films" / "f.csv")
    done("survey", tmp_path / "films", "--bundle", carrying, "--camera", "hfov=70", "--out", tmp_path / "out", "--workers", 1)
    data = json.loads((tmp_path / "out" / "map.html").read_text(encoding="utf-8").split('id="data">')[1].split("</script>")[0])
    assert data["signs"]
    assert set(data["faces"]) == {sign["label"] for sign in data["signs"]}


def test_a_drawn_flight_shows_other_signs_and_is_not_scored(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done("run", "demo://?frames=10&width=320&height=180", "--bundle", own, "--json", tmp_path / "s.json")
    assert "passes" not in json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert "passes" not in capsys.readouterr().out


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tells of a data set that was prepared with faces: its classes, and a picture of each."""
    folder = tmp_path_factory.mktemp("faces")
    (folder / "labels.csv").write_text("ClassId,Name\n" + "\n".join(f"{place},{name}" for place, name in enumerate(NAMES)) + "\n", encoding="utf-8")
    (folder / "faces").mkdir()
    for place in range(len(NAMES)):
        cv2.imwrite(str(folder / face_file(place)), face(place))
    return folder


@pytest.fixture(scope="module")
def carrying(own: Path, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle with these faces in it."""
    folder = Path(shutil.copytree(own, tmp_path_factory.mktemp("carrying") / "bundle"))
    write_manifest(folder, carry_faces(read_bundle(folder), faces).manifest)
    return folder


@pytest.mark.parametrize("view", VIEWS)
def test_a_drawn_flight_shows_own_faces_and_is_scored_by_them(own: Path, faces: Path, view: str, tmp_path: Path) -> None:
    uri = f"demo://?view={view}&frames=240&width=480&height=270&faces={faces}"
    flight, usual = flight_of(parse_uri(uri)), flight_of(parse_uri(f"demo://?view={view}&frames=240&width=480&height=270"))
    seen = {truth.class_id for index in range(0, 240, 10) for truth in flight.signs_in(index)}
    assert len(seen) >= 3
    assert seen <= set(range(len(NAMES)))
    assert {truth.pass_id for truth in flight.signs_in(150)} == {truth.pass_id for truth in usual.signs_in(150)}  # they stand where they stood
    assert (flight.frame(150).image != usual.frame(150).image).any()
    done("run", uri, "--bundle", own, "--max-frames", 20, "--json", tmp_path / "s.json")
    assert "passes" in json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    done("run", uri, "--bundle", SHIPPED, "--max-frames", 2, "--json", tmp_path / "other.json")
    assert "passes" not in json.loads((tmp_path / "other.json").read_text(encoding="utf-8"))


def test_a_drawn_flight_shows_the_faces_that_a_bundle_carries(own: Path, carrying: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = f"demo://?frames=20&width=320&height=180&faces={carrying}"
    done("run", uri, "--bundle", carrying, "--json", tmp_path / "s.json")
    assert "passes" in json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    words = ["tracks", "--seeds", "0", "--frames", "10", "--silent-minutes", "0", "--faces", str(carrying)]
    assert bench([*words, "--bundle", str(carrying)]) == 0
    capsys.readouterr()  # the bar of progress
    assert f"wanted a data set or a bundle with a face of each of its classes at {own}, found another: prepare the data with --faces" in refused(
        capsys, "run", f"demo://?faces={own}", "--bundle", carrying
    )
    assert "found none" in refused(capsys, "run", f"demo://?faces={SHIPPED}", "--bundle", carrying)


def test_tracks_are_measured_with_own_faces(own: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tracks", "--seeds", "0", "--frames", "20", "--silent-minutes", "0", "--faces", str(faces), "--json", str(tmp_path / "t.json")]
    assert bench([*words, "--bundle", str(own)]) == 0
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))["conditions"]["faces"] == str(faces)
    assert bench([*words, "--bundle", str(SHIPPED)]) == 1
    assert "wanted pictures of what " in capsys.readouterr().err.splitlines()[-1]
    (tmp_path / "labels.csv").write_text((faces / "labels.csv").read_text(encoding="utf-8"), encoding="utf-8")
    assert f"wanted a data set or a bundle with a face of each of its classes at {tmp_path}, found another: prepare the data with --faces" in refused(
        capsys, "run", f"demo://?faces={tmp_path}", "--bundle", own
    )


def test_a_pilot_and_the_page_are_told_its_names(own: Path, film: Path) -> None:
    for package in ("pymavlink", "anyascii"):
        pytest.importorskip(package, reason="the extra mavlink is not installed")
    pytest.importorskip("uvicorn", reason="the extra web is not installed")
    from stations import Station, free_port

    port = free_port()
    with Station(f"udpin:127.0.0.1:{port}") as station:
        done("run", f"{film / 'f.avi'}?realtime=1", "--bundle", own, "--mavlink", f"udpout:127.0.0.1:{port}", "--web", free_port())
        station.wait(lambda: bool(station.of("STATUSTEXT")))
    told = [message["text"] for message in station.of("STATUSTEXT")]
    ids = [message["value"] for message in station.of("NAMED_VALUE_INT") if message["name"] == "SIGN_ID"]
    assert ids
    assert all(text.startswith(f"SIGN {class_id} {plain(NAMES[class_id])[:20]}") for text, class_id in zip(told, ids, strict=False))
    assert "?" not in "".join(told)


def test_the_page_shows_the_faces_that_a_bundle_carries(carrying: Path) -> None:
    for package in ("uvicorn", "prometheus_client"):
        pytest.importorskip(package, reason="the extra web is not installed")
    from packets import wait_for
    from stations import free_port

    port = free_port()
    with started(command("run", "demo://?realtime=1&width=320&height=180", "--bundle", carrying, "--web", port), Path.cwd()) as run:

        def page(path: str) -> bytes:
            with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
                return bytes(answer.read())
            return b""

        try:
            wait_for(lambda: bool(page("api/status")), "the page")
            assert json.loads(page("api/status"))["faces"] == len(NAMES)
            dock = cv2.imdecode(np.frombuffer(page("faces/10.png"), np.uint8), cv2.IMREAD_UNCHANGED)
            assert np.abs(dock.astype(int)[20:60, 20:60] - cv2.resize(face(10), (80, 80), interpolation=cv2.INTER_AREA)[20:60, 20:60]).mean() < 3
        finally:
            run.terminate()
            run.communicate()


@pytest.mark.parametrize("word", [("latency", "--runs", "2"), ("memory", "--runs", "2"), ("pipeline", "demo://?view=car&width=320&height=180&frames=6")])
def test_what_is_measured_without_photos_runs(own: Path, word: tuple[str, ...], tmp_path: Path) -> None:
    assert bench([*word, "--bundle", str(own), "--json", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["conditions"]["bundle"] == "own-12"


@pytest.mark.parametrize("word", ["tracks", "motion", "live", "season"])
def test_what_is_measured_on_drawn_flights_is_refused(own: Path, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench([word, "--bundle", str(own)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("python -m benchmarks: wanted a bundle that knows the signs of drawn flights, found own-12, whose 12 classes are others: measure it")
    assert told.count("\n") == 1


def test_pictures_of_other_classes_are_refused(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels.csv").write_text("ClassId,Name\n" + "\n".join(f"{place},{name}" for place, name in enumerate(NAMES)) + "\n", encoding="utf-8")
    frames = tmp_path / "gtsdb"
    frames.mkdir()
    (frames / "gt.txt").write_text("00000.png;1;1;30;30;0\n", encoding="utf-8")
    cv2.imwrite(str(frames / "00000.png"), frame(5)[0])
    for data in (tmp_path, frames):
        check_known(NAMES, data, "own")
        check_known((*NAMES, "Thirteenth"), data, "own")
        with pytest.raises(DataError, match=r"wanted pictures of what x knows, 43 classes \(Speed limit 20, Speed limit 30, ...\), found those of 12 classes"):
            check_known(LABELS, data, "x")
    commands = [
        ["compare", str(SHIPPED), str(own), "--data", str(tmp_path)],
        ["bench", "accuracy", "--data", str(tmp_path), "--split", "test"],
        ["bench", "detection", "--frames", str(frames)],
        ["bench", "views", "--frames", str(frames)],
        ["export", "verify", str(SHIPPED), "--data", str(tmp_path)],
    ]
    for words in commands:
        assert signwing(words) == 1
        told = capsys.readouterr().err
        assert "wanted pictures of what " in told.splitlines()[-1], told
        assert "found those of 12 classes (School crossing, 注意野生动物, ...)" in told.splitlines()[-1]
