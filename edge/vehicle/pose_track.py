"""Poses one after the other, and what they were in between. Pure: times and angles in, a pose out."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import replace

from edge.geometry.pose import Pose

LONGEST_GAP_S = 1.5
"""Between two poses that are farther apart nothing is known; some recorders write one a second."""
STALE_S = 0.5
"""After the last pose nothing is known beyond this: a vehicle tells its attitude 4 to 50 times a second."""

PLACE_STALE_S = 2.0
"""The same of places, which come once to ten times a second."""

_CARRIED = 0.4
_STRAIGHT = ("lat", "lon", "alt_m", "sigma_m")
_ANGLES = ("roll_deg", "pitch_deg", "yaw_deg")


class PoseTrack:
    """Takes poses as they come and tells the pose of any time between them.

    Attributes:
        utc_s: time 0 in seconds since 1970 (UTC), as far as that is known.
    """

    def __init__(self, poses: Iterable[tuple[float, Pose]] = (), *, keep_s: float | None = None, stale_s: float = STALE_S, utc_s: float | None = None) -> None:
        """Start with poses.

        Args:
            poses: times in seconds, in order, and what the pose was.
            keep_s: what is older than the newest by more is forgotten; None keeps all.
            stale_s: after the last pose nothing is known beyond this.
            utc_s: time 0 in seconds since 1970 (UTC); None where it is not known.
        """
        self.utc_s = utc_s
        self._stale_s, self._carried_s = stale_s, stale_s * _CARRIED
        self._times: list[float] = []
        self._poses: list[Pose] = []
        self._keep_s = keep_s
        for time_s, pose in poses:
            self.add(time_s, pose)

    def __len__(self) -> int:
        return len(self._poses)

    def add(self, time_s: float, pose: Pose) -> None:
        """Take the next pose; where its time is not later than the last one's, the clock was set back, and what was later is forgotten."""
        later = bisect_left(self._times, time_s)
        del self._times[later:], self._poses[later:]
        self._times.append(time_s)
        self._poses.append(pose)
        if self._keep_s is not None and self._times[0] < time_s - 2 * self._keep_s:
            old = bisect_right(self._times, time_s - self._keep_s)
            del self._times[:old], self._poses[:old]

    def at(self, time_s: float) -> Pose | None:
        """Return the pose at a time; None before the first, long after the last, and in long gaps.

        Angles turn the short way round. A little after the last pose the camera is taken to turn and move on as it did.
        """
        place = bisect_right(self._times, time_s)
        if not place:
            return None
        if place < len(self._times):
            return self._between(place, time_s) if self._gap_s(place) <= LONGEST_GAP_S else None
        last_s = self._times[-1]
        if time_s - last_s > self._stale_s:
            return None
        if place < 2 or self._gap_s(place - 1) > self._stale_s:
            return replace(self._poses[-1], time_s=time_s)
        return self._between(place - 1, min(time_s, last_s + self._carried_s))

    def tells(self, name: str) -> bool:
        """Tell whether any of the poses has a field."""
        return any(getattr(pose, name) is not None for pose in self._poses)

    @property
    def span(self) -> tuple[float, float]:
        """Times of the first pose and of the last, seconds; zeros where there is none."""
        return (self._times[0], self._times[-1]) if self._times else (0.0, 0.0)

    def joined(self, places: PoseTrack) -> PoseTrack:
        """Return poses at the times of this track, which tells how a camera is turned, with the places of another one then; those alone where this is empty."""
        if not len(self):
            return places
        if not len(places):
            return self
        known = ((time_s, pose, places.at(time_s)) for time_s, pose in zip(self._times, self._poses, strict=True))
        return PoseTrack(((time_s, pose if at is None else pose.told_by(replace(at, time_s=None))) for time_s, pose, at in known), utc_s=self.utc_s)

    def _gap_s(self, place: int) -> float:
        return self._times[place] - self._times[place - 1]

    def _between(self, place: int, time_s: float) -> Pose:
        """Mix a pose with the one before it."""
        share = (time_s - self._times[place - 1]) / self._gap_s(place)
        before, after = self._poses[place - 1 : place + 1]
        told = {name: _mixed(getattr(before, name), getattr(after, name), share, turn=name in _ANGLES) for name in (*_STRAIGHT, *_ANGLES)}
        return Pose(time_s, **told)


def _mixed(first: float | None, second: float | None, share: float, *, turn: bool) -> float | None:
    if first is None or second is None:
        return None
    way = second - first
    if not turn:
        return first + share * way
    return wrapped(first + share * wrapped(way))


def wrapped(degrees: float) -> float:
    """Return an angle from -180 up to 180 degrees."""
    return (degrees + 180) % 360 - 180
