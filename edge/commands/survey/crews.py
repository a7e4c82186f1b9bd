"""Who does the work: processes of this machine, or workers of a Ray cluster. A worker that dies takes its recording with it, once; the others go on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from edge.board.extras import install
from edge.cli import ROOT, child
from edge.commands.survey.work import Job, Outcome, job_of, work
from edge.errors import InputError, MissingDependency, one_line

TRIES = 2
"""A worker may be killed for want of memory by what ran beside it; one that dies twice over a recording dies of it."""

_WORK = "edge.commands.survey.work"
_TOLD = 300
_ANSWER_S = 10.0


def by_processes(jobs: Mapping[str, Job], workers: int) -> Iterator[tuple[str, Outcome]]:
    """Do jobs by so many processes at a time, one process a job, and give the name of each with its outcome, as they are done."""
    processes = _Processes()
    with ThreadPoolExecutor(workers, "survey") as pool:
        asked = {pool.submit(processes.do, job): name for name, job in jobs.items()}
        try:
            for done in as_completed(asked):
                yield asked[done], done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            processes.end()


class _Processes:
    """The processes that work now; threads wait for one each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = False

    def end(self) -> None:
        """Kill those that work, and let none begin any more."""
        with self._lock:
            self._ended = True
            for process in self._running:
                process.kill()

    def do(self, job: Job) -> Outcome:
        """Do a job, once more where its process dies."""
        told = ""
        for _ in range(TRIES):
            with tempfile.TemporaryFile("w+") as said:
                answer, code = self._asked(json.dumps(asdict(job)), said)
                if code == 0 and answer:
                    return Outcome(**json.loads(answer))
                said.seek(0)
                told = f"its process ended with code {code}: {said.read().strip()[-_TOLD:]}"
        return Outcome(failure=f"{told} ({TRIES} times)")

    def _asked(self, line: str, said: IO[str]) -> tuple[str, int]:
        """Return what a process answers, and its exit code."""
        with self._lock:
            if self._ended:
                return "", -signal.SIGKILL
            process = subprocess.Popen(child(_WORK), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True)  # noqa: S603 our own module
            self._running.add(process)
        answer = ""
        with suppress(BrokenPipeError), process:  # it may die before it has read
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{line}\n")
            process.stdin.flush()  # and stays open: its end tells the process that nobody waits any more
            answer = process.stdout.read()
        with self._lock:
            self._running.discard(process)
        return answer, process.wait()


def by_ray(jobs: Mapping[str, Job], address: str, workers: int) -> Iterator[tuple[str, Outcome]]:
    """Do jobs by a Ray cluster, or by so many workers on this machine where the address is `local`, and give each name with its outcome, as they are done.

    Raises:
        InputError: no cluster answers there.
        MissingDependency: ray is not installed.
    """
    with _cluster(address, workers) as ray:
        doing = ray.remote(num_cpus=1, max_retries=TRIES - 1)(_answer)
        asked = {doing.remote(json.dumps(asdict(job))): name for name, job in jobs.items()}
        waiting = list(asked)
        while waiting:
            (done,), waiting = ray.wait(waiting, num_returns=1)
            try:
                outcome = Outcome(**json.loads(ray.get(done)))
            except ray.exceptions.RayError as error:
                outcome = Outcome(failure=f"its worker ended: {one_line(error)} ({TRIES} times)")
            yield asked[done], outcome


def _answer(line: str) -> str:
    return json.dumps(asdict(work(job_of(line))))


@contextmanager
def _cluster(address: str, workers: int) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingDependency(f"wanted the package ray for --ray, found none: {install('survey')}") from error
    local = address == "local"
    _check_answer(address)
    try:
        # The workers get our own code, so that all of a cluster's machines do the same.
        ray.init(
            address,
            num_cpus=workers if local else None,
            include_dashboard=False if local else None,
            configure_logging=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}} if local else {"py_modules": [str(Path(ROOT) / "edge")]},
        )
    except Exception as error:  # of many kinds: a bare one where this machine is too busy for a node to start in time
        ray.shutdown()
        raise _unanswered(address, error) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Refuse a cluster that is not there: Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), _ANSWER_S).close()
        except OSError as error:
            raise _unanswered(address, error) from error


def _unanswered(address: str, error: Exception) -> InputError:
    return InputError(f"wanted a Ray cluster at {address}, found none that answers ({one_line(error)}): ray start --head, or --ray local")
