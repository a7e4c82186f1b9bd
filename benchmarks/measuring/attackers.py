"""Clients that mean no good, each kind a process of its own, and the socket that only accepts and closes, which what they cost is held against.

python -m benchmarks.measuring.attackers silent|refused PORT NUMBER
python -m benchmarks.measuring.attackers socket
"""

from __future__ import annotations

import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edge import cli
from edge.errors import SourceError

_TICK_S = 0.01
_MOST_OPENED_A_SECOND = 5000
_REQUEST = b"POST /%0AERROR HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"


@contextmanager
def attacking(kind: str, port: int, number: int) -> Iterator[list[int]]:
    """Attack a port as long as the block lasts; afterwards the list that is given holds how many connections there were.

    Args:
        kind: "silent" keeps `number` connections that say nothing, and opens again what is closed; "refused" sends so many requests a second without a token.
        port: of 127.0.0.1.
        number: see `kind`.

    Raises:
        SourceError: the attacker ended by itself.
    """
    made: list[int] = []
    # This Python, running this file.
    attacker = subprocess.Popen(cli.child(__name__, kind, str(port), str(number)), stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        yield made
        if attacker.poll() is not None:
            raise SourceError(f"wanted {number} {kind} clients to the end, they ended early with exit code {attacker.returncode}: look at the run by hand")
    finally:
        attacker.terminate()
        told = attacker.communicate()[0]
        made.append(int(told) if told.strip().isdigit() else 0)


@contextmanager
def mere_socket() -> Iterator[int]:
    """Give the port of a process that accepts connections and closes them, and does nothing else."""
    # This Python, running this file.
    with subprocess.Popen(cli.child(__name__, "socket"), stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def keep_silent(port: int, number: int) -> Iterator[int]:
    """Hold `number` connections, and give how many were opened so far, again and again."""
    watched, opened = selectors.DefaultSelector(), 0
    while True:
        began = time.monotonic()
        for key, _ in watched.select(0):
            client = key.fileobj
            assert isinstance(client, socket.socket)
            with suppress(OSError):
                if client.recv(4096):
                    continue
            watched.unregister(client)
            client.close()
        for _ in range(min(number - len(watched.get_map()), int(_MOST_OPENED_A_SECOND * _TICK_S))):
            client = socket.socket()
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(("127.0.0.1", port))
            watched.register(client, selectors.EVENT_READ)
            opened += 1
        yield opened
        time.sleep(max(0.0, began + _TICK_S - time.monotonic()))


def be_refused(port: int, number: int) -> Iterator[int]:
    """Send `number` requests a second without a token, each over a connection of its own; give how many were sent so far, again and again."""
    sent, began = 0, time.monotonic()
    while True:
        due = int((time.monotonic() - began) * number)
        for _ in range(min(due - sent, number // 10)):
            with socket.socket() as client:
                client.setblocking(False)
                with suppress(OSError):  # a queue that is full
                    client.connect(("127.0.0.1", port))
                    client.send(_REQUEST)
            sent += 1
        yield sent
        time.sleep(_TICK_S)


def accept() -> None:
    """Accept and close, for ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            server.accept()[0].close()


def main() -> None:
    """Do what the command line says, until SIGTERM; then tell how many connections there were."""
    if sys.argv[1] == "socket":
        accept()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))
    attack = keep_silent if sys.argv[1] == "silent" else be_refused
    for made in attack(*map(int, sys.argv[2:])):
        if ended:
            print(made)
            return


if __name__ == "__main__":
    main()
