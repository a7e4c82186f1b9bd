"""The time of day in events: this machine's, a vehicle's, or none, with the reason."""

from __future__ import annotations

import calendar
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from commands import command, lines, started

from edge.bundle.manifest import ModelSpec
from edge.datasets.gtsrb import LABELS
from edge.engines.fake import FakeEngine
from edge.frame import FeedState, Frame
from edge.outputs.events import EventSink
from edge.pipeline import run
from edge.recognition.classifier import Classifier
from edge.recognition.proposals import spot_whole
from edge.vehicle.utc import EARLIEST_S, LATEST_S, UtcClock

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "edge/outputs/events.schema.json").read_text(encoding="utf-8"))
FLIGHT_S = float(calendar.timegm((2031, 5, 6, 7, 8, 9)))


def system_time(utc_s: float, component: int = 1) -> Any:
    return SimpleNamespace(get_type=lambda: "SYSTEM_TIME", get_srcComponent=lambda: component, time_unix_usec=round(utc_s * 1e6))


@pytest.mark.parametrize("wall_s", [0.0, 40.0, EARLIEST_S - 1, LATEST_S, 1e18, -5.0])
def test_a_clock_that_was_never_set_tells_no_time_and_why(wall_s: float) -> None:
    time_s, why = UtcClock(lambda: wall_s, lambda: 40.0).at(39 * 10**9)
    assert time_s is None
    assert "not set" in why


def test_a_moment_of_the_monotonic_clock_is_one_of_the_day() -> None:
    assert UtcClock(lambda: FLIGHT_S, lambda: 40.0).at(39_750_000_000) == (FLIGHT_S - 0.25, "")


def test_a_vehicles_time_counts_from_when_it_first_knows_it_and_what_was_held_up_moves_it_little() -> None:
    clock = UtcClock(lambda: 40.0, lambda: 40.0)
    for untrue in (0.0, 35.0, 2.0**63 / 1e6):  # no GPS yet: nothing, or the time since the vehicle's start
        clock.hear(system_time(untrue), 35.0)
    clock.hear(system_time(FLIGHT_S, component=191), 35.0)  # another onboard computer
    assert clock.at(36 * 10**9)[0] is None
    clock.hear(system_time(FLIGHT_S), 40.0)
    assert clock.at(41 * 10**9) == (FLIGHT_S + 1, "")
    clock.hear(system_time(FLIGHT_S + 1), 41.8)
    assert clock.at(42 * 10**9)[0] == pytest.approx(FLIGHT_S + 2, abs=0.01)
    clock.hear(system_time(FLIGHT_S + 100), 50.0)  # set anew by its receiver
    assert clock.at(50 * 10**9)[0] == FLIGHT_S + 100


class Timed:
    """A camera on a machine whose clock was never set; the vehicle's time comes before the third frame."""

    uri, stills, live, feed, fps, dropped, unreadable = "made", False, True, None, 30.0, 0, 0

    def __init__(self, utc: UtcClock) -> None:
        self._utc = utc

    def __enter__(self) -> Timed:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame | FeedState]:
        yield FeedState("connecting", 10**9, 0, 0, 0, 0, "")
        for index in range(8):
            if index == 2:
                self._utc.hear(system_time(FLIGHT_S), 2.0)
                yield FeedState("live", 2 * 10**9, 0, 0, 0, 0, "")
            yield Frame(index, np.full((40, 40, 3), 90, np.uint8), (2 + index) * 10**9, None)


def test_events_tell_the_time_or_why_not_and_go_by_the_vehicle_from_then_on(tmp_path: Path, tiny_spec: ModelSpec) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="the dev group is not installed")
    utc = UtcClock(lambda: 5.0, lambda: 5.0)
    with Classifier(FakeEngine(tiny_spec, "fp16"), 0.0) as classifier:
        run(Timed(utc), spot_whole, classifier, [EventSink(tmp_path / "e.jsonl", LABELS)], utc=utc)
    events = lines(tmp_path / "e.jsonl")
    for event in events:
        jsonschema.validate(event, SCHEMA)
    first, *others = events
    assert (first["event"], first["time"]) == ("state", None)
    assert "1970-01-01" in first["time_unknown"]
    assert {"state", "sighting", "gone"} == {event["event"] for event in others}
    for event in others:
        told = datetime.fromtimestamp(FLIGHT_S, timezone.utc) + timedelta(seconds=event["received_ns"] / 1e9 - 2)
        assert (event["time"], event["time_unknown"]) == (told.strftime("%Y-%m-%dT%H:%M:%S.000Z"), None)


def test_a_run_goes_by_the_gps_of_the_vehicle_at_its_link(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")
    from stations import Station, free_port

    port = free_port()
    options = ("--bundle", bundle, "--engine", "fake", "--spotter", "none", "--events", tmp_path / "e.jsonl", "--mavlink", f"udpin:127.0.0.1:{port}")
    with Station(f"udpout:127.0.0.1:{port}", 7, 1, 2, 3, 0, 0, int(FLIGHT_S)):
        process = started(command("run", "demo://?view=car&width=160&height=90&frames=240&realtime=1", *options), ROOT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    last = lines(tmp_path / "e.jsonl")[-1]
    assert last["time"].startswith("2031-05-06T07:0")
    assert last["media_s"] == pytest.approx(last["frame"] / 30, abs=0.002)
