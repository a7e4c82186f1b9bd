"""The picture that is sent on: real players receive it, by RTP, MPEG-TS and SRT; the loop never waits, and nobody else gets a packet."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import refused
from packets import tool, wait_for
from stations import free_port
from web_client import result

from edge.datasets.gtsrb import LABELS
from edge.errors import InputError, SourceError
from edge.outputs.restream.address import Target, parse_target
from edge.outputs.restream.sink import RestreamSink
from edge.result import Result
from edge.sources.decoding import pyav

pytestmark = pytest.mark.skipif(not pyav.is_here(), reason="needs the video extra")
SIZE_WH = (321, 181)


class Sending:
    """Gives a sink frames, 25 a second, until left."""

    def __init__(self, sink: RestreamSink) -> None:
        self._sink, self.sent = sink, 0

    def until(self, condition: Callable[[], bool], limit_s: float = 60.0) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, "nobody received it"
            self._sink.write(result(self.sent % 30, 14, size_wh=SIZE_WH))
            self.sent += 1
            time.sleep(0.04)


def target(text: str) -> Target:
    return parse_target(text, "demo://")


@pytest.fixture
def received(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Starts a player that writes the first eight pictures it receives; they must be there when all is over."""
    processes: list[subprocess.Popen[bytes]] = []

    def play(*command: str) -> Path:
        processes.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return tmp_path / "00008.png"

    yield play
    for process in processes:
        process.kill()
        process.wait()


def check_pictures(folder: Path) -> None:
    """They are the frames with the sign's box, and change."""
    pictures = [cv2.imread(str(path)) for path in sorted(folder.glob("0*.png"))[:8]]
    assert all(picture is not None and picture.shape[:2] == (180, 320) for picture in pictures)
    green = [(np.abs(picture.astype(int) - (80, 220, 60)).max(axis=2) < 60).mean() for picture in pictures if picture is not None]
    assert max(green) > 0.01
    assert len({picture.tobytes() for picture in pictures if picture is not None}) > 3


FFMPEG = ("ffmpeg", "-v", "quiet", "-protocol_whitelist", "file,udp,rtp,srt", "-probesize", "200000", "-analyzeduration", "1000000")


