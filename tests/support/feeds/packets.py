"""RTP packets made by hand, and sockets that send and collect them."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import NoReturn

import pytest

SPS, PPS = bytes([0x67, 66, 0, 30, 1, 2]), bytes([0x68, 1, 2, 3])
H265_SETS = (b"\x40\x01vps", b"\x42\x01sps", b"\x44\x01pps")


def rtp(sequence: int, payload: bytes = b"\x41pic", *, ssrc: int = 7, kind: int = 96, marker: bool = False, timestamp: int = 0) -> bytes:
    return struct.pack("!BBHII", 0x80, kind | marker << 7, sequence % 65536, timestamp, ssrc) + payload


def fragments(unit: bytes, size: int) -> list[bytes]:
    """Cut an H.264 unit into FU-A payloads."""
    pieces = [unit[at : at + size] for at in range(1, len(unit), size)]
    last = len(pieces) - 1
    return [bytes([unit[0] & 0xE0 | 28, (at == 0) << 7 | (at == last) << 6 | unit[0] & 0x1F]) + piece for at, piece in enumerate(pieces)]


def h264_stream(pictures: int, *, gop: int, first: int = 0, ssrc: int = 7) -> list[bytes]:
    """Packets of a stream that looks like H.264: parameter sets and an intra picture in fragments, then others, one packet each."""
    packets: list[bytes] = []
    for index in range(pictures):
        intra = [SPS, PPS, *fragments(b"\x65" + index.to_bytes(2, "big") * 40, 30)]
        payloads = intra if index % gop == 0 else [b"\x41" + index.to_bytes(2, "big") * 10]
        for at, payload in enumerate(payloads):
            packets.append(rtp(first + len(packets), payload, ssrc=ssrc, marker=at == len(payloads) - 1, timestamp=3000 * index))
    return packets


def send(packets: Iterable[bytes], port: int, host: str = "127.0.0.1", pause_s: float = 0.0005, sender: socket.socket | None = None) -> None:
    """Send packets, all of this process from one address unless a `sender` is given: who sends from another is another sender."""
    sender = sender or camera_socket()
    for packet in packets:
        sender.sendto(packet, (host, port))
        if pause_s:
            time.sleep(pause_s)


@cache
def camera_socket() -> socket.socket:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    return sender


def bound(port: int = 0) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    listening.bind(("127.0.0.1", port))
    listening.settimeout(0.3)
    return listening


def collect(listening: socket.socket) -> list[bytes]:
    """All datagrams until none comes for 0.3 s."""
    found = []
    try:
        while True:
            found.append(listening.recv(65536))
    except TimeoutError:
        return found


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.01)


def tool(name: str) -> str:
    """Return a system tool's path; without it the test is skipped, but for CI, which has to install it."""
    path = shutil.which(name)
    if path is None:
        lacking(f"needs {name} (Debian, Ubuntu: apt install ffmpeg gstreamer1.0-tools)")
    return path


def lacking(reason: str) -> NoReturn:
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    raise AssertionError(reason)


@cache
def real_stream(codec: str, size_wh: tuple[int, int] = (192, 128), pictures: int = 60, gop: int = 15) -> tuple[bytes, ...]:
    """Packets that FFmpeg sends for a moving test picture; parameter sets stand before each intra picture."""
    ffmpeg = tool("ffmpeg")
    encoder = {"h264": ["libx264", "-x264-params", "repeat-headers=1"], "h265": ["libx265", "-x265-params", "repeat-headers=1:log-level=none"]}[codec]
    picture = f"testsrc2=size={size_wh[0]}x{size_wh[1]}:rate=30"
    with bound() as listening:
        target = f"rtp://127.0.0.1:{listening.getsockname()[1]}?pkt_size=400"
        command = [ffmpeg, "-loglevel", "error", "-f", "lavfi", "-i", picture, "-frames:v", str(pictures), "-pix_fmt", "yuv420p", "-c:v", *encoder]
        options = ["-preset", "ultrafast", "-tune", "zerolatency", "-g", str(gop), "-keyint_min", str(gop), "-f", "rtp", target]
        sending = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
        try:
            listening.settimeout(20)
            first = listening.recv(65536)
            listening.settimeout(1)
            return (first, *collect(listening))
        finally:
            sending.wait(60)
