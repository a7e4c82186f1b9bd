"""What texts such as `hfov=82,pitch=-20` and `flight.tlog,offset=2.5` mean, and what places signs by them: for the command line and for programs."""

from __future__ import annotations

import functools
import logging
import math
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from edge.api.offset import find_offset
from edge.datasets.gtsrb_sizes import sizes_of
from edge.drawn.drone.flight import DroneFlight
from edge.errors import InputError
from edge.geometry.calibration import read_camera
from edge.geometry.camera import Camera, Mount
from edge.mapping.surveyor import Optics, Surveyor
from edge.sources.decoding.pyav import recorded_s
from edge.sources.demo import flight_of
from edge.sources.uri import exists, parse_uri, source_of
from edge.vehicle.attitudes import LiveAttitude, RecordedAttitude
from edge.vehicle.levelling import Attitudes
from edge.vehicle.pose_files import Wanted, read_poses
from edge.vehicle.pose_track import PoseTrack

if TYPE_CHECKING:
    from edge.bundle.manifest import Manifest

MAVLINK, AUTO = "mavlink", "auto"

_LOG = logging.getLogger(__name__)
_DAY_S = 86_400.0
_CLOCK_SET_S = 1e9
"""A film that says less was begun by a clock that was never set: containers count from 1904, cameras from 1970 or 2000."""

_SETTING = re.compile(r"(.+?),(delay|offset)=([^,]*)")
_LONGEST_DELAY_MS = 5000.0


def surveyor_of(manifest: Manifest, source: str, camera: str | None, poses: Attitudes | None) -> Surveyor | None:
    """Return what places the signs of a source; None where nothing can tell where the camera is.

    Args:
        manifest: of the bundle, whose classes are named.
        source: as the user gave it; a drawn flight of a drone knows its camera and its poses.
        camera: what it sees, as `camera_of` takes it; None where that is not known.
        poses: what tells where the camera is; None where frames bring that, or nothing does.

    Raises:
        InputError: a camera without anything that tells where it is, or a text that describes none.
    """
    flown = _flown(source)
    if poses is None and flown is None:
        if camera is not None:
            raise InputError("wanted --pose FILE, or --mavlink ADDRESS beside a live camera, with --camera, found none: add it, or leave --camera out")
        return None
    optics = camera_of(camera) if camera is not None else None if flown is None else flown.scaled
    return Surveyor(poses, optics, sizes_of(manifest.labels, manifest.sizes_mm))


def surveyor_beside(manifest: Manifest, camera: str | None) -> Surveyor | None:
    """Return what places the signs of frames that bring their pose; None without a camera. Raises as `camera_of` does."""
    return None if camera is None else Surveyor(None, camera_of(camera), sizes_of(manifest.labels, manifest.sizes_mm))


def _flown(source: str) -> Camera | None:
    """Return the camera of a drawn flight of a drone."""
    uri = parse_uri(source_of(source))
    flight = flight_of(uri) if uri.scheme == "demo" else None
    return flight.optics if isinstance(flight, DroneFlight) else None


def camera_of(text: str) -> Optics:
    """Return the camera that a text describes, `hfov=DEGREES` or a calibration file, with `pitch=`, `yaw=`, `roll=` behind either, for frames of a size.

    Raises:
        InputError: it describes none.
    """
    name, mount, hfov = _described(text)
    return functools.partial(Camera.seeing, hfov, mount=mount) if hfov is not None else read_camera(Path(name), mount).scaled


def _described(text: str) -> tuple[str, Mount, float | None]:
    """Take a camera's text apart: the file's name, how it is mounted, and what it sees where it says that instead of a file."""
    name, *settings = [text] if exists(text) else text.split(",")
    told = dict(_degrees(text, setting) for setting in ([name, *settings] if name.startswith("hfov=") else settings))
    hfov = told.pop("hfov", None)
    unknown = sorted(set(told) - {"pitch", "yaw", "roll"})
    if unknown or (hfov is not None and not 1 <= hfov < 179):
        raise InputError(f"wanted hfov=DEGREES from 1 to 179, or a file, with pitch=, yaw=, roll= in --camera, found {text!r}: write hfov=82,pitch=-20")
    return name, Mount(told.get("roll", 0.0), told.get("pitch", 0.0), told.get("yaw", 0.0)), hfov


