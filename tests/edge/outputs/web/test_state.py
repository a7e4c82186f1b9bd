"""What the page shows lasts by the monotonic clock, whatever is done to the other one."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

from edge.board.telemetry import Telemetry
from edge.datasets.gtsrb import LABELS
from edge.frame import Source
from edge.outputs.meter import Meter
from edge.outputs.web.state import PageState


class Quiet:
    feed, dropped, unreadable = None, 0, 0


def sample(at_ns: int) -> Telemetry:
    return Telemetry(at_ns, None, None, 10.0, None, {}, None, {}, None, None)


def test_a_clock_that_is_set_back_or_forth_takes_no_history_and_no_time_away() -> None:
    wall = [1_800_000_000.0]
    passed = [50.0]
    state = PageState(cast(Source, Quiet()), LABELS, Meter(), {}, wall_s=lambda: wall[0], monotonic_s=lambda: passed[0])
    told = 0.0
    for second, step in enumerate((0, 1, 1, -3600, 1, 86400 * 365, 1), start=1):
        passed[0] += 1
        wall[0] += step
        state.note_telemetry(sample(second))
        status = state.status(told)
        assert len(status["history"]["t"]) == 1  # the new one, after what was asked for before
        assert status["uptime_s"] == second
        told = status["history"]["t"][-1]
    times = state.status()["history"]["t"]
    assert [round(after - before, 2) for before, after in pairwise(times)] == [1.0] * 6
