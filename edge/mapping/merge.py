"""Joins what flights saw to signs: the same class, within their uncertainty, facing the same way. What one flight saw side by side are two signs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal

from edge.geometry.geodesy import Plane
from edge.geometry.pose import Place
from edge.mapping.sightings import FlightSeen, Seen

Status = Literal["seen", "kept", "new", "changed", "gone", "unsure"]

GATE = 3.5
"""Two places are one sign's where they are at most so many of their joint standard deviations apart: 2 in 1,000 are farther."""
FACING_DEG = 90.0
"""And face the same way within this."""

_LEAST_SIGMA_M, _LEAST_PAIRS = 0.5, 3

Shift = tuple[float, float]


@dataclass
class Sign:
    """A sign on the map.

    Attributes:
        name: as it is called on the map, such as S12.
        class_id: its class.
        label: the class's name.
        place: where it stands.
        confidence: the best of its sightings, 0 to 1.
        seen: its sightings, in order of flights.
        status: what a comparison with an older map says; "seen" without one.
        was: label that stood there on the older map, where it has changed.
    """

    name: str
    class_id: int
    label: str
    place: Place
    confidence: float
    seen: list[Seen] = field(default_factory=list)
    status: Status = "seen"
    was: str = ""


def merged(flights: Sequence[FlightSeen]) -> list[Sign]:
    """Return the signs that flights saw, in the order in which they were first seen."""
    signs: list[Sign] = []
    for flight in flights:
        waiting, shift = dict(enumerate(flight.signs)), shift_to(signs, flight.signs)
        pairs = sorted((apart(seen.place, sign.place, shift), i, j) for i, seen in waiting.items() for j, sign in enumerate(signs) if sign.label == seen.label)
        for distance, i, j in pairs:
            if i in waiting and distance <= GATE and may_be_one(waiting[i], signs[j]):
                _join(signs[j], waiting.pop(i))
        for seen in sorted(waiting.values(), key=lambda one: (one.first_frame, one.track)):
            near = [(apart(seen.place, sign.place), j) for j, sign in enumerate(signs) if sign.label == seen.label and may_be_one(seen, sign)]
            distance, j = min(near, default=(math.inf, -1))
            if distance <= GATE:
                _join(signs[j], seen)
            else:
                signs.append(Sign(f"S{len(signs) + 1}", seen.class_id, seen.label, seen.place, seen.confidence, [seen]))
    return signs


def apart(one: Place, other: Place, shift: Shift = (0.0, 0.0)) -> float:
    """Return the distance of a place, moved by so many metres to the east and north, from another one in their joint standard deviations.

    It is infinite where they face different ways.
    """
    if one.facing_deg is not None and other.facing_deg is not None and abs((one.facing_deg - other.facing_deg + 180) % 360 - 180) > FACING_DEG:
        return math.inf
    east, north = Plane(one.lat, one.lon).metres(other.lat, other.lon)
    return math.hypot(east - shift[0], north - shift[1]) / math.hypot(one.sigma_m, other.sigma_m, _LEAST_SIGMA_M)


def shift_to(signs: Sequence[Sign], seen: Sequence[Seen | Sign]) -> Shift:
    """Return by how many metres to the east and north a flight's places are to be moved to fit those of a map: what its receiver was off by throughout.

    It is the median over all pairs of the same class that may be one sign; without three of them nothing is moved.
    """
    found: list[Shift] = []
    for one in seen:
        near = [(apart(one.place, sign.place), j) for j, sign in enumerate(signs) if sign.label == one.label]
        distance, j = min(near, default=(math.inf, -1))
        if distance <= GATE:
            found.append(Plane(one.place.lat, one.place.lon).metres(signs[j].place.lat, signs[j].place.lon))
    if len(found) < _LEAST_PAIRS:
        return 0.0, 0.0
    return median(east for east, _ in found), median(north for _, north in found)


def may_be_one(seen: Seen, sign: Sign) -> bool:
    """Tell whether no track of the same flight, that lived at the same time, is that sign already."""
    return not any(one.flight == seen.flight and one.first_frame <= seen.last_frame and seen.first_frame <= one.last_frame for one in sign.seen)


def _join(sign: Sign, seen: Seen) -> None:
    sign.seen.append(seen)
    sign.confidence = max(sign.confidence, seen.confidence)
    sign.place = _mean(sign.seen)


