"""What people who look at the page cost the loop: its rate with clients that read slowly and clients that stop reading, against its rate without, in turn."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import IO, Any

from benchmarks.measuring.setting import Setting, print_conditions, write_result
from edge import cli
from edge.board.machine import status_mib
from edge.bundle.lineage import now
from edge.errors import SourceError

SLOW_BYTES_A_SECOND = 20_000
_REQUEST = b"GET /live.mjpg HTTP/1.1\r\nhost: localhost\r\n\r\n"
_START_S, _SETTLE_S, _END_S = 60.0, 1.0, 30.0
_SMALL_BUFFER = 4096


def clients(setting: Setting, source: str, slow: int, dead: int, rounds: int, seconds: int, json_path: Path | None) -> dict[str, Any]:
    """Run `edge run SOURCE --web`, and measure its frames a second without and with clients, in turn; print both and their ratio.

    Args:
        setting: bundle and engine.
        source: what `edge run` takes; one that gives frames as fast as they are wanted shows most.
        slow: clients that read the stream of pictures at 20 kB/s.
        dead: clients that ask for it and read nothing.
        rounds: how many times both are measured.
        seconds: of each measurement.
        json_path: where the result goes, or None.

    Returns:
        `fps_without` and `fps_with`, a figure for each round; `ratio`, the median of each round's; `rss_mib_without` and `rss_mib_with`, the highest.

    Raises:
        SourceError: the run ended before it was measured.
        OutputError: `json_path` cannot be written.
    """
    started_at, conditions = now(), setting.conditions(source=source, slow=slow, dead=dead, rounds=rounds, seconds=seconds)
    without: list[float] = []
    along: list[float] = []
    rss: dict[bool, float] = {False: 0.0, True: 0.0}
    with running(setting, source) as (process, port):
        status = _status(port)
        print_conditions(status["engine"], status["precision"], setting)
        for turn in range(2 * rounds):
            # With clients first in every other round, so that a machine that slows down favours neither.
            watched = turn % 4 in (1, 2)
            with looking(port, slow if watched else 0, dead if watched else 0):
                time.sleep(_SETTLE_S)
                before, began = _status(port)["frames"], time.monotonic()
                time.sleep(seconds)
                fps = (_status(port)["frames"] - before) / (time.monotonic() - began)
                rss[watched] = max(rss[watched], status_mib("VmRSS", process.pid) or 0.0)
            (along if watched else without).append(round(fps, 2))
    ratio = median(b / a for a, b in zip(without, along, strict=True))
    figures = {
        "fps_without": without,
        "fps_with": along,
        "ratio": round(ratio, 3),
        "rss_mib_without": round(rss[False], 1),
        "rss_mib_with": round(rss[True], 1),
        "engine": status["engine"],
        "precision": status["precision"],
    }
    print(f"\nwithout clients          {median(without):.1f} frames a second (median of {rounds}), RSS at most {rss[False]:.0f} MiB")
    print(f"with {slow} slow, {dead} dead    {median(along):.1f} frames a second, RSS at most {rss[True]:.0f} MiB")
    print(f"ratio of each round      {ratio:.3f} (median)")
    write_result(json_path, "clients", started_at, conditions, figures)
    return figures


@contextmanager
def running(setting: Setting, source: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the runtime with its page on a free port, which is given with the process."""
    options = ["--bundle", setting.bundle, "--engine", setting.engine, "--precision", setting.precision, "--provider", setting.provider]
    command = cli.child("edge", "run", source, *map(str, options), "--web", "0")
    with tempfile.TemporaryFile() as said:
        # This Python, running this project's runtime.
        child = subprocess.Popen(command, env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=said, stderr=subprocess.STDOUT)  # noqa: S603
        try:
            yield child, _port(child, said)
        finally:
            child.terminate()
            try:
                child.wait(_END_S)
            finally:
                child.kill()
                child.wait()


def _port(child: subprocess.Popen[bytes], said: IO[bytes]) -> int:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        lines = os.pread(said.fileno(), 1 << 16, 0).decode(errors="replace").splitlines()
        for line in lines:
            if line.startswith("page ") and line.endswith("/"):
                return int(line.rstrip("/").rpartition(":")[2])
        if child.poll() is not None:
            raise SourceError(f"wanted to measure the page, the run ended early: {(lines or ['it said nothing'])[-1]}")
        time.sleep(0.1)
    raise SourceError(f"wanted to measure the page, found none after {_START_S:.0f} s: run edge run --web by hand")


def _status(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status?since=1e12", timeout=30) as answer:
        status: dict[str, Any] = json.load(answer)
        return status


@contextmanager
def looking(port: int, slow: int, dead: int) -> Iterator[None]:
    """Let clients look for as long as the block lasts; those that read do so in a process of their own."""
    with ExitStack() as stack:
        for _ in range(dead):
            client = stack.enter_context(_connected(port))
            client.sendall(_REQUEST)
        if slow:
            # This Python, running this file.
            reader = subprocess.Popen(cli.child("benchmarks.clients", str(port), str(slow)))  # noqa: S603
            stack.callback(reader.wait)
            stack.callback(reader.kill)
        yield
        if slow and reader.poll() is not None:
            raise SourceError(f"wanted {slow} slow clients to the end, they ended early with exit code {reader.returncode}: look at the run by hand")


def _connected(port: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
    client.settimeout(30)
    client.connect(("127.0.0.1", port))
    return client


def read_slowly(port: int, count: int) -> None:
    """Read `count` streams of pictures at 20 kB/s each, until killed."""
    streams = [_connected(port) for _ in range(count)]
    for stream in streams:
        stream.sendall(_REQUEST)
        stream.setblocking(False)
    while True:
        began = time.monotonic()
        for stream in streams:
            with suppress(BlockingIOError):
                stream.recv(SLOW_BYTES_A_SECOND // 5)
        time.sleep(max(0.0, began + 0.2 - time.monotonic()))


if __name__ == "__main__":
    read_slowly(int(sys.argv[1]), int(sys.argv[2]))
