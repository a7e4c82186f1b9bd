"""Ground stations and vehicles in processes of their own, as tests start them and ask what they have heard."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATION = Path(__file__).with_name("mavlink_station.py")
Message = dict[str, Any]


class Station:
    """A second process, and what it has heard."""

    def __init__(self, address: str, *options: int) -> None:
        self.heard: list[Message] = []
        self._process = subprocess.Popen([sys.executable, str(STATION), address, *map(str, options)], stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Station:
        self.wait(lambda: bool(self.of("READY")))
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def of(self, kind: str) -> list[Message]:
        return [message for message in self.heard if message["type"] == kind]

    def wait(self, condition: Callable[[], bool], limit_s: float = 30.0) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, f"waited in vain; heard {[message['type'] for message in self.heard][-20:]}"
            time.sleep(0.02)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.heard.append(json.loads(line))


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
