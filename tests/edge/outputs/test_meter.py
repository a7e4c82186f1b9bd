"""The meter: what a run is like while it goes on."""

from __future__ import annotations

import pytest
from edge.frame import Frame
from edge.result import Report, Result
from media import picture

from edge.outputs.meter import AGE_BOUNDS_MS, WINDOW_S, Meter

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = 100 * SECOND

    def __call__(self) -> int:
        return self.now_ns


def result(done_ns: int, age_ms: float, *class_ids: int, final: bool = False) -> Result:
    frame = Frame(0, picture(0), done_ns - round(age_ms * 1e6), None)
    return Result(frame, [Report("sighting", 1, each, 0.9, (0, 0, 9, 9)) for each in class_ids], (), (), done_ns, final)


def test_speed_and_age_are_those_of_the_last_seconds() -> None:
    clock = Clock()
    meter = Meter(clock)
    for step in range(200):
        clock.now_ns += SECOND // 20
        meter.note(result(clock.now_ns, 500.0 if step < 100 else float(step - 99)))
    rates = meter.rates
    assert rates.fps == pytest.approx(20, abs=0.3)
    assert rates.age_ms == {"p50": pytest.approx(50.5, abs=1), "p99": pytest.approx(99, abs=1), "max": 100.0}
    assert rates.silent_s == 0


def test_speed_falls_to_nothing_while_no_frame_comes() -> None:
    clock = Clock()
    meter = Meter(clock)
    assert (meter.rates.fps, meter.rates.age_ms) == (0.0, {})
    for _ in range(50):
        clock.now_ns += SECOND // 10
        meter.note(result(clock.now_ns, 10.0))
    speeds = []
    for _ in range(int(WINDOW_S) + 1):
        clock.now_ns += SECOND
        speeds.append(meter.rates.fps)
    assert speeds == sorted(speeds, reverse=True)
    assert (speeds[0], speeds[-1], meter.rates.age_ms, meter.rates.silent_s) == (pytest.approx(8, abs=0.3), 0.0, {}, WINDOW_S + 1)


def test_more_frames_than_are_kept_are_not_told_as_fewer() -> None:
    clock = Clock()
    meter = Meter(clock)
    for _ in range(6_000):
        clock.now_ns += SECOND // 2000
        meter.note(result(clock.now_ns, 1.0))
    assert meter.rates.fps == pytest.approx(2000, rel=0.01)


def test_counts_are_those_of_the_whole_run() -> None:
    clock = Clock()
    meter = Meter(clock)
    for age, seen in ((4.0, (14,)), (5.0, ()), (60.0, (14, 3)), (9000.0, ())):
        meter.note(result(clock.now_ns, age, *seen))
    meter.note(result(clock.now_ns, 4.0, final=True))
    counts = meter.counts
    assert (counts.frames, counts.sightings, counts.age_sum_ms) == (4, {14: 2, 3: 1}, pytest.approx(9069))
    assert dict(zip((*AGE_BOUNDS_MS, "all"), counts.ages, strict=True)) == {
        **{bound: 2 for bound in AGE_BOUNDS_MS if bound < 60},
        **{bound: 3 for bound in AGE_BOUNDS_MS if bound >= 60},
        "all": 4,
    }
