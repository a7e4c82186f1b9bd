"""Tells an MQTT broker what is seen, in a thread of its own: events, each at least once and in their order, the state, and figures."""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from edge.board.telemetry import Telemetry
from edge.errors import one_line
from edge.files import state_folder
from edge.frame import FeedState
from edge.outputs.events import events_of, state_event, time_keys
from edge.outputs.meter import Meter
from edge.outputs.mqtt.address import Broker
from edge.outputs.mqtt.link import Link, paho
from edge.outputs.mqtt.spool import Spool
from edge.process import signals
from edge.process.threads import END_S, Worker
from edge.result import Result
from edge.vehicle.utc import UtcClock

_LOG = logging.getLogger(__name__)

METRICS_S, RETRY_S = 5.0, 1.0
_QUEUED, _WINDOW = 4096, 20
_POLL_S, _DRAIN_S, _HURRIED_DRAIN_S, _MOST_DRAIN_S = 0.05, 2.0, 0.5, 60.0
_DONE = -1
_WILL = {"state": "offline", "detail": "the link to the run is lost", "time": None, "time_unknown": "the broker says this in the run's place"}


class MqttSink:
    """Publishes while it is open, below the broker's prefix: `events`, `state` (retained) and `metrics`, all of QoS 1.

    Events wait on disk until the broker has acknowledged them, across lost links and across runs; states and figures are those of the moment.
    """

    def __init__(
        self,
        broker: Broker,
        labels: Sequence[str],
        meter: Meter,
        telemetry: Callable[[], Telemetry | None],
        utc: UtcClock,
        *,
        metrics_s: float = METRICS_S,
        retry_s: float = RETRY_S,
    ) -> None:
        """Publish to a broker.

        Args:
            broker: where to, and below what prefix.
            labels: names of the classes.
            meter: counts this run.
            telemetry: gives the newest sample of the machine.
            utc: the time of day.
            metrics_s: how often figures are told.
            retry_s: the pause before a broker that was lost is tried again.

        Raises:
            MissingDependency: paho-mqtt is not installed.
        """
        paho()
        self._broker, self._labels, self._meter, self._telemetry, self._utc = broker, labels, meter, telemetry, utc
        self._period_s, self._retry_s = metrics_s, retry_s
        self._queue: queue.Queue[bytes] = queue.Queue(_QUEUED)
        self._thread = Worker(self._work, "mqtt")
        self._spool: Spool | None = None
        self._link: Link | None = None
        self._state: Mapping[str, Any] = {"state": "running", "detail": ""}
        self._told_state: Mapping[str, Any] | None = None
        self._sent, self._acknowledged = 0, 0
        self._open_numbers: dict[int, int] = {}
        self._left_out = self._gave_way = 0
        self._lost = self._full = False
        self._metrics_s = self._moved_s = time.monotonic()
        self._end_number: int | None = None

    def __enter__(self) -> MqttSink:
        told = f"{self._broker.host}:{self._broker.port}/{self._broker.prefix}"
        self._spool = Spool(state_folder() / "mqtt" / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.sqlite")
        if self._spool.waiting:
            _LOG.warning("%s of an earlier run, waiting for %s: sent first", _events(self._spool.waiting), self._broker.told)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._spool is None:
            return
        if self._thread.stop(END_S if signals.came() else _MOST_DRAIN_S):
            if self._spool.waiting:
                told = "%s did not reach %s, the next run that sends there sends them first"
                _LOG.warning(told, _events(self._spool.waiting), self._broker.told)
            self._spool.close()
            self._spool = None

    @property
    def missed(self) -> int:
        """Events that were lost: for want of time, of space, or because more waited than are kept."""
        return self._left_out + self._gave_way

    def write(self, result: Result) -> None:
        """Leave a result's events to be sent; never waits."""
        self._leave(events_of(result, self._labels))

    def feed(self, state: FeedState) -> None:
        """Leave a change of the feed to be sent, as an event and as the state."""
        self._leave([state_event(state)])
        self._state = {"state": state.state, "detail": state.detail}

    def _leave(self, events: Sequence[dict[str, Any]]) -> None:
        for event in events:
            try:
                self._queue.put_nowait(json.dumps(event).encode())
            except queue.Full:
                self._left_out += 1

    def _work(self) -> None:
        assert self._spool is not None
        self._forget_link()
        while not self._is_over(self._spool):
            self._take_in(self._spool)
            try:
                if self._link is None:
                    self._link = Link(self._broker, (self._topic("state"), _packed(_WILL)))
                self._exchange(self._link, self._spool)
            except OSError as error:
                self._forget_link()
                self._tell_lost(error)
                if self._thread.stopping.is_set():  # what waits, waits for the next run
                    self._take_in(self._spool)
                    return
                self._thread.stopping.wait(self._retry_s)
        if self._link is not None and self._end_number == _DONE:
            self._link.close()
        self._forget_link()

    def _is_over(self, spool: Spool) -> bool:
        """Tell whether the end was asked for and all is acknowledged, the last state too, or nothing moves any more."""
        if not self._thread.stopping.is_set():
            self._moved_s = time.monotonic()
            return False
        return self._end_number == _DONE or time.monotonic() - self._moved_s > (_HURRIED_DRAIN_S if signals.came() else _DRAIN_S)

    def _take_in(self, spool: Spool) -> None:
        """Put what came from the loop on disk."""
        came: list[bytes] = []
        while not self._queue.empty():
            came.append(self._queue.get_nowait())
        if not came:
            return
        try:
            self._gave_way += spool.add(came)
        except sqlite3.Error as error:
            self._left_out += len(came)
            self._tell_full(one_line(error))
        else:
            self._tell_full("")

    def _exchange(self, link: Link, spool: Spool) -> None:
        if link.ready:
            self._tell_back()
            self._publish(link, spool)
        for number in link.work(_POLL_S if len(self._open_numbers) < _WINDOW else _POLL_S / 10):
            self._moved_s = time.monotonic()
            self._open_numbers.pop(number, None)
            if number == self._end_number:
                self._end_number = _DONE
        # What is behind a message that is not acknowledged yet waits with it: the order is that of the disk.
        acknowledged = min(self._open_numbers.values(), default=self._sent + 1) - 1
        if acknowledged > self._acknowledged:
            try:
                spool.forget(acknowledged)
                self._acknowledged = acknowledged
            except sqlite3.Error as error:  # they go with those that come later
                self._tell_full(one_line(error))

    def _publish(self, link: Link, spool: Spool) -> None:
        """Send the state where it changed, figures where they are due, and events as far as the window reaches."""
        if self._told_state is not self._state:
            self._told_state = self._state
            self._publish_state(link, self._state)
        if time.monotonic() - self._metrics_s >= self._period_s:
            self._metrics_s = time.monotonic()
            link.publish(self._topic("metrics"), _packed(self._figures(spool)))
        for number, message in spool.behind(self._sent, _WINDOW - len(self._open_numbers)):
            self._open_numbers[link.publish(self._topic("events"), message)] = number
            self._sent = number
        if self._thread.stopping.is_set() and self._end_number is None and self._queue.empty() and not self._open_numbers:
            self._end_number = self._publish_state(link, {"state": "ended", "detail": ""})

    def _publish_state(self, link: Link, state: Mapping[str, Any]) -> int:
        now = time_keys(*self._utc.at(time.monotonic_ns()))
        return link.publish(self._topic("state"), _packed({**state, **now}), retain=True)

    def _figures(self, spool: Spool) -> dict[str, Any]:
        counts, rates, sample = self._meter.counts, self._meter.rates, self._telemetry()
        machine: dict[str, Any] = {}
        if sample is not None:
            machine = {"cpu_load": sample.cpu_load, "gpu_load": sample.gpu_load, "rss_mib": sample.rss_mib, "hottest_c": sample.hottest_c}
            machine["memory_available_mib"] = sample.memory.available_mib if sample.memory else None
            machine = {key: value if value is None else round(value, 3) for key, value in machine.items()}
        return {
            **time_keys(*self._utc.at(time.monotonic_ns())),
            "frames": counts.frames,
            "sightings": sum(counts.sightings.values()),
            "fps": rates.fps,
            "age_ms": rates.age_ms or None,
            "events_waiting": spool.waiting,
            "events_lost": self.missed,
            **machine,
        }

    def _topic(self, name: str) -> str:
        return f"{self._broker.prefix}/{name}"

    def _forget_link(self) -> None:
        """Give a connection up; what it did not acknowledge is sent again over the next one."""
        if self._link is not None:
            self._link.drop()
        self._link = self._told_state = self._end_number = None
        self._sent = self._acknowledged
        self._open_numbers.clear()

    def _tell_lost(self, error: OSError) -> None:
        if not self._lost:
            self._lost = True
            _LOG.warning("MQTT waits for %s: %s", self._broker.told, one_line(error))

    def _tell_back(self) -> None:
        if self._lost:
            self._lost = False
            _LOG.warning("MQTT goes on at %s", self._broker.told)

    def _tell_full(self, trouble: str) -> None:
        if trouble and not self._full:
            _LOG.warning("events for %s find no space: %s", self._broker.told, trouble)
        self._full = bool(trouble)


def _events(count: int) -> str:
    return f"{count} event{'s' * (count != 1)}"


def _packed(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode()
