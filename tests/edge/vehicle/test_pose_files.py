"""Recorded attitudes: ArduPilot's logs as pymavlink writes and reads them, subtitles, tables, and what is none of these."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from edge.errors import InputError
from edge.frame import Frame
from edge.vehicle.pose_files import read_poses
from edge.vehicle.pose_track import PoseTrack

SRT = """1
00:00:00,000 --> 00:00:00,033
<font size="28">SrtCnt : 1, DiffTime : 33ms
2026-05-31 12:00:00.000
[iso : 100] [shutter : 1/1000.0] [latitude: 50.0] [longitude: 8.0] [gb_yaw: 63.9 gb_pitch: -41.2 gb_roll: 4.0]</font>

2
00:00:01,000 --> 00:00:01,033
[gb_yaw: 65.9 gb_pitch: -41.2 gb_roll: -2.0]

"""


def rolls(track: PoseTrack, *times: float) -> list[float | None]:
    found = [track.at(time) for time in times]
    return [None if pose is None or pose.roll_deg is None else round(pose.roll_deg, 2) for pose in found]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def write_tlog(path: Path, messages: list[tuple[float, int, int, Any]]) -> Path:
    """Write messages (arrival, system, component, message) as a ground station does: microseconds since 1970, then the packet."""
    from pymavlink.dialects.v20 import common

    with path.open("wb") as file:
        for arrived_s, system, component, message in messages:
            packed = message.pack(common.MAVLink(None, srcSystem=system, srcComponent=component))
            file.write(struct.pack(">Q", int((1.7e9 + arrived_s) * 1e6)) + packed)
    return path


def attitude(boot_s: float, roll_deg: float) -> Any:
    from pymavlink.dialects.v20 import common

    return common.MAVLink_attitude_message(int(boot_s * 1000), math.radians(roll_deg), 0.1, 1.0, 0, 0, 0)


def write_bin(path: Path, rows: list[tuple[str, float, float]], fixes: Sequence[tuple[float, int, int]] = ()) -> Path:
    """Write an autopilot's log: the formats of FMT, ATT, MNT and GPS, then fixes (seconds since boot, week, ms) and rows (kind, seconds since boot, roll)."""
    head = b"\xa3\x95"

    def fmt(number: int, length: int, name: bytes, kinds: bytes, columns: bytes) -> bytes:
        return head + b"\x80" + struct.pack("<BB4s16s64s", number, length, name, kinds, columns)

    numbers = {"ATT": 129, "MNT": 130}
    blob = fmt(128, 89, b"FMT", b"BBnNZ", b"Type,Length,Name,Format,Columns")
    blob += fmt(129, 3 + 8 + 12, b"ATT", b"Qfff", b"TimeUS,Roll,Pitch,Yaw") + fmt(130, 3 + 8 + 12, b"MNT", b"Qfff", b"TimeUS,Roll,Pitch,YawE")
    blob += fmt(131, 3 + 8 + 6, b"GPS", b"QHI", b"TimeUS,GWk,GMS")
    for boot_s, week, ms in fixes:
        blob += head + bytes([131]) + struct.pack("<QHI", int(boot_s * 1e6), week, ms)
    for kind, boot_s, roll in rows:
        blob += head + bytes([numbers[kind]]) + struct.pack("<Qfff", int(boot_s * 1e6), roll, -3.0, 270.0)
    path.write_bytes(blob)
    return path


def test_a_ground_stations_log_counts_from_its_first_attitude(tmp_path: Path) -> None:
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")
    from pymavlink.dialects.v20 import common

    station = common.MAVLink_heartbeat_message(6, 8, 0, 0, 0, 3)
    held_up = {4: 0.04, 9: 0.03}
    messages = [(50 + 0.1 * place + held_up.get(place, 0.0), 7, 1, attitude(200 + 0.1 * place, 5.0 * place)) for place in range(20)]
    other = [(51.0, 9, 1, attitude(1, 77))]
    track = read_poses(write_tlog(tmp_path / "Flight.TLOG", [(49, 255, 190, station), *messages[:10], *other, *messages[10:]]))
    assert rolls(track, 0, 0.05, 0.4, 1.0, 1.9) == pytest.approx([0, 2.5, 20, 50, 95], abs=0.05)  # what was held up on the way stands where it was sent
    assert track.at(0).pitch_deg == pytest.approx(math.degrees(0.1))  # type: ignore[union-attr]


