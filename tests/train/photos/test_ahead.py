import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from train.photos.ahead import made_ahead, workers


@dataclass
class Counter:
    """Hands out numbers, and knows how many were taken."""

    taken: int = 0

    def tasks(self, count):
        for number in range(count):
            self.taken += 1
            yield number


def slow_where_even(number):
    time.sleep(0.05 if number % 2 == 0 else 0.0)
    return number, cv2.getNumThreads(), os.getpid()


@pytest.mark.parametrize("processes", [False, True])
def test_what_is_made_comes_in_the_order_of_its_tasks_by_workers_without_threads_of_opencv(processes):
    before = cv2.getNumThreads()
    made = list(made_ahead(slow_where_even, range(9), processes=processes))
    assert [number for number, _, _ in made] == list(range(9))
    assert {threads for _, threads, _ in made} == {1}
    assert (os.getpid() in {process for _, _, process in made}) is not processes
    assert cv2.getNumThreads() == before


def test_no_more_is_made_than_there_are_workers_for():
    counter = Counter()
    made = made_ahead(lambda number: number, counter.tasks(100), processes=False)
    assert next(made) == 0
    assert counter.taken == workers() + 1
    made.close()
    assert counter.taken == workers() + 1


def fail_at_two(number):
    if number == 2:
        raise ValueError("two")
    return number


@pytest.mark.parametrize("processes", [False, True])
def test_an_error_comes_at_its_place_and_nobody_is_left_at_work(processes):
    threads = threading.active_count()
    made = made_ahead(fail_at_two, range(100), processes=processes)
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(made)
    assert threading.active_count() == threads


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"  # who is to bury orphans may be asleep
    except FileNotFoundError:
        return False


KILLED = """
import os, signal, time
from train.photos.ahead import made_ahead
from test_train_ahead import slow_where_even

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    made = made_ahead(slow_where_even, range(10**6), processes=True)
    print(*{next(made)[2] for _ in range(50)}, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_a_parent_that_is_killed(tmp_path, by):
    script = tmp_path / "parent.py"
    script.write_text(KILLED)
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[3])])
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True) as parent:
        children = [int(child) for child in parent.stdout.readline().split()]
        assert children
        os.killpg(parent.pid, by) if by == signal.SIGINT else parent.kill()
    until = time.monotonic() + 20
    while any(is_running(child) for child in children):
        assert time.monotonic() < until
        time.sleep(0.05)
