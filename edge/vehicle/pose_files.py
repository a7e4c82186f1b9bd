"""Reads how a camera was turned and where it was along a recorded flight: ArduPilot's .tlog and .bin, DJI's .SRT, .csv, and .gpx (places alone).

Times are those of the recording where the file has such (a .SRT, a .csv that counts seconds); else they count from the first attitude in the file, or from
the first place where it has no attitude.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from edge.errors import InputError, SignwingError, one_line
from edge.geometry.pose import Pose, at_place
from edge.vehicle.attitude_messages import MESSAGES, PLACES, ArrivalClock, Fixes, attitude_of, sent_s
from edge.vehicle.mavlink_library import dataflash_log, telemetry_log
from edge.vehicle.pose_track import PLACE_STALE_S, PoseTrack

_TIME, _ROLL, _PITCH, _YAW = ("time_s", "time", "timestamp", "t"), ("roll_deg", "roll"), ("pitch_deg", "pitch"), ("yaw_deg", "yaw", "heading")
_LAT, _LON, _ALT, _SIGMA = ("lat", "latitude"), ("lon", "lng", "longitude"), ("alt_m", "alt", "altitude"), ("sigma_m",)
_EPOCH_S = 1e8
"""Seconds above are counted from 1970, not from the start of a recording."""
_FMT = bytes([0xA3, 0x95, 0x80])
"""What a log of ArduPilot begins with: two bytes of every message, and the number of FMT."""
_CUE = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{3}) *--> *[^\n]*\n(.*?)(?=\n\s*\n|\Z)", re.DOTALL)
_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_GPS_EPOCH_S, _WEEK_S = 315_964_800, 604_800
"""When GPS began to count its weeks, in seconds since 1970; leap seconds do not matter here."""
_BACKWARDS_S = 1.0
"""What a log's time may go back: its messages are not always written in the order in which they were measured."""
_GIMBAL = re.compile(r"\bgb_(roll|pitch|yaw)\s*:\s*([-+]?\d+(?:\.\d+)?)")

_PLACE = re.compile(r"\b(latitude|longitude|rel_alt)\s*:\s*([-+]?\d+(?:\.\d+)?)")

Timed = tuple[float, Pose]
Wanted = Literal["attitude", "place"]


def read_poses(path: Path, wanted: Wanted = "attitude") -> PoseTrack:
    """Read a file: what the gimbal told of itself, or where none did, what the vehicle told; and where it was.

    Raises:
        InputError: no such file, another kind of file, a damaged one, or one without what is wanted.
        MissingDependency: pymavlink is not installed, and a log of ArduPilot is to be read.
    """
    readers: dict[str, Callable[[Path], PoseTrack]] = {".tlog": _read_tlog, ".bin": _read_bin, ".srt": _read_srt, ".csv": _read_csv, ".gpx": _read_gpx}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        columns = "time and roll" if wanted == "attitude" else "time, lat, lon, alt, roll, pitch, yaw"
        raise InputError(f"wanted {wanted} in a file {', '.join(readers)}, found {path}: convert it to .csv with columns {columns}")
    if path.exists() and not path.is_file():
        raise InputError(f"wanted {wanted} in a file, found a folder, a pipe or a device at {path}: copy it to a file")
    try:
        track = reader(path)
    except SignwingError:
        raise
    except OSError as error:
        raise InputError(f"wanted {wanted} in {path}, cannot read it: {error.strerror or error}") from error
    except Exception as error:  # pymavlink raises of many kinds where a log is none
        raise InputError(f"wanted {wanted} in {path}, cannot read it ({one_line(error)}): copy it again") from error
    if not track.tells("roll_deg" if wanted == "attitude" else "lat"):
        option = "--level" if wanted == "attitude" else "--pose"
        raise InputError(f"wanted {wanted} in {path}, found none{_LACKS[wanted][path.suffix.lower()]}: give another file, or leave {option} out")
    return track


_LACKS: dict[Wanted, dict[str, str]] = {
    "attitude": {
        ".tlog": " (ATTITUDE of an autopilot)",
        ".bin": " (ATT)",
        ".srt": " (gb_roll; not every DJI drone writes it)",
        ".csv": " (rows)",
        ".gpx": " (a track has places alone)",
    },
    "place": {
        ".tlog": " (GLOBAL_POSITION_INT of an autopilot with a fix)",
        ".bin": " (POS)",
        ".srt": " (latitude and longitude)",
        ".csv": " (rows with lat and lon: degrees, and not 0/0, which is told without a fix)",
        ".gpx": " (trkpt with a time)",
    },
}


