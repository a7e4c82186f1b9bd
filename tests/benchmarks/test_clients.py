"""The measurement of what clients cost: that it has the clients it says, and tells what it found."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")
pytest.importorskip("prometheus_client", reason="the extra web is not installed")

from packets import wait_for

from benchmarks.clients import children, clients, looking, running
from benchmarks.measuring.setting import Setting
from edge.errors import SourceError

SOURCE = "demo://?width=320&height=180&frames=1000000"


def test_both_rates_are_told_with_their_ratio(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = clients(Setting(tiny_bundle, engine="fake"), SOURCE, 3, 2, 2, 1, tmp_path / "r.json", silent=50, refused=40)
    assert len(figures["fps_with"]) == len(figures["fps_without"]) == 2
    assert min(*figures["fps_with"], *figures["fps_without"]) > 1
    assert figures["ratio"] > 0
    assert min(figures["rss_mib_with"], figures["rss_mib_without"]) > 20
    document = json.loads((tmp_path / "r.json").read_text())
    assert (document["command"], document["conditions"]["slow"], document["conditions"]["dead"]) == ("benchmarks clients", 3, 2)
    told = capsys.readouterr().out
    assert "with 3 slow, 2 dead" in told
    for kind, number in (("silent", 50), ("refused", 40)):
        attack = figures["attacks"][kind]
        assert len(attack["fps_page"]) == len(attack["fps_socket"]) == 2
        assert attack["number"] == number
        assert min(attack["connections_a_second"].values()) > 1
        assert f"{number} {kind}" in told


def test_clients_are_connected_as_long_as_they_look(tiny_bundle: Path) -> None:
    with running(Setting(tiny_bundle, engine="fake"), SOURCE) as (process, port):
        wait_for(lambda: bool(list(children(process.pid))), "the page's process")
        (page,) = children(process.pid)
        own = 4  # its port, the run, and a pair that wakes asyncio
        wait_for(lambda: sockets_of(page) == own, "the page")
        with looking(port, 0, 7):
            wait_for(lambda: sockets_of(page) == own + 7, "the clients", 60)
        wait_for(lambda: sockets_of(page) == own, "their leave", 60)


def sockets_of(process: int) -> int:
    count = 0
    for handle in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            count += str(handle.readlink()).startswith("socket:")
    return count


def test_a_run_that_ends_early_is_told_in_its_own_words(tiny_bundle: Path) -> None:
    with pytest.raises(SourceError, match=r"ended early: .*found nothing at nowhere"), running(Setting(tiny_bundle), "nowhere"):
        pytest.fail("it runs")


def test_the_page_ends_with_a_run_that_is_killed(tiny_bundle: Path) -> None:
    with running(Setting(tiny_bundle, engine="fake"), SOURCE) as (process, _):
        (page,) = children(process.pid)
        process.kill()
        process.wait()
        wait_for(lambda: not Path(f"/proc/{page}/fd").exists() or not list(Path(f"/proc/{page}/fd").iterdir()), "the page's end")
