"""What those who come to the page cost the loop: its rate with clients that read slowly, stop reading, say nothing or are refused, against its rate without.

Those that say nothing or are refused take time of the same cores as the loop: what they cost is held against the same clients at a socket that only accepts
and closes. All the while nobody reads the run's log.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import IO, Any

from benchmarks.measuring.attackers import attacking, mere_socket
from benchmarks.measuring.setting import Setting, print_conditions, write_result
from edge import cli
from edge.board.machine import status_mib
from edge.bundle.lineage import now
from edge.errors import SourceError

SLOW_BYTES_A_SECOND = 20_000
_TOKEN = "a-token-of-the-benchmark"  # noqa: S105 - of a run on loopback that ends with the measurement
_REQUEST = f"GET /live.mjpg HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {_TOKEN}\r\n\r\n".encode()
_START_S, _SETTLE_S, _END_S = 60.0, 1.0, 30.0
_SMALL_BUFFER = 4096


def clients(
    setting: Setting, source: str, slow: int, dead: int, rounds: int, seconds: int, json_path: Path | None, *, silent: int = 5000, refused: int = 5000
) -> dict[str, Any]:
    """Run `edge run SOURCE --web`, and measure its frames a second without and with clients of each kind, in turn; print them and their ratio.

    Args:
        setting: bundle and engine.
        source: what `edge run` takes; one that gives frames as fast as they are wanted shows most.
        slow: clients that read the stream of pictures at 20 kB/s.
        dead: clients that ask for it and read nothing.
        rounds: how many times both are measured.
        seconds: of each measurement.
        json_path: where the result goes, or None.
        silent: connections that say nothing.
        refused: requests a second without the token.

    Returns:
        `fps_without` and `fps_with`, a figure for each round; `ratio`, the median of each round's; `rss_mib_without` and `rss_mib_with`, the highest;
        `attacks`, by kind: `fps_page`, `fps_socket`, `ratio`, `rss_mib` and `connections_a_second`, and `number`, which was wanted.

    Raises:
        SourceError: the run ended before it was measured.
        OutputError: `json_path` cannot be written.
    """
    started_at, conditions = now(), setting.conditions(source=source, slow=slow, dead=dead, silent=silent, refused=refused, rounds=rounds, seconds=seconds)
    without: list[float] = []
    along: list[float] = []
    rss: dict[bool, float] = {False: 0.0, True: 0.0}
    with running(setting, source) as (process, port):
        with _asking(port) as ask:
            status = ask()
        print_conditions(status["engine"], status["precision"], setting)
        for turn in range(2 * rounds):
            # With clients first in every other round, so that a machine that slows down favours neither.
            watched = turn % 4 in (1, 2)
            with _asking(port) as ask, looking(port, slow if watched else 0, dead if watched else 0):
                (along if watched else without).append(_fps(ask, seconds))
                rss[watched] = max(rss[watched], _rss_mib(process.pid))
        attacks = {kind: _attacked(kind, number, process.pid, port, rounds, seconds) for kind, number in (("silent", silent), ("refused", refused)) if number}
    ratio = median(b / a for a, b in zip(without, along, strict=True))
    figures = {
        "fps_without": without,
        "fps_with": along,
        "ratio": round(ratio, 3),
        "rss_mib_without": round(rss[False], 1),
        "rss_mib_with": round(rss[True], 1),
        "attacks": attacks,
        "engine": status["engine"],
        "precision": status["precision"],
    }
    print(f"\nwithout clients          {median(without):.1f} frames a second (median of {rounds}), RSS at most {rss[False]:.0f} MiB")
    print(f"with {slow} slow, {dead} dead    {median(along):.1f} frames a second, RSS at most {rss[True]:.0f} MiB")
    print(f"ratio of each round      {ratio:.3f} (median)")
    for kind, attack in attacks.items():
        print(
            f"{attack['number']} {kind:<18} {median(attack['fps_page']):.1f} frames a second, {median(attack['fps_socket']):.1f} at a mere socket: "
            f"ratio {attack['ratio']:.3f}, RSS at most {attack['rss_mib']:.0f} MiB"
        )
    write_result(json_path, "clients", started_at, conditions, figures)
    return figures


def _attacked(kind: str, number: int, pid: int, port: int, rounds: int, seconds: int) -> dict[str, Any]:
    """Measure with attackers at the page, and with the same at a socket that only accepts and closes, in turn."""
    fps: dict[bool, list[float]] = {False: [], True: []}
    made: dict[bool, float] = {False: 0.0, True: 0.0}
    rss_mib = 0.0
    with mere_socket() as elsewhere:
        for turn in range(2 * rounds):
            at_page = turn % 4 in (1, 2)
            # Who was served keeps its place; one that comes later may find none.
            with _asking(port) as ask, attacking(kind, port if at_page else elsewhere, number) as count:
                began = time.monotonic()
                fps[at_page].append(_fps(ask, seconds))
                took_s = time.monotonic() - began
                rss_mib = max(rss_mib, _rss_mib(pid))
            made[at_page] = round(count[0] / took_s, 1)
    ratio = median(page / mere for page, mere in zip(fps[True], fps[False], strict=True))
    return {
        "number": number,
        "fps_page": fps[True],
        "fps_socket": fps[False],
        "ratio": round(ratio, 3),
        "rss_mib": round(rss_mib, 1),
        "connections_a_second": {"page": made[True], "socket": made[False]},
    }


def _fps(ask: Callable[[], dict[str, Any]], seconds: int) -> float:
    """Return the run's frames a second, by its own clock: its answers may come late."""
    time.sleep(_SETTLE_S)
    before = ask()
    for _ in range(seconds):
        time.sleep(1)
        after = ask()
    frames, took_s = (after[key] - before[key] for key in ("frames", "uptime_s"))
    return round(float(frames / took_s), 2)


