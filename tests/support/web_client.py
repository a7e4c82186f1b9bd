"""A page's server as tests start it, results for it to show, and clients that ask well or badly."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from media import picture

from edge.board.telemetry import Monitor
from edge.datasets.classes import GTSRB
from edge.datasets.gtsrb import LABELS
from edge.frame import FeedState, Frame
from edge.outputs.meter import Meter
from edge.outputs.web.access import Access
from edge.outputs.web.metrics import Metrics
from edge.outputs.web.sink import WebSink
from edge.outputs.web.state import PageState
from edge.outputs.web.wire import Limits
from edge.result import Detection, Report, Result, Track

BOX = (20.0, 10.0, 50.0, 40.0)


@dataclass
class Losses:
    """What a page asks of a source."""

    uri: str = "frames"
    stills: bool = False
    fps: float | None = 25.0
    live: bool = False
    feed: FeedState | None = None
    dropped: int = 7
    unreadable: int = 2

    def __enter__(self) -> Losses:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        return iter(())


def result(index: int, *class_ids: int, size_wh: tuple[int, int] = (96, 64)) -> Result:
    image = picture(index, size_wh)
    # A black bar that moves from frame to frame.
    image[:, (index * 7) % (size_wh[0] - 6) :][:, :6] = 0
    now = time.monotonic_ns()
    reports = [Report("sighting", index, class_id, 0.98, BOX) for class_id in class_ids]
    detections = [Detection(BOX, class_id, 0.98) for class_id in class_ids]
    return Result(Frame(index, image, now - 12_000_000, None), reports, detections, [Track(index, c, 0.98, BOX) for c in class_ids], now)


class Page(WebSink):
    """A page whose meter takes each result, as another sink lets it in a run."""

    def __init__(self, host: str, access: Access, state: PageState, metrics: Metrics, limits: Limits) -> None:
        super().__init__(host, 0, access, state, metrics, limits)
        self._meter = state.meter

    def write(self, result: Result) -> None:
        self._meter.note(result)
        super().write(result)


@contextmanager
def serving(
    token: str | None = None, host: str = "127.0.0.1", source: Losses | None = None, limits: Limits | None = None
) -> Iterator[tuple[WebSink, PageState]]:
    """A page on a free port, with telemetry ten times a second."""
    source, meter = source or Losses(), Meter()
    state = PageState(source, LABELS, meter, {"source": "frames", "engine": "onnxruntime", "precision": "int8-cpu"}, faces=GTSRB.faces)
    with Monitor(period_s=0.1) as monitor:
        monitor.tell(state.note_telemetry)
        with Page(host, Access(host, token), state, Metrics(source, meter, LABELS, lambda: state.telemetry), limits or Limits()) as sink:
            yield sink, state


class Feeding:
    """Writes results to a sink, 50 a second, a sighting every tenth, until left."""

    def __init__(self, sink: WebSink, size_wh: tuple[int, int] = (96, 64)) -> None:
        self._sink, self._size_wh = sink, size_wh
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.written = 0

    def __enter__(self) -> Feeding:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join()

    def _work(self) -> None:
        results = [result(index, *([14] if index % 10 == 0 else []), size_wh=self._size_wh) for index in range(40)]
        while not self._stopping.wait(0.02):
            at = self.written % 40
            now = time.monotonic_ns()
            old = results[at]
            frame = Frame(self.written, old.frame.image, now - 12_000_000, None)
            self._sink.write(Result(frame, old.reports, old.detections, old.tracks, now))
            self.written += 1


def get(sink: WebSink, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(sink.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def get_json(sink: WebSink, path: str) -> Any:
    status, _, body = get(sink, path)
    assert status == 200, body
    return json.loads(body)


def connect(sink: WebSink, buffer: int | None = None) -> socket.socket:
    parts = urlsplit(sink.url)
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(30)
    client.connect((parts.hostname or "", parts.port or 0))
    return client


def say(sink: WebSink, request: bytes) -> bytes:
    """Send bytes as they are and return all that is answered until the server closes."""
    answer = b""
    with connect(sink) as client:
        try:
            client.sendall(request)
            while data := client.recv(1 << 16):
                answer += data
                if len(answer) > 1 << 20:
                    break
        except (TimeoutError, ConnectionError):
            pass
    return answer


def decoded(data: bytes) -> np.ndarray:
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image
