"""Threads that work until they are told to stop: one that fails is told of and begun again, so that none dies in silence."""

from __future__ import annotations

import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import TypeVar

from edge.errors import one_line

_LOG = logging.getLogger(__name__)

END_S = 1.0
"""Time that a worker gets to come back; then it is left behind, for a call that hangs must not keep a run from its end."""
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0
HEALTHY_S = 60.0
"""A worker that has worked for so long is well again: its next fault is told at once, and it is begun again after the shortest pause."""

T = TypeVar("T")

_LOOK_S = 0.1
_WORKERS: weakref.WeakSet[Worker] = weakref.WeakSet()
_LOCK = threading.Lock()


class Worker(threading.Thread):
    """Runs `work`, which looks at `stopping` again and again, and begins it again where it fails; work that returns has ended.

    What the work holds must be in a state from which it can begin anew. What it can do about an error that it knows, it does itself.

    Attributes:
        stopping: set when the work is to end.
        restarts: how often the work failed and was begun again.
    """

    def __init__(self, work: Callable[[], None], name: str, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Take the work; `start` begins it. A fault's age goes by `clock_s`."""
        super().__init__(name=name, daemon=True)
        self.stopping = threading.Event()
        self.restarts = 0
        self._work, self._clock_s = work, clock_s
        self._lately = 0
        self._fault, self._failed_s = "", float("-inf")
        with _LOCK:
            _WORKERS.add(self)

    @property
    def fault(self) -> str:
        """What made the work fail lately, for people; empty where it is well."""
        return self._fault if self._clock_s() - self._failed_s < HEALTHY_S and not self.stopping.is_set() else ""

    def run(self) -> None:
        """Work, in the thread."""
        while True:
            try:
                self._work()
            except Exception as error:  # whatever it is, a thread that is gone helps nobody
                if self.stopping.is_set():
                    return
                self._failed(error)
            else:
                return
            if self.stopping.wait(min(SHORTEST_PAUSE_S * 2 ** (self._lately - 1), LONGEST_PAUSE_S)):
                return

    def each(self, waiting: queue.Queue[T]) -> Iterator[T]:
        """Give what is left in a queue, one after the other, until the work is to end and the queue is empty."""
        while True:
            try:
                yield waiting.get(timeout=_LOOK_S)
            except queue.Empty:
                if self.stopping.is_set():
                    return

    def stop(self, timeout_s: float = END_S) -> bool:
        """End the work and wait for it, no longer than `timeout_s`; nothing is to be waited for where it never began.

        Returns:
            Whether the thread has ended; one that has not may still use what it works with.
        """
        self.stopping.set()
        if self.ident is not None:
            self.join(timeout_s)
        return not self.is_alive()

    def _failed(self, error: Exception) -> None:
        """Count a fault; of those that follow each other, the first, the tenth, the hundredth and so on are told."""
        now_s = self._clock_s()
        self._lately = self._lately + 1 if now_s - self._failed_s < HEALTHY_S else 1
        self._fault, self._failed_s = f"{type(error).__name__}: {one_line(error)}", now_s
        self.restarts += 1
        if str(self._lately).strip("0") == "1":
            often = f", {self._lately} times by now" if self._lately > 1 else ""
            _LOG.warning("the thread %s failed and is begun again%s (%s)", self.name, often, self._fault)


def faults() -> list[str]:
    """Return a line, for people, for each worker that failed within the last minute."""
    return [f"the thread {worker.name} failed and was begun again ({fault})" for worker in _workers() if (fault := worker.fault)]


def restarts() -> dict[str, int]:
    """Return how often workers were begun again, by their names, where they ever were."""
    counted: dict[str, int] = {}
    for worker in _workers():
        if worker.restarts:
            counted[worker.name] = counted.get(worker.name, 0) + worker.restarts
    return counted


def _workers() -> list[Worker]:
    with _LOCK:
        return list(_WORKERS)
