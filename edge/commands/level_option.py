"""What `--level` means: degrees, `mavlink`, or a file of a recorded flight."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import InputError
from edge.sources.uri import exists

if TYPE_CHECKING:
    from edge.frame import Source
    from edge.vehicle.levelling import Attitudes, Leveller
    from edge.vehicle.pose_files import Wanted

_HELP = (
    "turn frames level by the camera's roll before signs are looked for: mavlink[,delay=MS] (of the vehicle of --mavlink; frames are MS older), "
    "FILE[,offset=S] (.tlog, .bin, .SRT, .csv of a recorded flight; S later in the file), or DEGREES (a camera mounted aslant, clockwise)"
)

_MAVLINK = "mavlink"
_SETTING = re.compile(r"(.+?),(delay|offset)=([^,]*)")
_LONGEST_DELAY_MS = 5000.0


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add `--level`."""
    parser.add_argument("--level", metavar="HOW", help=_HELP)


def open_leveller(text: str | None, source: Source, *, linked: bool) -> Leveller | None:
    """Return what the option asks for; None without it. Raises as `attitudes_of` does."""
    from edge.vehicle.levelling import Leveller

    return None if text is None else Leveller(attitudes_of(text, linked=linked, recorded=not (source.live or source.stills)))


def attitudes_of(text: str, *, linked: bool, recorded: bool) -> Attitudes:
    """Return what the option's text stands for.

    Args:
        text: as the user gave it.
        linked: whether there is a link to a vehicle.
        recorded: whether the frames have times in a recording.

    Raises:
        InputError: it stands for nothing, or does not go with the other options.
        MissingDependency: the file needs a package that is not installed.
    """
    from edge.vehicle.attitudes import MountedAslant

    name, key, _ = _parts(text)
    degrees = _number(name)
    if degrees is not None and not exists(name):
        if key or not -180 <= degrees <= 180:
            raise InputError(f"wanted --level DEGREES from -180 to 180, found {text!r}: write --level 12.5")
        return MountedAslant(degrees)
    return told_by(text, "--level", "attitude", linked=linked, recorded=recorded)


def told_by(text: str, option: str, wanted: Wanted, *, linked: bool, recorded: bool) -> Attitudes:
    """Return what tells poses, by the text of an option: a vehicle, or a file that holds what is wanted; raises as `attitudes_of` does."""
    from edge.vehicle.attitudes import LiveAttitude, RecordedAttitude
    from edge.vehicle.pose_files import read_poses

    name, key, value = _parts(text)
    degrees = " or degrees" if option == "--level" else ""
    if name == _MAVLINK:
        if not linked:
            raise InputError(f"wanted --mavlink ADDRESS with {option} mavlink, found none: add it")
        return LiveAttitude(_setting(text, option, key, value, "delay", most=_LONGEST_DELAY_MS) / 1000)
    if not exists(name):
        raise InputError(f"wanted {option} mavlink{',' if degrees else ' or'} a file{degrees}, found {text!r}, which is none of these: check the path")
    if not recorded:
        raise InputError(
            f"wanted a video with {option} {name}, found a source whose frames have no time in a recording: use {option} mavlink{degrees and f',{degrees}'}"
        )
    return RecordedAttitude(read_poses(Path(name), wanted), _setting(text, option, key, value, "offset", most=math.inf), Path(name).name)


def _parts(text: str) -> tuple[str, str, str]:
    """Take a text apart: name, and key and value of its setting."""
    found = None if exists(text) else _SETTING.fullmatch(text)
    name, key, value = found.groups() if found else (text, "", "0")
    return name, key, value


def _setting(text: str, option: str, key: str, value: str, wanted: str, *, most: float) -> float:
    number = _number(value)
    if key not in ("", wanted) or number is None or abs(number) > most:
        bounds = f" from {-most:g} to {most:g}" if math.isfinite(most) else ""
        raise InputError(f"wanted {wanted}=NUMBER{bounds} in {option}, found {text!r}: write it so, or leave it out")
    return number


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
