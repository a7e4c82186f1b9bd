"""`--level` as it is typed: what it stands for, what it refuses, and what a run by it tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import done, lines, refused
from stations import Station, free_port

from edge.commands.level_option import attitudes_of
from edge.vehicle.attitudes import LiveAttitude, MountedAslant, RecordedAttitude

DEMO = "demo://?frames=30&width=320&height=180"


def table(path: Path) -> Path:
    path.write_text("time,roll\n0,10\n0.5,20\n", encoding="utf-8")
    return path


def test_what_the_text_stands_for(tmp_path: Path) -> None:
    assert attitudes_of("-12.5", linked=False, recorded=False) == MountedAslant(-12.5)
    vehicle = attitudes_of("mavlink,delay=40", linked=True, recorded=False)
    assert isinstance(vehicle, LiveAttitude)
    assert vehicle.told == "MAVLink, delay 40 ms"
    for name in ("a.csv", "with,offset=3.csv"):
        file = attitudes_of(f"{table(tmp_path / name)},offset=-1.5", linked=False, recorded=True)
        assert isinstance(file, RecordedAttitude)
        assert (file.offset_s, file.name) == (-1.5, name)
        plain = attitudes_of(str(tmp_path / name), linked=False, recorded=True)
        assert isinstance(plain, RecordedAttitude)
        assert plain.offset_s == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mavlink", "wanted --mavlink ADDRESS with --level mavlink"),
        ("200", "wanted --level DEGREES from -180 to 180"),
        ("12,delay=3", "wanted --level DEGREES from -180 to 180"),
        ("nothing.csv", "wanted --level mavlink, a file or degrees, found 'nothing.csv'"),
        ("nan", "wanted --level mavlink, a file or degrees"),
        ("{csv},delay=3", "wanted offset=NUMBER in --level"),
        ("{csv},offset=x", "wanted offset=NUMBER in --level"),
    ],
)
def test_what_it_refuses(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str) -> None:
    typed = text.format(csv=table(tmp_path / "x.csv"))
    assert says in refused(capsys, "run", DEMO, "--bundle", tiny_bundle, "--engine", "fake", "--level", typed)


def test_a_file_goes_with_a_recording_and_a_delay_has_bounds(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")
    fake = ("--bundle", tiny_bundle, "--engine", "fake")
    assert "wanted a video with --level" in refused(capsys, "run", "rtp://@:5600", *fake, "--level", table(tmp_path / "x.csv"))
    link = ("--mavlink", f"udpout:127.0.0.1:{free_port()}")
    assert "wanted delay=NUMBER from -5000 to 5000" in refused(capsys, "run", DEMO, *fake, *link, "--level", "mavlink,delay=9000")


def test_a_run_by_a_file_tells_what_it_levelled(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary, events = tmp_path / "s.json", tmp_path / "e.jsonl"
    done("run", DEMO, "--bundle", tiny_bundle, "--engine", "fake", "--level", f"{table(tmp_path / 'x.csv')},offset=0.1", "--json", summary, "--events", events)
    document = json.loads(summary.read_text(encoding="utf-8"))
    assert document["conditions"]["level"].endswith("x.csv,offset=0.1")
    level = document["level"]
    assert level == {"by": "x.csv, offset 0.1 s", "levelled": 28, "missed": 2}  # 0.9 s are half a second beyond the last
    assert "levelled      28/30 frames, by x.csv, offset 0.1 s" in capsys.readouterr().out
    assert [(event["level"]["known"], event["frame"]) for event in lines(events) if event["event"] == "state"] == [(False, 28)]


def test_a_run_is_levelled_by_the_vehicle_that_it_talks_to(tiny_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")
    port, summary, events = free_port(), tmp_path / "s.json", tmp_path / "e.jsonl"
    with Station(f"udpout:127.0.0.1:{port}", 7, 1, 2, 3, 25):
        demo = "demo://?frames=90&width=320&height=180&realtime=1&view=car"  # a drone's flight would tell its own pose
        argv = ("run", demo, "--bundle", tiny_bundle, "--engine", "fake", "--spotter", "none", "--events", events, "--json", summary)
        done(*argv, "--mavlink", f"udpin:127.0.0.1:{port}", "--level", "mavlink,delay=40")
    level = json.loads(summary.read_text(encoding="utf-8"))["level"]
    assert level["by"] == "MAVLink, delay 40 ms"
    assert level["levelled"] > 20
    told = lines(events)
    states = [event["level"]["known"] for event in told if event["event"] == "state"]
    assert states[:2] == [False, True]  # nothing is known before the vehicle is heard
    poses = [event["pose"] for event in told if event["pose"] is not None]
    assert poses
    assert all(pose["roll_deg"] == pytest.approx(25, abs=0.01) for pose in poses)
