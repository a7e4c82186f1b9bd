"""Strangers and clients that mean no good at the page: what they get, what they cannot take, and what is told of them."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")
pytest.importorskip("uvicorn", reason="the extra web is not installed")
pytest.importorskip("prometheus_client", reason="the extra web is not installed")

from packets import wait_for
from web_client import Feeding, connect, get, say, serving

from edge.outputs.web.wire import Limits

TOKEN = "correct-horse-battery-staple"


def mutated(chance: random.Random) -> bytes:
    """A request that was sound, with some of it changed, cut, doubled or put in another place."""
    path = chance.choice(["/", "/live.jpg?after=1", "/api/status?since=3", "/crops/1.jpg", "/metrics", "/nothing", "http://evil/", "*"])
    whole = bytearray(
        f"{chance.choice(['GET', 'HEAD', 'POST', 'BREW'])} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {'a' * chance.randrange(9)}\r\n"
        f"content-length: {chance.choice(['0', '5', '-1', '99999999999', 'x'])}\r\nupgrade: websocket\r\nconnection: close\r\n\r\n".encode()
    )
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(len(whole))
        match chance.randrange(4):
            case 0:
                whole[at] = chance.randrange(256)
            case 1:
                del whole[at : at + chance.randrange(1, 9)]
            case 2:
                whole[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 40)))
            case _:
                whole[at:at] = whole[: chance.randrange(len(whole))]
        if not whole:
            break
    return bytes(whole)


def test_a_thousand_damaged_requests_are_answered_without_a_fault_of_ours(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(5)
    statuses: dict[bytes, int] = {}
    with serving() as (sink, _), Feeding(sink), caplog.at_level(logging.WARNING):
        for _ in range(1000):
            with connect(sink) as client:
                client.sendall(mutated(chance))
                client.shutdown(socket.SHUT_WR)
                client.settimeout(20)
                try:
                    answer = client.recv(1 << 16)
                except ConnectionError:
                    answer = b""
            status = answer[9:12]
            statuses[status] = statuses.get(status, 0) + 1
        assert get(sink, "/api/status")[0] == 200
    assert set(statuses) <= {b"", b"200", b"204", b"400", b"404", b"405"}
    assert statuses[b"400"] > 300
    assert not caplog.records
    assert "Traceback" not in "".join(capfd.readouterr())


def test_who_asks_nothing_or_takes_nothing_is_cut_off() -> None:
    with (
        serving(limits=Limits(idle_s=0.5, silent_s=0.5)) as (sink, _),
        Feeding(sink, (1280, 720)),
        connect(sink) as silent,
        connect(sink, 4096) as dead,
        connect(sink) as slow,
    ):
        dead.sendall(b"GET /live.mjpg HTTP/1.1\r\nhost: localhost\r\n\r\n")
        slow.sendall(b"GET /live.mjpg HTTP/1.1\r\nhost: localhost\r\n\r\n")
        silent.sendall(b"GET / HT")
        taken, end = 0, time.monotonic() + 2
        while taken < 1 << 20 or time.monotonic() < end:  # the dead one has been sent as much
            taken += len(slow.recv(1 << 16))
        assert silent.recv(1) == b""
        assert ends(dead)


def ends(client: socket.socket) -> bool:
    """Read what is still on its way, and tell whether that is all."""
    taken = 0
    try:
        while taken < 4 << 20 and (data := client.recv(1 << 16)):
            taken += len(data)
    except ConnectionError:
        return True
    return taken < 4 << 20


def test_silent_connections_lock_nobody_out_and_take_no_descriptor_of_the_run() -> None:
    with serving(limits=Limits(connections=20, silent_s=60)) as (sink, _), ExitStack() as stack:
        assert get(sink, "/healthz")[0] == 200
        before = len(list(Path("/proc/self/fd").iterdir()))
        silent = [stack.enter_context(connect(sink)) for _ in range(100)]
        for _ in range(5):
            assert get(sink, "/api/status")[0] == 200
        assert len(list(Path("/proc/self/fd").iterdir())) == before + len(silent)
        assert sum(closed(client) for client in silent) >= 80


def closed(client: socket.socket) -> bool:
    client.settimeout(0.05)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_who_is_refused_again_and_again_is_not_answered_for_a_while_and_then_is() -> None:
    with serving(TOKEN, limits=Limits(refusals=5)) as (sink, _):
        answers = [say(sink, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")[9:12] for _ in range(40)]
        assert answers[:5] == [b"401"] * 5
        assert b"" in answers
        wait_for(lambda: say(sink, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")[9:12] == b"401", "an answer again")


def test_all_paths_share_one_budget() -> None:
    share = 40_000
    with serving(limits=Limits(bytes_a_second=share)) as (sink, _), Feeding(sink):
        for path in ("/page.js", "/live.jpg", "/metrics", "/api/status"):
            get(sink, path)
        began, taken = time.monotonic(), 0
        while time.monotonic() - began < 3:
            taken += sum(len(get(sink, path)[2]) for path in ("/page.js", "/live.jpg", "/metrics", "/api/status"))
        assert taken / (time.monotonic() - began) < 1.5 * share


def test_what_stands_in_a_path_never_reaches_the_log_raw(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(TOKEN) as (sink, _), caplog.at_level(logging.WARNING):
        for path in ("/%0AERROR:%20fake%1b[31m", "/api/%0AERROR:%20fake%1b[31m/status"):
            for method in ("POST", "GET", "HEAD"):
                assert get(sink, path, method=method)[0] == 401
                assert get(sink, path, {"Authorization": f"Bearer {TOKEN}"}, method)[0] in (404, 405)
        sink._tell_fault({"text": "at '/\nERROR: fake\x1b[31m': it failed"})
        sink._tell_fault({"text": "again"})
        (record,) = caplog.records
        assert record.getMessage() == "the page failed: at '/ ERROR: fake\\x1b[31m': it failed"


def test_a_page_that_is_killed_is_begun_again_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as (sink, _), caplog.at_level(logging.WARNING):
        assert get(sink, "/healthz")[0] == 200
        (process,) = [int(each) for each in Path(f"/proc/self/task/{sink._thread.native_id}/children").read_text().split()]
        os.kill(process, signal.SIGKILL)
        wait_for(lambda: get(sink, "/healthz")[0] == 200, "the page")
        assert "the thread web failed and is begun again" in caplog.text
