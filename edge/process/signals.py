"""Signals that end a command: in order, and whatever hangs, within three seconds.

Ctrl-C (SIGINT), SIGTERM and SIGHUP interrupt what is being set up as Ctrl-C does any program; what is being imported then is not interrupted, but left with
the process. From `gently` on they interrupt nothing but what stands within `interruptible`: the loop asks `came`, and what it began is finished. Who sends
SIGTERM or SIGHUP (systemd, a terminal that is closed) does not wait for ever; nor does who presses Ctrl-C twice.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

GRACE_S = 2.6
"""Time for an orderly end, counted from the signal."""
RESCUE_S = 0.3
"""Time for what is finished in spite of a call that does not come back."""
EXIT_INTERRUPTED = 130

_FORCING = (signal.SIGTERM, signal.SIGHUP)
_EXIT_FORCED = 1
_IMPORT = "<frozen importlib._bootstrap>"


class _State:
    """What came, and what may be interrupted now; one for the process, as its signals are."""

    name = ""
    stopped = EXIT_INTERRUPTED
    came = 0
    raising = True
    gentle = False
    rescue: Callable[[], None] | None = None


def came() -> bool:
    """Tell whether a signal has asked for the end."""
    return _State.came != 0


def forced() -> bool:
    """Tell whether it was one that is no user's: what ends then did what it was told."""
    return _State.came in _FORCING


def exit_code() -> int:
    """Return the exit code of a command that ended in order because a signal came."""
    return _State.stopped if forced() else EXIT_INTERRUPTED


def gently() -> None:
    """From now on interrupt only what is `interruptible`: what is written is to be finished."""
    _State.gentle, _State.raising = True, False


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a signal interrupt the block, such as waiting for a frame.

    Raises:
        KeyboardInterrupt: a signal came, in the block or before it.
    """
    if not _State.gentle:
        yield
        return
    _State.raising = True
    try:
        if _State.came:
            raise KeyboardInterrupt
        yield
    finally:
        _State.raising = False


@contextmanager
def rescued(finish: Callable[[], None]) -> Iterator[None]:
    """Within the block, call `finish` from another thread where the orderly end hangs and the process is about to be ended."""
    _State.rescue = finish
    try:
        yield
    finally:
        _State.rescue = None


@contextmanager
def heeding(name: str, stopped: int = EXIT_INTERRUPTED) -> Iterator[None]:
    """Heed the signals within the block; those that are ignored, as under nohup, stay so.

    Args:
        name: the program's, for what is told.
        stopped: its exit code where SIGTERM or SIGHUP ended it in order.
    """
    _forget()
    _State.name, _State.stopped = name, stopped
    # What hangs in a call of C's never gets to Python's handlers: the system's own write wakes a thread that can see to it.
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writing, False)
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    numbers = [number for number in (signal.SIGINT, *_FORCING) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _heed) for number in numbers}
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(reading, ended), name="signals", daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writing)
        watch.join()
        os.close(reading)
        _forget()


def _forget() -> None:
    _State.came, _State.raising, _State.gentle = 0, True, False


def _heed(number: int, frame: FrameType | None) -> None:
    first, _State.came = not _State.came, _State.came or number
    # A second SIGTERM would cut short what the first one began; a second Ctrl-C means to.
    if not (first and _State.raising) and (number != signal.SIGINT or first):
        return
    if not _State.gentle and _is_importing(frame):
        # An import that is interrupted is taken for a package that is not there, and C++ may abort in it. Nothing is begun yet that must be finished.
        tell("interrupted")
        os._exit(exit_code())
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False


def _watch(reading: int, ended: threading.Event) -> None:
    count = 0
    while got := os.read(reading, 1):
        number, count = got[0], count + (got[0] == signal.SIGINT)
        if number in _FORCING or count > 1:
            break
    if got and not ended.wait(GRACE_S):
        _end()


def rescue() -> None:
    """Finish what `rescued` names, if anything."""
    if _State.rescue is not None:
        _State.rescue()


def _end() -> None:
    if _State.rescue is not None:
        rescuing = threading.Thread(target=_State.rescue, daemon=True)
        rescuing.start()
        rescuing.join(RESCUE_S)
    tell(f"a call did not come back within {GRACE_S:g} s of the signal: ended without it")
    os._exit(_EXIT_FORCED)


def tell(text: str) -> None:
    """Print a line to the standard error, where somebody reads it."""
    with suppress(OSError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"{_State.name}: {text}\n".encode())
