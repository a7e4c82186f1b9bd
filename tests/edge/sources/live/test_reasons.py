"""Why a live source is not live, told once for each reason; and streams that change or begin oddly. Real senders, real sockets."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from packets import bound, collect, send
from stations import free_port

from edge.errors import SourceError
from edge.frame import FeedState, Frame
from edge.sources.decoding import pyav
from edge.sources.open import open_source

pytestmark = [
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg sends"),
    pytest.mark.skipif(not pyav.is_here(), reason="needs the video extra"),
]
WAIT_S = 30
SOURCE = "-re -f lavfi -i testsrc2=s={size}:r=15 -pix_fmt yuv420p"
H264 = "-c:v libx264 -preset ultrafast -tune zerolatency -g 15"


@contextmanager
def ffmpeg(words: str) -> Iterator[None]:
    running = subprocess.Popen(["ffmpeg", "-v", "quiet", "-nostdin", *words.split()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        running.kill()
        running.wait()


class Taken:
    """A live source that is read in a thread, and all that it gave."""

    def __init__(self, uri: str) -> None:
        self.frames: list[Frame] = []
        self.states: list[FeedState] = []
        self.source = open_source(uri)
        self._thread = threading.Thread(target=self._take, daemon=True)

    def __enter__(self) -> Taken:
        self.source.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.source.__exit__(None, None, None)
        self._thread.join(5)

    def _take(self) -> None:
        for came in self.source:
            (self.frames if isinstance(came, Frame) else self.states).append(came)  # type: ignore[arg-type]

    def reasons(self) -> list[str]:
        return [state.detail for state in self.states]

    def wait(self, *parts: str) -> str:
        """Wait for a reason that has all parts of a text, and return it."""
        end = time.monotonic() + WAIT_S
        while not (found := [told for told in self.reasons() if all(part in told for part in parts)]):
            assert time.monotonic() < end, (parts, self.reasons())
            time.sleep(0.02)
        return found[0]

    def wait_for_frames(self, count: int) -> None:
        end = time.monotonic() + WAIT_S
        while len(self.frames) < count:
            assert time.monotonic() < end, (len(self.frames), self.reasons())
            time.sleep(0.02)


def encoded(path: Path, size: str, frames: int, more: str = "") -> bytes:
    source = SOURCE.format(size=size).removeprefix("-re ")
    subprocess.run(["ffmpeg", "-v", "error", "-y", *f"{source} -frames:v {frames} {H264} {more}".split(), str(path)], check=True, stdin=subprocess.DEVNULL)
    return path.read_bytes()


def test_a_stream_that_changes_its_size_from_one_sender_is_seen_on(tmp_path: Path) -> None:
    joined = tmp_path / "joined.h264"
    joined.write_bytes(encoded(tmp_path / "a.h264", "1280x720", 15) + encoded(tmp_path / "b.h264", "640x360", 45))
    port = free_port()
    with Taken(f"rtp://@:{port}") as taken, ffmpeg(f"-re -r 15 -i {joined} -c copy -f rtp rtp://127.0.0.1:{port}"):
        taken.wait_for_frames(40)
        assert taken.source.feed is not None
        assert taken.source.feed.foreign == 0
    sizes = [frame.image.shape[:2] for frame in taken.frames]
    assert [size for size, _ in itertools.groupby(sizes)] == [(720, 1280), (360, 640)]
    assert sizes.count((360, 640)) > 20


def test_nothing_that_comes_is_told_once() -> None:
    port = free_port()
    with Taken(f"rtp://@:{port}") as taken:
        taken.wait(f"nothing comes to UDP {port}", "firewall")
        time.sleep(0.5)
        assert sum("nothing comes" in told for told in taken.reasons()) == 1
        assert {state.state for state in taken.states} == {"connecting"}


@pytest.mark.parametrize(
    ("to", "told"),
    [
        (f"{H264} -f mpegts udp://127.0.0.1:{{port}}", "found MPEG-TS: give udp://@:{port}"),
        (f"{H264} -f h264 udp://127.0.0.1:{{port}}", "found raw H.264 or H.265: give udp://@:{port}"),
        (f"{H264} -f rtp_mpegts rtp://127.0.0.1:{{port}}", "found RTP of MPEG-TS"),
        ("-c:v mjpeg -pix_fmt yuvj420p -huffman default -f rtp rtp://127.0.0.1:{port}", "found RTP of JPEG"),
        ("-c:v libvpx -deadline realtime -g 15 -f rtp rtp://127.0.0.1:{port}", "found RTP of VP8"),
    ],
    ids=["mpegts", "h264", "rtp-mpegts", "jpeg", "vp8"],
)
def test_what_comes_instead_is_named(to: str, told: str) -> None:
    port = free_port()
    with Taken(f"rtp://@:{port}") as taken, ffmpeg(f"{SOURCE.format(size='320x180')} {to.format(port=port)}"):
        taken.wait(told.format(port=port))
        assert not taken.frames


def test_parameter_sets_that_do_not_come_are_asked_for() -> None:
    port = free_port()
    with Taken(f"rtp://@:{port}") as taken, ffmpeg(f"{SOURCE.format(size='320x180')} {H264} -flags +global_header -f rtp rtp://127.0.0.1:{port}"):
        taken.wait("no parameter sets (SPS and PPS)", "config-interval=1", ".sdp")


@pytest.mark.parametrize("codec", [H264, "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=15:repeat-headers=0"], ids=["h264", "h265"])
def test_the_sdp_of_a_sender_plays_what_never_sends_them(codec: str, tmp_path: Path) -> None:
    port, told = free_port(), tmp_path / "camera.sdp"
    to = f"{codec} -flags +global_header -f rtp -sdp_file {told} rtp://127.0.0.1:{port}"
    with ffmpeg(f"{SOURCE.format(size='320x180')} {to}"):
        end = time.monotonic() + WAIT_S
        while not told.exists() or "sprop" not in told.read_text():
            assert time.monotonic() < end
            time.sleep(0.02)
        with Taken(str(told)) as taken:
            taken.wait_for_frames(5)
    assert {frame.image.shape for frame in taken.frames} == {(180, 320, 3)}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("v=0\n", "m=video PORT"),
        ("m=video 5600 RTP/AVP 96\n", "no rtpmap"),
        ("m=video 5600 RTP/AVP 96\na=rtpmap:96 VP8/90000\n", "found VP8"),
        ("m=video 5600 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets=Z0,====\n", "rtp://@:5600"),
        ("m=video 0 RTP/AVP 96\n", "m=video PORT"),
        ("x" * (1 << 17), "cannot read it"),
    ],
)
def test_an_sdp_that_tells_of_no_such_stream_is_refused(text: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "camera.sdp").write_text(text)
    with pytest.raises(SourceError, match=wanted):
        open_source(str(tmp_path / "camera.sdp"))


def test_a_wrong_codec_is_told() -> None:
    port = free_port()
    with Taken(f"rtp://@:{port}?codec=h265") as taken, ffmpeg(f"{SOURCE.format(size='320x180')} {H264} -f rtp rtp://127.0.0.1:{port}"):
        taken.wait("wanted H.265", "found H.264: leave codec=h265 out")


def test_another_than_the_named_sender_is_told() -> None:
    port = free_port()
    with Taken(f"rtp://@:{port}?from=127.0.0.9") as taken, ffmpeg(f"{SOURCE.format(size='320x180')} {H264} -f rtp rtp://127.0.0.1:{port}"):
        taken.wait("none from 127.0.0.9: check from=")


@pytest.mark.parametrize("more", ["", "-bsf:v filter_units=remove_types=6"], ids=["recovery point", "without a word"])
def test_intra_refresh_is_joined_late_and_recorded(more: str, tmp_path: Path) -> None:
    refreshed = tmp_path / "refresh.h264"
    data = encoded(refreshed, "320x180", 120, f"-x264-params intra-refresh=1:keyint=30 {more}")
    assert data
    with bound() as listening:
        port = listening.getsockname()[1]
        subprocess.run(["ffmpeg", "-v", "error", "-r", "15", "-i", str(refreshed), "-c", "copy", "-f", "rtp", f"rtp://127.0.0.1:{port}"], check=True)
        packets = collect(listening)
    port = free_port()
    with Taken(f"rtp://@:{port}?record={tmp_path / 'kept.h264'}") as taken:
        later = [packet for packet in packets if int.from_bytes(packet[4:8], "big") != int.from_bytes(packets[0][4:8], "big")]
        stamps = [list(group) for _, group in itertools.groupby(later, lambda packet: packet[4:8])]
        for group in stamps[5:]:
            send(group, port)
            time.sleep(0.08)
            if len(taken.frames) > 5:
                break
        assert len(taken.frames) > 5, taken.reasons()
    assert more or list(tmp_path.glob("kept-*.h264"))


def test_an_absent_camera_is_told_after_the_first_try() -> None:
    with Taken("/dev/video77") as taken:
        taken.wait("/dev/video77", "V4L2 cannot open it")
        time.sleep(1)  # and tried again meanwhile
        assert sum("V4L2 cannot" in told for told in taken.reasons()) == 1
