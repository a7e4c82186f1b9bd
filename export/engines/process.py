"""Runs `export.engines.child` and watches it: its progress, the memory that it takes and leaves, and how it ended."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from edge import cli
from edge.board.identity import read_memory
from edge.board.machine import status_mib
from export.engines.child import Job
from export.engines.progress import Bar

_SAMPLE_EVERY_S = 0.05
_PATIENCE_S = 30.0
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)


@dataclass(frozen=True)
class Ending:
    """How a child ended.

    Attributes:
        done: what it reported; None if it failed.
        failure: why it failed, one line; empty if it did not.
        retry: whether a smaller build might succeed.
        peak_mib: most resident memory that it had.
        least_available_mib: least memory that the system had left; None where it does not tell.
        seconds: from start to end.
    """

    done: dict[str, Any] | None
    failure: str
    retry: bool
    peak_mib: float
    least_available_mib: float | None
    seconds: float


def run_job(job: Job, log: Path) -> Ending:
    """Run a child to its end; its standard error goes to the file `log`. Interrupted, it lets the child give up, or kills it after some patience.

    Raises:
        OSError: the log cannot be written.
    """
    started = time.monotonic()
    with log.open("ab") as errors:
        child = subprocess.Popen(  # noqa: S603 - this Python, with a document of our own
            cli.child("export.engines.child", json.dumps(asdict(job))),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # so that a terminal's Ctrl-C comes to the parent alone
        )
    with child, Samples(child.pid) as samples, Bar(f"{job.role} {job.precision}") as bar:
        try:
            last = _followed(child, bar)
            code = child.wait()
        finally:
            _end(child)
    return _ending(last, code, samples, time.monotonic() - started, log)


def _followed(child: subprocess.Popen[bytes], bar: Bar) -> dict[str, Any]:
    """Show what a child tells until it tells no more, and return the last."""
    event: dict[str, Any] = {}
    assert child.stdout is not None
    for line in child.stdout:
        event = json.loads(line)
        if "share" in event:
            bar.show(event["share"], event["phase"])
    return event


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let a child give up, which may take as long as one of TensorRT's steps; then kill it."""
    assert child.stdin is not None
    with suppress(BrokenPipeError):
        child.stdin.close()
    try:
        child.wait(_PATIENCE_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
        child.wait()


def _ending(last: dict[str, Any], code: int, samples: Samples, seconds: float, log: Path) -> Ending:
    figures = (samples.peak_mib, samples.least_available_mib, seconds)
    if code == 0 and "done" in last:
        return Ending(last["done"], "", False, *figures)
    if "failed" in last:
        return Ending(None, last["failed"], last["retry"], *figures)
    if code in _KILLED:
        left = "" if samples.least_available_mib is None else f" while {samples.least_available_mib:.0f} MiB were left to the system"
        return Ending(None, f"wanted the builder to end well, it was killed at {samples.peak_mib:.0f} MiB{left}: close other programs", True, *figures)
    if code < 0:
        return Ending(None, f"wanted the builder to end well, it crashed ({signal.Signals(-code).name}): see {log}", True, *figures)
    return Ending(None, f"wanted the builder to end well, it ended with code {code}: see {log}", False, *figures)


class Samples:
    """Samples the memory of a process, and what the system has left, on a thread of its own."""

    def __init__(self, process: int) -> None:
        self.peak_mib = 0.0
        self.least_available_mib: float | None = None
        self._process = process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Samples:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_SAMPLE_EVERY_S):
            self.peak_mib = max(self.peak_mib, status_mib("VmHWM", self._process) or 0.0)
            memory = read_memory()
            if memory:
                before = self.least_available_mib
                self.least_available_mib = memory.available_mib if before is None else min(before, memory.available_mib)
