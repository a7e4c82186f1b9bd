"""The page as a run has it: a process of its own serves clients, and asks here for what it shows, one question at a time.

Python's lock is one for all threads of a process, and so is the number of its descriptors: clients can take neither from the loop. What is asked is answered
in a thread that rests for a multiple of the time that each answer took, so that not even the page's own process can ask too much.
"""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from edge import cli
from edge.board.extras import install
from edge.errors import MissingDependency, OutputError, one_line
from edge.frame import FeedState
from edge.outputs.web.access import Access
from edge.outputs.web.door import addresses, listen, url_of
from edge.outputs.web.metrics import Metrics
from edge.outputs.web.state import PageState
from edge.outputs.web.wire import HURRIED_LOOK_S, LAST_LOOK_S, Limits, packed, read
from edge.process import signals
from edge.process.threads import Worker
from edge.result import Result

_LOG = logging.getLogger(__name__)

PICTURES_A_SECOND, FEW_A_SECOND = 10.0, 1.0

# Of the time that answers take; most of a picture's is spent outside Python's lock.
_REST, _REST_OF_PICTURES = 9.0, 3.0
_LONGEST_REST_S = 1.0
_END_S = 1.0
_TOLD_EVERY_S = 10.0

Answer = tuple[dict[str, Any], bytes]


