"""Live URIs: what is opened for each, to the letter; and real senders that are killed, come back at another size, and lose packets, on both back ends."""

from __future__ import annotations

import itertools
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from packets import real_stream, rtp, wait_for
from rtsp_server import RtspCamera
from soak import Relay
from streams import python_of, sending

from edge.commands.doctor.trial import try_source
from edge.errors import SourceError
from edge.frame import FeedState
from edge.sources.live import open as live
from edge.sources.live.open import open_live
from edge.sources.live.pipelines import gstreamer_csi, gstreamer_rtp
from edge.sources.live.rtp.packets import parse_packet
from edge.sources.live.rtp.sockets import free_ports
from edge.sources.uri import parse_uri

ROOT = Path(__file__).resolve().parents[4]
NOTHING: frozenset[str] = frozenset()
JETSON = frozenset({"nvarguscamerasrc", "nvv4l2decoder", "nvvidconv"})


def test_a_pipeline_takes_the_jetsons_decoder_where_it_is_there() -> None:
    on_pc, on_board = (gstreamer_rtp(5700, "h265", 97, elements) for elements in (NOTHING, JETSON))
    head = 'udpsrc address=127.0.0.1 port=5700 buffer-size=4194304 caps="application/x-rtp,media=video,clock-rate=90000,encoding-name=H265,payload=97"'
    tail = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
    shared = f"{head} ! rtpjitterbuffer latency=0 ! rtph265depay ! h265parse config-interval=-1"
    assert on_pc == f"{shared} ! avdec_h265 ! {tail}"
    decoder = "nvv4l2decoder enable-max-performance=1 disable-dpb=true ! nvvidconv ! video/x-raw,format=BGRx"
    assert on_board == f"{shared} ! {decoder} ! {tail}"


def test_the_csi_pipeline_is_nvidias() -> None:
    assert gstreamer_csi(1, (1920, 1080), 60).startswith(
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1920,height=1080,framerate=60/1,format=NV12 ! nvvidconv ! video/x-raw,format=BGRx ! "
    )


def test_csi_without_a_jetson_says_what_is_missing() -> None:
    with pytest.raises(SourceError, match="nvarguscamerasrc"):
        open_live(parse_uri("csi://0"))


def test_gstreamer_is_refused_where_opencv_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "has_gstreamer", lambda: False)
    with pytest.raises(SourceError, match="python3-opencv"):
        open_live(parse_uri("rtp://@:5600?backend=gstreamer"))
    assert open_live(parse_uri("rtp://@:5600")).opens.startswith("FFmpeg by PyAV")
    monkeypatch.setattr(live, "has_gstreamer", lambda: True)
    assert open_live(parse_uri("rtp://@:5600?codec=h264")).opens.startswith("udpsrc ")


def test_a_password_is_not_told() -> None:
    with open_live(parse_uri("rtsp://user:secret@127.0.0.1:1/stream")) as source:
        assert "secret" not in source._camera.doing


def test_no_trial_shows_a_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uri = "rtsp://user:secret@127.0.0.1:1/stream"
    assert "secret" not in open_live(parse_uri(uri)).uri
    told, findings = try_source(uri, 0.5)
    assert findings
    assert "secret" not in f"{told} {findings}"
    monkeypatch.setattr(live, "has_gstreamer", lambda: True)
    assert "secret" not in open_live(parse_uri(uri)).opens


def test_a_missing_device_is_waited_for_and_told() -> None:
    with open_live(parse_uri("v4l2:///dev/video77")) as source:
        coming = iter(source)
        next(coming)
        waiting = threading.Thread(target=lambda: next(coming, None), daemon=True)
        waiting.start()
        wait_for(lambda: "/dev/video77" in source.feed.detail and "V4L2 cannot open" in source.feed.detail, "the reason")
    waiting.join(5)


