"""Batches made ahead of the network, in their order: by threads, or by processes where a GPU takes more than threads can make.

Threads wait for each other's lock in Python: two on two cores make two thirds of what two processes make (`scripts/training_speed.py`). A process has a copy
of all that its batches are made of.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.board.machine import cores

MOST_WORKERS = 8
"""Each keeps one more batch in memory, and as a process all that batches are made of."""

Task = TypeVar("Task")
Made = TypeVar("Made")

_make: Callable[[Any], Any]
"""What a process of the pool makes batches with."""


def workers() -> int:
    """Return how many batches are made at a time."""
    return min(MOST_WORKERS, cores())


def made_ahead(make: Callable[[Task], Made], tasks: Iterable[Task], *, processes: bool) -> Iterator[Made]:
    """Yield what `make` makes of each task, in the order of the tasks; as many as there are workers are under way.

    Args:
        make: called by several workers at a time; with processes it is copied to each of them once.
        tasks: taken one by one, as room is made.
        processes: work in processes, instead of threads.
    """
    with _processes(make) if processes else _threads() as pool:
        call = _call if processes else make
        waiting: deque[Future[Made]] = deque()
        for task in tasks:
            waiting.append(pool.submit(call, task))
            if len(waiting) > workers():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def stack(view: Callable[[NDArray[np.int64]], Sequence[NDArray[Any]]], places: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """Make the views at places, (b, ...), and stack each of their parts: (b, ...) each."""
    return tuple(np.stack(parts) for parts in zip(*map(view, places), strict=True))


@contextmanager
def _threads() -> Iterator[Executor]:
    """Offer threads, beside which OpenCV has none of its own: for pictures of a few pixels they only wait for each other."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(workers()) as pool:
            yield pool
    finally:
        cv2.setNumThreads(before)


def _processes(make: Callable[[Any], Any]) -> Executor:
    # Not forked: TensorFlow's threads may hold locks that nobody in the copy would open.
    return ProcessPoolExecutor(workers(), get_context("spawn"), _begin, (make,))


def _begin(make: Callable[[Any], Any]) -> None:
    global _make
    _make = make
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent ends its pool
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(task: Any) -> Any:
    return _make(task)