def _read_tlog(path: Path) -> PoseTrack:
    told: dict[str, list[Timed]] = {"gimbal": [], "vehicle": []}
    places: list[Timed] = []
    clocks: dict[int, ArrivalClock] = {}
    fixes: dict[int, Fixes] = {}
    vehicle: int | None = None
    for message, arrived_s in telemetry_log(path, (*MESSAGES, *PLACES)):
        found, place = attitude_of(message), fixes.setdefault(message.get_srcSystem(), Fixes()).place_of(message)
        if found is None and place is None:
            continue
        if vehicle is None and (place is not None or (found is not None and found[0] == "vehicle")):
            vehicle = message.get_srcSystem()
        if message.get_srcSystem() == vehicle:
            clock = clocks.setdefault(message.get_srcComponent(), ArrivalClock())
            time_s = clock.time_s(sent_s(message), arrived_s)
            if found is not None:
                told[found[0]].append((time_s, found[1]))
            if place is not None:
                places.append((time_s, place))
    return _joined(path, told["gimbal"], told["vehicle"], places, utc_of_zero_s=0.0)


def _read_bin(path: Path) -> PoseTrack:
    with path.open("rb") as file:
        if file.read(len(_FMT)) != _FMT:
            raise InputError(f"wanted a log of ArduPilot in {path}, found another kind of file: give the .bin that the autopilot wrote")
    told: dict[str, list[Timed]] = {"MNT": [], "ATT": [], "POS": []}
    utc_of_zero_s = None
    for message in dataflash_log(path, (*told, "GPS")):
        fields, kind = message.to_dict(), message.get_type()
        if kind == "GPS":
            if utc_of_zero_s is None and fields["GWk"] > 0:
                utc_of_zero_s = _GPS_EPOCH_S + fields["GWk"] * _WEEK_S + fields["GMS"] / 1000 - fields["TimeUS"] / 1e6
            continue
        if kind == "POS":
            place = at_place(fields["Lat"], fields["Lng"], fields["RelHomeAlt"])
            told[kind] += [] if place is None else [(fields["TimeUS"] / 1e6, place)]
            continue
        yaw = fields.get("Yaw", fields.get("YawE", math.nan))
        pose = Pose(roll_deg=_known(fields["Roll"]), pitch_deg=_known(fields["Pitch"]), yaw_deg=_known(yaw))
        if pose.roll_deg is not None:
            told[kind].append((fields["TimeUS"] / 1e6, pose))
    return _joined(path, told["MNT"], told["ATT"], told["POS"], utc_of_zero_s)


def _joined(path: Path, gimbal: list[Timed], vehicle: list[Timed], places: list[Timed], utc_of_zero_s: float | None) -> PoseTrack:
    """Take the gimbal's poses where there are any, with the places, and count times from the first pose, or else place, that anybody told.

    Raises:
        InputError: the sender's clock began anew on the way: nothing tells which of both flights the film is of.
    """
    start_s = min((poses[0][0] for poses in (gimbal, vehicle) if poses), default=places[0][0] if places else 0.0)
    turned, moved = ([(time_s - start_s, pose) for time_s, pose in poses] for poses in (gimbal or vehicle, places))
    for poses in (turned, moved):
        for before, after in itertools.pairwise(poses):
            if before[0] - after[0] > _BACKWARDS_S:
                raise InputError(
                    f"wanted one flight in {path}, found two: its time goes back from {before[0]:.1f} to {after[0]:.1f} s, as an autopilot's does that was "
                    "started anew: cut the log there, and give the part of this film"
                )
    utc_s = None if utc_of_zero_s is None else utc_of_zero_s + start_s
    return PoseTrack(turned, utc_s=utc_s).joined(PoseTrack(moved, stale_s=PLACE_STALE_S, utc_s=utc_s))


def _read_srt(path: Path) -> PoseTrack:
    text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
    date = _DATE.search(text)

    def poses() -> Iterator[tuple[str, float, Pose]]:
        for hours, minutes, seconds, thousandths, words in _CUE.findall(text):
            pose = Pose(**{f"{name}_deg": float(value) for name, value in _GIMBAL.findall(words)})
            told = {name: float(value) for name, value in _PLACE.findall(words)}
            place = at_place(told.get("latitude", math.nan), told.get("longitude", math.nan), told.get("rel_alt"))
            pose = pose if place is None else pose.told_by(place)
            if pose.roll_deg is not None or pose.lat is not None:
                time_s = int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(thousandths) / 1000
                yield f"{hours}:{minutes}:{seconds},{thousandths}", time_s, pose

    track = _in_order(path, poses())
    track.utc_s = None if date is None else _time(date.group(), path, "its first date")[0]  # the drone's local time, as good as UTC to tell the day
    return track