def _degrees(text: str, setting: str) -> tuple[str, float]:
    key, _, value = setting.partition("=")
    found = number(value)
    if found is None or abs(found) > 360:
        raise InputError(f"wanted NAME=DEGREES in --camera, found {setting!r} in {text!r}: write hfov=82,pitch=-20")
    return key.strip(), found


def told_by(text: str, option: str, wanted: Wanted, *, linked: bool, recorded: bool, film: str = "", camera: str | None = None) -> Attitudes:
    """Return what tells poses, by the text of an option: a vehicle, or a file that holds what is wanted.

    Args:
        text: as the user gave it: `mavlink[,delay=MS]` or `FILE[,offset=S]`.
        option: what it belongs to, such as `--pose`.
        wanted: what the file must hold.
        linked: whether there is a link to a vehicle.
        recorded: whether the frames have times in a recording.
        film: the recording's source, for `offset=auto`; empty where that is not to be had.
        camera: as `camera_of` takes it, for the angles at which it is mounted.

    Raises:
        InputError: it stands for nothing, or does not go with the other options; or no offset is found.
        MissingDependency: the file needs a package that is not installed.
    """
    name, key, value = parts(text)
    degrees = " or degrees" if option == "--level" else ""
    if name == MAVLINK:
        if not linked:
            raise InputError(f"wanted --mavlink ADDRESS with {option} mavlink, found none: add it")
        return LiveAttitude(_setting(text, option, key, value, "delay", most=_LONGEST_DELAY_MS) / 1000)
    if not exists(name):
        raise InputError(f"wanted {option} mavlink{',' if degrees else ' or'} a file{degrees}, found {text!r}, which is none of these: check the path")
    if not recorded:
        raise InputError(
            f"wanted a video with {option} {name}, found a source whose frames have no time in a recording: use {option} mavlink{degrees and f',{degrees}'}"
        )
    track = read_poses(Path(name), wanted)
    _look_at_the_days(track, Path(name).name, film)
    if film and (key, value) == ("offset", AUTO):
        mount = Mount() if camera is None else _described(camera)[1]
        return RecordedAttitude(track, find_offset(film, track, mount, Path(name).name), Path(name).name)
    return RecordedAttitude(track, _setting(text, option, key, value, "offset", most=math.inf), Path(name).name)


def _look_at_the_days(track: PoseTrack, name: str, film: str) -> None:
    """Warn where poses and their film are not of the same day, as far as both tell; a camera's own clock may be wrong, so it is no fault."""
    uri = parse_uri(source_of(film)) if film else None
    filmed_s = recorded_s(Path(uri.path).expanduser()) if uri is not None and uri.scheme in ("", "file") else None
    if track.utc_s is not None and filmed_s is not None and filmed_s > _CLOCK_SET_S and abs(filmed_s - track.utc_s) > _DAY_S:
        days = [f"{datetime.fromtimestamp(time_s, timezone.utc):%Y-%m-%d}" for time_s in (track.utc_s, filmed_s)]
        _LOG.warning("%s is of %s, and the film says that it is of %s: signs get wrong places unless both are of one flight", name, *days)


def parts(text: str) -> tuple[str, str, str]:
    """Take a text apart: name, and key and value of its setting."""
    found = None if exists(text) else _SETTING.fullmatch(text)
    name, key, value = found.groups() if found else (text, "", "0")
    return name, key, value


def _setting(text: str, option: str, key: str, value: str, wanted: str, *, most: float) -> float:
    found = number(value)
    if key not in ("", wanted) or found is None or abs(found) > most:
        bounds = f" from {-most:g} to {most:g}" if math.isfinite(most) else ""
        raise InputError(f"wanted {wanted}=NUMBER{bounds} in {option}, found {text!r}: write it so, or leave it out")
    return found


def number(text: str) -> float | None:
    """Return the finite number that a text is; None where it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
