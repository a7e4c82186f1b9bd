"""What `--pose` and `--camera` mean: where the camera was, and what it sees."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.bundle.manifest import Manifest
    from edge.frame import Source
    from edge.mapping.surveyor import Surveyor
    from edge.vehicle.levelling import Attitudes, Leveller

_POSE = (
    "where the camera is and how it is turned: FILE[,offset=S] (.tlog, .bin, .SRT, .csv, .gpx of a recorded flight; S later in the file, auto finds it), or "
    "mavlink[,delay=MS]; without it a live camera's pose is that of the vehicle of --mavlink"
)
_CAMERA = (
    "what the camera sees, so that signs get a place: hfov=DEGREES, or FILE (OpenCV's calibration, YAML); each with pitch=, yaw=, roll= where it is mounted "
    "so against what tells the attitude, such as hfov=82,pitch=-20"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--pose` and `--camera`."""
    parser.add_argument("--pose", metavar="FILE", help=_POSE)
    add_camera(parser)


def add_camera(parser: argparse.ArgumentParser) -> None:
    """Add `--camera`."""
    parser.add_argument("--camera", metavar="FILE", help=_CAMERA)


def open_surveyor(arguments: argparse.Namespace, source: Source, manifest: Manifest, leveller: Leveller | None) -> Surveyor | None:
    """Return what gives frames their pose and signs their place; None where nothing tells a pose.

    Raises:
        InputError: an option stands for nothing, or does not go with the others.
        MissingDependency: the file needs a package that is not installed.
    """
    from edge.api.placing import surveyor_of

    return surveyor_of(manifest, arguments.source, arguments.camera, _poses(arguments, source, leveller))


def _poses(arguments: argparse.Namespace, source: Source, leveller: Leveller | None) -> Attitudes | None:
    from edge.api.placing import told_by
    from edge.sources.realtime import Realtime
    from edge.vehicle.attitudes import LiveAttitude

    linked = arguments.mavlink is not None
    if arguments.pose is not None:
        recorded = not (source.live or source.stills)
        return told_by(arguments.pose, "--pose", "place", linked=linked, recorded=recorded, film=arguments.source, camera=arguments.camera)
    if not linked or not (source.live or isinstance(source, Realtime)):
        return None
    return leveller.attitudes if leveller is not None and isinstance(leveller.attitudes, LiveAttitude) else LiveAttitude(0.0)
