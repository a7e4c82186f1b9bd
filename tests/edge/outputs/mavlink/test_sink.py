"""MAVLink as a second process hears it through pymavlink: who speaks, what is said and how often, and links that go and come back."""

from __future__ import annotations

import logging
import os
import pty
import random
import socket
import sys
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pymavlink", reason="the extra mavlink is not installed")

from commands import refused
from media import picture
from packets import wait_for
from stations import Station, free_port

from edge.board.identity import Memory
from edge.board.telemetry import Telemetry
from edge.datasets.gtsrb import LABELS
from edge.errors import MissingDependency
from edge.frame import FeedState, Frame
from edge.outputs.mavlink.links import parse_address
from edge.outputs.mavlink.sink import USUAL_SYSTEM, MavlinkSink
from edge.outputs.meter import Meter
from edge.result import Report, Result

SAMPLE = Telemetry(0, 0.42, Memory(7620, 5275, 402, 3810), 200.0, 150.0, {"cpu": 46.5, "tj": 48.8}, 0.876, {}, "25W", 0)
KINDS = {"HEARTBEAT", "STATUSTEXT", "NAMED_VALUE_FLOAT", "NAMED_VALUE_INT", "ONBOARD_COMPUTER_STATUS"}


def gaps_ms(station: Station, name: str) -> list[int]:
    """Times between the named values that were heard, by the clock of who sent them."""
    sent = [message["time_boot_ms"] for message in station.heard if message.get("name") == name]
    assert len(sent) >= 2
    return [later - sooner for sooner, later in pairwise(sent)]


def result(*class_ids: int) -> Result:
    now = time.monotonic_ns()
    reports = [Report("sighting", 1, class_id, 0.98, (10, 10, 40, 40)) for class_id in class_ids]
    return Result(Frame(0, picture(0), now - 12_000_000, None), [*reports, Report("update", 1, 5, 0.9, (0, 0, 9, 9))], (), (), now)


@contextmanager
def sending(address: str, *, system: int | None = None, sample: Telemetry | None = SAMPLE) -> Iterator[MavlinkSink]:
    meter = Meter()
    meter.note(result())
    with MavlinkSink(parse_address(address), LABELS, meter, lambda: sample, system=system) as sink:
        yield sink


def test_a_station_hears_who_speaks_what_was_seen_and_how_the_computer_is() -> None:
    port = free_port()
    with Station(f"udpin:127.0.0.1:{port}") as station, sending(f"udpout:127.0.0.1:{port}") as sink:
        station.wait(lambda: len(station.of("HEARTBEAT")) >= 1)
        sink.write(result(14))
        station.wait(lambda: bool(station.of("NAMED_VALUE_FLOAT")) and len(station.of("HEARTBEAT")) >= 3 and bool(station.of("STATUSTEXT")))
    heartbeat = station.of("HEARTBEAT")[0]
    assert (heartbeat["system"], heartbeat["component"], heartbeat["kind"], heartbeat["autopilot"]) == (USUAL_SYSTEM, 191, 18, 8)
    assert (heartbeat["base_mode"], heartbeat["system_status"]) == (0, 4)
    assert all(900 < gap_ms < 5000 for gap_ms in gaps_ms(station, "FPS"))
    (text,) = station.of("STATUSTEXT")
    assert (text["text"], text["severity"]) == ("SIGN 14 Stop 98%", 5)
    named = {message["name"]: message["value"] for message in (*station.of("NAMED_VALUE_INT"), *station.of("NAMED_VALUE_FLOAT"))}
    assert named["SIGN_ID"] == 14
    assert named["SIGN_CONF"] == pytest.approx(0.98)
    assert named["AGE_MS"] == pytest.approx(12, abs=1)
    assert named["FPS"] >= 0
    computer = station.of("ONBOARD_COMPUTER_STATUS")[0]
    assert (computer["ram_usage"], computer["ram_total"], computer["temperature_board"]) == (2345, 7620, 49)
    assert (computer["cpu_combined"][0], computer["gpu_cores"][0], computer["cpu_cores"][0], computer["fan_speed"][0]) == (42, 88, 255, 32767)
    # Nothing that asks a vehicle for anything.
    assert {message["type"] for message in station.heard} <= {"READY", *KINDS}


def test_the_state_of_a_live_feed_is_a_named_value() -> None:
    port = free_port()
    with Station(f"udpin:127.0.0.1:{port}") as station, sending(f"udpout:127.0.0.1:{port}") as sink:
        station.wait(lambda: bool(station.of("HEARTBEAT")))
        for state, wanted in (("connecting", 0), ("live", 1), ("stalled", 2), ("lost", 3)):
            sink.feed(FeedState(state, 0, 0, 0, 0, 0, ""))
            standing = 4 if state == "live" else 3
            station.wait(lambda standing=standing: station.of("HEARTBEAT")[-1]["system_status"] == standing)  # type: ignore[misc]
            station.wait(lambda wanted=wanted: ("FEED", wanted) in [(each["name"], each["value"]) for each in station.of("NAMED_VALUE_INT")])  # type: ignore[misc]


