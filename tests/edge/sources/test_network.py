"""Streams that FFmpeg receives by itself, from real senders."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingTCPServer

import cv2
import pytest
from media import index_of, picture
from stations import free_port

from edge.errors import SourceError
from edge.frame import FeedState, Frame
from edge.sources.decoding import pyav
from edge.sources.network import receives
from edge.sources.open import open_source

pytestmark = [
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg sends"),
    pytest.mark.skipif(not pyav.is_here(), reason="needs the video extra"),
]
WAIT_S = 40


@contextmanager
def sender(*words: str) -> Iterator[None]:
    source = "-re -f lavfi -i testsrc2=s=320x180:r=15 -pix_fmt yuv420p"
    encoder = "-c:v libx264 -preset ultrafast -tune zerolatency -g 15"
    running = subprocess.Popen(["ffmpeg", "-v", "quiet", *source.split(), *encoder.split(), *words], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        running.kill()
        running.wait()


def taken(uri: str, frames: int) -> tuple[list[Frame], list[FeedState]]:
    """Take frames until there are enough, and all that is told meanwhile; nothing longer than `WAIT_S`."""
    came: list[Frame] = []
    told: list[FeedState] = []

    def take() -> None:
        for each in source:
            (came if isinstance(each, Frame) else told).append(each)  # type: ignore[arg-type]
            if len(came) >= frames:
                break

    with open_source(uri) as source:
        assert source.live
        taking = threading.Thread(target=take, daemon=True)
        taking.start()
        taking.join(WAIT_S)
    return came, told


@pytest.mark.parametrize(
    ("to", "listens"),
    [
        ("-f mpegts srt://127.0.0.1:{port}?mode=listener", "srt://127.0.0.1:{port}"),
        ("-f mpegts udp://127.0.0.1:{port}", "udp://@:{port}"),
        ("-f h264 udp://127.0.0.1:{port}", "udp://127.0.0.1:{port}"),
    ],
    ids=["srt", "mpegts", "h264"],
)
def test_a_stream_is_played(to: str, listens: str) -> None:
    port = free_port()
    if not receives(listens.partition(":")[0]):
        with pytest.raises(SourceError, match=r"a PyAV that receives srt://.*: have ffmpeg hand the stream on to rtp://@:5600 by ffmpeg -i srt://"):
            open_source(listens.format(port=port))
        return
    with sender(*to.format(port=port).split()):
        frames, told = taken(listens.format(port=port), 5)
    assert [frame.image.shape for frame in frames] == [(180, 320, 3)] * 5
    assert told[-1].state == "live"


class _Camera(BaseHTTPRequestHandler):
    """MJPEG as a network camera serves it; anything but /live is not there."""

    def do_GET(self) -> None:
        if self.path != "/live":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for number in range(600):
                jpeg = cv2.imencode(".jpg", picture(number % 30))[1].tobytes()
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg))
                time.sleep(0.05)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def camera() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Camera)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://user:secret@127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def silent() -> Iterator[int]:
    """A TCP port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def closing() -> Iterator[int]:
    """A TCP port that closes each connection at once."""

    class Closing(BaseRequestHandler):
        pass

    with ThreadingTCPServer(("127.0.0.1", 0), Closing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_mjpeg_over_http_is_played(camera: str) -> None:
    frames, _ = taken(f"{camera}/live", 5)
    numbers = [index_of(frame.image) for frame in frames]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 5


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("{camera}/else", "404 Not Found"),
        ("http://user:secret@127.0.0.1:{port}/live", "Connection refused"),
        ("rtsp://u:secret@127.0.0.1:{port}/s", "Connection refused"),
        ("rtsp://u:secret@127.0.0.1:{silent}/s", "no answer"),
        ("rtsp://u:secret@127.0.0.1:{closing}/s", "does not answer as a camera"),
    ],
)
def test_why_a_stream_is_not_there_is_told_without_the_password(camera: str, silent: int, closing: int, place: str, told: str) -> None:
    end = time.monotonic() + WAIT_S
    with open_source(place.format(camera=camera, port=free_port(), silent=silent, closing=closing)) as source:
        coming = iter(source)
        next(coming)
        while source.feed is not None and told not in source.feed.detail and time.monotonic() < end:
            time.sleep(0.02)
        assert source.feed is not None
        assert told in source.feed.detail
        assert "secret" not in source.feed.detail + source.uri
