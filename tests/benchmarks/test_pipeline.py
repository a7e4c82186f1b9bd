"""The whole runtime as it is measured: its own process, ended in order, its figures complete; a refusal is handed on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.measuring.setting import Setting
from benchmarks.pipeline import RUN_KEYS, as_text, measure
from edge.errors import SourceError

SMALL = "demo://?width=160&height=96"


def test_a_source_that_ends_is_measured_whole(tiny_bundle: Path) -> None:
    row = measure(Setting(tiny_bundle, "fake"), f"{SMALL}&frames=6", "colour", 120)
    assert set(row) == {"source", *RUN_KEYS, "stage_share", "fps_without_source"}
    assert (row["frames"], row["dropped"], row["engine"]) == (6, 0, "fake")
    assert sum(row["stage_share"].values()) == pytest.approx(1, abs=1e-3)
    assert row["fps_without_source"] > row["fps"] > 0
    for wanted in (row["source"], "6 frames", "p99", "MiB", *row["stage_ms"]):
        assert wanted in as_text(row)


def test_a_source_without_end_is_ended_in_order(tiny_bundle: Path) -> None:
    row = measure(Setting(tiny_bundle, "fake"), f"{SMALL}&frames=1000000", "colour", 4)
    assert 0 < row["frames"] < 1_000_000


def test_outputs_go_along_where_they_are_asked_for(tiny_bundle: Path) -> None:
    pytest.importorskip("uvicorn", reason="the extra web is not installed")
    pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")
    # Their libraries take memory.
    bare, whole = (measure(Setting(tiny_bundle, "fake"), f"{SMALL}&frames=60", "colour", 120, outputs=outputs)["peak_rss_mib"] for outputs in (False, True))
    assert bare + 5 < whole < bare + 100


def test_what_the_runtime_refuses_is_handed_on_in_a_line(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^wanted to measure .*none\.mp4.* wanted ") as refused:
        measure(Setting(tiny_bundle, "fake"), str(tmp_path / "none.mp4"), "colour", 60)
    assert "\n" not in str(refused.value)


def test_the_command_measures_every_source_and_keeps_the_result(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = [f"{SMALL}&frames=3", f"{SMALL}&frames=4&realtime=1"]
    options = ["--bundle", str(tiny_bundle), "--engine", "fake", "--spotter", "none", "--json", str(tmp_path / "out.json")]
    assert main(["pipeline", *sources, *options]) == 0
    document = json.loads((tmp_path / "out.json").read_text())
    assert [row["source"] for row in document["sources"]] == sources
    assert (document["command"], document["frames"], document["conditions"]["spotter"]) == ("benchmarks pipeline", 3, "none")
    printed = capsys.readouterr().out
    assert "fake on cpu" in printed
    assert all(source in printed for source in sources)
