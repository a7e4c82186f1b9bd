"""MAVLink messages that tell how a vehicle or its gimbal is turned, and where it is, as poses, and when they were sent. Knows no link and no library.

Source of fields and frames: common.xml of MAVLink.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from edge.geometry.pose import Pose, at_place
from edge.vehicle.pose_track import wrapped

Teller = Literal["vehicle", "gimbal"]

MESSAGES = ("ATTITUDE", "GIMBAL_DEVICE_ATTITUDE_STATUS", "MOUNT_ORIENTATION")
PLACES = ("GLOBAL_POSITION_INT", "GPS_RAW_INT")

AUTOPILOT = 1
_FIX_3D = 3
# GIMBAL_DEVICE_FLAGS
_YAW_LOCK, _YAW_IN_VEHICLE_FRAME, _YAW_IN_EARTH_FRAME = 16, 32, 64
_JUMP_S = 1.0
_DRIFT = 1e-3


class ArrivalClock:
    """Turns the sender's time into ours, without the time for which a busy link holds single messages up.

    The message that was fastest of late tells how far the clocks are apart; a later one that seems further apart was held up. The clocks may drift apart by
    one in a thousand.
    """

    def __init__(self) -> None:
        self._apart_s: float | None = None
        self._arrived_s = 0.0

    def time_s(self, sent_s: float, arrived_s: float) -> float:
        """Return when a message was sent, in the time in which it arrived, in seconds; its constant delay remains."""
        apart_s = arrived_s - sent_s
        if self._apart_s is None or abs(apart_s - self._apart_s) > _JUMP_S:  # the sender has started anew
            self._apart_s = apart_s
        else:
            self._apart_s = min(apart_s, self._apart_s + _DRIFT * (arrived_s - self._arrived_s))
        self._arrived_s = arrived_s
        return sent_s + self._apart_s


class Fixes:
    """Turns what an autopilot tells of its position into poses, as long as its receiver has a fix."""

    def __init__(self) -> None:
        self._fixed = True
        self._sigma_m: float | None = None

    def place_of(self, message: Any) -> Pose | None:
        """Return the place that a message tells, metres above where the vehicle took off; None where it tells none, or there is no fix to trust it."""
        kind = message.get_type()
        if kind not in PLACES or message.get_srcComponent() != AUTOPILOT:
            return None
        if kind == "GPS_RAW_INT":
            self._fixed, accuracy_mm = message.fix_type >= _FIX_3D, getattr(message, "h_acc", 0)
            self._sigma_m = accuracy_mm / 1000 if accuracy_mm else None  # 0 where the receiver does not tell
            return None
        return at_place(message.lat / 1e7, message.lon / 1e7, message.relative_alt / 1000, self._sigma_m) if self._fixed else None


def attitude_of(message: Any) -> tuple[Teller, Pose] | None:
    """Return who tells its attitude in a message as pymavlink gives it, and the pose at `sent_s`; None where it tells none.

    Roll and pitch are those against the horizon. The yaw of a gimbal is told only where the message refers it to north.
    """
    kind = message.get_type()
    if kind not in MESSAGES:
        return None
    if kind == "ATTITUDE":
        if message.get_srcComponent() != AUTOPILOT:  # a gimbal's controller that tells the attitude of its foot
            return None
        return _told("vehicle", *(math.degrees(angle) for angle in (message.roll, message.pitch, message.yaw)))
    if kind == "MOUNT_ORIENTATION":
        return _told("gimbal", message.roll, message.pitch, message.yaw_absolute)
    roll, pitch, yaw = euler_deg(message.q)
    if message.flags & _YAW_IN_VEHICLE_FRAME:
        yaw += math.degrees(message.delta_yaw)
    elif not message.flags & (_YAW_IN_EARTH_FRAME | _YAW_LOCK):
        yaw = math.nan
    return _told("gimbal", roll, pitch, yaw)


def sent_s(message: Any) -> float:
    """Return when a message that tells an attitude or a place was sent, in seconds since its sender was started."""
    return float(message.time_boot_ms) / 1000


def _told(teller: Teller, roll: float, pitch: float, yaw: float) -> tuple[Teller, Pose] | None:
    if not math.isfinite(roll):
        return None
    return teller, Pose(
        roll_deg=wrapped(roll),
        pitch_deg=pitch if math.isfinite(pitch) else None,
        yaw_deg=yaw % 360 if math.isfinite(yaw) else None,
    )


def euler_deg(quaternion: Any) -> tuple[float, float, float]:
    """Return roll, pitch and yaw (ZYX, intrinsic) in degrees of a quaternion w, x, y, z; NaN where it holds one."""
    w, x, y, z = quaternion
    roll = math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x))))
    yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return math.degrees(roll), math.degrees(pitch), math.degrees(yaw)
