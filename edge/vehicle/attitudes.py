"""How the camera was turned and where it was as a frame was taken: mounted so, recorded, or told by a vehicle right now."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from edge.frame import Frame
from edge.geometry.pose import Pose
from edge.vehicle.attitude_messages import ArrivalClock, Fixes, Teller, attitude_of, sent_s
from edge.vehicle.pose_track import PLACE_STALE_S, PoseTrack

_KEPT_S = 10.0


@dataclass(frozen=True)
class MountedAslant:
    """The camera is turned clockwise by so many degrees, always."""

    roll_deg: float
    measured = False

    @property
    def told(self) -> str:
        """The angle."""
        return f"{self.roll_deg:g} degrees"

    def at(self, frame: Frame) -> Pose:
        """Return the angle."""
        return Pose(roll_deg=self.roll_deg)


@dataclass(frozen=True)
class RecordedAttitude:
    """Poses beside a recording: those of a frame's time in the recording and `offset_s` more."""

    track: PoseTrack
    offset_s: float
    name: str
    measured = True

    @property
    def told(self) -> str:
        """The file and the offset."""
        return f"{self.name}, offset {self.offset_s:g} s"

    def at(self, frame: Frame) -> Pose | None:
        """Return the pose at a frame's time."""
        return None if frame.media_s is None else self.track.at(frame.media_s + self.offset_s)


class LiveAttitude:
    """What a vehicle tells, as it comes, for frames that come beside it; safe between the link's thread and the loop's."""

    measured = True

    def __init__(self, delay_s: float) -> None:
        """Take a frame to be so much older as it comes than an attitude is."""
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._clocks: dict[int, ArrivalClock] = {}
        self._tracks: dict[Teller, PoseTrack] = {teller: PoseTrack(keep_s=_KEPT_S) for teller in ("gimbal", "vehicle")}
        self._fixes, self._places = Fixes(), PoseTrack(keep_s=_KEPT_S, stale_s=PLACE_STALE_S)

    @property
    def told(self) -> str:
        """The link and the delay."""
        return f"MAVLink, delay {self._delay_s * 1000:g} ms"

    def hear(self, message: Any, arrived_s: float) -> None:
        """Take a message of the vehicle's that arrived at a time of `time.monotonic`; one that tells neither attitude nor place changes nothing."""
        told, place = attitude_of(message), self._fixes.place_of(message)
        if told is None and place is None:
            return
        with self._lock:
            clock = self._clocks.setdefault(message.get_srcComponent(), ArrivalClock())
            time_s = clock.time_s(sent_s(message), arrived_s)
            if told is not None:
                self._tracks[told[0]].add(time_s, told[1])
            if place is not None:
                self._places.add(time_s, place)

    def at(self, frame: Frame) -> Pose | None:
        """Return the pose as a frame was taken: the vehicle's, or the gimbal's own from when it first told it, for then the camera turns on its own."""
        taken_s = frame.received_ns / 1e9 - self._delay_s
        with self._lock:
            track = self._tracks["gimbal"] if len(self._tracks["gimbal"]) else self._tracks["vehicle"]
            turned, place = track.at(taken_s), self._places.at(taken_s)
        return place if turned is None else turned if place is None else turned.told_by(place)
