"""`map` as it is typed: from a drawn flight to files that others read, what it refuses, and what an older map tells."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from commands import done, lines, refused

from edge.datasets.gtsrb_labels import LABELS
from edge.drawn.drone.flight import DroneFlight
from edge.drawn.drone.path import ORIGIN
from edge.geometry.geodesy import Plane

PLANE = Plane(48.0, 11.0)
PLACE = {"lat": 48.0, "lon": 11.0, "alt_m": 2.4, "sigma_m": 1.2, "facing_deg": None}


def event(kind: str, frame: int, track: int, class_id: int = 14, at: tuple[float, float] | None = (5.0, 30.0), **more: Any) -> dict[str, Any]:
    where = None if at is None else {**dict(zip(("lat", "lon"), PLANE.degrees(*at), strict=True)), "alt_m": 2.4, "sigma_m": 1.2, "facing_deg": 180.0}
    lat, lon = PLANE.degrees(0, frame * 0.3)
    told = {"schema": 2, "event": kind, "frame": frame, "still": None, "received_ns": frame * 10**8, "age_ms": 1.0, "track": track, "class_id": class_id}
    told |= {"label": LABELS[class_id], "confidence": 0.98, "box_xyxy": [1, 2, 3, 4], "state": "live", "time": None, "media_s": frame / 30, "quad_xy": None}
    pose = {"lat": lat, "lon": lon, "alt_m": 8.0, "roll_deg": 0.0, "pitch_deg": -10.0, "yaw_deg": 0.0}
    return told | {"pose": pose, "where": where} | more


def written(path: Path, *events: dict[str, Any], end: str = "") -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in events) + end, encoding="utf-8")
    return path


def features(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "signs.geojson").read_text(encoding="utf-8"))["features"]
    return found


def test_what_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    picture = tmp_path / "7.png"
    picture.write_bytes(b"\x89PNG")
    told = (
        event("sighting", 10, 1, at=(9, 30)),
        event("gone", 40, 1, picture="7.png"),
        event("sighting", 50, 2, 1, at=(5, 60), picture=f"{300 * 'x'}.png"),
        event("gone", 60, 3, at=None),
    )
    events = written(tmp_path / "a<b.jsonl", *told, end='{"schema": 2, "ev')
    done("map", events, "--out", tmp_path / "m")
    said = capsys.readouterr().out
    assert "sightings     2, 1 more without a place" in said
    assert re.search("line 5 of .*a<b.jsonl, its last one, is no JSON: it is left out", caplog.text)
    stop, limit = features(tmp_path / "m")
    assert stop["geometry"]["coordinates"] == pytest.approx(PLANE.degrees(5, 30)[::-1], abs=1e-7)
    assert stop["properties"] | {"sigma_m": 1.2, "facing_deg": 180.0, "sightings": 1, "first_seen": "0.3 s", "status": "seen"} == stop["properties"]
    assert (limit["id"], limit["properties"]["label"]) == ("S2", "Speed limit 30")
    with (tmp_path / "m" / "signs.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert [row["label"] for row in rows] == ["Stop", "Speed limit 30"]
    for name, tag in (("signs.kml", "Placemark"), ("signs.gpx", "wpt")):
        assert len([node for node in ET.parse(tmp_path / "m" / name).iter() if node.tag.endswith(tag)]) == 2
    page = (tmp_path / "m" / "map.html").read_text(encoding="utf-8")
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert [sign["id"] for sign in data["signs"]] == ["S1", "S2"]
    assert data["signs"][0]["picture"].startswith("data:image/png;base64,")
    assert set(data["faces"]) == {"Stop", "Speed limit 30"}
    assert "a<b" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


def test_gdal_and_geopandas_read_what_it_writes(tmp_path: Path) -> None:
    done("map", written(tmp_path / "e.jsonl", event("gone", 10, 1), event("gone", 50, 2, 1, at=(5, 60))), "--out", tmp_path / "m")
    if (ogrinfo := shutil.which("ogrinfo")) is None:
        pytest.skip("no ogrinfo here (Debian, Ubuntu: apt install gdal-bin)")
    for name, layer in (("signs.geojson", "signs"), ("signs.kml", "Traffic signs"), ("signs.gpx", "waypoints")):
        told = subprocess.run([ogrinfo, "-al", str(tmp_path / "m" / name), layer], capture_output=True, text=True, check=True)
        assert told.stderr == ""
        assert "Feature Count: 2" in told.stdout
        found = [tuple(map(float, point)) for point in re.findall(r"POINT \(([\d.]+) ([\d.]+)\)", told.stdout)]
        assert found == [pytest.approx(PLANE.degrees(*at)[::-1], abs=1e-7) for at in ((5.0, 30.0), (5.0, 60.0))]
    geopandas = pytest.importorskip("geopandas", reason="pip install geopandas")
    table = geopandas.read_file(tmp_path / "m" / "signs.geojson")
    assert table.crs.to_epsg() == 4326
    assert table["label"].tolist() == ["Stop", "Speed limit 30"]


def test_an_older_map_and_a_file_with_two_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = written(tmp_path / "a.jsonl", event("sighting", 10, 1), event("gone", 300, 1), event("sighting", 100, 1, at=(5.5, 31)), event("gone", 200, 1))
    done("map", first, "--out", tmp_path / "old")
    assert capsys.readouterr().out.startswith("flights       2\n")
    assert [feature["properties"]["flights"] for feature in features(tmp_path / "old")] == [2]
    second = written(tmp_path / "b.jsonl", event("sighting", 1, 1, 13, (4, 60)), event("gone", 200, 1, 13, (4, 60)))
    done("map", second, "--out", tmp_path / "new", "--before", tmp_path / "old" / "signs.geojson")
    assert {feature["id"]: feature["properties"]["status"] for feature in features(tmp_path / "new")} == {"S2": "new", "S1": "gone"}
    done("map", second, "--out", tmp_path / "newer", "--before", tmp_path / "new" / "signs.geojson")
    assert {feature["id"]: feature["properties"]["status"] for feature in features(tmp_path / "newer")} == {"S2": "kept"}


def test_the_same_flight_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    told = (event("sighting", 10, 1), event("gone", 40, 1))
    first, other = written(tmp_path / "a.jsonl", *told), written(tmp_path / "b.jsonl", *told, event("gone", 1, 1, received_ns=7))
    done("map", first, shutil.copy(first, tmp_path / "copy.jsonl"), tmp_path / "." / "a.jsonl", other, "--out", tmp_path / "m")
    assert capsys.readouterr().out.startswith("flights       2\nsightings     2\n")
    for name in ("copy.jsonl", "a.jsonl", "b.jsonl (1)"):
        assert f"{name} holds the same flight as a.jsonl: it is counted once" in caplog.text
    assert [feature["properties"]["flights"] for feature in features(tmp_path / "m")] == [2]


def test_a_drawn_flight_needs_nothing_else(tmp_path: Path) -> None:
    done("run", "demo://", "--max-frames", 120, "--events", tmp_path / "e.jsonl", "--json", tmp_path / "f.json")
    told = [each for each in lines(tmp_path / "e.jsonl") if each["event"] != "state"]
    assert told
    assert all(each["where"] for each in told)
    assert json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))["placed"] == len(told)
    done("map", tmp_path / "e.jsonl", "--out", tmp_path / "m")
    flight, plane = DroneFlight(0), Plane(*ORIGIN)
    stand = {(post.class_id, post.x, post.z) for index in range(0, 120, 20) for post in flight.signposts(index)}
    for feature in features(tmp_path / "m"):
        east, north = plane.metres(*feature["geometry"]["coordinates"][::-1])
        off = min(math.hypot(east - x, north - z) for class_id, x, z in stand if class_id == feature["properties"]["class_id"])
        assert off < max(1.0, 2.45 * feature["properties"]["sigma_m"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "found no tracked sign at all"),
        ('{"schema": 1, "event": "gone"}\n', "wanted events of schema 2 in .* found schema 1 in line 1"),
        ("[1]\n[2]\n", "wanted events of schema 2 in .* found something else in line 1"),
        ("frame,x\n1,2\n", "wanted an event in line 1"),
        ("[" * 100_000 + "\n{}\n", "wanted an event in line 1"),
        (json.dumps(event("gone", 3, 1, at=None)) + "\n", "found 1 without one: run again with --pose and --camera"),
        ("no JSON\n", "wanted an event in line 1 of .*e.jsonl, found no JSON"),
        *(
            (
                json.dumps(event("gone", 2, 1)) + "\n" + json.dumps(event("gone", 3, 1) | changed) + "\n",
                rf"wanted {says} in line 2 of .*e\.jsonl: mend or remove",
            )
            for changed, says in (
                ({"where": PLACE | {"lat": math.nan}}, "where.lat as a number from -90 to 90, found NaN"),
                ({"where": PLACE | {"lat": 1e9}}, "where.lat as a number from -90 to 90, found 1000000000.0"),
                ({"where": PLACE | {"lon": "11"}}, 'where.lon as a number from -180 to 180, found "11"'),
                ({"where": PLACE | {"sigma_m": -1}}, "where.sigma_m as a number from 0 to 1e.06, found -1"),
                ({"where": PLACE | {"facing_deg": True}}, "where.facing_deg as .* found true"),
                ({"where": PLACE | {"alt_m": 10**400}}, "where.alt_m as .* found 10{59}..."),
                ({"where": {"lat": 3}}, "where.lon, found none"),
                ({"where": "there"}, 'where as an object with lat, .* found "there"'),
                ({"pose": PLACE | {"lat": -91, "yaw_deg": 0}}, "pose.lat as a number from -90 to 90, found -91"),
                ({"pose": [48, 11]}, r"pose as an object .* found \[48, 11\]"),
                ({"confidence": "high"}, 'confidence as a number from 0 to 1, found "high"'),
                ({"confidence": 1.5}, "confidence as a number from 0 to 1, found 1.5"),
                ({"class_id": 1.5}, "class_id as a whole number .* found 1.5"),
                ({"frame": "3"}, 'frame as a whole number .* found "3"'),
                ({"track": []}, r"track as a whole number .* found \[\]"),
                ({"label": "\ud800"}, "label as a text without control characters, found .*"),
                ({"media_s": "now"}, 'media_s as a number .* found "now"'),
                ({"time": 3, "media_s": None}, "time as a text .* found 3"),
                ({"picture": "a\0b.png"}, "picture as a text .*"),
            )
        ),
    ],
)
def test_what_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text(text, encoding="utf-8")
    assert re.search(says, refused(capsys, "map", path, "--out", tmp_path / "m"))
    assert not (tmp_path / "m").exists()


def test_other_things_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = written(tmp_path / "e.jsonl", event("gone", 3, 1))
    out = ("--out", tmp_path / "m")
    assert "cannot read it" in refused(capsys, "map", tmp_path / "none.jsonl", *out)
    assert "cannot read it" in refused(capsys, "map", events, *out, "--before", tmp_path / "none.geojson")
    assert "found no signs.geojson of ours" in refused(capsys, "map", events, *out, "--before", events)
    (tmp_path / "deep").write_text("[" * 100_000)
    assert "found no signs.geojson of ours" in refused(capsys, "map", events, *out, "--before", tmp_path / "deep")
    done("map", events, "--out", tmp_path / "old")
    for was, damaged, says in (
        ('"sigma_m": 1.2', '"sigma_m": -1', "where.sigma_m as a number from 0 to 1e+06, found -1"),
        ('"confidence": 0.98', '"confidence": NaN', "confidence as a number from 0 to 1, found NaN"),
    ):
        text = (tmp_path / "old" / "signs.geojson").read_text(encoding="utf-8")
        assert was in text
        (tmp_path / "damaged").write_text(text.replace(was, damaged), encoding="utf-8")
        assert says in refused(capsys, "map", events, *out, "--before", tmp_path / "damaged")
    assert "wanted --tiles with {z}, {x} and {y}" in refused(capsys, "map", events, *out, "--tiles", "https://a/b.png")
    done("map", events, *out)
    assert "found what is read (--before" in refused(capsys, "map", events, *out, "--before", tmp_path / "m" / "signs.geojson")
    shutil.rmtree(tmp_path / "m")
    (tmp_path / "m").write_text("a file")
    assert "wanted to write" in refused(capsys, "map", events, *out)
