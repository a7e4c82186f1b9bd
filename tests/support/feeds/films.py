"""A drone's drawn flight as a user has it: a film, and beside it a file of the same name with the poses."""

from __future__ import annotations

from pathlib import Path

import cv2

from edge.drawn.drone.flight import DroneFlight
from edge.geometry.pose import Pose

HEAD = "time,lat,lon,alt,roll,pitch,yaw"


def row(pose: Pose) -> str:
    """A line of a .csv of poses."""
    return ",".join(str(value) for value in (pose.time_s, pose.lat, pose.lon, pose.alt_m, pose.roll_deg, pose.pitch_deg, pose.yaw_deg))


def filmed(flight: DroneFlight, folder: Path, name: str = "flight") -> tuple[Path, Path]:
    """Write a flight to a folder, and return the film and the poses."""
    film, log = folder / f"{name}.avi", folder / f"{name}.csv"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), flight.fps, flight.size_wh)
    for index in range(flight.frames):
        writer.write(flight.frame(index).image)
    writer.release()
    log.write_text("\n".join([HEAD, *(row(flight.pose(index)) for index in range(flight.frames))]))
    return film, log
