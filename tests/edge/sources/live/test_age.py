"""How old frames are when the loop gets them, by stamps in the pictures of a real sender: a slow loop gets old frames no more than a fast one."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from packets import tool
from stamps import StampedSender, read_stamp, stamp
from test_edge_live import python_of

from edge.sources.live.rtp.sockets import free_ports


@pytest.mark.parametrize("at_ms", [0, 1, 0x12345678, 0xFFFFFFFF, 0x1_0000_0005])
def test_a_stamp_is_read_through_noise(at_ms: int) -> None:
    image = np.full((720, 1280, 3), 90, np.uint8)
    stamp(image, at_ms * 1_000_000)
    noisy = np.clip(image.astype(np.int16) + np.random.default_rng(0).integers(-90, 90, image.shape), 0, 255).astype(np.uint8)
    assert read_stamp(noisy) == at_ms % (1 << 32)


@pytest.mark.parametrize("backend", ["ffmpeg", "gstreamer"])
def test_a_slow_loop_gets_the_newest_frame_and_every_other_is_counted(backend: str) -> None:
    tool("ffmpeg")
    port, pause_ms = free_ports(), 250
    command = [python_of(backend), str(Path(__file__).with_name("stamps.py")), f"rtp://@:{port}?codec=h264", "--seconds", "5", "--pause-ms", str(pause_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as consumer:
        time.sleep(1)
        with StampedSender(port, "h264", (640, 360)):
            told = json.loads(consumer.communicate(timeout=60)[0])
    assert told["captured"] == told["taken"] + told["dropped"]
    assert told["dropped"] > told["taken"] > 8
    # A queue would be 6 s behind at the end: of 30 frames a second, the loop takes 4.
    assert told["age_ms"]["max"] < 2500
