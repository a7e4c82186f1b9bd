"""Tracks: flights are flown and scored, and one without signs too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.__main__ import main
from edge.drawn.drone.flight import DroneFlight
from edge.drawn.scenes import Flight, announced_after


def test_flights_are_scored_together_and_silence_is_listened_to(tiny_bundle: Path, tmp_path: Path) -> None:
    options = ["--bundle", str(tiny_bundle), "--engine", "fake", "--spotter", "colour", "--json", str(tmp_path / "out.json")]
    assert main(["tracks", "--seeds", "0", "3", "--frames", "90", "--silent-minutes", "0.01", *options]) == 0
    document = json.loads((tmp_path / "out.json").read_text())
    assert [flight["seed"] for flight in document["flights"]] == [0, 3]
    passes = document["passes"]
    assert passes["all"] == sum(flight["all"] for flight in document["flights"]) == passes["right"] + passes["wrong"] + passes["missed"]
    assert document["silent"]["frames"] == 18
    assert document["conditions"]["view"] == "drone"
    assert passes["all"] == sum(len(DroneFlight(seed, frames=90).passes()) for seed in (0, 3)) > 0


def test_a_car_flies_where_it_is_asked(tiny_bundle: Path, tmp_path: Path) -> None:
    options = ["--bundle", str(tiny_bundle), "--engine", "fake", "--spotter", "colour", "--json", str(tmp_path / "out.json")]
    assert main(["tracks", "--view", "car", "--seeds", "0", "--frames", "40", "--silent-minutes", "0", *options]) == 0
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["conditions"]["view"] == "car"
    assert document["passes"]["all"] == len(Flight(0, frames=40).passes()) > 0


def test_a_flight_without_signs_has_the_same_road() -> None:
    with_signs, without = Flight(3, frames=140), Flight(3, frames=140, signs=False)
    assert without.passes() == ()
    seen = with_signs.passes()[0].last_frame
    assert not np.array_equal(with_signs.frame(seen).image, without.frame(seen).image)
    sky = slice(0, 40)
    assert np.array_equal(with_signs.frame(seen).image[sky, :200], without.frame(seen).image[sky, :200])


def test_delays_count_from_the_first_visible_frame() -> None:
    flight = Flight(3, frames=140)
    one, two = flight.passes()[:2]
    reports = [
        (at, 1, 0, next(truth.box_xyxy for truth in flight.signs_in(at) if truth.pass_id == which.pass_id))
        for at, which in ((one.first_frame + 4, one), (one.first_frame + 6, one), (two.first_frame + 9, two))
    ]
    assert announced_after(flight, reports) == [4, 9]
