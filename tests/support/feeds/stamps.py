"""The true age of frames: a sender that writes the time into each picture, and a consumer that reads it there, after encoder, network, decoder and capture.

python tests/support/feeds/stamps.py "rtp://@:5600?codec=h264" --seconds 10 --pause-ms 0      takes frames, prints ages and counters as JSON
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from edge.frame import Frame  # noqa: E402 - run as a script, from anywhere
from edge.sources.open import open_source  # noqa: E402 - run as a script, from anywhere

BITS, CELL = 32, 20
"""A stamp is a row of black and white squares, large enough to outlast a codec."""
ENCODERS = {"h264": ["libx264", "-x264-params", "repeat-headers=1"], "h265": ["libx265", "-x265-params", "repeat-headers=1:log-level=none"]}


def stamp(image: NDArray[np.uint8], at_ns: int) -> None:
    """Write a time, in milliseconds modulo 2^32, into the top left corner of an image that is at least 640 px wide."""
    bits = at_ns // 1_000_000 >> np.arange(BITS) & 1
    image[:CELL, : BITS * CELL] = np.repeat(bits * 255, CELL)[None, :, None]


def read_stamp(image: NDArray[np.uint8]) -> int:
    """Return the milliseconds that `stamp` wrote."""
    middles = image[CELL // 2 - 3 : CELL // 2 + 3, : BITS * CELL].reshape(6, BITS, CELL, 3)[:, :, CELL // 2 - 3 : CELL // 2 + 3].mean(axis=(0, 2, 3))
    return int(((middles > 127).astype(np.int64) << np.arange(BITS)).sum())


class StampedSender:
    """Sends a moving picture over RTP at a steady rate while it is open, each frame stamped when it goes into the encoder."""

    def __init__(self, port: int, codec: str, size_wh: tuple[int, int] = (1280, 720), fps: int = 30) -> None:
        width, height = size_wh
        raw = ["ffmpeg", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
        low = ["-pix_fmt", "yuv420p", "-preset", "ultrafast", "-tune", "zerolatency", "-g", str(fps // 2), "-b:v", "4M"]
        target = ["-f", "rtp", f"rtp://127.0.0.1:{port}?pkt_size=1200"]
        self._command = [*raw, "-c:v", *ENCODERS[codec], *low, *target]
        self._fps, self._stopping = fps, threading.Event()
        across, down = np.meshgrid(np.arange(width + 256), np.arange(height))
        self._scene = np.stack([across + down, across * 2, down], axis=2).astype(np.uint8)
        self._width = width
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> StampedSender:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdin is not None
        with suppress(OSError):  # half a frame that nobody takes any more
            self._process.stdin.close()

    def _work(self) -> None:
        assert self._process.stdin is not None
        begun_s, sent = time.monotonic(), 0
        while not self._stopping.wait(max(0.0, begun_s + sent / self._fps - time.monotonic())):
            shift = sent * 4 % 256
            image = self._scene[:, shift : shift + self._width].copy()
            stamp(image, time.monotonic_ns())
            try:
                self._process.stdin.write(image.tobytes())
            except OSError:  # the encoder was ended
                return
            sent += 1


def consume(uri: str, seconds: float, pause_ms: float, warm_s: float = 2.0) -> dict[str, Any]:
    """Take frames for a time and rest after each; return ages at the time of taking in milliseconds (p50, p99, max), and what became of all frames."""
    ages: list[int] = []
    taken, first_s = 0, float("inf")
    source = open_source(uri)
    with source:
        for came in source:
            now_s = time.monotonic()
            if isinstance(came, Frame):
                taken, first_s = taken + 1, min(first_s, now_s)
                if now_s >= first_s + warm_s:  # what stood in buffers while the decoder opened is no steady state
                    ages.append((time.monotonic_ns() // 1_000_000 - read_stamp(came.image)) & 0xFFFFFFFF)
                time.sleep(pause_ms / 1000)
            if now_s >= first_s + warm_s + seconds:
                break
    assert source.feed is not None
    age_ms = {f"p{share}": float(np.percentile(ages, share)) for share in (50, 99)} | {"max": float(max(ages))}
    return {"taken": taken, "captured": source.feed.captured, "dropped": source.feed.dropped, "damaged": source.feed.damaged, "age_ms": age_ms}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take stamped frames.")
    parser.add_argument("uri")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--pause-ms", type=float, default=0.0)
    asked = parser.parse_args()
    print(json.dumps(consume(asked.uri, asked.seconds, asked.pause_ms)))