def test_what_the_machine_does_not_tell_is_not_made_up() -> None:
    port = free_port()
    bare = Telemetry(0, None, None, 200.0, None, {}, None, {}, None, None)
    with Station(f"udpin:127.0.0.1:{port}") as station, sending(f"udpout:127.0.0.1:{port}", sample=bare):
        station.wait(lambda: bool(station.of("ONBOARD_COMPUTER_STATUS")))
    computer = station.of("ONBOARD_COMPUTER_STATUS")[0]
    assert (computer["ram_usage"], computer["temperature_board"], computer["cpu_combined"][0], computer["gpu_cores"][0]) == (0xFFFFFFFF, 127, 255, 255)


def test_a_storm_of_signs_makes_one_text_a_second() -> None:
    port = free_port()
    with Station(f"udpin:127.0.0.1:{port}") as station, sending(f"udpout:127.0.0.1:{port}") as sink:
        station.wait(lambda: bool(station.of("HEARTBEAT")))
        slowest, end = 0.0, time.monotonic() + 5
        while time.monotonic() < end:
            began = time.perf_counter()
            sink.write(result(*range(43)))
            slowest = max(slowest, time.perf_counter() - began)
            time.sleep(0.005)
        station.wait(lambda: len(station.of("STATUSTEXT")) >= 4 and len(station.of("NAMED_VALUE_INT")) >= 4)
    texts = station.of("STATUSTEXT")
    assert 4 <= len(texts) <= 6
    assert all(gap_ms >= 999 for gap_ms in gaps_ms(station, "SIGN_ID"))
    assert all(0 < len(text["text"]) <= 50 and text["id"] == 0 for text in texts)
    assert all("+" in text["text"] for text in texts[1:])


@pytest.mark.parametrize("options", [(7,), (7, 1, 1, 12)])
def test_the_vehicles_system_id_is_learned_from_its_autopilot(options: tuple[int, ...]) -> None:
    port = free_port()
    with Station(f"udpin:127.0.0.1:{port}", *options) as station, sending(f"udpout:127.0.0.1:{port}") as sink:
        station.wait(lambda: station.heard[-1]["system" if "system" in station.heard[-1] else "type"] == 7)
        assert sink.system == 7
    assert station.of("HEARTBEAT")[0]["system"] == USUAL_SYSTEM


@pytest.mark.parametrize("options", [(9, 190, 6, 8), (9, 1, 6, 8), (9, 154, 26, 8)], ids=["station", "station on component 1", "gimbal"])
def test_others_on_the_link_are_not_taken_for_the_vehicle(options: tuple[int, ...]) -> None:
    port = free_port()
    with Station(f"udpin:127.0.0.1:{port}", *options) as station, sending(f"udpout:127.0.0.1:{port}") as sink:
        station.wait(lambda: len(station.of("HEARTBEAT")) >= 4)
        assert sink.system == USUAL_SYSTEM


def test_a_system_id_that_is_given_stays() -> None:
    port = free_port()
    with Station(f"udpin:127.0.0.1:{port}", 7) as station, sending(f"udpout:127.0.0.1:{port}", system=42):
        station.wait(lambda: len(station.of("HEARTBEAT")) >= 3)
    assert {message["system"] for message in station.of("HEARTBEAT")} == {42}


def test_a_station_that_goes_and_comes_back_hears_again() -> None:
    port = free_port()
    with sending(f"udpout:127.0.0.1:{port}") as sink:
        for _ in range(2):
            time.sleep(1.2)
            with Station(f"udpin:127.0.0.1:{port}") as station:
                station.wait(lambda station=station: bool(station.of("HEARTBEAT")))  # type: ignore[misc]
                sink.write(result(14))
                station.wait(lambda station=station: bool(station.of("STATUSTEXT")))  # type: ignore[misc]


@pytest.mark.parametrize("kind", ["udpbcast", "udpout"])
def test_a_station_hears_a_broadcast_and_tells_the_vehicles_system_id(kind: str) -> None:
    port = free_port()
    with Station(f"udpin:0.0.0.0:{port}", 7) as station, sending(f"{kind}:127.255.255.255:{port}") as sink:
        station.wait(lambda: any((message["system"], message["component"]) == (7, 191) for message in station.of("HEARTBEAT")))
        sink.write(result(14))
        station.wait(lambda: bool(station.of("STATUSTEXT")))


