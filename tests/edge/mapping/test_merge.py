"""Sightings become signs: doubled ones are joined, twins stay apart, flights agree; and an older map tells what is new and what has gone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from edge.geometry.geodesy import Plane
from edge.geometry.pose import Place
from edge.mapping.merge import compared, merged
from edge.mapping.sightings import FlightSeen, Seen

PLANE = Plane(48.0, 11.0)


def place(east, north, sigma=1.5, facing=180.0):
    return Place(*PLANE.degrees(east, north), 2.5, sigma, facing)


def flight(number, *told, way=()):
    """A flight that saw (label, place, first frame, last frame)."""
    signs = [
        Seen(number, track, len(label), label, 0.9 + track / 100, where, first, last, "1 s", "2 s") for track, (label, where, first, last) in enumerate(told, 1)
    ]
    points = [(time_s, *PLANE.degrees(east, north), yaw) for time_s, east, north, yaw in way]
    return FlightSeen(f"flight {number}", Path(), signs, 0, points)


def met(sign):
    return PLANE.metres(sign.place.lat, sign.place.lon)


def test_one_sign_followed_twice_is_one_and_twins_side_by_side_are_two():
    lost_and_found = flight(0, ("Stop", place(0, 0), 10, 30), ("Stop", place(1, 1), 40, 60))
    assert len(merged([lost_and_found])) == 1
    twins = flight(0, ("Stop", place(0, 0), 10, 60), ("Stop", place(3, 0), 20, 70))
    again = flight(1, ("Stop", place(3.4, 0.2), 5, 40), ("Stop", place(0.4, 0.2), 6, 41))
    signs = merged([twins, again])
    assert sorted(round(met(sign)[0]) for sign in signs) == [0, 3]
    assert all(len(sign.seen) == 2 for sign in signs)


def test_other_classes_other_sides_and_far_ones_stay_apart():
    seen = flight(0, ("Stop", place(0, 0), 0, 9), ("Yield", place(0, 0), 20, 29), ("Stop", place(0, 0, facing=0.0), 40, 49), ("Stop", place(9, 0), 60, 69))
    assert len(merged([seen])) == 4
    vague = flight(0, ("Stop", place(0, 0), 0, 9), ("Stop", place(9, 0, sigma=4, facing=None), 60, 69))
    assert len(merged([vague])) == 1


def test_flights_of_opposite_ways_agree_and_get_surer():
    there, back = flight(0, ("Stop", place(0, 0), 0, 9)), flight(1, ("Stop", place(2, 0, sigma=3.0, facing=200.0), 0, 9))
    (sign,) = merged([there, back])
    assert met(sign) == pytest.approx((0.4, 0), abs=0.01)
    assert sign.place.sigma_m == pytest.approx((1 / 1.5**2 + 1 / 9) ** -0.5)
    assert sign.place.facing_deg == pytest.approx(184, abs=1)
    twice = flight(0, ("Stop", place(0, 0), 0, 9), ("Stop", place(1, 0), 20, 29))
    assert merged([twice])[0].place.sigma_m == 1.5  # what the receiver is off, it is off both times


def test_an_older_map_tells_what_is_new_changed_gone_and_unsure():
    before = merged(
        [flight(0, ("Stop", place(0, 20), 0, 9), ("Yield", place(0, 60), 20, 29), ("Limit 30", place(0, 100), 40, 49), ("Danger", place(500, 0), 60, 69))]
    )
    way = [(second, 0.0, 8.0 * second - 30, 0.0) for second in range(20)]
    now = flight(0, ("Stop", place(1, 20), 0, 9), ("Limit 50", place(0, 100), 20, 29), ("Bend", place(3, 80), 40, 49), way=way)
    told = {sign.label: (sign.name, sign.status, sign.was) for sign in compared(merged([now]), before, [now])}
    assert told == {
        "Stop": ("S1", "kept", ""),
        "Limit 50": ("S3", "changed", "Limit 30"),
        "Bend": ("S5", "new", ""),
        "Yield": ("S2", "gone", ""),
        "Danger": ("S4", "unsure", ""),
    }


@pytest.mark.parametrize(
    "way",
    [
        [],
        [(second, 0.0, 90 - 8.0 * second, 180.0) for second in range(20)],  # saw its back alone
        [(second, 0.0, 8.0 * second - 30, None) for second in range(20)],
        [(second, 0.0, 8.0 * second - 30, 90.0) for second in range(20)],  # looked aside
        [(0, 0.0, -30.0, 0.0), (3600, 0.0, 90.0, 0.0)],  # an hour without a word
    ],
)
def test_where_no_flight_looked_nothing_is_gone(way):
    before = merged([flight(0, ("Stop", place(0, 40), 0, 9))])
    assert [sign.status for sign in compared([], before, [flight(0, way=way)])] == ["unsure"]


def test_the_order_of_flights_changes_no_sign():
    flights = [flight(0, ("Stop", place(0, 0), 0, 9), ("Stop", place(20, 0), 0, 9)), flight(1, ("Stop", place(19, 1), 0, 9))]
    swapped = [flight(0, ("Stop", place(19, 1), 0, 9)), flight(1, ("Stop", place(0, 0), 0, 9), ("Stop", place(20, 0), 0, 9))]
    one, other = (sorted(tuple(round(metre, 6) for metre in met(sign)) for sign in merged(each)) for each in (flights, swapped))
    assert one == other
    assert math.dist(one[1], (19.5, 0.5)) < 0.01


def test_what_a_receiver_was_off_by_throughout_mixes_up_no_neighbours():
    road = [("Stop", 0), ("Yield", 7), ("Danger", 14), ("Bend", 21), ("Limit 30", 28), ("Limit 50", 35)]
    before = merged([flight(0, *((label, place(0, north), 20 * n, 20 * n + 9) for n, (label, north) in enumerate(road)))])
    off = {"Danger": 8.5, "Limit 50": 8.5}  # metres; the others are within the gate, these are not
    now = flight(0, *((label, place(1, north - off.get(label, 6.5)), 20 * n, 20 * n + 9) for n, (label, north) in enumerate(road)))
    assert {sign.status for sign in compared(merged([now]), before, [now])} == {"kept"}
    again = flight(1, *((seen.label, seen.place, seen.first_frame, seen.last_frame) for seen in now.signs))
    assert len(merged([flight(0, *((sign.label, sign.place, sign.seen[0].first_frame, sign.seen[0].last_frame) for sign in before)), again])) == 6