def _rss_mib(pid: int) -> float:
    """Return the memory of the run and its page together."""
    return sum(status_mib("VmRSS", process) or 0.0 for process in (pid, *children(pid)))


def children(pid: int) -> list[int]:
    """Return the processes that a process has begun and that still run."""
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


@contextmanager
def running(setting: Setting, source: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the runtime with its page on a free port, which is given with the process."""
    options = ["--bundle", setting.bundle, "--engine", setting.engine, "--precision", setting.precision, "--provider", setting.provider]
    with tempfile.TemporaryFile() as said, tempfile.NamedTemporaryFile("w") as token, _unread() as (log, log_end):
        token.write(_TOKEN)
        token.flush()
        command = cli.child("edge", "run", source, *map(str, options), "--web", "0", "--web-token-file", token.name)
        # This Python, running this project's runtime.
        child = subprocess.Popen(command, env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=said, stderr=log_end)  # noqa: S603
        try:
            yield child, _port(child, said, log)
        finally:
            child.terminate()
            try:
                child.wait(_END_S)
            finally:
                child.kill()
                child.wait()


@contextmanager
def _unread() -> Iterator[tuple[int, int]]:
    """Give the ends of a small pipe that nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with suppress(OSError):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _SMALL_BUFFER)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


def _port(child: subprocess.Popen[bytes], said: IO[bytes], log: int) -> int:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        for line in os.pread(said.fileno(), 1 << 16, 0).decode(errors="replace").splitlines():
            if line.startswith("page ") and line.endswith("/"):
                return int(line.rstrip("/").rpartition(":")[2])
        if child.poll() is not None:
            lines: list[str] = []
            with suppress(BlockingIOError):
                lines = os.read(log, 1 << 16).decode(errors="replace").splitlines()
            raise SourceError(f"wanted to measure the page, the run ended early: {(lines or ['it said nothing'])[-1]}")
        time.sleep(0.1)
    raise SourceError(f"wanted to measure the page, found none after {_START_S:.0f} s: run edge run --web by hand")


@contextmanager
def _asking(port: int) -> Iterator[Callable[[], dict[str, Any]]]:
    """Give what asks for the run's status, over one connection and from an address of its own: the page answers an attacker's no longer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=("127.0.0.2", 0))

    def ask() -> dict[str, Any]:
        connection.request("GET", "/api/status?since=1e12", headers={"Authorization": f"Bearer {_TOKEN}"})
        status: dict[str, Any] = json.load(connection.getresponse())
        return status

    with closing(connection):
        ask()
        yield ask


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