def test_a_station_over_tcp_goes_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port(socket.SOCK_STREAM)
    with caplog.at_level(logging.WARNING), sending(f"tcp:127.0.0.1:{port}") as sink:
        for _ in range(2):
            with Station(f"tcpin:127.0.0.1:{port}", 7) as station:
                station.wait(lambda station=station: any((each["system"], each["component"]) == (7, 191) for each in station.of("HEARTBEAT")))  # type: ignore[misc]
                sink.write(result(14))
                station.wait(lambda station=station: bool(station.of("STATUSTEXT")))  # type: ignore[misc]
            wait_for(lambda: caplog.records[-1].getMessage().startswith("MAVLink waits"), "the loss to be told")
    told = [message.partition(" tcp:")[0] for message in caplog.messages]
    assert all(one != other for one, other in pairwise(told))
    assert set(told) == {"MAVLink waits for", "MAVLink goes on at"}


def test_who_takes_nothing_over_tcp_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, sending(f"tcp:127.0.0.1:{server.getsockname()[1]}") as sink:
        silent, _ = server.accept()
        for _ in range(20):
            sink.write(result(*range(20)))
        began = time.monotonic()
    assert time.monotonic() - began < 4
    silent.close()


def test_a_station_that_waits_for_us_is_answered() -> None:
    port = free_port()
    with sending(f"udpin:127.0.0.1:{port}"), Station(f"udpout:127.0.0.1:{port}", 3) as station:
        station.wait(lambda: any(message["system"] == 3 and message["component"] == 191 for message in station.of("HEARTBEAT")))


