"""The measurement of what clients cost: that it has the clients it says, and tells what it found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")
pytest.importorskip("prometheus_client", reason="the extra web is not installed")

from benchmarks.clients import clients, looking, running
from benchmarks.setting import Setting
from edge.errors import SourceError

SOURCE = "demo://?width=320&height=180&frames=1000000"


def test_both_rates_are_told_with_their_ratio(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = clients(Setting(tiny_bundle, engine="fake"), SOURCE, 3, 2, 2, 1, tmp_path / "r.json")
    assert len(figures["fps_with"]) == len(figures["fps_without"]) == 2
    assert min(*figures["fps_with"], *figures["fps_without"]) > 1
    assert figures["ratio"] > 0
    assert min(figures["rss_mib_with"], figures["rss_mib_without"]) > 20
    document = json.loads((tmp_path / "r.json").read_text())
    assert (document["command"], document["conditions"]["slow"], document["conditions"]["dead"]) == ("benchmarks clients", 3, 2)
    assert "with 3 slow, 2 dead" in capsys.readouterr().out


def test_clients_are_connected_as_long_as_they_look(tiny_bundle: Path) -> None:
    with running(Setting(tiny_bundle, engine="fake"), SOURCE) as (process, port):
        links = Path(f"/proc/{process.pid}/fd")
        before = len(list(links.iterdir()))
        with looking(port, 0, 7):
            assert _reaches(links, before + 7)
        assert _reaches(links, before)


def _reaches(links: Path, count: int) -> bool:
    import time

    end = time.monotonic() + 20
    while len(list(links.iterdir())) != count and time.monotonic() < end:
        time.sleep(0.1)
    return len(list(links.iterdir())) == count


def test_a_run_that_ends_early_is_told_in_its_own_words(tiny_bundle: Path) -> None:
    with pytest.raises(SourceError, match=r"ended early: .*found nothing at nowhere"), running(Setting(tiny_bundle), "nowhere"):
        pytest.fail("it runs")
