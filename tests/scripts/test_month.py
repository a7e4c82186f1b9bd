"""The accelerated month of `scripts/soak --month`, in short: the clock is injected, and what a run keeps stays within its bounds."""

from __future__ import annotations

from month import GROWTH_MIB, month

from edge.board.telemetry import KEPT
from edge.outputs.web.sightings import SIGHTINGS_KEPT


def test_what_a_run_of_a_month_keeps_is_bounded() -> None:
    kept = month(1500)
    assert (kept["frames"], round(kept["days"])) == (1500, 30)
    assert kept["sightings"] > 20
    assert kept["sightings_kept"] == min(kept["sightings"], SIGHTINGS_KEPT)
    assert kept["history_rows"] == KEPT
    assert kept["event_files_mib"] <= 0.51
    assert kept["uptime_s"] > 29 * 86_400  # though the wall clock was set back and forth
    assert kept["rss_growth_mib"] <= GROWTH_MIB
