"""What messages tell of an attitude, when they were sent, and a vehicle's attitude over a real link."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any

import pytest
from packets import wait_for
from stations import Station, free_port

from edge.datasets.gtsrb import LABELS
from edge.frame import Frame
from edge.geometry.pose import Pose
from edge.outputs.mavlink.links import parse_address
from edge.outputs.mavlink.sink import MavlinkSink
from edge.outputs.meter import Meter
from edge.vehicle.attitude_messages import ArrivalClock, attitude_of, euler_deg, sent_s
from edge.vehicle.attitudes import LiveAttitude


def message(kind: str, component: int = 1, **fields: Any) -> Any:
    return SimpleNamespace(get_type=lambda: kind, get_srcComponent=lambda: component, time_boot_ms=2000, **fields)


def quaternion(roll: float, pitch: float, yaw: float) -> list[float]:
    (r, p, y), half = (math.radians(angle) / 2 for angle in (roll, pitch, yaw)), math.cos
    sine = math.sin
    return [
        half(r) * half(p) * half(y) + sine(r) * sine(p) * sine(y),
        sine(r) * half(p) * half(y) - half(r) * sine(p) * sine(y),
        half(r) * sine(p) * half(y) + sine(r) * half(p) * sine(y),
        half(r) * half(p) * sine(y) - sine(r) * sine(p) * half(y),
    ]


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (-45, -60, 0), (10, 20, -150), (170, 5, 90)])
def test_a_quaternion_is_three_angles(angles: tuple[float, float, float]) -> None:
    assert euler_deg(quaternion(*angles)) == pytest.approx(angles)


def test_what_messages_tell() -> None:
    attitude = message("ATTITUDE", roll=0.5, pitch=-0.2, yaw=-1.0)
    told = attitude_of(attitude)
    assert told is not None
    assert (told[0], sent_s(attitude)) == ("vehicle", 2.0)
    assert (told[1].roll_deg, told[1].pitch_deg, told[1].yaw_deg) == pytest.approx((28.648, -11.459, 302.704), abs=1e-3)
    assert attitude_of(message("ATTITUDE", 154, roll=0.5, pitch=0.0, yaw=0.0)) is None
    assert attitude_of(message("HEARTBEAT")) is None
    mount = {"roll": 4.0, "pitch": -30.0, "yaw": 20.0}
    assert attitude_of(message("MOUNT_ORIENTATION", yaw_absolute=math.nan, **mount)) == ("gimbal", Pose(roll_deg=4.0, pitch_deg=-30.0))
    assert attitude_of(message("MOUNT_ORIENTATION", yaw_absolute=350.0, **(mount | {"roll": math.nan}))) is None


@pytest.mark.parametrize(
    ("flags", "delta_yaw", "yaw"), [(32, math.radians(100), 110.0), (32, math.nan, None), (64, math.nan, 10.0), (16, 0.0, 10.0), (0, math.radians(100), None)]
)
def test_a_gimbals_yaw_is_told_where_it_is_against_north(flags: int, delta_yaw: float, yaw: float | None) -> None:
    told = attitude_of(message("GIMBAL_DEVICE_ATTITUDE_STATUS", 154, q=quaternion(3, -20, 10), flags=flags, delta_yaw=delta_yaw))
    assert told is not None
    teller, pose = told
    assert (teller, pose.roll_deg, pose.pitch_deg) == ("gimbal", pytest.approx(3), pytest.approx(-20))
    assert pose.yaw_deg == (None if yaw is None else pytest.approx(yaw))
    assert attitude_of(message("GIMBAL_DEVICE_ATTITUDE_STATUS", 154, q=[math.nan] * 4, flags=flags, delta_yaw=delta_yaw)) is None


def test_a_clock_of_arrivals_forgets_what_held_messages_up() -> None:
    clock = ArrivalClock()
    delays = [0.05, 0.01, 0.04, 0.03, 0.01, 0.06]
    told = [clock.time_s(10 + place / 10, 100 + place / 10 + delay) for place, delay in enumerate(delays)]
    assert told[1:] == pytest.approx([100.11 + place / 10 for place in range(5)], abs=1e-3)
    assert clock.time_s(1.0, 130.0) == 130.0  # the vehicle was switched off and on


def heard(station_options: tuple[int, ...], *, system: int | None = None) -> tuple[list[float | None], list[float | None]]:
    """What a sink hands on while a vehicle talks, and after it has gone: rolls, None where none is known."""
    port, live = free_port(), LiveAttitude(0.02)

    def roll() -> float | None:
        pose = live.at(Frame(0, None, time.monotonic_ns(), None))  # type: ignore[arg-type]
        return None if pose is None or pose.roll_deg is None else round(pose.roll_deg, 3)

    with MavlinkSink(parse_address(f"udpin:127.0.0.1:{port}"), LABELS, Meter(), lambda: None, system=system, hear=live.hear):
        before = roll()
        with Station(f"udpout:127.0.0.1:{port}", *station_options):
            end = time.monotonic() + (3 if system is not None else 30)
            while roll() is None and time.monotonic() < end:
                time.sleep(0.02)
            time.sleep(0.3)
            during = roll()
        wait_for(lambda: roll() is None, "the attitude to be too old")
        return [before, during], [roll()]


def test_a_vehicles_attitude_comes_over_its_link_and_ends_with_it() -> None:
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")
    assert heard((7, 1, 2, 3, 25)) == ([None, 25.0], [None])


def test_a_gimbal_that_tells_its_own_is_believed() -> None:
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")
    assert heard((7, 1, 2, 3, 25, -4)) == ([None, -4.0], [None])


def test_another_vehicles_attitude_is_not_taken() -> None:
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")
    assert heard((7, 1, 2, 3, 25), system=42) == ([None, None], [None])
