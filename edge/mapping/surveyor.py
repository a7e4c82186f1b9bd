"""Keeps the looks at each sign that is followed, and gives reports the place where their sign stands. Where a pose or the lens is not known, there is none."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from edge.frame import Frame
from edge.geometry.camera import Camera
from edge.geometry.geodesy import Plane
from edge.geometry.pose import Place, Pose
from edge.mapping.locate import locate
from edge.mapping.sight import Sight, look, stand
from edge.mapping.sizes import Size
from edge.result import Report, Sighted
from edge.vehicle.levelling import Attitudes

Optics = Callable[[tuple[int, int]], Camera]
"""Gives the camera for frames of a width and height; raises InputError where it is none for these."""

_LOG = logging.getLogger(__name__)

_MOST_LOOKS = 160
_FORGOTTEN = 60
_FARTHEST_M, _VAGUEST_M = 300.0, 60.0
_SURE_DEG = 40.0
_JUMP_M, _FASTEST_M_S, _JUMP_S = 8.0, 60.0, 0.1
"""Farther than a fast drone flies, and a receiver errs, in the time since a pose that is so old."""
_DISTRUSTED_S = 2.0
"""After a jump: a receiver that lost its way for a moment is back by then, and if not, the place counts from there on."""


@dataclass
class _Watched:
    """A sign that is followed: the frame in which it was seen last, counted by us, and the looks at it."""

    frame: int = 0
    looks: list[Sight] = field(default_factory=list)


class Surveyor:
    """Gives frames the pose of their camera, and reports the places of their signs.

    Attributes:
        poses: knows where the camera's carrier was; None where frames bring their pose.
        placed: reports that got a place.
    """

    def __init__(self, poses: Attitudes | None, optics: Optics | None, sizes: Sequence[Size]) -> None:
        """Look through a camera.

        Args:
            poses: knows where the camera's carrier was; None where frames bring their pose.
            optics: None where the camera is not known: then signs get no place.
            sizes: of the classes, in output order.
        """
        self.poses, self._optics, self._sizes = poses, optics, sizes
        self._camera: Camera | None = None
        self._plane: Plane | None = None
        self._watched: dict[int, _Watched] = {}
        self._followed: dict[int, int] = {}
        self._frame = self.placed = 0
        self._lacking = ""
        self._way: deque[tuple[float, float, float]] = deque()
        self._distrusted_s = -math.inf
        if optics is None:
            _LOG.warning("signs get no place: nothing tells what the camera sees; add --camera hfov=DEGREES, or --camera FILE")

    def posed(self, frame: Frame) -> Frame:
        """Return a frame with its camera's pose, as far as that is known; what is told here goes before what the frame brings.

        Raises:
            InputError: the first frame is not of the shape that the camera was told for.
        """
        if self._camera is None and self._optics is not None:
            height, width = frame.image.shape[:2]
            self._camera = self._optics((width, height))
        if self.poses is not None:
            told = self.poses.at(frame)
            if told is not None:
                told = told if self._camera is None else self._camera.mount.turned(told)
                brought = frame.pose if frame.pose is None or told.lat is None else replace(frame.pose, sigma_m=None)
                frame = replace(frame, pose=told if brought is None else brought.told_by(told))
            self._tell(frame.pose, self.poses.told)
        return frame

    def place(self, frame: Frame, reports: Sequence[Report], seen: Iterable[Sighted] = ()) -> list[Report]:
        """Take what the tracker saw in a frame that `posed` returned, and return its reports with the places of their signs."""
        self._frame += 1
        if self._camera is None:
            return list(reports)
        if frame.pose is not None and frame.pose.whole:
            time_s = frame.received_ns / 1e9 if frame.media_s is None else frame.media_s
            if self._believes(frame.pose, time_s):
                self._watch(self._camera, time_s, frame.pose, seen)
        told = [replace(report, where=self._where(report)) for report in reports]
        self.placed += sum(report.where is not None for report in told)
        for report in told:
            if report.event == "gone" and report.track is not None:
                self._watched.pop(self._followed.pop(report.track, -1), None)
        return told

    def _believes(self, pose: Pose, time_s: float) -> bool:
        """Tell whether a place can be where the carrier flew to; where it jumped, say so, and forget the looks from the other side of the jump."""
        east, north = self._plane_at(pose).metres(float(pose.lat or 0), float(pose.lon or 0))
        self._way.append((time_s, east, north))
        while len(self._way) > 1 and time_s - self._way[1][0] >= _JUMP_S:
            self._way.popleft()
        before_s, before_east, before_north = self._way[0]
        far_m = math.hypot(east - before_east, north - before_north)
        if far_m > _JUMP_M + _FASTEST_M_S * max(time_s - before_s, 0.0):
            if time_s >= self._distrusted_s:
                said = "signs get no place for %g s, and what was seen before is forgotten: the pose jumps by %.0f m within %.2f s"
                _LOG.warning(said, _DISTRUSTED_S, far_m, time_s - before_s)
            self._distrusted_s = time_s + _DISTRUSTED_S
            self._way = deque([self._way[-1]])
            self._watched.clear()
        return time_s >= self._distrusted_s

    def _plane_at(self, pose: Pose) -> Plane:
        if self._plane is None:
            self._plane = Plane(float(pose.lat or 0), float(pose.lon or 0))
        return self._plane

    def _watch(self, camera: Camera, time_s: float, pose: Pose, seen: Iterable[Sighted]) -> None:
        seen = list(seen)
        at = stand(self._plane_at(pose), pose, time_s) if seen else None
        for one in seen:
            watched = self._watched.setdefault(one.follower, _Watched())
            watched.frame = self._frame
            if one.track is not None:
                self._followed[one.track] = one.follower
            sight = None if at is None else look(at, camera, one.detection.box_xyxy, one.detection.quad_xy)
            if sight is not None and (not watched.looks or time_s > watched.looks[-1].time_s):
                watched.looks.append(sight)
                if len(watched.looks) > _MOST_LOOKS:
                    del watched.looks[1::2]
        for follower in [follower for follower, watched in self._watched.items() if self._frame - watched.frame > _FORGOTTEN]:
            del self._watched[follower]

    def _where(self, report: Report) -> Place | None:
        watched = None if report.track is None else self._watched.get(self._followed.get(report.track, -1))
        if watched is None or not watched.looks or self._plane is None:
            return None
        fix = locate(watched.looks, self._sizes[report.class_id])
        away = min(float(abs(fix.place - sight.place).max()) for sight in watched.looks)
        if not (fix.sigma_m <= _VAGUEST_M and away <= _FARTHEST_M):
            return None
        lat, lon = self._plane.degrees(float(fix.place[0]), float(fix.place[2]))
        facing = fix.facing_deg if fix.facing_sigma_deg <= _SURE_DEG else None
        return Place(lat, lon, float(fix.place[1]), fix.sigma_m, facing)

    def _tell(self, pose: Pose | None, source: str) -> None:
        """Say once that a pose is not whole, what it lacks, and once that it is."""
        if pose is None or pose.lat is None:
            lacking = "no position"
        elif pose.alt_m is None:
            lacking = "no altitude"
        else:
            lacking = "" if pose.whole else "not how the camera is turned (roll, pitch and yaw)"
        if lacking != self._lacking:
            self._lacking = lacking
            _LOG.warning("%s", f"signs get no place: {lacking} from {source}" if lacking else f"signs get places again, by {source}")