class WebSink:
    """Serves the page while it is open.

    Attributes:
        state: what the page shows.
    """

    def __init__(self, host: str, port: int, access: Access, state: PageState, metrics: Metrics, limits: Limits | None = None) -> None:
        """Listen on `host` and `port`; 0 takes any that is free.

        Raises:
            MissingDependency: Starlette or uvicorn is not installed.
        """
        if find_spec("starlette") is None or find_spec("uvicorn") is None:
            raise MissingDependency(f"wanted starlette and uvicorn for --web, found none: {install('web')}")
        self._host, self._port, self._access, self._limits = host, port, access, limits or Limits()
        self.state, self._metrics = state, metrics
        self._pictures_a_second = PICTURES_A_SECOND
        self._shown: dict[bool, tuple[int, Result | None]] = dict.fromkeys((False, True), (0, None))
        self._told_s, self._untold = float("-inf"), 0
        self._socket: socket.socket | None = None
        self._link: socket.socket | None = None
        self._thread, self._keeper = Worker(self._work, "web"), Worker(self._keep, "web frames")
        self._sending = threading.Lock()
        self._answers: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "status": lambda asked: _json(state.status(asked["since"])),
            "sightings": lambda asked: _json({"schema": 1, "sightings": state.sightings.listed(asked["after"], asked["changed"])}),
            "events": self._events,
            "crop": lambda asked: ({}, state.sightings.crop(asked["number"])),
            "frame": lambda asked: ({}, state.sightings.frame(asked["number"])),
            "face": lambda asked: ({}, state.face(asked["number"])),
            "metrics": self._tell_metrics,
            "health": lambda asked: ({}, state.trouble.encode()),
            "picture": self._picture,
            "fault": self._tell_fault,
        }

    def __enter__(self) -> WebSink:
        """Start to listen.

        Raises:
            OutputError: the address cannot be had.
        """
        self._socket = listen(self._host, self._port)
        self._port = self._socket.getsockname()[1]
        self._thread.start()
        self._keeper.start()
        print(f"{'page':<14}{addresses(self._host, self._port)}", flush=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        link = self._link
        self._thread.stopping.set()
        if link is not None and self._sending.acquire(timeout=_END_S):
            with suppress(OSError):  # it takes nothing, or is gone
                told = {**self.state.farewell(error is not None), "look_s": HURRIED_LOOK_S if signals.came() else LAST_LOOK_S}
                link.send(packed({"ended": True}, json.dumps(told).encode()), socket.MSG_DONTWAIT)
            self._sending.release()
        # Its process ends when those who look know; one that hangs is cut off.
        ended = self._thread.stop(LAST_LOOK_S + _END_S)
        if not ended and link is not None:
            _shut(link)
            ended = self._thread.stop()
        if not (ended and self._keeper.stop()):
            _LOG.warning("the page's server at %s does not end: it is left behind", self.url)
        if self._socket is not None:
            self._socket.close()

    @property
    def url(self) -> str:
        """Where the page is, for a browser on this machine."""
        return url_of(self._host, self._port)

    def write(self, result: Result) -> None:
        """Leave a result; never waits."""
        self.state.note(result)

    def feed(self, state: FeedState) -> None:
        """Keep the event; what the feed is doing now the page asks the source itself."""
        self.state.note_feed(state)

    def spare(self, on: bool) -> None:
        """Give few pictures from now on, or as many as before."""
        self._pictures_a_second = FEW_A_SECOND if on else PICTURES_A_SECOND

    def _keep(self) -> None:
        for waiting in self._keeper.each(self.state.sightings.waiting):
            self.state.sightings.keep(*waiting)

    def _send(self, link: socket.socket, message: bytes) -> None:
        with self._sending, suppress(OSError):  # it ended
            link.sendall(message)

    def _work(self) -> None:
        """Start the page's process and answer it until it ends.

        Raises:
            OutputError: it ended, though it was not told to.
        """
        assert self._socket is not None
        here, there = socket.socketpair()
        with here, there:
            handles = self._socket.fileno(), there.fileno()
            command = cli.child("edge.outputs.web.server", *map(str, handles))
            # This Python, running this project's page.
            process = subprocess.Popen(command, pass_fds=handles, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
            there.close()
            try:
                self._link = here
                self._serve(here)
            finally:
                self._link = None
                _shut(here)
                code = _ended(process)
        if not self._thread.stopping.is_set():
            raise OutputError(f"the page's process ended with exit code {code}")

    def _serve(self, link: socket.socket) -> None:
        try:
            link.sendall(packed({"host": self._host, "digest": self._access.digest, "limits": asdict(self._limits)}))
            with link.makefile("rb") as asked:
                while (question := read(asked)) is not None:
                    began = time.monotonic()
                    self._send(link, packed(*self._answer(question)))
                    rest = _REST_OF_PICTURES if question["ask"] == "picture" else _REST
                    self._thread.stopping.wait(min((time.monotonic() - began) * rest, _LONGEST_REST_S))
        except (ConnectionError, BrokenPipeError):  # it ended, or is to
            return

    def _answer(self, question: dict[str, Any]) -> Answer:
        try:
            return self._answers[question["ask"]](question)
        except Exception as error:  # a fault of ours ends this answer, never the run
            self._tell_fault({"text": f"{question['ask']}: {type(error).__name__}: {error}"})
            return {"failed": True}, b""

    def _events(self, asked: dict[str, Any]) -> Answer:
        lines, told = self.state.sightings.lines(asked["after"])
        return {"told": told}, lines.encode()

    def _tell_metrics(self, asked: dict[str, Any]) -> Answer:
        text, kind = self._metrics.text()
        return {"kind": kind}, text

    def _picture(self, asked: dict[str, Any]) -> Answer:
        """Give the newest result, drawn or to be drawn by who asks, unless it is the picture that is there already."""
        newest, data, drawing = self.state.newest, b"", ""
        number, shown = self._shown[asked["plain"]]
        if newest is not None and not (newest is shown and asked["after"] == number):
            data, drawing = self.state.plain(newest) if asked["plain"] else (self.state.picture(newest), "")
            number += 1
            self._shown[asked["plain"]] = number, newest
        return {"number": number, "drawing": drawing, "pause_s": 1 / self._pictures_a_second}, data

    def _tell_fault(self, asked: dict[str, Any]) -> Answer:
        """Tell a fault of the page's, seldom: who asks again and again for what fails fills no log."""
        now_s = time.monotonic()
        self._untold += 1
        if now_s - self._told_s >= _TOLD_EVERY_S:
            times = f", {self._untold} times by now" if self._untold > 1 else ""
            _LOG.warning("the page failed%s: %s", times, one_line(RuntimeError(asked["text"])))
            self._told_s, self._untold = now_s, 0
        return {}, b""


def _json(told: dict[str, Any]) -> Answer:
    return {}, json.dumps(told, separators=(",", ":")).encode()


def _shut(link: socket.socket) -> None:
    try:
        link.shutdown(socket.SHUT_RDWR)
    except OSError:  # the other end has gone
        return


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process that ends, not for long, and return its exit code."""
    try:
        return process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