def test_ffmpeg_receives_rtp_by_the_sdp_that_is_printed(tmp_path: Path, received: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    tool("ffmpeg")
    port = free_port()
    with RestreamSink(target(f"rtp://127.0.0.1:{port}"), LABELS) as sink:
        printed = capsys.readouterr().out
        (tmp_path / "x.sdp").write_text(printed[printed.index("v=0") :])
        last = received(*FFMPEG, "-i", "x.sdp", "-vsync", "passthrough", "-frames:v", "8", "%05d.png")
        Sending(sink).until(last.exists)
    check_pictures(tmp_path)


def test_gstreamer_receives_rtp_as_qgroundcontrol_does(tmp_path: Path, received: Callable[..., Path]) -> None:
    tool("gst-launch-1.0")
    port = free_port()
    caps = "application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96"
    last = received(
        *f"gst-launch-1.0 -q udpsrc port={port} caps={caps} ! rtpjitterbuffer ! rtph264depay ! h264parse ! avdec_h264 ! videoconvert ! pngenc".split(),
        *["!", "multifilesink", "location=%05d.png"],
    )
    with RestreamSink(target(f"rtp://127.0.0.1:{port}"), LABELS) as sink:
        Sending(sink).until(last.exists)
    check_pictures(tmp_path)


@pytest.mark.parametrize("scheme", ["udp", "srt"])
def test_ffmpeg_receives_mpeg_ts(tmp_path: Path, received: Callable[..., Path], caplog: pytest.LogCaptureFixture, scheme: str) -> None:
    protocols = subprocess.run([tool("ffmpeg"), "-v", "quiet", "-protocols"], capture_output=True, text=True, check=True).stdout
    if scheme not in protocols.split():
        pytest.skip(f"this ffmpeg has no {scheme}")
    port = free_port()
    address = f"udp://127.0.0.1:{port}?overrun_nonfatal=1" if scheme == "udp" else f"srt://127.0.0.1:{port}?mode=listener"
    last = received(*FFMPEG, "-f", "mpegts", "-i", address, "-vsync", "passthrough", "-frames:v", "8", "%05d.png")
    with RestreamSink(target(f"{scheme}://127.0.0.1:{port}"), LABELS) as sink:
        sink._told = "nobody answers there"
        sending = Sending(sink)
        sending.until(last.exists)
        sending.until(lambda: not sink._told)
    assert caplog.messages == [f"the picture is sent to {scheme}://127.0.0.1:{port} again"]
    check_pictures(tmp_path)


def test_ffprobe_tells_what_was_asked_for(tmp_path: Path) -> None:
    port, caught = free_port(), tmp_path / "caught.ts"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening, caught.open("wb") as file:
        listening.bind(("127.0.0.1", port))
        listening.settimeout(30)
        with RestreamSink(target(f"udp://127.0.0.1:{port}?fps=5&width=160"), LABELS) as sink:
            Sending(sink).until(lambda: sink._clock_s() > (sink._begun_s or 1e18) + 3)
        listening.setblocking(False)
        try:
            while data := listening.recv(1 << 16):
                assert len(data) % 188 == 0
                file.write(data)
        except BlockingIOError:
            pass
    words = [tool("ffprobe"), "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,width,height,nb_read_frames", "-of", "csv=p=0", str(caught)]
    codec, width, height, frames = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[0].split(",")
    assert (codec, width, height) == ("h264", "160", "90")
    assert 8 <= int(frames) <= 18  # at most five a second, and the first


def test_nothing_goes_to_any_other_port_and_nobody_need_listen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beside:
        beside.bind(("127.0.0.1", 0))
        port = beside.getsockname()[1] - 1  # RTCP would go to the next one
        with RestreamSink(target(f"rtp://127.0.0.1:{port}"), LABELS) as sink:
            sending = Sending(sink)
            sending.until(lambda: sending.sent > 40)
        beside.setblocking(False)
        with pytest.raises(BlockingIOError):
            beside.recv(100)
    assert sink.missed < 20


def test_the_loop_does_not_wait_and_one_thread_encodes() -> None:
    def threads() -> int:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208

    pyav.load()
    large: list[Result] = [result(index, 14, size_wh=(1920, 1080)) for index in range(4)]
    with RestreamSink(target(f"rtp://127.0.0.1:{free_port()}?fps=60&width=1920"), LABELS) as sink:
        for each in large:
            sink.write(each)
        wait_for(lambda: sink._begun_s is not None, "the first frame")
        before, slowest = threads(), 0.0
        for index in range(100):
            began_s = time.perf_counter()
            sink.write(large[index % 4])
            slowest = max(slowest, time.perf_counter() - began_s)
            time.sleep(0.005)
        assert threads() <= before
        assert slowest < 0.2
    assert sink.missed > 0


def test_srt_that_nobody_answers_is_told_once_and_frames_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    tool("ffmpeg")
    with RestreamSink(target(f"srt://127.0.0.1:{free_port()}"), LABELS) as sink:
        sending = Sending(sink)
        sending.until(lambda: bool(caplog.records))
        sending.until(lambda: sink._stream is not None and sink.missed > 10)
        tried = sending.sent
        sending.until(lambda: sending.sent > tried + 10)
        assert [record.message.count("tried again each second") for record in caplog.records] == [1]
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 3


def test_a_host_that_nobody_knows_is_told_in_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    with RestreamSink(target("rtp://no.such.invalid:5600"), LABELS) as sink:
        Sending(sink).until(lambda: bool(caplog.records))
    (told,) = caplog.messages
    assert re.fullmatch(r"wanted to send the picture to rtp://no\.such\.invalid:5600, the system refused: .*: check the address; tried again each second", told)
    assert told.count("wanted") == 1


@pytest.mark.parametrize(
    "text",
    ["", "rtp://", "rtp://@:5600", "rtp://host", "rtp://host:0", "rtp://host:99999", "rtsp://host:1", "host:5600", "rtp://h:1/p", "udp://:1", "rtp://a@h:5"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="wanted where to send the picture with --restream"):
        target(text)


@pytest.mark.parametrize("query", ["fps=0", "fps=x", "width=10", "bitrate=1", "other=1", "fps=1&fps=2"])
def test_what_is_no_option_is_refused(query: str) -> None:
    with pytest.raises(SourceError):
        target(f"rtp://host:5600?{query}")


def test_the_picture_does_not_come_back_as_its_own_source(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "run", "rtp://@:5600", "--bundle", tiny_bundle, "--restream", "rtp://127.0.0.1:5600")
    assert "another port than the source's" in told
    assert parse_target("rtp://10.0.0.9:5600", "rtp://@:5600").port == 5600


def test_the_address_may_be_of_ipv6() -> None:
    told = target("rtp://[::1]:5600?bitrate=500")
    assert (told.host, told.port, told.told, told.kbit_s) == ("::1", 5600, "rtp://[::1]:5600", 500)
    assert "c=IN IP6 ::1" in told.sdp


def test_without_ffmpeg_srt_is_refused_with_a_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("ffmpeg") is None
    with pytest.raises(ImportError, match="apt install ffmpeg"):
        RestreamSink(target("srt://127.0.0.1:9000"), LABELS)
