"""Video that FFmpeg sends as RTP, and the Python whose OpenCV a back end needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from packets import lacking, tool
from stamps import ENCODERS

SYSTEM_PYTHON = "/usr/bin/python3"


@contextmanager
def sending(port: int, codec: str, size: str = "320x180", gop: int = 15) -> Iterator[None]:
    command = [tool("ffmpeg"), "-v", "quiet", "-re", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30", "-pix_fmt", "yuv420p", "-c:v", *ENCODERS[codec]]
    options = ["-preset", "ultrafast", "-tune", "zerolatency", "-g", str(gop), "-f", "rtp", f"rtp://127.0.0.1:{port}?pkt_size=1200"]
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as sender:
        try:
            yield
        finally:
            sender.kill()


def python_of(backend: str) -> str:
    if backend == "ffmpeg":
        return sys.executable
    code = "import cv2, numpy, sys; sys.exit('GStreamer:                   YES' not in cv2.getBuildInformation())"
    if not Path(SYSTEM_PYTHON).exists() or subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, check=False).returncode:
        lacking("needs the system's OpenCV with GStreamer (Debian, Ubuntu: apt install python3-opencv)")
    tool("gst-inspect-1.0")
    return SYSTEM_PYTHON
