"""Where a camera is and how it is turned: the words for it that sources, maps and trackers share."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Pose:
    """A camera's place and attitude at a moment; None stands for what is not known.

    The angles are those of aviation, applied in the order yaw, pitch, roll. They are the camera's own: the roll is the one that tilts its horizon, whatever
    carries the camera.

    Attributes:
        time_s: seconds since the recording or flight began.
        lat: degrees north, WGS84.
        lon: degrees east, WGS84.
        alt_m: metres above the ground.
        roll_deg: positive with the right side down.
        pitch_deg: positive with the optical axis above the horizon.
        yaw_deg: of the optical axis, clockwise from true north.
    """

    time_s: float | None = None
    lat: float | None = None
    lon: float | None = None
    alt_m: float | None = None
    roll_deg: float | None = None
    pitch_deg: float | None = None
    yaw_deg: float | None = None

    def told_by(self, other: Pose) -> Pose:
        """Return this pose with all that another one knows in its place."""
        return replace(self, **{name: value for name, value in asdict(other).items() if value is not None})
