"""What `--level` means: degrees, `mavlink`, or a file of a recorded flight."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edge.errors import InputError

if TYPE_CHECKING:
    from edge.frame import Source
    from edge.vehicle.levelling import Attitudes, Leveller

_HELP = (
    "turn frames level by the camera's roll before signs are looked for: mavlink[,delay=MS] (of the vehicle of --mavlink; frames are MS older), "
    "FILE[,offset=S] (.tlog, .bin, .SRT, .csv of a recorded flight; S later in the file), or DEGREES (a camera mounted aslant, clockwise)"
)


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
    from edge.api.placing import number, parts, told_by
    from edge.sources.uri import exists
    from edge.vehicle.attitudes import MountedAslant

    name, key, _ = parts(text)
    degrees = number(name)
    if degrees is not None and not exists(name):
        if key or not -180 <= degrees <= 180:
            raise InputError(f"wanted --level DEGREES from -180 to 180, found {text!r}: write --level 12.5")
        return MountedAslant(degrees)
    return told_by(text, "--level", "attitude", linked=linked, recorded=recorded)
