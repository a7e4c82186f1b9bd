"""Where a camera is and how it is turned, and where a sign stands: the words for it that sources, maps and trackers share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Pose:
    """A camera's place and attitude at a moment; None stands for what is not known.

    The angles are those of aviation, applied in the order yaw, pitch, roll. They are the camera's own: the roll is the one that tilts its horizon, whatever
    carries the camera.

    Attributes:
        time_s: seconds since the recording or flight began.
        lat: degrees north, WGS84.
        lon: degrees east, WGS84.
        alt_m: metres above the ground where it took off.
        roll_deg: positive with the right side down.
        pitch_deg: positive with the optical axis above the horizon.
        yaw_deg: of the optical axis, clockwise from true north.
        sigma_m: how sure its place is: standard deviation to the east, and as much to the north.
    """

    time_s: float | None = None
    lat: float | None = None
    lon: float | None = None
    alt_m: float | None = None
    roll_deg: float | None = None
    pitch_deg: float | None = None
    yaw_deg: float | None = None
    sigma_m: float | None = None

    @property
    def whole(self) -> bool:
        """Whether place and attitude are known."""
        return None not in (self.lat, self.lon, self.alt_m, self.roll_deg, self.pitch_deg, self.yaw_deg)

    def told_by(self, other: Pose) -> Pose:
        """Return this pose with all that another one knows in its place."""
        return replace(self, **{name: value for name, value in vars(other).items() if value is not None})


def at_place(lat: float, lon: float, alt_m: float | None, sigma_m: float | None = None) -> Pose | None:
    """Return a pose of which the place alone is known; None of what is no place: out of range, no number, or 0/0, which receivers tell without a fix."""
    if not (abs(lat) <= 90 and abs(lon) <= 180) or (lat == 0 and lon == 0):
        return None
    return Pose(lat=lat, lon=lon, alt_m=alt_m if alt_m is not None and math.isfinite(alt_m) else None, sigma_m=sigma_m)


@dataclass(frozen=True)
class Place:
    """Where a sign stands.

    Attributes:
        lat: degrees north, WGS84.
        lon: degrees east, WGS84.
        alt_m: metres above the ground where the drone took off, of the face's middle.
        sigma_m: it stands within 2.45 times this, in the plane, in 95 of 100 cases: the standard deviation to each side where all sides are alike.
        facing_deg: where its face looks, clockwise from true north; None where that is not known.
    """

    lat: float
    lon: float
    alt_m: float | None
    sigma_m: float
    facing_deg: float | None
