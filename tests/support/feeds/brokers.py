"""A real MQTT broker (mosquitto) in a process of its own, and somebody who listens to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from packets import lacking, wait_for
from stations import free_port

MOSQUITTO = shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))


class Broker:
    """Mosquitto on a free port; what it owes to listeners outlives it, as far as it has had the time to write it."""

    def __init__(self, folder: Path, *settings: str, port: int | None = None) -> None:
        if MOSQUITTO is None:
            lacking("needs mosquitto (Debian, Ubuntu: apt install mosquitto)")
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port(socket.SOCK_STREAM)
        kept = (
            "user root",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_interval 1",
            "autosave_on_changes true",
            "set_tcp_nodelay true",
            "max_queued_messages 0",
        )
        self._file = folder / "mosquitto.conf"
        self._file.write_text("\n".join((f"listener {self.port} 127.0.0.1", *kept, *settings)) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Broker:
        self.begin()
        return self

    def begin(self) -> None:
        """Start it, again too."""
        assert MOSQUITTO is not None
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: listens(self.port), "the broker")

    def __exit__(self, *exc: object) -> None:
        self.end()

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it, by SIGKILL too."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Listener:
    """Hears all of a prefix; what is sent while it, or the broker, is away, the broker keeps for it."""

    def __init__(self, port: int, prefix: str = "drone") -> None:
        from paho.mqtt import client

        self.heard: list[tuple[str, dict[str, Any], bool]] = []
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._client = client.Client(client.CallbackAPIVersion.VERSION2, client_id=f"listener of {prefix}", clean_session=False)
        self._client.on_connect = lambda *_: self._client.subscribe(f"{prefix}/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._hear
        self._client.reconnect_delay_set(1, 1)
        self._port = port

    def __enter__(self) -> Listener:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        assert self._subscribed.wait(30)
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, client: Any, userdata: Any, message: Any) -> None:
        with self._lock:
            self.heard.append((message.topic.rpartition("/")[2], json.loads(message.payload), message.retain))

    def of(self, topic: str) -> list[dict[str, Any]]:
        with self._lock:
            return [message for name, message, _ in self.heard if name == topic]

    @property
    def frames(self) -> list[int]:
        """Frames of the sightings that were heard."""
        return [event["frame"] for event in self.of("events") if event["event"] == "sighting"]

    @property
    def states(self) -> list[str]:
        return [message["state"] for message in self.of("state")]

    def wait(self, frames: int, limit_s: float = 60.0) -> None:
        """Wait until sightings of so many frames have been heard."""
        end = time.monotonic() + limit_s
        while len(set(self.frames)) < frames:
            assert time.monotonic() < end, f"heard {len(set(self.frames))} of {frames}"
            time.sleep(0.02)
