"""Reads how a camera was turned along a recorded flight: ArduPilot's .tlog and .bin, DJI's .SRT, and .csv.

Times are those of the recording where the file has such (a .SRT, a .csv that counts seconds); else they count from the first attitude in the file.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from edge.errors import InputError, SignwingError, one_line
from edge.geometry.pose import Pose
from edge.vehicle.attitude_messages import MESSAGES, ArrivalClock, attitude_of, sent_s
from edge.vehicle.mavlink_library import dataflash_log, telemetry_log
from edge.vehicle.pose_track import PoseTrack

_TIME, _ROLL, _PITCH, _YAW = ("time_s", "time", "timestamp", "t"), ("roll_deg", "roll"), ("pitch_deg", "pitch"), ("yaw_deg", "yaw", "heading")
_EPOCH_S = 1e8
"""Seconds above are counted from 1970, not from the start of a recording."""
_FMT = bytes([0xA3, 0x95, 0x80])
"""What a log of ArduPilot begins with: two bytes of every message, and the number of FMT."""
_CUE = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{3}) *--> *[^\n]*\n(.*?)(?=\n\s*\n|\Z)", re.DOTALL)
_GIMBAL = re.compile(r"\bgb_(roll|pitch|yaw)\s*:\s*([-+]?\d+(?:\.\d+)?)")

Timed = tuple[float, Pose]


def read_poses(path: Path) -> PoseTrack:
    """Read a file: what the gimbal told of itself, or where none did, what the vehicle told.

    Raises:
        InputError: no such file, another kind of file, a damaged one, or one without attitude.
        MissingDependency: pymavlink is not installed, and a log of ArduPilot is to be read.
    """
    readers: dict[str, Callable[[Path], PoseTrack]] = {".tlog": _read_tlog, ".bin": _read_bin, ".srt": _read_srt, ".csv": _read_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"wanted attitude in a file {', '.join(readers)}, found {path}: convert it to .csv with columns time and roll")
    if path.exists() and not path.is_file():
        raise InputError(f"wanted attitude in a file, found a folder, a pipe or a device at {path}: copy it to a file")
    try:
        track = reader(path)
    except SignwingError:
        raise
    except OSError as error:
        raise InputError(f"wanted attitude in {path}, cannot read it: {error.strerror or error}") from error
    except Exception as error:  # pymavlink raises of many kinds where a log is none
        raise InputError(f"wanted attitude in {path}, cannot read it ({one_line(error)}): copy it again") from error
    if not len(track):
        raise InputError(f"wanted attitude in {path}, found none{_LACKS[path.suffix.lower()]}: give another file, or leave --level out")
    return track


_LACKS = {
    ".tlog": " (ATTITUDE of an autopilot)",
    ".bin": " (ATT)",
    ".srt": " (gb_roll; not every DJI drone writes it)",
    ".csv": " (rows)",
}


def _read_tlog(path: Path) -> PoseTrack:
    told: dict[str, list[Timed]] = {"gimbal": [], "vehicle": []}
    clocks: dict[int, ArrivalClock] = {}
    vehicle: int | None = None
    for message, arrived_s in telemetry_log(path, MESSAGES):
        found = attitude_of(message)
        if found is None:
            continue
        teller, pose = found
        if vehicle is None and teller == "vehicle":
            vehicle = message.get_srcSystem()
        if message.get_srcSystem() == vehicle:
            clock = clocks.setdefault(message.get_srcComponent(), ArrivalClock())
            told[teller].append((clock.time_s(sent_s(message), arrived_s), pose))
    return _first_told(*told.values())


def _read_bin(path: Path) -> PoseTrack:
    with path.open("rb") as file:
        if file.read(len(_FMT)) != _FMT:
            raise InputError(f"wanted a log of ArduPilot in {path}, found another kind of file: give the .bin that the autopilot wrote")
    told: dict[str, list[Timed]] = {"MNT": [], "ATT": []}
    for message in dataflash_log(path, tuple(told)):
        fields = message.to_dict()
        yaw = fields.get("Yaw", fields.get("YawE", math.nan))
        pose = Pose(roll_deg=_known(fields["Roll"]), pitch_deg=_known(fields["Pitch"]), yaw_deg=_known(yaw))
        if pose.roll_deg is not None:
            told[message.get_type()].append((fields["TimeUS"] / 1e6, pose))
    return _first_told(*told.values())


def _first_told(gimbal: list[Timed], vehicle: list[Timed]) -> PoseTrack:
    """Take the gimbal's poses where there are any, and count times from the first pose that anybody told."""
    start_s = min((poses[0][0] for poses in (gimbal, vehicle) if poses), default=0.0)
    return PoseTrack((time_s - start_s, pose) for time_s, pose in gimbal or vehicle)


def _read_srt(path: Path) -> PoseTrack:
    def poses() -> Iterator[tuple[str, float, Pose]]:
        text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
        for hours, minutes, seconds, thousandths, words in _CUE.findall(text):
            angles = {f"{name}_deg": float(value) for name, value in _GIMBAL.findall(words)}
            if "roll_deg" in angles:
                time_s = int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(thousandths) / 1000
                yield f"{hours}:{minutes}:{seconds},{thousandths}", time_s, Pose(**angles)

    return _in_order(path, poses())


def _read_csv(path: Path) -> PoseTrack:
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        head = file.readline()
        file.seek(0)
        rows = csv.DictReader(file, delimiter=";" if head.count(";") > head.count(",") else ",")
        rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
        time, roll, pitch, yaw = (next((name for name in names if name in rows.fieldnames), None) for names in (_TIME, _ROLL, _PITCH, _YAW))
        if time is None or roll is None:
            raise InputError(f"wanted columns time and roll (degrees) in {path}, found {', '.join(rows.fieldnames) or 'none'}: name them so in its first line")

        def poses() -> Iterator[tuple[str, float, Pose]]:
            start_s: float | None = None
            for row in rows:
                where = f"line {rows.line_num}"
                time_s, from_epoch = _time(row[time], path, where)
                start_s = (time_s if from_epoch else 0.0) if start_s is None else start_s
                roll_deg, *others = (_number(row[name], path, where) if name else None for name in (roll, pitch, yaw))
                if roll_deg is not None:
                    yield where, time_s - start_s, Pose(roll_deg=roll_deg, pitch_deg=others[0], yaw_deg=others[1])

        return _in_order(path, poses())


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
    """Return an angle; None where the field is empty."""
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
