"""A run in Prometheus's text format. The one file that imports prometheus_client; names and units follow its conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, get_args

from edge.board.extras import install
from edge.board.telemetry import Telemetry
from edge.errors import MissingDependency
from edge.frame import Source, State
from edge.outputs.meter import AGE_BOUNDS_MS, Meter

if TYPE_CHECKING:
    from prometheus_client import Metric

_MIB = 1 << 20


class Metrics:
    """Answers `/metrics`."""

    def __init__(self, source: Source, meter: Meter, labels: Sequence[str], telemetry: Callable[[], Telemetry | None]) -> None:
        """Tell of a source, a run and a machine.

        Raises:
            MissingDependency: prometheus_client is not installed.
        """
        try:
            from prometheus_client import CollectorRegistry
        except ImportError as error:
            raise MissingDependency(f"wanted prometheus_client for --web, found none: {install('web')}") from error
        self._source, self._meter, self._labels, self._telemetry = source, meter, labels, telemetry
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> tuple[bytes, str]:
        """Return the figures of this moment, and their content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def collect(self) -> Iterator[Metric]:
        """Give each figure, as prometheus_client asks for them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        counts, rates = self._meter.counts, self._meter.rates
        yield CounterMetricFamily("signwing_frames", "Frames that were worked on.", value=counts.frames)
        yield CounterMetricFamily("signwing_frames_dropped", "Frames that gave way to newer ones.", value=self._source.dropped)
        yield CounterMetricFamily("signwing_frames_unreadable", "Frames that could not be decoded.", value=self._source.unreadable)
        sightings = CounterMetricFamily("signwing_sightings", "Signs that were announced, by class.", labels=("class_id", "label"))
        for class_id, count in sorted(counts.sightings.items()):
            sightings.add_metric((str(class_id), self._labels[class_id]), count)
        yield sightings
        bounds = [*(str(bound / 1000) for bound in AGE_BOUNDS_MS), "+Inf"]
        age = HistogramMetricFamily("signwing_frame_age_seconds", "Time from a frame's arrival to its result.")
        age.add_metric((), list(zip(bounds, counts.ages, strict=True)), counts.age_sum_ms / 1000)
        yield age
        yield GaugeMetricFamily("signwing_frames_per_second", "Frames a second over the last seconds.", value=rates.fps)
        yield GaugeMetricFamily("signwing_silent_seconds", "Time since the last result.", value=rates.silent_s)
        feed = self._source.feed
        if feed is not None:
            states = GaugeMetricFamily("signwing_feed_state", "1 for the state that the live feed is in.", labels=("state",))
            for state in get_args(State):
                states.add_metric((state,), float(state == feed.state))
            yield states
            yield CounterMetricFamily("signwing_feed_frames_captured", "Frames that arrived.", value=feed.captured)
            yield CounterMetricFamily("signwing_feed_packets_lost", "RTP packets that were lost on the way.", value=feed.damaged)
            yield CounterMetricFamily("signwing_feed_packets_foreign", "Packets of others than the camera, which were not taken.", value=feed.foreign)
            yield CounterMetricFamily("signwing_feed_reconnects", "Times that the feed was opened again.", value=feed.reconnects)
        sample = self._telemetry()
        if sample is not None:
            yield from _machine(sample)


def _machine(sample: Telemetry) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    # The name that every Prometheus client gives it.
    yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory size in bytes.", value=sample.rss_mib * _MIB)
    memory = sample.memory
    gauges = (
        ("signwing_memory_available_bytes", "Memory that the machine can still give.", memory.available_mib * _MIB if memory else None),
        ("signwing_memory_total_bytes", "Memory of the machine, of CPU and GPU together on a Jetson.", memory.total_mib * _MIB if memory else None),
        ("signwing_cpu_load_ratio", "Share of all cores' time that is used.", sample.cpu_load),
        ("signwing_gpu_load_ratio", "Load of the GPU.", sample.gpu_load),
    )
    for name, text, value in gauges:
        if value is not None:
            yield GaugeMetricFamily(name, text, value=value)
    temperature = GaugeMetricFamily("signwing_temperature_celsius", "Temperature by sensor.", labels=("sensor",))
    for sensor, degrees in sample.temperatures_c.items():
        temperature.add_metric((sensor,), degrees)
    yield temperature
    power = GaugeMetricFamily("signwing_power_watts", "Power by rail.", labels=("rail",))
    for rail, milliwatts in sample.power_mw.items():
        power.add_metric((rail,), milliwatts / 1000)
    yield power
    if sample.throttled is not None:
        yield CounterMetricFamily("signwing_throttle_events", "Times that under-voltage or over-current slowed the board.", value=sample.throttled)
