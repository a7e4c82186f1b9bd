"""`/metrics`, read by a parser of Prometheus's text format, against the summary of the same run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client", reason="the extra web is not installed")
pytest.importorskip("uvicorn", reason="the extra web is not installed")

from prometheus_client.parser import text_string_to_metric_families
from web_client import Losses, get, serving

from edge.board.identity import Memory
from edge.board.telemetry import Telemetry
from edge.bundle.manifest import read_bundle
from edge.datasets.gtsrb import LABELS
from edge.engines.open import open_engine
from edge.frame import FeedState
from edge.outputs.meter import AGE_BOUNDS_MS, Meter, MeterSink
from edge.outputs.web.access import Access
from edge.outputs.web.metrics import Metrics
from edge.outputs.web.sink import WebSink
from edge.outputs.web.state import PageState
from edge.pipeline import run
from edge.recognition.classifier import Classifier
from edge.recognition.spotter_colour import spot_by_colour
from edge.result import Result
from edge.sources.open import open_source

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: bytes) -> Samples:
    samples = [sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples]
    found = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


class Scraping:
    """A sink that reads `/metrics` when the run has written its last result, before the page closes."""

    def __init__(self, page: WebSink) -> None:
        self._page = page
        self.samples: Samples = {}
        self.kind = ""

    def __enter__(self) -> Scraping:
        return self

    def __exit__(self, *exc: object) -> None:
        status, headers, body = get(self._page, "/metrics")
        assert status == 200
        self.samples, self.kind = parsed(body), headers["content-type"]

    def write(self, result: Result) -> None:
        pass

    def feed(self, state: FeedState) -> None:
        pass


def test_counters_agree_with_the_summary_of_the_run(tiny_bundle: Path) -> None:
    bundle, meter = read_bundle(tiny_bundle), Meter()
    with Classifier(open_engine(bundle, "classifier"), 0.0) as classifier, open_source("demo://?frames=120&width=480&height=270") as source:
        state = PageState(source, LABELS, meter, {})
        page = WebSink("127.0.0.1", 0, Access("127.0.0.1", None), state, Metrics(source, meter, LABELS, lambda: state.telemetry))
        scraping = Scraping(page)
        summary = run(source, spot_by_colour, classifier, [MeterSink(meter), page, scraping])
    found = scraping.samples
    assert scraping.kind.startswith("text/plain; version=")
    assert summary.sightings > 0
    assert found["signwing_frames_total", ()] == summary.frames == 120
    assert found["signwing_frames_dropped_total", ()] == summary.dropped
    assert found["signwing_frames_unreadable_total", ()] == summary.unreadable
    assert sum(value for (name, _), value in found.items() if name == "signwing_sightings_total") == summary.sightings
    assert found["signwing_frame_age_seconds_count", ()] == summary.frames
    buckets = [found["signwing_frame_age_seconds_bucket", (("le", str(bound / 1000)),)] for bound in AGE_BOUNDS_MS]
    assert buckets == sorted(buckets)
    under = [bucket / summary.frames for bound, bucket in zip(AGE_BOUNDS_MS, buckets, strict=True) if bound >= summary.age_ms["max"]]
    assert all(share == 1 for share in under)
    assert found["signwing_frame_age_seconds_sum", ()] * 1000 >= summary.age_ms["p50"] * summary.frames / 2


def test_the_machine_is_told_in_base_units_and_what_is_unknown_is_absent() -> None:
    known = Telemetry(0, 0.5, Memory(7620, 5275, 402, 3810), 200.0, 150.0, {"gpu": 48.2}, 0.876, {"VDD_IN": 5705}, "25W", 52)
    unknown = Telemetry(0, None, None, 200.0, None, {}, None, {}, None, None)
    for sample, wanted in ((known, True), (unknown, False)):
        found = parsed(Metrics(Losses(), Meter(), LABELS, lambda sample=sample: sample).text()[0])  # type: ignore[misc]
        assert found["process_resident_memory_bytes", ()] == 200 << 20
        assert (found.get(("signwing_temperature_celsius", (("sensor", "gpu"),))) == 48.2) is wanted
        assert (found.get(("signwing_power_watts", (("rail", "VDD_IN"),))) == 5.705) is wanted
        assert (found.get(("signwing_gpu_load_ratio", ())) == 0.876) is wanted
        assert (found.get(("signwing_cpu_load_ratio", ())) == 0.5) is wanted
        assert (found.get(("signwing_memory_available_bytes", ())) == 5275 << 20) is wanted
        assert (found.get(("signwing_throttle_events_total", ())) == 52) is wanted
        assert not any(math.isnan(value) for value in found.values())


def test_a_live_feed_is_told_and_what_has_none_is_not() -> None:
    source = Losses(feed=FeedState("stalled", 0, 40, 7, 3, 2, ""))
    found = parsed(Metrics(source, Meter(), LABELS, lambda: None).text()[0])
    states = {state: found["signwing_feed_state", (("state", state),)] for state in ("connecting", "live", "stalled", "lost")}
    assert states == {"connecting": 0, "live": 0, "stalled": 1, "lost": 0}
    names = ("signwing_feed_frames_captured_total", "signwing_feed_packets_lost_total", "signwing_feed_reconnects_total")
    assert [found[name, ()] for name in names] == [40, 3, 2]
    assert not any("feed" in name for name, _ in parsed(Metrics(Losses(), Meter(), LABELS, lambda: None).text()[0]))


def test_the_page_tells_them_while_it_runs() -> None:
    with serving() as (sink, _):
        assert parsed(get(sink, "/metrics")[2])["signwing_frames_dropped_total", ()] == 7
