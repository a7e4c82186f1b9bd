"""Tells systemd how the run fares, by its own protocol, sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names. Without one nothing is sent."""

from __future__ import annotations

import os
import socket
import time

from edge.frame import FeedState
from edge.result import Result

_STATUS_S = 5.0


class ServiceSink:
    """Feeds systemd's watchdog from the loop itself: a loop that hangs stops feeding it, and is started anew."""

    def __init__(self) -> None:
        """Read the environment that systemd gives."""
        self._address = _address(os.environ.get("NOTIFY_SOCKET", ""))
        self._every_s = _watchdog_s() / 2
        self._fed_s = self._told_s = float("-inf")
        self._frames = self._signs = 0
        self._state = "live"
        self._socket: socket.socket | None = None

    @property
    def wanted(self) -> bool:
        """Whether somebody listens."""
        return bool(self._address)

    def __enter__(self) -> ServiceSink:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._send("READY=1")
        return self

    def __exit__(self, *exc: object) -> None:
        self._send("STOPPING=1")
        if self._socket is not None:
            self._socket.close()

    def write(self, result: Result) -> None:
        """Count a frame, and feed the watchdog when it is due."""
        self._frames += not result.final
        self._signs += sum(report.event == "sighting" for report in result.reports)
        self.alive()

    def feed(self, state: FeedState) -> None:
        """Tell of a change at once."""
        self._state, self._told_s = state.state, float("-inf")
        self.alive()

    def alive(self) -> None:
        """Feed the watchdog when it is due; the loop calls this too while it waits for a camera."""
        now_s = time.monotonic()
        if now_s - self._told_s >= _STATUS_S:
            self._told_s = now_s
            self._send(f"STATUS={self._state}, {self._frames} frames, {self._signs} sightings")
        if now_s - self._fed_s >= self._every_s:
            self._fed_s = now_s
            self._send("WATCHDOG=1")

    def _send(self, line: str) -> None:
        if self._socket is None or not self._address:
            return
        try:
            self._socket.sendto(line.encode(), self._address)
        except OSError:  # nobody listens any more, or its queue is full: the next one may arrive
            return


def _address(text: str) -> str:
    return f"\0{text[1:]}" if text.startswith("@") else text


def _watchdog_s() -> float:
    """Return the time within which systemd wants to hear from this process; infinite where it does not."""
    limit, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not limit.isdecimal() or (pid and pid != str(os.getpid())):
        return float("inf")
    return int(limit) / 1e6
