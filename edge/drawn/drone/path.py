"""The way of a drone along a winding road: where it is and how it is turned at any moment of a flight that never ends.

The world is that of `edge.drawn.perspective`, z to the north: metres from `ORIGIN`. Speed, climb and weaving are sums of sines that follow from the seed;
heading and bank follow from the way itself, as they do of whatever flies.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from edge.drawn.perspective import Floats
from edge.geometry.geodesy import Plane

ORIGIN = (48.0, 11.0)
"""Latitude and longitude of the point x = 0, z = 0, degrees of WGS84."""
PERIOD_M = 192.0
"""The road's bends repeat themselves after so many metres."""

_BENDS = ((6.0, 1, 0.4), (3.4, 2, 1.9))
_LANE_M = -1.1
_CRUISE, _SURGE, _SURGE_S = (8.8, 9.4), 0.8, 8.3
_WEAVES = (((0.8, 1.2), 4.6), ((1.5, 2.3), 7.7))
_LOWEST_M, _WAVES = 3.6, ((4.2, 11.0), (1.0, 5.3))
_CLIMB_S, _CLIMB_M = 21.0, (8.0, 26.0)
_GRAVITY = 9.81
_STEP_S = 0.05
_SHAKES = ((0.45, 0.9), (0.3, 2.3), (0.15, 5.1))

SLOWEST_MPS = _CRUISE[0] - _SURGE
"""It moves along z at this speed or faster, metres a second."""


def road_x(z: Floats) -> Floats:
    """Return where the road's own x = 0 lies, metres, for places along z."""
    bends: Floats = sum((size * np.sin(2 * np.pi * times * z / PERIOD_M + phase) for size, times, phase in _BENDS), np.zeros_like(z))
    return bends


def road_heading(z: Floats) -> Floats:
    """Return the road's heading for places along z, radians clockwise from north."""
    turns = 2 * np.pi / PERIOD_M
    slope = sum((size * turns * times * np.cos(turns * times * z + phase) for size, times, phase in _BENDS), np.zeros_like(z))
    return np.asarray(np.arctan(slope), np.float64)


def lat_lon(x: float, z: float) -> tuple[float, float]:
    """Return latitude and longitude of a point x metres to the east and z to the north of `ORIGIN`."""
    return Plane(*ORIGIN).degrees(x, z)


@dataclass(frozen=True, eq=False)
class Way:
    """Where the drone is at some moments, and how its camera is turned; every array has the moments' shape.

    Attributes:
        x: metres to the east.
        y: metres above the ground.
        z: metres to the north.
        speed: over the ground, metres a second.
        roll_deg: the bank, which the camera follows.
        pitch_deg: of the camera, which a gimbal turns down the higher the drone is.
        yaw_deg: where the drone heads.
    """

    x: Floats
    y: Floats
    z: Floats
    speed: Floats
    roll_deg: Floats
    pitch_deg: Floats
    yaw_deg: Floats


def way(seed: int, times_s: Floats) -> Way:
    """Return the way of a seed's flight at some moments, seconds, without the shaking."""
    before, here, after = (_place(seed, times_s + step) for step in (-_STEP_S, 0.0, _STEP_S))
    (speed_x, _, speed_z), (push_x, lift, push_z) = (after - before) / (2 * _STEP_S), (after - 2 * here + before) / _STEP_S**2
    speed = np.hypot(speed_x, speed_z)
    aside = (push_x * speed_z - push_z * speed_x) / speed
    nod = np.random.default_rng((seed, 62)).uniform(0, 6.283, 2)
    nods = 2.5 * np.sin(2 * np.pi * times_s / 6.1 + nod[0]) + 1.5 * np.sin(2 * np.pi * times_s / 2.9 + nod[1])
    x, y, z = here
    bank, pitch, yaw = np.arctan2(aside, _GRAVITY + lift), -6 - 46 * (1 - np.exp(-y / 24)) + nods, np.arctan2(speed_x, speed_z)
    return Way(x, y, z, speed, np.degrees(bank), pitch, np.degrees(yaw))


def time_at(seed: int, z: float) -> float:
    """Return when a seed's flight passes a place along z, seconds; below 0 before it begins."""
    phases, cruise, _, start = _temper(seed)
    turns, time_s = 2 * math.pi / _SURGE_S, (z - start) / cruise
    for _ in range(4):
        at = start + cruise * time_s + _SURGE / turns * math.sin(turns * time_s + phases[0])
        time_s -= (at - z) / (cruise + _SURGE * math.cos(turns * time_s + phases[0]))
    return float(time_s)


def shaking(seed: int, index: int, time_s: float) -> tuple[float, float, float]:
    """Return by how many degrees wind and motors turn the camera in one frame: roll, pitch, yaw."""
    phases = np.random.default_rng((seed, 63)).uniform(0, 6.283, (len(_SHAKES), 3))
    swings = sum(size * np.sin(2 * np.pi * often * time_s + phase) for (size, often), phase in zip(_SHAKES, phases, strict=True))
    roll, pitch, yaw = (swings * (0.9, 0.6, 0.5) + np.random.default_rng((seed, 64, index)).normal(0, 0.05, 3)).tolist()
    return roll, pitch, yaw


def _place(seed: int, times_s: Floats) -> Floats:
    """Return x, y and z at some moments, (3, ...)."""
    phases, cruise, weaves, start = _temper(seed)
    z = start + cruise * times_s + _SURGE * _SURGE_S / (2 * np.pi) * np.sin(2 * np.pi * times_s / _SURGE_S + phases[0])
    waves = (size * (1 + np.sin(2 * np.pi * times_s / lasts + phase)) for (size, lasts), phase in zip(_WAVES, phases[1:], strict=False))
    y = _LOWEST_M + sum(waves, np.zeros_like(z)) + _climb(seed, times_s)
    weave = sum(size * np.sin(2 * np.pi * times_s / lasts + phase) for size, (_, lasts), phase in zip(weaves, _WEAVES, phases[3:], strict=False))
    # Near the ground it keeps to the road, for signs and trees stand beside it.
    room = 1 / (1 + np.exp((7.5 - y) / 1.4))
    return np.stack([road_x(z) + _LANE_M + weave * (0.5 + 0.5 * room), y, z])


def _climb(seed: int, times_s: Floats) -> Floats:
    """Return how far it has climbed above its cruise; each climb is of another height."""
    heights, phase = _climbs(seed)
    turn, into = np.divmod(times_s + phase, _CLIMB_S)
    climbed: Floats = heights[turn.astype(int) % len(heights)] * np.sin(np.pi * into / _CLIMB_S) ** 4
    return climbed


@functools.lru_cache(maxsize=64)
def _climbs(seed: int) -> tuple[Floats, float]:
    rng = np.random.default_rng((seed, 61))
    return rng.permutation(np.linspace(*_CLIMB_M, 8)), float(rng.uniform(0, _CLIMB_S))


@functools.lru_cache(maxsize=64)
def _temper(seed: int) -> tuple[Floats, float, tuple[float, ...], float]:
    """Return what is a seed's own: phases, cruising speed, sizes of the weaving, and where along the road it starts."""
    rng = np.random.default_rng((seed, 60))
    weaves = tuple(float(rng.uniform(*size)) for size, _ in _WEAVES)
    return rng.uniform(0, 6.283, 5), float(rng.uniform(*_CRUISE)), weaves, float(rng.uniform(0, PERIOD_M))
