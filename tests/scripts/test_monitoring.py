"""What scripts/fleet/monitoring has for Prometheus and Grafana, against the page's own metrics, promtool and a real Prometheus."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="the extra web is not installed")
pytest.importorskip("uvicorn", reason="the extra web is not installed")

import yaml
from prometheus_client.parser import text_string_to_metric_families
from stations import free_port
from web_client import Feeding, Losses, Page

from edge.board.identity import Memory
from edge.board.telemetry import Telemetry
from edge.datasets.gtsrb import LABELS
from edge.frame import FeedState
from edge.outputs.meter import Meter
from edge.outputs.web.access import Access
from edge.outputs.web.metrics import Metrics
from edge.outputs.web.state import PageState
from edge.outputs.web.wire import Limits

MONITORING = Path(__file__).resolve().parents[2] / "scripts/fleet/monitoring"
JETSON = Telemetry(0, 0.5, Memory(7620, 5275, 402, 3810), 200.0, 150.0, {"gpu": 48.2}, 0.876, {"VDD_IN": 5705}, "25W", 52)
TOKEN = "a secret of the fleet"


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        reason = "needs Prometheus (Debian, Ubuntu: apt install prometheus)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return found


def promtool(*argv: str, cwd: Path = MONITORING) -> tuple[int, str]:
    done = subprocess.run([tool("promtool"), *argv], cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def page() -> Iterator[Page]:
    """A page that wants a token, of a board with all that a Jetson tells of itself, and a live camera."""
    source, meter = Losses(feed=FeedState("live", 0, 40, 7, 3, 2, ""), live=True), Meter()
    state = PageState(source, LABELS, meter, {})
    with Page("127.0.0.1", Access("127.0.0.1", TOKEN), state, Metrics(source, meter, LABELS, lambda: JETSON), Limits()) as sink, Feeding(sink):
        yield sink


def alert_expressions() -> list[str]:
    return [rule["expr"] for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def dashboard_expressions() -> list[str]:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_every_metric_that_is_asked_for_is_one_that_the_page_gives_and_none_is_forgotten() -> None:
    text = Metrics(Losses(feed=FeedState("live", 0, 40, 7, 3, 2, "")), Meter(), LABELS, lambda: JETSON).text()[0].decode()
    given = re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)
    named = re.findall(r"\b(?:signwing|process)_\w+", " ".join(alert_expressions() + dashboard_expressions()))
    assert {name.removesuffix("_bucket") for name in named} == set(given)


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for number, panel in enumerate(dashboard["panels"], 1):
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert panel["id"] == number
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        for target in panel["targets"]:
            told = panel["datasource"]["uid"] + target["datasource"]["uid"] + target["expr"]
            assert set(re.findall(r"\$\{?([a-z]+)", told)) <= variables
            assert 'board=~"$board"' in target["expr"]


def test_the_alerts_fire_where_they_should_and_nowhere_else(tmp_path: Path) -> None:
    assert promtool("check", "rules", "alerts.yml")[0] == 0
    code, told = promtool("test", "rules", "alerts.test.yml")
    assert code == 0, told
    tested = set(re.findall(r'alertname="(\w+)"', (MONITORING / "alerts.test.yml").read_text()))
    assert tested == set(re.findall(r"alert: (\w+)", (MONITORING / "alerts.yml").read_text()))
    shutil.copytree(MONITORING, tmp_path, dirs_exist_ok=True)
    for good, spoiled in (("> 0.25", "> 0.025"), (' unless on (job, instance) (signwing_feed_state{state="live"} == 0)', ""), (">= 85", "> 95")):
        text = (MONITORING / "alerts.yml").read_text()
        (tmp_path / "alerts.yml").write_text(text.replace(good, spoiled))
        assert text != (tmp_path / "alerts.yml").read_text()
        assert promtool("test", "rules", "alerts.test.yml", cwd=tmp_path)[0] == 1, good


class Prometheus:
    """A real one that scrapes a page each second, by the configuration that ships but for that second."""

    def __init__(self, folder: Path, page: Page) -> None:
        shutil.copytree(MONITORING, folder)
        config = (folder / "prometheus.yml").read_text()
        (folder / "prometheus.yml").write_text(config.replace("15s", "1s"))
        (folder / "token").write_text(TOKEN)
        where = urllib.parse.urlsplit(page.url).netloc.rpartition("@")[2]
        (folder / "boards.yml").write_text(yaml.safe_dump([{"targets": [where], "labels": {"board": "drone1"}}]))
        assert promtool("check", "config", "prometheus.yml", cwd=folder)[0] == 0
        self._address = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
        options = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={self._address}"]
        self._process = subprocess.Popen([tool("prometheus"), *options], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self) -> Prometheus:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()

    def query(self, expression: str) -> list[Any]:
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://{self._address}/api/v1/query?{asked}", timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return list(told["data"]["result"])

    def until(self, expression: str, seconds: float = 30) -> list[Any]:
        end = time.monotonic() + seconds
        while True:
            try:
                found = self.query(expression)
            except OSError:
                found = []
            if found:
                return found
            assert time.monotonic() < end, f"nothing came of {expression}"
            time.sleep(0.2)


def test_a_real_prometheus_has_an_answer_for_each_panel_and_no_alert_of_a_board_that_is_well(page: Page, tmp_path: Path) -> None:
    """Some seconds of real scrapes: a rate wants two."""
    with Prometheus(tmp_path / "prometheus", page) as prometheus:
        assert prometheus.until('rate(signwing_frames_total{board="drone1"}[10s]) > 0')
        for expression in dashboard_expressions():
            asked = expression.replace("$board", ".*").replace("$__rate_interval", "10s").replace("$__range", "1m")
            assert prometheus.until(asked), expression
        for expression in alert_expressions():
            assert prometheus.query(expression) == [], expression
        assert prometheus.query('up{job="signwing"}')[0]["value"][1] == "1"
        names = {sample.name for family in text_string_to_metric_families(page._metrics.text()[0].decode()) for sample in family.samples}
        assert {found["metric"]["__name__"] for found in prometheus.query('{__name__=~"signwing_.+|process_.+", job="signwing"}')} == names