class Watched:
    """`python -m edge run` over a live source, and the states that it tells."""

    def __init__(self, python: str, uri: str, bundle: Path, folder: Path) -> None:
        self.events, self.json = folder / "events.jsonl", folder / "run.json"
        options = ["--engine", "fake", "--spotter", "none", "--bundle", str(bundle), "--events", str(self.events), "--json", str(self.json)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen([python, "-m", "edge", "run", uri, *options], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)

    def __enter__(self) -> Watched:
        wait_for(lambda: self.events.exists() and bool(self.states()), "the runtime's first state", 60)
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()

    def states(self) -> list[tuple[str, int]]:
        told = [json.loads(line) for line in self.events.read_text(encoding="utf-8").splitlines()]
        return [(line["state"], line["received_ns"]) for line in told if line["event"] == "state"]

    def wait(self, state: str, count: int) -> int:
        """Wait until the feed has been in a state `count` times, and return when it last came into it."""
        wait_for(lambda: sum(name == state for name, _ in self.states()) >= count, f"{state} for the {count}th time", 30)
        return [at for name, at in self.states() if name == state][count - 1]

    def end(self) -> dict[str, object]:
        self._process.terminate()
        assert self._process.wait(30) == 0
        document: dict[str, object] = json.loads(self.json.read_text(encoding="utf-8"))
        return document


@pytest.mark.parametrize("backend", ["ffmpeg", "gstreamer"])
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_sender_is_lost_and_comes_back_at_another_size(codec: str, backend: str, tiny_bundle: Path, tmp_path: Path) -> None:
    port = free_ports()
    uri = f"rtp://@:{port}?codec={codec}&backend={backend}"
    with Watched(python_of(backend), uri, tiny_bundle, tmp_path) as watched, Relay(codec, port) as relay:
        assert watched.states()[0][0] == "connecting"
        for turn, size in enumerate(("320x180", "320x180", "480x270"), 1):
            relay.intra_ns = 0
            with sending(relay.port, codec, size):
                live_ns = watched.wait("live", turn)
                assert 0 < live_ns - relay.intra_ns < 2e9
                time.sleep(1)
            killed_ns = time.monotonic_ns()
            # States are stamped in the runtime by the clock that this process reads too.
            assert -0.1e9 < watched.wait("stalled", turn) - killed_ns < 1e9
            assert watched.wait("lost", turn) - killed_ns < 2e9
            assert live_ns < killed_ns
        told = watched.end()
    feed = told["feed"]
    assert isinstance(feed, dict)
    assert feed["captured"] == told["frames"] + told["dropped"]  # type: ignore[operator]
    assert told["frames"] > 30  # type: ignore[operator]


@pytest.mark.parametrize("backend", ["ffmpeg", "gstreamer"])
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_joining_between_intra_frames_gives_the_next_one(codec: str, backend: str, tiny_bundle: Path, tmp_path: Path) -> None:
    port = free_ports()
    with sending(port, codec, gop=90):
        time.sleep(1.5)
        with Watched(python_of(backend), f"rtp://@:{port}?backend={backend}", tiny_bundle, tmp_path) as watched:
            watched.wait("live", 1)
            time.sleep(1)
            assert [name for name, _ in watched.states()] == ["connecting", "live"]
            assert watched.end()["feed"]["damaged"] == 0  # type: ignore[index]


@pytest.mark.parametrize(("share", "backend"), [(0.05, "ffmpeg"), (0.2, "ffmpeg"), (0.2, "gstreamer")])
def test_packets_that_are_lost_are_counted_and_the_feed_goes_on(share: float, backend: str, tiny_bundle: Path, tmp_path: Path) -> None:
    port = free_ports()
    uri = f"rtp://@:{port}?codec=h264&backend={backend}"
    with Watched(python_of(backend), uri, tiny_bundle, tmp_path) as watched, Relay("h264", port, share) as relay, sending(relay.port, "h264"):
        watched.wait("live", 1)
        time.sleep(4)
        assert "lost" not in [name for name, _ in watched.states()]
        told = watched.end()
    assert told["feed"]["damaged"] > 0  # type: ignore[index]
    assert told["frames"] > 20  # type: ignore[operator]


def test_a_camera_that_accepts_and_says_nothing_is_given_up_and_tried_again(tiny_bundle: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        port = server.getsockname()[1]
        with Watched(sys.executable, f"rtsp://127.0.0.1:{port}/stream", tiny_bundle, tmp_path) as watched:
            held = [server.accept()[0], server.accept()[0]]  # the second comes after the first has timed out
            assert {name for name, _ in watched.states()} == {"connecting"}  # each reason is told once
            told = watched.end()
            for each in held:
                each.close()
    assert told["frames"] == 0


@pytest.mark.parametrize(("codec", "backend"), [("h264", "ffmpeg"), ("h265", "gstreamer")])
def test_an_rtsp_camera_that_loses_its_power_is_opened_again(codec: str, backend: str, tiny_bundle: Path, tmp_path: Path) -> None:
    port = free_ports()
    uri = f"rtsp://127.0.0.1:{port}/stream?codec={codec}&backend={backend}"
    with Watched(python_of(backend), uri, tiny_bundle, tmp_path) as watched:
        for turn in (1, 2):
            with RtspCamera(codec, port) as camera, sending(camera.rtp_port, codec):
                watched.wait("live", turn)
                time.sleep(1)
            watched.wait("lost", turn)
        told = watched.end()
    assert told["frames"] > 30  # type: ignore[operator]
    assert told["feed"]["reconnects"] >= 1  # type: ignore[index]


def test_who_came_first_and_cannot_be_seen_gives_way_to_the_camera() -> None:
    """A stranger with a camera's own parameter sets and noise for pictures: only the decoder can tell."""
    port, stopping, chance = free_ports(), threading.Event(), random.Random(1)
    payloads = [packet.payload for packet in map(parse_packet, real_stream("h264")) if packet is not None]
    forged = [each if each[0] & 0x1F in (7, 8) else each[:2] + chance.randbytes(len(each) - 2) for each in payloads]

    def forge() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for at in itertools.count():
                stranger.sendto(rtp(at, forged[at % len(forged)], ssrc=9, marker=True, timestamp=at * 3000), ("127.0.0.1", port))
                if stopping.wait(0.01):
                    return

    forging = threading.Thread(target=forge)
    with open_live(parse_uri(f"rtp://@:{port}")) as source:
        forging.start()
        wait_for(lambda: "h264" in source.feed.detail, "the stranger's packets")
        told, reading = [], threading.Thread(target=lambda: told.extend(source))
        reading.start()
        with sending(port, "h264", "320x180"):
            wait_for(lambda: source.feed.state == "live" and source.captured > 30, "the camera", 30)
        assert source.feed.foreign > 50
        assert " of others" in source.feed.detail
        stopping.set()
    forging.join()
    reading.join()
    assert {came.image.shape[:2] for came in told if not isinstance(came, FeedState)} == {(180, 320)}


@pytest.mark.parametrize("text", ["from=no such host.", "from=127.0.0.1:0", "from=127.0.0.1:x"])
def test_a_sender_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match=r"wanted (HOST:PORT|an IPv4 address)"):
        open_live(parse_uri(f"rtp://@:5600?{text}"))


def test_a_trial_tells_what_was_opened_to_the_letter() -> None:
    port = free_ports()
    with sending(port, "h264"):
        told, findings = try_source(f"rtp://@:{port}", 4)
    assert not findings
    assert told["frames"] > 10
    assert f"h264 in the packets on UDP {port}" in told["opens"]