def _mean(seen: Sequence[Seen]) -> Place:
    """Return the place by all sightings; what a flight's own receiver is off does not get smaller by seeing a sign twice in it, but by another flight."""
    plane, squares = Plane(seen[0].place.lat, seen[0].place.lon), [max(one.place.sigma_m, 0.01) ** 2 for one in seen]
    flights = {one.flight: sum(other.flight == one.flight for other in seen) for one in seen}
    weights = [1 / square / flights[one.flight] for one, square in zip(seen, squares, strict=True)]
    total = sum(weights)
    points = [plane.metres(one.place.lat, one.place.lon) for one in seen]
    east, north = (sum(weight * point[axis] for weight, point in zip(weights, points, strict=True)) / total for axis in (0, 1))
    heights = [(weight, one.place.alt_m) for weight, one in zip(weights, seen, strict=True) if one.place.alt_m is not None]
    facing = [(weight, math.radians(one.place.facing_deg)) for weight, one in zip(weights, seen, strict=True) if one.place.facing_deg is not None]
    best = {flight: min(square for one, square in zip(seen, squares, strict=True) if one.flight == flight) for flight in flights}
    lat, lon = plane.degrees(east, north)
    alt_m = sum(weight * height for weight, height in heights) / sum(weight for weight, _ in heights) if heights else None
    sums = [sum(weight * turn(angle) for weight, angle in facing) for turn in (math.sin, math.cos)]
    return Place(lat, lon, alt_m, sum(1 / square for square in best.values()) ** -0.5, math.degrees(math.atan2(*sums)) % 360 if facing else None)


def compared(signs: Sequence[Sign], before: Sequence[Sign], flights: Sequence[FlightSeen]) -> list[Sign]:
    """Return the signs with what has become of those of an older map, whose names they keep: `kept`, `changed`, `new`, `gone`, or `unsure`.

    A sign of the older map is gone where a flight looked at its place and told of none; where none looked, it is unsure.
    """
    found, left, old = [], dict(enumerate(signs)), dict(enumerate(before))
    shift = shift_to(before, signs)
    pairs = [(apart(sign.place, one.place, shift), i, k) for i, sign in left.items() for k, one in old.items()]
    for same in (True, False):
        for distance, i, k in sorted(pairs):
            if i in left and k in old and distance <= GATE and (left[i].label == old[k].label) == same:
                sign, one = left.pop(i), old.pop(k)
                found.append(replace(sign, name=one.name, status="kept" if same else "changed", was="" if same else one.label))
    numbers = [int(one.name[1:]) for one in before if one.name[1:].isdecimal()]
    first = max(numbers, default=0) + 1
    found += [replace(sign, name=f"S{first + place}", status="new") for place, sign in enumerate(left.values())]
    found += [replace(one, status="gone" if any(_looked_at(one.place, flight) for flight in flights) else "unsure") for one in old.values()]
    return found


_STEP_M, _LEAST_STEPS, _LONGEST_S, _LONGEST_M = 2.0, 4, 20.0, 250.0
_VIEW_M, _VIEW_DEG, _GRAZING_DEG = (8.0, 35.0), 22.0, 60.0


def _looked_at(place: Place, flight: FlightSeen) -> bool:
    """Tell whether a flight had a place before its camera, near enough and from its front; between two poses it is taken to have flown straight on."""
    plane, steps = Plane(place.lat, place.lon), 0
    for (start_s, *start, _), (end_s, *end, yaw) in zip(flight.way, flight.way[1:], strict=False):
        (east, north), (to_east, to_north) = plane.metres(*start), plane.metres(*end)
        length = math.hypot(to_east - east, to_north - north)
        if yaw is None or not 0 <= end_s - start_s <= _LONGEST_S or length > _LONGEST_M:
            continue
        for step in range(max(round(length / _STEP_M), 1)):
            share = step * _STEP_M / max(length, _STEP_M)
            x, y = east + share * (to_east - east), north + share * (to_north - north)
            sight = math.degrees(math.atan2(-x, -y))
            off = abs((sight - yaw + 180) % 360 - 180)
            front = 0.0 if place.facing_deg is None else abs((sight + 180 - place.facing_deg + 180) % 360 - 180)
            steps += _VIEW_M[0] <= math.hypot(x, y) <= _VIEW_M[1] and off <= _VIEW_DEG and front <= _GRAZING_DEG
    return steps >= _LEAST_STEPS
