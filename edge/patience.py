"""Ends a command whose library never returns: no exception reaches a thread that is inside C code, so the process ends, its outputs finished before.

Only a command asks for this, by `ending`. In a program that imports `edge` a call that hangs goes on hanging: the process is not ours to end.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_TICK_S = 0.25
FINISH_S = 1.5
"""Time that the outputs get to be finished."""


@dataclass
class _Call:
    left_s: float
    told: str


_calls: dict[int, _Call] = {}
_finishers: list[Callable[[], object]] = []
_ending: list[Callable[[str], None]] = []


@contextmanager
def ending(tell: Callable[[str], None], code: int) -> Iterator[None]:
    """Let a call within the block that takes longer than it may end the process with an exit code; `tell` gets the line for people."""

    def end(told: str) -> None:
        _within(FINISH_S, _finish)
        _within(FINISH_S / 3, lambda: tell(told))
        os._exit(code)

    over = threading.Event()
    _ending.append(end)
    threading.Thread(target=_watch, args=(over,), name="patience", daemon=True).start()
    try:
        yield
    finally:
        _ending.remove(end)
        over.set()


@contextmanager
def finishing(finish: Callable[[], object]) -> Iterator[None]:
    """Have `finish` called, in another thread, if the process is ended within the block."""
    _finishers.append(finish)
    try:
        yield
    finally:
        _finishers.remove(finish)


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
    for finish in (*reversed(_finishers), sys.stdout.flush):
        with suppress(Exception):  # what one cannot finish keeps no other from it
            finish()


def _within(seconds: float, work: Callable[[], object]) -> None:
    """Do some work, and leave it behind if it takes longer."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
