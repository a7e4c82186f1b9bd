"""What a real broker hears: events in their order though it is killed and comes back, the state, figures, and what a killed run leaves."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("paho.mqtt", reason="the extra mqtt is not installed")

from brokers import Broker, Listener
from commands import command, lines, refused, started
from media import picture
from packets import wait_for
from stations import free_port

from edge.datasets.gtsrb import LABELS
from edge.errors import MissingDependency, OutputError
from edge.frame import FeedState, Frame
from edge.outputs.meter import Meter
from edge.outputs.mqtt.address import parse_broker
from edge.outputs.mqtt.sink import RETRY_S, MqttSink
from edge.result import Report, Result
from edge.vehicle.utc import UtcClock

ROOT = Path(__file__).resolve().parents[4]
IMAGE = picture(0)
SHORT = "demo://?view=car&width=160&height=90&frames=20"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Messages wait in a folder of the test's."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "signwing" / "mqtt"


def result(index: int) -> Result:
    now = time.monotonic_ns()
    return Result(Frame(index, IMAGE, now - 12_000_000, None), [Report("sighting", index + 1, 14, 0.98, (10, 10, 40, 40))], (), (), now)


def sink_to(port: int, address: str = "mqtt://127.0.0.1:{}/drone", retry_s: float = RETRY_S) -> MqttSink:
    return MqttSink(parse_broker(address.format(port)), LABELS, Meter(), lambda: None, UtcClock(), metrics_s=0.2, retry_s=retry_s)


def in_order(frames: Sequence[int], count: int) -> None:
    """Hold that all frames came, and each for the first time in its order: QoS 1 may double the last few before a link was lost, in a row."""
    first: list[int] = list(dict.fromkeys(frames))
    assert first == list(range(count))
    runs = [[frame for _, frame in run] for _, run in groupby(enumerate(frames), lambda each: each[1] - each[0])]
    assert all(len(run) == run[-1] - run[0] + 1 for run in runs)


def test_a_broker_hears_events_state_and_figures(tmp_path: Path) -> None:
    with Broker(tmp_path / "b") as broker, Listener(broker.port) as listener:
        with sink_to(broker.port) as sink:
            wait_for(lambda: listener.states == ["running"], "the first state")
            sink.feed(FeedState("live", time.monotonic_ns(), 1, 0, 0, 0, "they come"))
            for index in range(100):
                sink.write(result(index))
            listener.wait(100)
            wait_for(lambda: bool(listener.of("metrics")), "figures")
        wait_for(lambda: "ended" in listener.states, "the last state")
        with Listener(broker.port, "drone/state") as late:
            wait_for(lambda: late.states == ["ended"], "what is retained")
            assert late.heard[0][2]
    assert listener.frames == list(range(100))
    assert listener.states == ["running", "live", "ended"]
    assert listener.of("state")[1]["detail"] == "they come"
    first, *sightings = listener.of("events")
    assert (first["event"], first["feed"]["detail"]) == ("state", "they come")
    assert (sightings[0]["schema"], sightings[0]["label"]) == (2, "Stop")
    figures = listener.of("metrics")[0]
    assert {"frames", "sightings", "fps", "age_ms", "time", "time_unknown", "events_waiting", "events_lost"} <= set(figures)
    assert sink.missed == 0


def test_nothing_is_lost_though_the_broker_is_killed_and_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker(tmp_path / "b")
    with broker, Listener(broker.port) as listener, sink_to(broker.port) as sink:
        for index in range(50):
            sink.write(result(index))
        listener.wait(50)
        time.sleep(2.5)  # it keeps who listens each second
        broker.end(signal.SIGKILL)
        for index in range(50, 150):
            sink.write(result(index))
        wait_for(lambda: "waits for" in caplog.text, "the loss to be told")
        broker.begin()
        for index in range(150, 400):  # while the link comes back
            sink.write(result(index))
        listener.wait(400)
        broker.end(signal.SIGTERM)
        for index in range(400, 500):
            sink.write(result(index))
        broker.begin()
        listener.wait(500)
    in_order(listener.frames, 500)
    assert sink.missed == 0
    told = [record.getMessage().partition("mqtt://")[0] for record in caplog.records if record.name.startswith("edge")]
    assert told == ["MQTT waits for ", "MQTT goes on at "] * 2


def test_a_broker_that_goes_in_the_middle_of_it_gets_all(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "b")
    with broker, Listener(broker.port) as listener, sink_to(broker.port, retry_s=0.1) as sink:
        for turn in range(5):
            for index in range(turn * 300, turn * 300 + 300):
                sink.write(result(index))
                if index % 300 == 150:
                    listener.wait(turn * 300 + 1)
                    broker.end(signal.SIGTERM)
            broker.begin()
        listener.wait(1500)
    in_order(listener.frames, 1500)


def test_what_one_run_could_not_send_the_next_sends_first(tmp_path: Path, state: Path, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port(socket.SOCK_STREAM)
    with sink_to(port) as sink:
        for index in range(30):
            sink.write(result(index))
    assert sink.missed == 0
    assert "30 events did not reach mqtt://127.0.0.1" in caplog.text
    with Broker(tmp_path / "b", port=port) as broker, Listener(broker.port) as listener:
        with sink_to(port) as sink:
            with pytest.raises(OutputError, match="another run"), sink_to(port):
                pass
            for index in range(30, 60):
                sink.write(result(index))
        listener.wait(60)
    assert listener.frames == list(range(60))
    assert [path.suffix for path in state.iterdir()] == [".sqlite"]


def test_the_will_is_told_when_a_run_is_killed_and_its_events_are_not_lost(bundle: Path, tmp_path: Path) -> None:
    with Broker(tmp_path / "b") as broker, Listener(broker.port) as listener:
        options = ("--bundle", bundle, "--engine", "fake", "--spotter", "none", "--mqtt", f"mqtt://127.0.0.1:{broker.port}/drone")
        process = started(command("run", "demo://?view=car&width=160&height=90&frames=5000&realtime=1", *options), ROOT)
        listener.wait(1)
        process.kill()
        process.communicate()
        wait_for(lambda: listener.states == ["running", "offline"], "the will", 60)
    assert listener.of("state")[-1]["time_unknown"]


def test_a_short_run_sends_all_before_it_ends_and_tells_no_password(bundle: Path, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run([shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd", "-b", "-c", str(passwords), "me", "s3cret/w@rd"], check=True)
    with Broker(tmp_path / "b", f"password_file {passwords}") as broker, Listener(broker.port) as listener:
        address = tmp_path / "address"
        address.write_text(f"mqtt://me:s3cret/w@rd@127.0.0.1:{broker.port}/drone\n")
        address.chmod(0o600)
        options = ("--bundle", bundle, "--engine", "fake", "--spotter", "none", "--json", tmp_path / "j.json", "--events", tmp_path / "e.jsonl")
        for text in (f"@{address}", address.read_text().strip()):
            process = started(command("run", SHORT, *options, "--mqtt", text), ROOT)
            told, said = process.communicate(timeout=120)
            assert process.returncode == 0, said
            assert "w@rd" not in told + said + (tmp_path / "j.json").read_text() + (tmp_path / "e.jsonl").read_text()
        wait_for(lambda: listener.states == ["running", "ended"] * 2, "both runs' ends")
        assert listener.of("events") == [*listener.of("events")[:2], *lines(tmp_path / "e.jsonl")]
        process = started(command("run", SHORT, *options, "--mqtt", f"mqtt://me:wr0ngw0rd@127.0.0.1:{broker.port}/drone"), ROOT)
        _, said = process.communicate(timeout=120)
    assert "the broker refuses: " in said
    assert "wr0ngw0rd" not in said
    assert process.returncode == 0


# paho-mqtt leaves the socket of a handshake that failed to Python, which closes it.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_a_broker_with_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, "-keyout", str(key), "-out", str(certificate))
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    subprocess.run(made, check=True, capture_output=True)
    secure = free_port(socket.SOCK_STREAM)
    with Broker(tmp_path / "b", f"listener {secure} 127.0.0.1", f"certfile {certificate}", f"keyfile {key}") as broker, Listener(broker.port) as listener:
        with caplog.at_level(logging.WARNING), sink_to(secure, "mqtts://127.0.0.1:{}/drone") as sink:
            wait_for(lambda: "certificate" in caplog.text.lower(), "the refusal")
            sink.write(result(0))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with sink_to(secure, "mqtts://127.0.0.1:{}/drone") as sink:
            sink.write(result(1))
        listener.wait(2)
    in_order(listener.frames, 2)


def test_who_does_not_answer_costs_the_loop_nothing_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with sink_to(silent.getsockname()[1]) as sink:
            for index in range(300):
                sink.write(result(index))
            wait_for(lambda: "does not answer" in caplog.text, "the silence to be told", 30)
    assert sink.missed == 0
    assert not any(thread.name == "mqtt" for thread in threading.enumerate())


def test_a_run_that_is_stopped_leaves_its_events_to_the_next(bundle: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"mqtt://127.0.0.1:{silent.getsockname()[1]}/drone"
        options = ("--bundle", bundle, "--engine", "fake", "--spotter", "none", "--events", tmp_path / "e.jsonl", "--mqtt", address)
        process = started(command("run", "demo://?view=car&width=160&height=90&frames=5000&realtime=1", *options), ROOT)
        wait_for(lambda: (tmp_path / "e.jsonl").is_file() and bool(lines(tmp_path / "e.jsonl")), "a sighting", 60)
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert f"{len(lines(tmp_path / 'e.jsonl'))} events did not reach {address}" in said


def test_links_that_are_lost_leave_no_descriptors() -> None:
    with socket.socket() as rude:
        rude.bind(("127.0.0.1", 0))
        rude.listen()
        with sink_to(rude.getsockname()[1], retry_s=0.01):
            counts = []
            for _ in range(40):
                rude.accept()[0].close()
                counts.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
    assert max(counts[5:]) - min(counts[5:]) <= 8


@pytest.mark.parametrize("found", [None, SimpleNamespace(Client=object)], ids=["none", "an old one"])
def test_without_the_extra_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, found: object) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", found)
    monkeypatch.setattr(sys.modules["paho.mqtt"], "client", found, raising=False)
    with pytest.raises(MissingDependency, match=r"wanted paho-mqtt .*pip install .*paho-mqtt"):
        sink_to(1883)


def test_what_names_no_broker_is_refused_in_a_line(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "run", "demo://", "--bundle", bundle, "--engine", "fake", "--mqtt", "mqtt://me:s3cretword@host")
    assert "s3cretword" not in told
    assert "mqtt://HOST/PREFIX" in told
