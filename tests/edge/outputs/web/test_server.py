"""The page's server: what it answers, whom it refuses, and that no client costs the loop anything."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")
pytest.importorskip("uvicorn", reason="the extra web is not installed")
pytest.importorskip("prometheus_client", reason="the extra web is not installed")

from commands import refused
from web_client import Feeding, Losses, connect, decoded, get, get_json, result, say, serving

from edge.errors import MissingDependency, OutputError
from edge.frame import FeedState, State
from edge.outputs.web.access import HEADERS
from edge.outputs.web.wire import LAST_LOOK_S, Limits
from edge.sources.uri import without_credentials

TOKEN = "correct-horse-battery-staple"


def test_the_page_and_all_it_loads_come_from_here() -> None:
    with serving() as (sink, _):
        for path, kind in (
            ("/", "text/html"),
            ("/page.css", "text/css"),
            ("/page.js", "text/javascript"),
            ("/plots.js", "text/javascript"),
            ("/drawing.js", "text/javascript"),
            ("/icon.svg", "image"),
        ):
            status, headers, body = get(sink, path)
            assert (status, headers["content-type"].startswith(kind)) == (200, True)
            assert body
            assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")
            assert b"https://" not in body


def test_the_status_tells_what_the_run_and_the_machine_do() -> None:
    with serving() as (sink, _), Feeding(sink) as feeding:
        time.sleep(0.7)
        status = get_json(sink, "/api/status")
        assert status["schema"] == 1
        assert (status["source"], status["engine"], status["precision"], status["dropped"], status["unreadable"]) == ("frames", "onnxruntime", "int8-cpu", 7, 2)
        assert status["size_wh"] == [96, 64]
        assert 0 < status["frames"] <= feeding.written
        assert 0 < status["fps"] <= 51
        assert 12 <= status["age_ms"]["p50"] <= status["age_ms"]["p99"] <= status["age_ms"]["max"]
        assert status["machine"]["rss_mib"] > 10
        times = status["history"]["t"]
        assert len(times) >= 3
        assert times == sorted(times)
        assert {len(column) for column in status["history"].values()} == {len(times)}
        later = get_json(sink, f"/api/status?since={times[-1]}")["history"]["t"]
        assert all(time > times[-1] for time in later)


@pytest.mark.parametrize("failed", [False, True])
def test_who_looks_is_told_the_end(failed: bool) -> None:
    told: list[tuple[int, bytes]] = []
    looking = threading.Event()
    with suppress(InterruptedError), serving() as (sink, _):
        sink.write(result(1, 14, 1))
        assert get(sink, "/healthz")[0] == 200  # the page is there

        def look() -> None:
            looking.set()
            status, _, body = get(sink, "/api/end")
            told.extend([(status, body), (get(sink, "/api/status")[0], b""), (get(sink, "/api/end?taken")[0], b"")])

        watching = threading.Thread(target=look)
        watching.start()
        looking.wait()
        time.sleep(1.0)
        if failed:
            raise InterruptedError
    watching.join()
    said = "flight failed: 2 signs" if failed else "flight ended: 2 signs"
    assert [status for status, _ in told] == [200, 200, 204]
    assert json.loads(told[0][1]) == {"failed": failed, "said": said, "look_s": LAST_LOOK_S}


def test_the_address_that_is_printed_can_be_opened(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(TOKEN, "0.0.0.0") as (sink, _):
        printed = capsys.readouterr().out
        addresses = re.findall(r"http://[^ \n]+/", printed)
        assert sink.url in addresses
        assert "0.0.0.0" not in printed
        for address in addresses:
            parts = urlsplit(address)
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
            connection.request("GET", "/healthz", headers={"Authorization": f"Bearer {TOKEN}"})
            assert connection.getresponse().status == 200
            connection.close()


def test_the_newest_picture_is_given_once_and_then_the_next_is_waited_for() -> None:
    with serving() as (sink, _):
        sink.write(result(1, size_wh=(1280, 720)))
        status, headers, body = get(sink, "/live.jpg")
        assert (status, headers["content-type"], decoded(body).shape) == (200, "image/jpeg", (540, 960, 3))
        number = int(headers["x-picture"])
        threading.Timer(0.4, sink.write, [result(2)]).start()
        began = time.monotonic()
        status, headers, body = get(sink, f"/live.jpg?after={number}")
        assert (status, decoded(body).shape) == (200, (64, 96, 3))
        assert int(headers["x-picture"]) == number + 1
        assert time.monotonic() - began > 0.3


def test_a_source_that_is_silent_is_no_error_and_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(limits=Limits(wait_s=0.3)) as (sink, _):
        monkeypatch.setattr("edge.outputs.web.state._HEALTHY_S", 1000.0)
        assert get(sink, "/healthz")[0] == 200
        assert get(sink, "/live.jpg")[0] == 204
        monkeypatch.setattr("edge.outputs.web.state._HEALTHY_S", 0.01)
        status, _, body = get(sink, "/healthz")
        assert (status, body.startswith(b"no result for ")) == (503, True)


@pytest.mark.parametrize(("state", "healthy"), [("connecting", False), ("live", True), ("stalled", False), ("lost", False)])
def test_the_state_of_a_live_feed_is_told(state: State, healthy: bool) -> None:
    with serving(source=Losses(live=True, feed=FeedState(state, 5, 40, 7, 3, 2, "opens the port", 9))) as (sink, _):
        answer = get_json(sink, "/api/status")
        told = {"captured": 40, "dropped": 7, "damaged": 3, "reconnects": 2, "detail": "opens the port", "foreign": 9}
        assert (answer["state"], answer["feed"]) == (state, told)
        status, _, body = get(sink, "/healthz")
        assert (status, body) == ((200, b"ok\n") if healthy else (503, f"feed {state}\n".encode()))


def test_a_stream_of_pictures_moves() -> None:
    with serving() as (sink, _), Feeding(sink), connect(sink) as client:
        client.sendall(b"GET /live.mjpg HTTP/1.1\r\nhost: localhost\r\n\r\n")
        data = b""
        while data.count(b"--picture") < 4:
            data += client.recv(1 << 16)
        assert b"multipart/x-mixed-replace; boundary=picture" in data
        starts = [at for at in range(len(data)) if data.startswith(b"\xff\xd8\xff", at)][:3]
        pictures = [data[start : data.index(b"\xff\xd9", start) + 2] for start in starts]
        assert len(set(pictures)) == 3


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/healthz",
        "/metrics",
        "/api/status",
        "/api/sightings",
        "/events.jsonl",
        "/live.jpg",
        "/live.mjpg",
        "/crops/1.jpg",
        "/frames/1.jpg",
        "/api/end",
        "/page.js",
        "/nothing",
    ],
)
def test_without_the_token_nothing_is_told(path: str) -> None:
    with serving(TOKEN, "0.0.0.0") as (sink, _):
        sink.write(result(1, 14))
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {TOKEN}x"}):
            status, answered, body = get(sink, path, headers)
            assert (status, answered["www-authenticate"][:5]) == (401, "Basic")
            assert TOKEN.encode() not in body
        if path not in ("/nothing", "/live.mjpg"):
            assert get(sink, path, {"Authorization": f"Bearer {TOKEN}"})[0] in (200, 204)


def test_every_answer_tells_browsers_to_take_nothing_from_elsewhere() -> None:
    with serving(TOKEN) as (sink, _):
        for path, headers in (("/", {"Authorization": f"Bearer {TOKEN}"}), ("/", {}), ("/nothing", {"Authorization": f"Bearer {TOKEN}"})):
            answered = get(sink, path, headers)[1]
            assert {name: answered.get(name) for name, _ in HEADERS} == dict(HEADERS)
            assert "server" not in answered


def test_a_page_from_elsewhere_cannot_read_what_is_on_loopback() -> None:
    with serving() as (sink, _):
        status, _, body = get(sink, "/api/status", {"Host": "evil.example"})
        assert (status, b"frames" in body) == (400, False)


@pytest.mark.parametrize(
    "path",
    ["/../edge/outputs/web/server.py", "/page.css/../../web.py", "/%2e%2e/web.py", "//etc/passwd", "/page.js%00", "/crops/../1.jpg", "/crops/%2e%2e.jpg"],
)
def test_paths_lead_nowhere_else(path: str) -> None:
    with serving() as (sink, _):
        assert get(sink, path)[0] == 404


@pytest.mark.parametrize("query", ["/api/status?since=x", "/api/status?since=nan", "/api/status?since=-1", "/api/sightings?after=1e400", "/live.jpg?after="])
def test_a_number_that_is_none_is_a_bad_request(query: str) -> None:
    with serving() as (sink, _):
        assert get(sink, query)[0] == 400


def test_only_reading_is_possible() -> None:
    with serving() as (sink, _):
        assert {get(sink, "/api/status", method=method)[0] for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")} == {405}
        assert get(sink, "/api/status", method="HEAD")[0] == 200


def test_headers_that_are_too_large_are_refused() -> None:
    start = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: "
    with serving() as (sink, _):
        assert say(sink, start + b"a" * 100_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert say(sink, start + b"a" * 17_000).startswith(b"HTTP/1.1 400 ")
        assert say(sink, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").startswith(
            (b"HTTP/1.1 400 ", b"HTTP/1.1 404 ")
        )
        assert get(sink, "/")[0] == 200


def test_clients_that_stop_reading_hold_up_neither_the_loop_nor_others() -> None:
    with serving() as (sink, _), Feeding(sink, (1280, 720)) as feeding:
        dead = [connect(sink, 4096) for _ in range(50)]
        try:
            for client in dead:
                client.sendall(b"GET /live.mjpg HTTP/1.1\r\nhost: localhost\r\n\r\n")
            time.sleep(1.0)
            slowest = 0.0
            for index in range(200):
                began = time.perf_counter()
                sink.write(result(index))
                slowest = max(slowest, time.perf_counter() - began)
            assert slowest < 0.5
            before = feeding.written
            for _ in range(5):
                assert get(sink, "/live.jpg?after=1")[0] == 200
            assert feeding.written > before
        finally:
            for client in dead:
                client.close()


def test_a_head_of_a_stream_ends() -> None:
    with serving() as (sink, _):
        status, headers, body = get(sink, "/live.mjpg", method="HEAD")
        assert (status, headers["content-type"], body) == (200, "multipart/x-mixed-replace; boundary=picture", b"")


def test_the_end_does_not_wait_for_clients() -> None:
    with serving() as (sink, _), Feeding(sink):
        clients = [connect(sink, 4096) for _ in range(10)]
        for place, client in enumerate(clients):
            client.sendall((b"GET /live.mjpg HTTP/1.1\r\nhost: localhost\r\n\r\n", b"GET /live.jpg?after=9 HTTP/1.1\r\n", b"")[place % 3])
        time.sleep(0.5)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert not any(thread.name == "web" for thread in threading.enumerate())
    for client in clients:
        client.close()


def test_a_port_that_is_taken_is_refused_before_any_work() -> None:
    with serving() as (sink, _):
        from edge.outputs.web.sink import WebSink

        port = int(sink.url.rstrip("/").rpartition(":")[2])
        with (
            pytest.raises(OutputError, match=f"wanted to serve the page at 127.0.0.1 port {port}"),
            WebSink("127.0.0.1", port, sink._access, sink.state, sink._metrics),
        ):
            pytest.fail("it opened")


def test_options_that_do_not_go_together_are_one_line(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo = ("run", "demo://?frames=3&width=320&height=180", "--bundle", tiny_bundle)
    assert "wanted --web-token-file with --web-host 0.0.0.0" in refused(capsys, *demo, "--web", "0", "--web-host", "0.0.0.0")
    assert "wanted --web PORT with --web-host" in refused(capsys, *demo, "--web-host", "0.0.0.0")
    assert "wanted a token in" in refused(capsys, *demo, "--web", "0", "--web-token-file", tmp_path / "nothing")


def test_credentials_of_a_camera_are_not_shown() -> None:
    assert without_credentials("rtsp://admin:sec@ret@10.0.0.7:554/live?x=1") == "rtsp://10.0.0.7:554/live?x=1"
    assert without_credentials("demo://?seed=3") == "demo://?seed=3"
    assert without_credentials("rtp://@:5600") == "rtp://@:5600"
    assert without_credentials("/a/b@c.mp4") == "/a/b@c.mp4"


def test_without_the_extra_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    with serving() as (sink, _):
        from edge.outputs.web.sink import WebSink

        monkeypatch.setitem(sys.modules, "uvicorn", None)
        with pytest.raises(MissingDependency, match=r"-m pip install .*starlette uvicorn prometheus-client"):
            WebSink("127.0.0.1", 0, sink._access, sink.state, sink._metrics)
