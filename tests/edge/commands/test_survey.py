"""`survey` as it is typed: folders of films with their poses, resumed, with a broken one and a killed worker, by processes and by Ray, from other stores."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from commands import done, refused
from films import filmed

from edge.__main__ import main
from edge.commands.survey import crews
from edge.commands.survey.recordings import find_recordings
from edge.commands.survey.storage import Folder
from edge.commands.survey.work import Job, Outcome, work
from edge.drawn.drone.flight import DroneFlight
from edge.drawn.drone.path import ORIGIN
from edge.errors import InputError
from edge.geometry.geodesy import Plane

pytest.importorskip("fsspec", reason="the extra survey brings it")
pytest.importorskip("pyarrow", reason="the extra survey brings it")
FRAMES = {"a/one": (1, 50), "a/two": (3, 12), "b/three": (4, 50)}
"""Seed and length of each; the second is too short for a sign to be announced."""
FLIGHTS = {name: DroneFlight(seed, (640, 360), frames=frames, lens=False) for name, (seed, frames) in FRAMES.items()}
SETTING = ("--camera", f"hfov={2 * math.degrees(math.atan(320 / FLIGHTS['a/one'].optics.focal_xy[0])):.6f}")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders with three films, their poses, and what else lies about."""
    top = tmp_path_factory.mktemp("season")
    for name, flight in FLIGHTS.items():
        (top / name).parent.mkdir(exist_ok=True)
        filmed(flight, (top / name).parent, Path(name).name)
    (top / "a" / "notes.txt").write_text("windy")
    (top / ".hidden").mkdir()
    shutil.copy(top / "a" / "one.avi", top / ".hidden" / "one.avi")
    return top