class SerialCable:
    """A serial port at `path` whose other end is held here; unplugged and plugged in again as a real one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._other = -1

    def plug(self) -> None:
        self._other, here = pty.openpty()
        tty.setraw(here)
        self.path.symlink_to(os.ttyname(here))
        self._here = here

    def unplug(self) -> None:
        self.path.unlink()
        os.close(self._here)
        os.close(self._other)

    def read(self, limit_s: float = 10.0) -> list[Any]:
        """Return the messages that come, from the first that is whole on, until there is a heartbeat among them."""
        from pymavlink.dialects.v20 import common

        parser = common.MAVLink(None)
        parser.robust_parsing = True
        found: list[Any] = []
        end = time.monotonic() + limit_s
        while not any(message.get_type() == "HEARTBEAT" for message in found):
            assert time.monotonic() < end
            found += parser.parse_buffer(os.read(self._other, 4096)) or []
        return found

    def write(self, data: bytes) -> None:
        os.write(self._other, data)


def test_a_serial_port_may_be_unplugged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("serial", reason="the extra mavlink is not installed")
    cable = SerialCable(tmp_path / "ttyTHS1")
    with caplog.at_level(logging.WARNING), sending(f"{cable.path},115200") as sink:
        for turn in range(2):
            wait_for(lambda turn=turn: len(caplog.records) == 2 * turn + 1, "the loss to be told")  # type: ignore[misc]
            cable.plug()
            assert cable.read()
            wait_for(lambda turn=turn: len(caplog.records) == 2 * turn + 2, "the return to be told")  # type: ignore[misc]
            sink.write(result(14))
            cable.unplug()
        wait_for(lambda: len(caplog.records) == 5, "the last loss to be told")
    told = [record.getMessage() for record in caplog.records]
    assert [message.partition(" for ")[0].partition(" at ")[0] for message in told] == ["MAVLink waits", "MAVLink goes on"] * 2 + ["MAVLink waits"]
    assert all(str(cable.path) in message for message in told)
    assert not any(thread.name == "mavlink" for thread in threading.enumerate())


def test_a_serial_port_that_takes_nothing_holds_up_nobody(tmp_path: Path) -> None:
    pytest.importorskip("serial", reason="the extra mavlink is not installed")
    cable = SerialCable(tmp_path / "ttyTHS1")
    cable.plug()
    with sending(f"{cable.path},115200") as sink:
        slowest, end = 0.0, time.monotonic() + 4
        while time.monotonic() < end:
            began = time.perf_counter()
            sink.write(result(*range(20)))
            slowest = max(slowest, time.perf_counter() - began)
            time.sleep(0.002)
        assert slowest < 0.5
        began = time.monotonic()
    assert time.monotonic() - began < 4
    cable.unplug()


def vehicle_bytes(system: int, *, roll: float | None = None) -> bytes:
    """A heartbeat of an autopilot, or an attitude."""
    from pymavlink.dialects.v20 import common

    vehicle = common.MAVLink(None, system, 1)
    if roll is None:
        return bytes(common.MAVLink_heartbeat_message(2, 3, 0, 0, 4, 3).pack(vehicle))
    return bytes(common.MAVLink_attitude_message(1, roll, 0, 0, 0, 0, 0).pack(vehicle))


def bound() -> socket.socket:
    socket_ = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    socket_.bind(("127.0.0.1", 0))
    socket_.settimeout(0.1)
    return socket_


def answered(station: socket.socket, data: bytes, port: int) -> bool:
    station.sendto(data, ("127.0.0.1", port))
    try:
        return station.recv(1000)[:1] == b"\xfd"
    except TimeoutError:
        return False


def noise(chance: random.Random) -> bytes:
    """What begins as a message, or does not, and is none."""
    heartbeat = vehicle_bytes(7)
    damaged = bytearray(heartbeat)
    damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(chance.choice([damaged, chance.randbytes(chance.randrange(1, 300)), heartbeat[: chance.randrange(1, 20)], b"\xfd" * 40]))


def test_noise_and_damaged_messages_change_nothing_and_are_not_answered() -> None:
    chance, port = random.Random(3), free_port()
    with bound() as noisy, bound() as vehicle, sending(f"udpin:127.0.0.1:{port}") as sink:
        for _ in range(400):
            noisy.sendto(noise(chance), ("127.0.0.1", port))
            time.sleep(0.001)
        assert sink.system == USUAL_SYSTEM
        # One heartbeat is enough: nothing that a stranger began swallows it. What comes before the port is open is lost.
        wait_for(lambda: answered(vehicle, vehicle_bytes(7), port), "an answer")
        assert sink.system == 7
        for _ in range(50):
            noisy.sendto(noise(chance), ("127.0.0.1", port))
        wait_for(lambda: answered(vehicle, vehicle_bytes(7), port), "an answer")
        with pytest.raises(TimeoutError):
            noisy.recv(1000)


class Flood:
    """A link on which there is always junk, each time of another sender."""

    def __init__(self) -> None:
        self.received = 0
        self._chance = random.Random(4)

    def receive(self, wait_s: float) -> tuple[bytes, tuple[str, int]]:
        self.received += 1
        return b"\xfd" + self._chance.randbytes(4000), ("10.0.0.1", self.received)

    def believe(self, sender: object) -> None:
        pytest.fail("junk was believed")

    def send(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


def test_reading_a_flood_rests_four_times_as_long_as_it_takes() -> None:
    sink, flood = MavlinkSink(parse_address("udpin:127.0.0.1:1"), LABELS, Meter(), lambda: None), Flood()
    began_s, worked_s = time.monotonic(), time.thread_time()
    for _ in range(200):
        sink._exchange(flood)
    assert time.monotonic() - began_s > 3 * (time.thread_time() - worked_s)
    assert flood.received == 200


def test_what_another_address_says_in_the_vehicles_name_is_not_handed_on() -> None:
    port, heard = free_port(), []
    meter = Meter()
    meter.note(result())
    with (
        bound() as vehicle,
        bound() as stranger,
        MavlinkSink(parse_address(f"udpin:127.0.0.1:{port}"), LABELS, meter, lambda: SAMPLE, hear=lambda message, _: heard.append(message)) as sink,
    ):
        wait_for(lambda: answered(vehicle, vehicle_bytes(7), port), "an answer")
        for _ in range(20):
            stranger.sendto(vehicle_bytes(7, roll=0.5), ("127.0.0.1", port))
            stranger.sendto(vehicle_bytes(9), ("127.0.0.1", port))
            vehicle.sendto(vehicle_bytes(7, roll=0.1), ("127.0.0.1", port))
        wait_for(lambda: len([each for each in heard if each.get_type() == "ATTITUDE"]) >= 20, "the vehicle's attitude")
        assert {round(each.roll, 2) for each in heard if each.get_type() == "ATTITUDE"} == {0.1}
        assert sink.system == 7


def test_without_the_extra_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymavlink.dialects.v20", None)
    with pytest.raises(MissingDependency, match=r"wanted pymavlink .*pip install .*pymavlink"):
        MavlinkSink(parse_address("udpout:127.0.0.1:14550"), LABELS, Meter(), lambda: None)
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(MissingDependency, match=r"wanted pyserial .*pip install .*pyserial"):
        MavlinkSink(parse_address("/dev/ttyTHS1"), LABELS, Meter(), lambda: None)


def test_a_run_tells_its_sightings(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from commands import done

    port = free_port()
    demo = ("run", "demo://?frames=150&width=480&height=270&realtime=1", "--bundle", tiny_bundle, "--engine", "fake")
    with Station(f"udpin:127.0.0.1:{port}") as station:
        done(*demo, "--mavlink", f"udpout:127.0.0.1:{port}", "--mavlink-system", "5")
        station.wait(lambda: len(station.of("HEARTBEAT")) >= 2)
    assert {message["system"] for message in station.of("HEARTBEAT")} == {5}
    assert "wanted --mavlink ADDRESS" in refused(capsys, *demo, "--mavlink-system", "5")
    assert "wanted udpout:HOST:PORT" in refused(capsys, *demo, "--mavlink", "14550")
