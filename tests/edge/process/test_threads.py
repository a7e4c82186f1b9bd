"""Threads that fail are begun again and told of; none dies in silence, and none keeps a run from its end."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Iterator

import pytest
from packets import wait_for

from edge.process.threads import HEALTHY_S, Worker, faults, restarts


class Failing:
    """Work that fails some times, then waits until it is told to stop."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.worker = Worker(self.work, "failing", clock_s=lambda: self.now_s)
        self.now_s = 1000.0
        self.begun, self._times = 0, times
        self._error = error or OSError(errno.EMFILE, "Too many open files")
        self.well = threading.Event()

    def work(self) -> None:
        self.begun += 1
        if self.begun <= self._times:
            raise self._error
        self.well.set()
        self.worker.stopping.wait()


@pytest.fixture
def failing() -> Iterator[Callable[..., Failing]]:
    made: list[Failing] = []

    def make(times: int, error: Exception | None = None) -> Failing:
        made.append(Failing(times, error))
        made[-1].worker.start()
        return made[-1]

    yield make
    for each in made:
        assert each.worker.stop()


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), ValueError("odd\nbytes"), MemoryError(), KeyError("x")])
def test_a_thread_that_fails_is_begun_again_and_told_of(failing: Callable[..., Failing], caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    before = restarts().get("failing", 0)
    work = failing(3, error)
    assert work.well.wait(10)
    assert (work.begun, work.worker.restarts, restarts()["failing"] - before) == (4, 3, 3)
    (record,) = caplog.records  # once, not three times
    assert record.levelno == logging.WARNING
    assert type(error).__name__ in record.getMessage()
    assert "\n" not in record.getMessage()
    assert any("thread failing" in fault for fault in faults())


def test_a_fault_is_forgotten_when_the_thread_has_long_been_well_and_the_next_is_told_again(
    failing: Callable[..., Failing], caplog: pytest.LogCaptureFixture
) -> None:
    work = failing(1)
    assert work.well.wait(10)
    work.now_s += HEALTHY_S
    assert work.worker.fault == ""
    assert not any("thread failing" in fault for fault in faults())
    work.worker._failed(OSError("again"))
    assert len(caplog.records) == 2


def test_a_thread_that_fails_for_ever_floods_no_log(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(lambda: None, "hopeless", clock_s=lambda: 5.0)
    for _ in range(12_345):
        worker._failed(OSError("no"))
    assert len(caplog.records) == 5
    assert worker.restarts == 12_345


def test_work_that_returns_has_ended() -> None:
    begun: list[int] = []
    worker = Worker(lambda: begun.append(1), "short")
    worker.start()
    worker.join(10)
    assert (begun, worker.restarts, worker.fault) == ([1], 0, "")


def test_what_fails_while_it_is_stopped_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    inside = threading.Event()

    def work() -> None:
        inside.set()
        worker.stopping.wait()
        raise OSError("the socket is closed")

    worker = Worker(work, "ending")
    worker.start()
    assert inside.wait(10)
    assert worker.stop()
    assert (worker.restarts, caplog.records) == (0, [])


def test_a_thread_that_hangs_is_left_behind() -> None:
    hanging = threading.Event()
    worker = Worker(lambda: bool(hanging.wait(60)) or None, "hanging")
    worker.start()
    assert not worker.stop(0.05)
    hanging.set()
    wait_for(lambda: not worker.is_alive(), "the thread")


def test_one_that_never_began_is_stopped_at_once() -> None:
    assert Worker(lambda: None, "never").stop()
