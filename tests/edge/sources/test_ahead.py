"""A recorded source that works one frame ahead: every frame, in order, and an end in every case."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from edge.frame import Frame
from edge.sources.open import open_source

from edge.errors import SourceError
from edge.sources.ahead import Ahead
from edge.sources.recorded import StillSource

ROOT = Path(__file__).resolve().parents[3]
IMAGE = np.zeros((4, 4, 3), np.uint8)


class Recorded:
    """Gives so many frames, then ends as it is told to."""

    stills = live = False
    feed, fps, dropped, unreadable = None, 25.0, 0, 3
    uri = "recorded"

    def __init__(self, frames, error=None):
        self.frames, self.error = frames, error
        self.given, self.closed = 0, False

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.closed = True

    def __iter__(self):
        for index in range(self.frames):
            self.given += 1
            yield Frame(index, IMAGE, 0, None)
        if self.error is not None:
            raise self.error


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "source"]


def test_every_frame_comes_once_and_in_order():
    recorded = Recorded(50)
    with Ahead(recorded) as source:
        before = time.monotonic_ns()
        came = list(source)
    assert [frame.index for frame in came] == list(range(50))
    received = [before, *(frame.received_ns for frame in came)]
    assert received == sorted(received)
    assert (source.fps, source.stills, source.unreadable, source.uri) == (25.0, False, 3, "recorded")
    assert recorded.closed
    assert not threads()


def test_it_works_while_the_loop_does_and_no_more_than_two_frames_ahead():
    recorded = Recorded(50)
    with Ahead(recorded) as source:
        coming = iter(source)
        next(coming)
        deadline = time.monotonic() + 10
        while recorded.given < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert recorded.given == 3  # one that waits, and one for which there is no room


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_loop_that_stops_early_leaves_no_thread(taken):
    recorded = Recorded(10**9)
    with Ahead(recorded) as source:
        coming = iter(source)
        for _ in range(taken):
            next(coming)
    assert recorded.closed
    assert not threads()


def test_what_the_source_fails_with_is_raised_in_the_loop_after_its_frames():
    with Ahead(Recorded(2, SourceError("the disk is gone"))) as source:
        coming = iter(source)
        assert [next(coming).index, next(coming).index] == [0, 1]
        with pytest.raises(SourceError, match="the disk is gone"):
            next(coming)
    assert not threads()


def test_an_interrupt_in_the_loop_ends_it():
    def loop():
        with Ahead(Recorded(10**9)) as source:
            for frame in source:
                if frame.index == 2:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert not threads()


def test_recorded_sources_are_opened_so(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    for uri in ("demo://?frames=2", str(tmp_path)):
        with open_source(uri) as source:
            assert isinstance(source, Ahead)
    with open_source(str(tmp_path / "a.png")) as source:
        assert source.stills
        assert not list(source)
        assert source.unreadable == 1
    assert isinstance(source._source, StillSource)


INTERRUPTED = """
import signal, random, sys
import numpy as np
from edge.sources.ahead import Ahead
from edge.frame import Frame

class Endless:
    stills = live = False
    feed, fps, dropped, unreadable, uri = None, None, 0, 0, "endless"
    def __exit__(self, *exc): pass
    def __iter__(self):
        index, image = 0, np.zeros((4, 4, 3), np.uint8)
        while True:
            yield Frame(index, image, 0, None)
            index += 1

def interrupt(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
chance = random.Random(0)
for _ in range(300):
    with Ahead(Endless()) as source:
        coming = iter(source)
        next(coming)
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0005, 0.005))
            for frame in coming:
                pass
        except KeyboardInterrupt:
            pass
"""


def test_an_interruption_at_any_moment_ends_it():
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