@pytest.fixture(scope="module")
def surveyed(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process after the other makes of them."""
    out = tmp_path_factory.mktemp("map")
    done("survey", films, "--out", out, "--workers", 1, *SETTING)
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    from pyarrow import parquet

    return list(parquet.read_table(folder / f"{name}.parquet").to_pylist())


def test_the_map_of_all_flights(surveyed: Path) -> None:
    flights = rows(surveyed, "flights")
    assert [(row["flight"], row["status"], row["frames"]) for row in flights] == [(f"{name}.avi", "done", frames) for name, (_, frames) in FRAMES.items()]
    signs, told = rows(surveyed, "signs"), json.loads((surveyed / "signs.geojson").read_text())["features"]
    assert len(signs) == len(told) >= 3
    plane, stand = Plane(*ORIGIN), {(post.class_id, post.x, post.z) for flight in FLIGHTS.values() for post in flight.signposts(10)}
    for sign in signs:
        east, north = plane.metres(sign["lat"], sign["lon"])
        assert min(math.hypot(east - x, north - z) for class_id, x, z in stand if class_id == sign["class_id"]) < 1
        assert len(sign["geometry"]) == 21
    if find_spec("geopandas") is not None:
        import geopandas

        assert [(point.x, point.y) for point in geopandas.read_parquet(surveyed / "signs.parquet").geometry] == [(one["lon"], one["lat"]) for one in signs]
    sightings = rows(surveyed, "sightings")
    assert {row["flight"] for row in sightings} == {"a/one.avi", "b/three.avi"}
    assert {row["sign"] for row in sightings} == {sign["id"] for sign in signs}
    assert len(sightings) == sum(row["placed"] for row in flights)
    assert (surveyed / "map.html").is_file()


def test_a_broken_film_is_told_and_the_rest_done_and_a_second_time_only_what_is_new(
    films: Path, surveyed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    season, out = tmp_path / "season", tmp_path / "map"
    shutil.copytree(films, season)
    whole = (season / "a" / "two.avi").read_bytes()
    (season / "a" / "two.avi").write_bytes(b"no film at all")
    told = refused(capsys, "survey", season, "--out", out, "--workers", 2, *SETTING)
    assert "wanted 3 recordings, 1 failed (a/two.avi: wanted a" in told
    assert "type the same line again" in told
    assert [(row["flight"], row["status"]) for row in rows(out, "flights")] == [("a/one.avi", "done"), ("a/two.avi", "failed"), ("b/three.avi", "done")]
    assert {row["flight"] for row in rows(out, "sightings")} == {"a/one.avi", "b/three.avi"}
    assert "a/two.avi failed: wanted a" in caplog.text
    before = {path: path.stat().st_mtime_ns for path in (out / "flights").iterdir()}
    (season / "a" / "two.avi").write_bytes(whole)
    done("survey", season, "--out", out, "--workers", 1, *SETTING)
    said = capsys.readouterr().out
    assert "done before   2 of 3 recordings" in said
    assert "[1/1] a/two.avi: 12 frames" in said
    assert before.items() < {path: path.stat().st_mtime_ns for path in (out / "flights").iterdir()}.items()
    again, first = content(out), content(surveyed)
    assert {name for name in again if not name.startswith("flights/")} == {name for name in first if not name.startswith("flights/")}
    assert all(again[name] == first[name] for name in again if not name.startswith("flights/"))


def test_other_settings_are_other_results_and_replace_them(tmp_path: Path) -> None:
    for min_side in (16, 60):
        done("survey", "demo://?frames=3", "--out", tmp_path, "--min-side", min_side)
        assert len(list((tmp_path / "flights").iterdir())) == 1


def test_two_workers_of_ray_make_the_same_to_the_byte(films: Path, surveyed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason="the extra survey brings it")
    code = main([str(word) for word in ("survey", films, "--out", tmp_path, "--workers", 2, "--ray", "local", *SETTING)])
    told = capsys.readouterr().err
    if code and "timed out during startup" in told:
        pytest.skip("Ray gives a node 30 s to start, and this machine is too busy for that")
    assert content(tmp_path) == content(surveyed)
    assert "wanted a Ray cluster at 127.0.0.1:9" in refused(capsys, "survey", "demo://?frames=5", "--out", tmp_path / "x", "--ray", "127.0.0.1:9")


def job(address: str) -> Job:
    options = {"bundle": None, "engine": "auto", "precision": "auto", "provider": "cpu", "spotter": "auto"}
    return Job(address, "", None, None, None, options)


def children() -> set[int]:
    """Processes that this one has started and that do a survey's work."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == os.getpid() and b"survey.work" in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


def killing(most: int) -> None:
    """Kill so many of the workers, each as it appears."""
    killed: set[int] = set()
    ends_s = time.monotonic() + 60
    while len(killed) < most and time.monotonic() < ends_s:
        for pid in children() - killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
            break


@pytest.mark.parametrize(("kills", "fails"), [(1, False), (crews.TRIES, True)])
def test_a_killed_worker_ends_nothing_and_one_that_dies_again_is_told(kills: int, *, fails: bool) -> None:
    killer = threading.Thread(target=killing, args=(kills,))
    killer.start()
    outcomes = dict(crews.by_processes({"a": job("demo://?frames=3"), "b": job("demo://?frames=4")}, 1))
    killer.join()
    assert outcomes["b"] == Outcome("", [], [], 4, 0, 0.1)
    assert outcomes["a"].failure.startswith("its process ended with code -9") if fails else outcomes["a"] == Outcome("", [], [], 3, 0, 0.067)
    assert not children()


def test_who_leaves_early_leaves_no_process() -> None:
    coming = crews.by_processes({str(number): job(f"demo://?frames={3 + 400 * number}") for number in range(3)}, 2)
    next(coming)
    coming.close()  # type: ignore[attr-defined]
    ends_s = time.monotonic() + 20
    while children() and time.monotonic() < ends_s:
        time.sleep(0.01)
    assert not children()


def test_what_is_found_and_what_tells_its_poses(films: Path) -> None:
    found = find_recordings([str(films)])
    assert [one.name for one in found] == ["a/one.avi", "a/two.avi", "b/three.avi"]
    assert all(one.poses == one.address.replace(".avi", ".csv") for one in found)
    assert [one.name for one in find_recordings([str(films / "*" / "t*.avi")])] == ["a/two.avi", "b/three.avi"]
    assert [one.name for one in find_recordings([str(films / "a" / "one.avi"), "demo://?seed=3"])] == ["demo://?seed=3", "one.avi"]
    twice = find_recordings([str(films / "a"), str(films / ".hidden" / "one.avi")])
    assert [one.name for one in twice] == sorted([str(films / "a" / "one.avi"), str(films / ".hidden" / "one.avi"), "two.avi"])
    assert [one.poses for one in twice if ".hidden" in one.address] == [""]


def test_what_it_refuses(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    out = ("--out", tmp_path / "m")
    assert "found none: give another folder" in refused(capsys, "survey", tmp_path / "empty", *out)
    assert "found nothing there: check the path" in refused(capsys, "survey", tmp_path / "none", *out)
    assert "wanted --camera for recordings with poses" in refused(capsys, "survey", films, *out)
    assert "wanted hfov=DEGREES" in refused(capsys, "survey", films, *out, "--camera", "hfov=0")
    assert "wanted --offset in seconds or auto" in refused(capsys, "survey", films, *out, *SETTING, "--offset", "soon")
    assert "found nosuch://x: Protocol not known" in refused(capsys, "survey", "nosuch://x", *out)
    shutil.copy(films / "a" / "one.avi", tmp_path / "signs.avi")
    shutil.copy(films / "a" / "one.csv", tmp_path / "signs.csv")
    assert "found what is read (recordings" in refused(capsys, "survey", tmp_path / "signs.avi", "--out", tmp_path, *SETTING)
    assert not (tmp_path / "m").exists()
    before = content(films)
    for same in (films, f"{films}/", films / "a" / ".."):
        assert "wanted another folder for --out than that of the recordings" in refused(capsys, "survey", films, "--out", same, *SETTING)
    assert content(films) == before
    for file in (tmp_path / "signs.avi", tmp_path / "signs.csv" / "map"):
        told = refused(capsys, "survey", films, "--out", file, *SETTING)
        assert told.startswith(f"python -m edge: wanted to write {file}, the system refused: ")


def test_a_film_without_poses_gets_no_place_and_says_so(films: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(films / "a" / "one.avi", tmp_path / "bare.avi")
    done("survey", tmp_path, "--out", tmp_path / "m")
    (row,) = rows(tmp_path / "m", "flights")
    assert (row["status"], row["placed"]) == ("done", 0)
    assert row["sightings"] >= 1
    assert row["detail"].startswith("signs get no place: no file of its name with poses")
    assert f"bare.avi: {row['detail']}" in caplog.text
    assert rows(tmp_path / "m", "signs") == []


def test_poses_that_lack_something_are_told(films: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(films / "a" / "two.avi", tmp_path / "half.avi")
    (tmp_path / "half.csv").write_text("time,lat,lon,alt\n0,48,11,5\n0.5,48.00001,11,5\n")
    done("survey", tmp_path, "--out", tmp_path / "m", *SETTING)
    (row,) = rows(tmp_path / "m", "flights")
    assert (row["status"], row["placed"]) == ("done", 0)
    assert row["detail"].startswith("signs get no place: not how the camera is turned (roll, pitch and yaw) from half.csv")
    assert f"half.avi: {row['detail']}" in caplog.text


def test_memory_is_a_store_like_any_other(films: Path) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    for suffix in (".avi", ".csv"):
        store.put_file(str(films / "b" / f"three{suffix}"), f"/season/three{suffix}")
    (found,) = find_recordings(["memory://season"])
    assert (found.name, found.poses) == ("three.avi", "memory:///season/three.csv")
    told = work(Job(found.address, found.poses, SETTING[1], None, None, job("").options))
    assert (told.failure, told.frames) == ("", 50)
    assert told == work(Job(str(films / "b" / "three.avi"), str(films / "b" / "three.csv"), SETTING[1], None, None, job("").options))
    folder = Folder("memory://map/one")
    assert folder.names("flights") == set()
    folder.write("flights/a.jsonl", b"{}")
    assert (folder.names("flights"), folder.read("flights/a.jsonl")) == ({"a.jsonl"}, b"{}")
    folder.remove("flights/a.jsonl")
    folder.remove("flights/a.jsonl")
    with pytest.raises(InputError, match=r"wanted flights/a.jsonl in memory://map/one, cannot read it"):
        folder.read("flights/a.jsonl")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A file system of S3's kind, served on this machine."""
    pytest.importorskip("s3fs", reason="pip install s3fs")
    server = pytest.importorskip("moto.server", reason="pip install 'moto[server,s3]'").ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    import s3fs

    store = s3fs.S3FileSystem()
    store.mkdir("season")
    yield store
    server.stop()


def test_an_object_store_is_read_and_written(films: Path, surveyed: Path, tmp_path: Path, bucket: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bucket.put(str(films / "b"), "season/b", recursive=True)
    done("survey", "s3://season/b", "--out", "s3://season/map", *SETTING)
    done("survey", "s3://season/b", "--out", "s3://season/map", *SETTING)
    assert "done before   1 of 1 recordings" in capsys.readouterr().out
    bucket.get("season/map", str(tmp_path / "got"), recursive=True)
    (row,) = rows(tmp_path / "got", "flights")
    assert (row["flight"], row["status"], row["frames"]) == ("three.avi", "done", 50)
    wanted = [sign | {"id": ""} for sign in rows(surveyed, "signs") if sign["label"] in {one["label"] for one in rows(tmp_path / "got", "signs")}]
    assert [sign | {"id": ""} for sign in rows(tmp_path / "got", "signs")] == wanted
    assert "found nothing there" in refused(capsys, "survey", "s3://none/b", "--out", tmp_path / "m")