def test_a_gimbals_own_attitude_is_the_cameras_where_it_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")
    from pymavlink.dialects.v20 import common

    half = math.radians(3) / 2
    vehicle = [(place / 10, 1, 1, attitude(place / 10, 30)) for place in range(40)]
    status = [
        (place / 10, 1, 154, common.MAVLink_gimbal_device_attitude_status_message(0, 0, place * 100, 32, [math.cos(half), math.sin(half), 0, 0], 0, 0, 0, 0))
        for place in range(1, 20)
    ]
    mount = [(3 + place / 10, 1, 1, common.MAVLink_mount_orientation_message(3000 + place * 100, 6.0, 0, 0, 90)) for place in range(10)]
    track = read_poses(write_tlog(tmp_path / "x.tlog", sorted([*vehicle, *status, *mount], key=lambda each: each[0])))
    assert rolls(track, 0, 1, 3.5) == [None, 3, 6]


def test_an_autopilots_log_counts_from_its_first_attitude(tmp_path: Path) -> None:
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")
    rows = [("ATT", 100 + place / 10, 2.0 * place) for place in range(11)]
    track = read_poses(write_bin(tmp_path / "00000042.BIN", rows))
    assert rolls(track, 0, 0.05, 1.0, 1.9) == [0, 1, 20, None]
    pose = track.at(0.5)
    assert pose is not None
    assert (pose.pitch_deg, pose.yaw_deg) == (-3, -90)
    gimballed = read_poses(write_bin(tmp_path / "1.bin", sorted([*rows, ("MNT", 100.2, -1.0), ("MNT", 100.4, -1.0)], key=lambda row: row[1])))
    assert rolls(gimballed, 0.1, 0.3) == [None, -1]


def test_a_log_of_two_flights_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")
    first, second = ([("ATT", start + place / 10, 1.0) for place in range(20)] for start in (100, 7))
    with pytest.raises(InputError, match=r"wanted one flight in .*, found two: its time goes back from 1.9 to -93.0 s"):
        read_poses(write_bin(tmp_path / "x.bin", [*first, *second]))
    late = [*first[:10], *[("ATT", boot_s - 0.3, roll) for _, boot_s, roll in first[10:]]]  # a message that was written late is no second flight
    assert rolls(read_poses(write_bin(tmp_path / "y.bin", late)), 1.0) == [1.0]


def test_the_day_is_known_where_a_file_tells_it(tmp_path: Path) -> None:
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")

    def day(track: PoseTrack) -> str | None:
        return None if track.utc_s is None else f"{datetime.fromtimestamp(track.utc_s, timezone.utc):%Y-%m-%d %H:%M}"

    rows = [("ATT", 100 + place / 10, 2.0) for place in range(11)]
    assert day(read_poses(write_bin(tmp_path / "x.bin", rows))) is None
    assert day(read_poses(write_bin(tmp_path / "y.bin", rows, [(40.0, 0, 0), (41.0, 2420, 43_200_000)]))) == "2026-05-24 12:00"
    flown = [(place / 10, 1, 1, attitude(place / 10, 3.0)) for place in range(10)]
    assert day(read_poses(write_tlog(tmp_path / "x.tlog", flown))) == "2023-11-14 22:13"
    assert day(read_poses(write(tmp_path / "x.srt", SRT))) == "2026-05-31 12:00"
    assert day(read_poses(write(tmp_path / "x.csv", "time,roll\n2026-05-31T12:00:00Z,1\n"))) == "2026-05-31 12:00"
    assert day(read_poses(write(tmp_path / "y.csv", "time,roll\n0,1\n"))) is None


