"""Ends a command whose library never returns: no exception reaches a thread that is inside C code, so the process ends, its outputs finished before.

Only a command asks for this, by `ending`. In a program that imports `edge` a call that hangs goes on hanging: the process is not ours to end.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edge.outside.text import shown
from edge.process import signals
from edge.process.streams import TextOutlet

_TICK_S = 0.25
FINISH_S = 1.5
"""Time that the outputs get to be finished."""


@dataclass
class _Call:
    left_s: float
    told: str


_calls: dict[int, _Call] = {}
_ending: list[Callable[[str], None]] = []


@contextmanager
def ending(name: str, code: int) -> Iterator[None]:
    """Let a call within the block that takes longer than it may end the process with an exit code; `name` is the program's, for what is told."""

    def end(told: str) -> None:
        _within(FINISH_S, _finish)
        _within(FINISH_S / 3, lambda: os.write(2, f"{name}: {shown(told)}\n".encode(errors="backslashreplace")))
        os._exit(code)

    over = threading.Event()
    _ending.append(end)
    threading.Thread(target=_watch, args=(over,), name="patience", daemon=True).start()
    try:
        yield
    finally:
        _ending.remove(end)
        over.set()


def is_limited() -> bool:
    """Tell whether there is a command that calls are watched for."""
    return bool(_ending)


@contextmanager
def limited(seconds: float, told: str) -> Iterator[None]:
    """Give a call so long; `told` is what people are told if it takes longer. Time in which the whole process is stopped does not count."""
    thread = threading.get_ident()
    _calls[thread] = _Call(seconds, told)
    try:
        yield
    finally:
        del _calls[thread]


def _watch(over: threading.Event) -> None:
    looked = time.monotonic()
    while not over.wait(_TICK_S):
        passed, looked = time.monotonic() - looked, time.monotonic()
        for call in list(_calls.values()):
            call.left_s -= min(passed, 2 * _TICK_S)
            if call.left_s <= 0:
                for end in list(_ending):
                    end(call.told)


def _finish() -> None:
    signals.rescue()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextOutlet):
            stream.flush()
            stream.outlet.close(FINISH_S / 3)


def _within(seconds: float, work: Callable[[], object]) -> None:
    """Do some work, and leave it behind if it takes longer."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