def _read_gpx(path: Path) -> PoseTrack:
    """Read a track; heights count from its first point."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"wanted a GPX track in {path}, found XML with entities of its own: save it again without them")
    points = [point for point in ET.fromstring(text).iter() if point.tag.rpartition("}")[2] == "trkpt"]  # noqa: S314 entities are refused above
    start_s: float | None = None

    def poses() -> Iterator[tuple[str, float, Pose]]:
        nonlocal start_s
        first_m = None
        for number, point in enumerate(points, 1):
            inner = {child.tag.rpartition("}")[2]: child.text for child in point}
            if inner.get("time"):
                where = f"point {number}"
                time_s, _ = _time(inner["time"], path, where)
                height_m = _number(inner.get("ele"), path, where)
                start_s, first_m = time_s if start_s is None else start_s, height_m if first_m is None else first_m
                lat, lon = (_number(point.get(name), path, where) for name in ("lat", "lon"))
                place = at_place(math.nan if lat is None else lat, math.nan if lon is None else lon, None if height_m is None else height_m - (first_m or 0.0))
                if place is not None:
                    yield where, time_s - start_s, place

    track = _in_order(path, poses())
    track.utc_s = start_s
    return track


def _read_csv(path: Path) -> PoseTrack:
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        head = file.readline()
        file.seek(0)
        rows = csv.DictReader(file, delimiter=";" if head.count(";") > head.count(",") else ",")
        rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
        wanted = (_TIME, _ROLL, _PITCH, _YAW, _LAT, _LON, _ALT, _SIGMA)
        time, roll, *more = (next((name for name in names if name in rows.fieldnames), None) for names in wanted)
        if time is None or (roll is None and None in more[2:4]):
            raise InputError(
                f"wanted columns time and roll (degrees), or time, lat and lon in {path}, found {', '.join(rows.fieldnames) or 'none'}: "
                "name them so in its first line"
            )

        start_s: float | None = None

        def poses() -> Iterator[tuple[str, float, Pose]]:
            nonlocal start_s
            for row in rows:
                where = f"line {rows.line_num}"
                time_s, from_epoch = _time(row[time], path, where)
                start_s = (time_s if from_epoch else 0.0) if start_s is None else start_s
                told = [_number(row[name], path, where) if name else None for name in (roll, *more)]
                roll_deg, pitch_deg, yaw_deg, lat, lon, alt_m, sigma_m = told
                place = None if lat is None or lon is None else at_place(lat, lon, alt_m, sigma_m)
                if roll_deg is not None or place is not None:
                    pose = Pose(roll_deg=roll_deg, pitch_deg=pitch_deg, yaw_deg=yaw_deg)
                    yield where, time_s - start_s, pose if place is None else pose.told_by(place)

        track = _in_order(path, poses())
        track.utc_s = start_s or None  # 0 where times are the film's own
        return track


def _in_order(path: Path, poses: Iterable[tuple[str, float, Pose]]) -> PoseTrack:
    track, last_s = PoseTrack(), -math.inf
    for where, time_s, pose in poses:
        if time_s < last_s:
            raise InputError(f"wanted times that go forward in {path}, found {time_s:g} s after {last_s:g} s at {where}: sort it, or cut it there")
        track.add(time_s, pose)
        last_s = time_s
    return track


def _time(text: str | None, path: Path, where: str) -> tuple[float, bool]:
    """Return a time in seconds, and whether it is since 1970."""
    word = (text or "").strip()
    try:
        seconds = float(word)
    except ValueError:
        try:
            moment = datetime.fromisoformat(word.replace("Z", "+00:00"))
        except ValueError as error:
            raise InputError(f"wanted a time in {path}, found {word!r} at {where}: write seconds, or 2026-05-31T12:00:00.000Z") from error
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp(), True
    if not math.isfinite(seconds):
        raise InputError(f"wanted a time in {path}, found {word!r} at {where}: write seconds")
    return seconds, seconds >= _EPOCH_S


def _number(text: str | None, path: Path, where: str) -> float | None:
    """Return a number; None where the field is empty."""
    word = (text or "").strip()
    if not word:
        return None
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"wanted degrees in {path}, found {word!r} at {where}: correct it, or leave it empty")
    return value


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