def test_subtitles_have_the_times_of_the_recording(tmp_path: Path) -> None:
    for name, text in (("a.SRT", SRT), ("b.srt", SRT.replace("\n", "\r\n"))):
        (tmp_path / name).write_bytes(text.encode())
        track = read_poses(tmp_path / name)
        assert rolls(track, 0, 0.5, 1.0) == [4, 1, -2]
        assert track.at(0.5).yaw_deg == pytest.approx(64.9)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "time,roll\n0,10\n1,20\n",
        "Time_s ; Roll_deg ; note\n0;10;x\n1;20;y\n",
        "\ufefft,roll,pitch\n0.0,10,\n\n1.0,20,3\n",
        "time,roll\n2026-05-31T12:00:00Z,10\n2026-05-31T12:00:01+00:00,20\n",
        "timestamp,yaw,roll\n1780228800.0,5,10\n1780228800.5,5,\n1780228801.0,5,20\n",
    ],
)
def test_tables(tmp_path: Path, text: str) -> None:
    assert rolls(read_poses(write(tmp_path / "x.csv", text)), 0, 0.5, 1) == [10, 15, 20]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.csv", "time,roll\n0,ten\n", "wanted degrees in .*'ten' at line 2"),
        ("x.csv", "time,roll\nnoon,10\n", "wanted a time in .*'noon' at line 2"),
        ("x.csv", "time,roll\n5,1\n4,1\n", "wanted times that go forward .* 4 s after 5 s at line 3"),
        ("x.csv", "time,bank\n0,1\n", "wanted columns time and roll .*found time, bank"),
        ("x.csv", "", "wanted columns time and roll"),
        ("x.csv", "time,roll\n", "wanted attitude in .*found none"),
        ("x.srt", SRT.replace("gb_roll", "gb_rolf"), "found none .gb_roll"),
        ("x.srt", "", "found none .gb_roll"),
        ("x.gpx", "<gpx/>", r"wanted attitude in .*x.gpx, found none .a track has places alone"),
        ("x.txt", "", r"wanted attitude in a file .tlog, .bin, .srt, .csv, .gpx, found"),
    ],
)
def test_what_is_no_attitude_is_told(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_poses(write(tmp_path / name, text))


@pytest.mark.parametrize("name", ["x.tlog", "x.bin"])
@pytest.mark.parametrize("blob", [b"", b"\x00" * 5, bytes(range(256)) * 40])
def test_a_log_that_is_none_is_told(tmp_path: Path, name: str, blob: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")
    (tmp_path / name).write_bytes(blob)
    with pytest.raises(InputError, match=r"wanted (attitude|a log of ArduPilot) in "):
        read_poses(tmp_path / name)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.srt").mkdir()
    with pytest.raises(InputError, match="found a folder, a pipe or a device"):
        read_poses(tmp_path / "x.srt")


def test_a_recording_is_matched_by_its_time_and_an_offset(tmp_path: Path) -> None:
    from edge.vehicle.attitudes import RecordedAttitude

    track = read_poses(write(tmp_path / "x.csv", "time,roll\n" + "".join(f"{place},{place}\n" for place in range(10))))
    recorded = RecordedAttitude(track, 2.5, "x.csv")

    def at(media_s: float | None) -> float | None:
        pose = recorded.at(Frame(0, None, 0, None, media_s=media_s))  # type: ignore[arg-type]
        return None if pose is None else pose.roll_deg

    assert [at(0), at(1), at(6.5), at(None), at(-3), at(20)] == [2.5, 3.5, 9, None, None, None]
    assert recorded.told == "x.csv, offset 2.5 s"


def places(track: PoseTrack, *times: float) -> list[tuple[float, float, float | None] | None]:
    found = [track.at(time) for time in times]
    return [None if pose is None or pose.lat is None or pose.lon is None else (round(pose.lat, 6), round(pose.lon, 6), pose.alt_m) for pose in found]


def position(boot_s: float, lat: float, lon: float, height_m: float) -> Any:
    from pymavlink.dialects.v20 import common

    return common.MAVLink_global_position_int_message(int(boot_s * 1000), int(lat * 1e7), int(lon * 1e7), 400_000, int(height_m * 1000), 0, 0, 0, 0)


def test_a_ground_stations_log_has_places_as_long_as_there_is_a_fix(tmp_path: Path) -> None:
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")
    from pymavlink.dialects.v20 import common

    def fix(kind: int) -> Any:
        return common.MAVLink_gps_raw_int_message(0, kind, 0, 0, 0, 0, 0, 0, 0, 9, h_acc=800)

    messages = [(50 + 0.1 * place, 7, 1, attitude(200 + 0.1 * place, 5.0)) for place in range(60)]
    messages += [(50.01, 7, 1, position(200.0, 0.0, 0.0, 9.0)), (50.02, 9, 1, position(200.0, 1.0, 1.0, 9.0)), (50.03, 7, 1, fix(3))]
    messages += [(50.5 + second / 2, 7, 1, position(200.5 + second / 2, 48.0 + second * 1e-5, 11.0, 10.0 + second)) for second in range(4)]
    messages += [(52.2, 7, 1, fix(1))] + [(52.5 + second / 2, 7, 1, position(202.5 + second / 2, 50.0, 12.0, 99.0)) for second in range(7)]
    track = read_poses(write_tlog(tmp_path / "x.tlog", sorted(messages, key=lambda one: one[0])), "place")
    assert places(track, 0.2, 0.5, 1.25, 4.9) == [None, (48.0, 11.0, 10.0), (48.000015, 11.0, 11.5), None]
    pose = track.at(1.0)
    assert pose is not None
    assert (pose.roll_deg, pose.sigma_m) == pytest.approx((5.0, 0.8))
    with pytest.raises(InputError, match=r"wanted place in .* found none .GLOBAL_POSITION_INT of an autopilot with a fix"):
        read_poses(write_tlog(tmp_path / "y.tlog", [(50 + 0.1 * place, 7, 1, attitude(200 + 0.1 * place, 5.0)) for place in range(5)]), "place")


def test_subtitles_tables_and_tracks_have_places(tmp_path: Path) -> None:
    where = "[latitude: 50.0] [longitude: 8.0] [rel_alt: 12.5 abs_alt: 300.0]"
    srt = SRT.replace("[latitude: 50.0] [longitude: 8.0]", where).replace("[gb_yaw: 65.9", f"{where} [gb_yaw: 65.9")
    assert places(read_poses(write(tmp_path / "x.srt", srt), "place"), 0) == [(50.0, 8.0, 12.5)]
    table = "time,latitude,lng,alt,roll,pitch,heading\n0,48,11,3,1,2,3\n1,48.0001,11,5,1,2,3\n1.5,,,,1,2,3\n"
    assert places(read_poses(write(tmp_path / "x.csv", table), "place"), 0.5, 1.5) == [(48.00005, 11.0, 4.0), None]
    point = '<trkpt lat="48.0{}" lon="11"><ele>{}</ele><time>2026-05-31T12:00:0{}Z</time></trkpt>'
    gpx = f'<gpx xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>{point.format(0, 500, 0)}{point.format(1, 510, 1)}</trkseg></trk></gpx>'
    assert places(read_poses(write(tmp_path / "x.gpx", gpx), "place"), 0, 0.5) == [(48.0, 11.0, 0.0), (48.005, 11.0, 5.0)]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.csv", "time,lat,lon\n0,0,0\n", "found none .rows with lat and lon"),
        ("x.csv", "time,roll\n0,1\n", "found none .rows with lat and lon"),
        ("x.csv", "time,lat\n0,1\n", "or time, lat and lon in .* found time, lat"),
        ("x.csv", "time,lat,lon\n0,148,11\n", "found none"),
        ("x.srt", SRT.replace("latitude: 50.0", "latitude: 0.0").replace("longitude: 8.0", "longitude: 0.0"), "found none .latitude and longitude"),
        ("x.gpx", "<gpx/>", "found none .trkpt with a time"),
        ("x.gpx", "<gpx", "cannot read it"),
        ("x.gpx", '<!DOCTYPE x [<!ENTITY a "b">]><gpx/>', "found XML with entities of its own"),
    ],
)
def test_what_is_no_place_is_told(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_poses(write(tmp_path / name, text), "place")
