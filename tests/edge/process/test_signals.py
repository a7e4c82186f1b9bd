"""Signals: what is begun is finished, what is waited for is interrupted, and what hangs is left after the time that was promised."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.process import signals

ROOT = Path(__file__).resolve().parents[3]
SLACK_S = 3.0


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_interrupts_what_is_set_up(sent: int) -> None:
    with signals.heeding("test"):
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), sent)
        assert signals.came()
        assert signals.forced() == (sent != signal.SIGINT)
        if sent != signal.SIGINT:
            os.kill(os.getpid(), sent)  # once is enough: what ends is not cut short


def test_gently_only_what_waits_is_interrupted() -> None:
    with signals.heeding("test"):
        signals.gently()
        with signals.interruptible():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.came()
        with pytest.raises(KeyboardInterrupt), signals.interruptible():
            pytest.fail("begun though the end was asked for")
    with signals.heeding("test"):
        signals.gently()
        assert not signals.came()
        with pytest.raises(KeyboardInterrupt), signals.interruptible():
            os.kill(os.getpid(), signal.SIGHUP)


def test_who_presses_ctrl_c_twice_means_it() -> None:
    with signals.heeding("test"):
        signals.gently()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_and_descriptors_are_put_back() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    count = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with signals.heeding("test"):
            pass
    assert [signal.getsignal(number) for number in numbers] == before
    assert len(list(Path("/proc/self/fd").iterdir())) == count


HANGS = """
import ctypes, sys
from pathlib import Path
from edge.process import signals

with signals.heeding("hangs"):
    signals.gently()
    with signals.rescued(lambda: Path(sys.argv[1]).write_text("finished")):
        print("begun", flush=True)
        # As a decoder or a model that never comes back: Python's own handlers never run.
        barrier, library = ctypes.create_string_buffer(64), ctypes.CDLL(None)
        library.pthread_barrier_init(barrier, None, 2)
        library.pthread_barrier_wait(barrier)
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_call_that_never_comes_back_is_left_and_what_can_be_finished_is(tmp_path: Path, sent: int) -> None:
    argv = [sys.executable, "-c", HANGS, str(tmp_path / "out")]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(sent)
        _, told = process.communicate(timeout=signals.GRACE_S + signals.RESCUE_S + SLACK_S)
    assert process.returncode == 1
    assert told.startswith("hangs: a call did not come back within ")
    assert told.count("\n") == 1
    assert (tmp_path / "out").read_text() == "finished"
