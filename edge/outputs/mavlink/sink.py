"""Tells an autopilot and its ground stations what is seen, over MAVLink 2, in a thread of its own, and hands on what the vehicle tells of its attitude.

Information only: a heartbeat as onboard computer, texts, named values, and the computer's own state. Nothing here asks a vehicle to do anything.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, get_args

from edge.board.telemetry import Telemetry
from edge.errors import one_line
from edge.frame import FeedState, State
from edge.outputs.mavlink.links import Address, Link, Sender, check_serial, open_link
from edge.outputs.mavlink.notices import Notice, Notices, plain
from edge.outputs.meter import Meter
from edge.process.threads import Worker
from edge.result import Result
from edge.vehicle.mavlink_library import dialect

_LOG = logging.getLogger(__name__)

USUAL_SYSTEM = 1
"""ArduPilot's and PX4's own, until the vehicle has told its."""

_PERIOD_S, _POLL_S, _RETRY_S, _END_S = 1.0, 0.05, 1.0, 5.0
_SILENT_S = 5.0
_QUEUED = 256
_PARSERS = 16
# Of the time that reading messages takes, so that a flood of them takes a fifth of a processor at most: a vehicle's own take far less.
_REST, _LEAST_REST_S = 4.0, 0.005
_BEGINNINGS = (b"\xfd", b"\xfe")  # of MAVLink 2 and 1
# What the messages say for "not known" (common.xml).
_NO_LOAD, _NO_DEGREES, _NO_SPEED, _NO_SIZE = 0xFF, 0x7F, 0x7FFF, 0xFFFFFFFF


class MavlinkSink:
    """Sends while it is open; a link that goes away is opened again each second."""

    def __init__(
        self,
        address: Address,
        labels: Sequence[str],
        meter: Meter,
        telemetry: Callable[[], Telemetry | None],
        *,
        system: int | None = None,
        hear: Callable[[Any, float], None] | None = None,
    ) -> None:
        """Send to `address`.

        Args:
            address: where the vehicle, or its router, is.
            labels: names of the classes.
            meter: counts this run; speed and age are told each second.
            telemetry: gives the newest sample of the machine.
            system: the vehicle's system id, 1 to 255; None learns it from its heartbeat.
            hear: is given every message of the vehicle's system, once that is known, with the time (`time.monotonic`) at which it came.

        Raises:
            MissingDependency: pymavlink is not installed, or pyserial for a serial port, or anyascii for names in other scripts.
        """
        check_serial(address)
        self._dialect = dialect("--mavlink")
        self._address, self._labels, self._meter, self._telemetry = address, [plain(label) for label in labels], meter, telemetry
        self._given, self._heard_s, self._hand_on = system, float("-inf"), hear
        self._mav = self._dialect.MAVLink(None, system or USUAL_SYSTEM, self._dialect.MAV_COMP_ID_ONBOARD_COMPUTER)
        self._parsers: OrderedDict[Sender, Any] = OrderedDict()
        self._vehicle: Sender = None
        self._queue: queue.Queue[Notice] = queue.Queue(_QUEUED)
        self._notices = Notices()
        self._feed: FeedState | None = None
        self._link: Link | None = None
        self._lost, self._owed_s = False, 0.0
        self._started_s = self._tick_s = time.monotonic()
        self._thread = Worker(self._work, "mavlink")

    def __enter__(self) -> MavlinkSink:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.stop(_END_S)

    @property
    def system(self) -> int:
        """The system id that messages carry: the vehicle's, as given or learned."""
        return int(self._mav.srcSystem)

    def write(self, result: Result) -> None:
        """Leave the confirmed signs of a result to be told; never waits, and beyond some hundred that wait they are left out."""
        for report in result.reports:
            if report.event == "sighting":
                notice = Notice(report.class_id, self._labels[report.class_id], report.confidence, time.monotonic())
                try:
                    self._queue.put_nowait(notice)
                except queue.Full:
                    return

    def feed(self, state: FeedState) -> None:
        """Leave a change of the feed to be told, by the heartbeat (active, or standing by) and by FEED (0 connecting, 1 live, 2 stalled, 3 lost)."""
        self._feed = state

    def _work(self) -> None:
        while not self._thread.stopping.is_set():
            while not self._queue.empty():
                self._notices.add(self._queue.get_nowait())
            try:
                if self._link is None:
                    self._link = open_link(self._address)
                self._exchange(self._link)
            except OSError as error:
                self._tell_lost(error)
                self._close()
                self._thread.stopping.wait(_RETRY_S)
        self._close()

    def _exchange(self, link: Link) -> None:
        data, sender = link.receive(_POLL_S)
        if data:
            began_s = time.thread_time()
            self._hear(data, sender, link)
            self._owed_s += (time.thread_time() - began_s) * _REST
            if self._owed_s >= _LEAST_REST_S:
                self._thread.stopping.wait(self._owed_s)
                self._owed_s = 0.0
        now_s = time.monotonic()
        if now_s >= self._tick_s:
            self._tick_s = max(self._tick_s + _PERIOD_S, now_s)
            for message in self._regular(now_s):
                link.send(message.pack(self._mav))
            self._tell_back()
        told = self._notices.due(now_s)
        if told is not None:
            for message in self._about(*told, now_s):
                link.send(message.pack(self._mav))

    def _hear(self, data: bytes, sender: Sender, link: Link) -> None:
        """Learn the vehicle's system id from its autopilot's heartbeat, and hand its messages on; another vehicle's counts when the first has been silent.

        Who sends what is no message is nobody. The vehicle is an address and a system id: what another address says in its name is not handed on.
        """
        kinds, now_s = self._dialect, time.monotonic()
        messages = self._messages(data, sender)
        if messages:
            link.believe(sender)
        for message in messages:
            system, silent = message.get_srcSystem(), now_s - self._heard_s > _SILENT_S
            known = self._given is not None or self._heard_s > float("-inf")
            if self._hand_on is not None and known and system == self.system and (silent or sender == self._vehicle):
                self._hand_on(message, now_s)
            if (
                message.get_type() != "HEARTBEAT"
                or message.get_srcComponent() != kinds.MAV_COMP_ID_AUTOPILOT1
                or message.autopilot == kinds.MAV_AUTOPILOT_INVALID
                or not system
            ):
                continue
            if silent or (sender == self._vehicle and system == self.system):
                if self._given is None:
                    self._mav.srcSystem = system
                if system == self.system:
                    self._vehicle, self._heard_s = sender, now_s

    def _messages(self, data: bytes, sender: Sender) -> list[Any]:
        """Return the messages in what a sender sent; each has a parser of its own, so that none swallows the beginning of another's."""
        if sender is not None and data[:1] not in _BEGINNINGS:  # a datagram begins with a message
            return []
        parser = self._parsers.get(sender)
        if parser is None:
            parser = self._parsers[sender] = self._dialect.MAVLink(None)
            parser.robust_parsing = True
            if len(self._parsers) > _PARSERS:
                self._parsers.popitem(last=False)
        self._parsers.move_to_end(sender)
        try:
            found = parser.parse_buffer(data) or []
        except (self._dialect.MAVError, ValueError, IndexError) as error:  # noise on the line
            _LOG.debug("noise on %s: %s", self._address.text, one_line(error))
            return []
        # Of a kind that it does not know, pymavlink cannot check the sum.
        return [message for message in found if not message.get_type().startswith(("BAD_DATA", "UNKNOWN"))]

    def _regular(self, now_s: float) -> Iterator[Any]:
        kinds, boot_ms = self._dialect, self._boot_ms(now_s)
        status = kinds.MAV_STATE_ACTIVE if self._feed is None or self._feed.state == "live" else kinds.MAV_STATE_STANDBY
        yield kinds.MAVLink_heartbeat_message(kinds.MAV_TYPE_ONBOARD_CONTROLLER, kinds.MAV_AUTOPILOT_INVALID, 0, 0, status, 3)
        rates = self._meter.rates
        yield kinds.MAVLink_named_value_float_message(boot_ms, b"FPS", rates.fps)
        if rates.age_ms:
            yield kinds.MAVLink_named_value_float_message(boot_ms, b"AGE_MS", rates.age_ms["p50"])
        if self._feed is not None:
            yield kinds.MAVLink_named_value_int_message(boot_ms, b"FEED", get_args(State).index(self._feed.state))
        sample = self._telemetry()
        if sample is not None:
            yield self._computer(sample, boot_ms)

    def _about(self, notice: Notice, text: str, now_s: float) -> Iterator[Any]:
        kinds, boot_ms = self._dialect, self._boot_ms(now_s)
        yield kinds.MAVLink_statustext_message(kinds.MAV_SEVERITY_NOTICE, text.encode("ascii"))
        yield kinds.MAVLink_named_value_int_message(boot_ms, b"SIGN_ID", notice.class_id)
        yield kinds.MAVLink_named_value_float_message(boot_ms, b"SIGN_CONF", notice.confidence)

    def _computer(self, sample: Telemetry, boot_ms: int) -> Any:
        memory, hottest_c = sample.memory, sample.hottest_c
        unknown = [_NO_LOAD] * 10
        return self._dialect.MAVLink_onboard_computer_status_message(
            time_usec=time.time_ns() // 1000,
            uptime=boot_ms,
            type=0,
            cpu_cores=unknown[:8],
            cpu_combined=[_percent(sample.cpu_load), *unknown[1:]],
            gpu_cores=[_percent(sample.gpu_load), *unknown[1:4]],
            gpu_combined=unknown,
            temperature_board=_NO_DEGREES if hottest_c is None else max(-127, min(126, round(hottest_c))),
            temperature_core=[_NO_DEGREES] * 8,
            fan_speed=[_NO_SPEED] * 4,
            ram_usage=memory.total_mib - memory.available_mib if memory else _NO_SIZE,
            ram_total=memory.total_mib if memory else _NO_SIZE,
            storage_type=[_NO_SIZE] * 4,
            storage_usage=[_NO_SIZE] * 4,
            storage_total=[_NO_SIZE] * 4,
            link_type=[_NO_SIZE] * 6,
            link_tx_rate=[_NO_SIZE] * 6,
            link_rx_rate=[_NO_SIZE] * 6,
            link_tx_max=[_NO_SIZE] * 6,
            link_rx_max=[_NO_SIZE] * 6,
        )

    def _boot_ms(self, now_s: float) -> int:
        return int((now_s - self._started_s) * 1000) & 0xFFFFFFFF

    def _tell_lost(self, error: OSError) -> None:
        if not self._lost:
            self._lost = True
            _LOG.warning("MAVLink waits for %s: %s", self._address.text, one_line(error))

    def _tell_back(self) -> None:
        if self._lost:
            self._lost = False
            _LOG.warning("MAVLink goes on at %s", self._address.text)

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


def _percent(share: float | None) -> int:
    return _NO_LOAD if share is None else round(min(max(share, 0.0), 1.0) * 100)
