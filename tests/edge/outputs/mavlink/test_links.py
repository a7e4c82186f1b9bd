"""Links: what an address may be, and what is refused."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack

import pytest

from edge.errors import InputError
from edge.outputs.mavlink.links import MOST_PEERS, USUAL_BAUD, UdpLink, open_link, parse_address


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("udpout:127.0.0.1:14550", ("udpout", "127.0.0.1", 14550)),
        ("udpin:0.0.0.0:14551", ("udpin", "0.0.0.0", 14551)),
        ("udpout:drone.local:1", ("udpout", "drone.local", 1)),
        ("udpbcast:192.168.1.255:14550", ("udpbcast", "192.168.1.255", 14550)),
        ("tcp:127.0.0.1:5760", ("tcp", "127.0.0.1", 5760)),
        ("tcp:[::1]:5760", ("tcp", "[::1]", 5760)),
        ("/dev/ttyTHS1", ("serial", "/dev/ttyTHS1", USUAL_BAUD)),
        ("/dev/ttyTHS1,921600", ("serial", "/dev/ttyTHS1", 921600)),
        ("/dev/ttyUSB0:115200", ("serial", "/dev/ttyUSB0", 115200)),
        ("/dev/serial/by-id/usb-a:b-if00,57600", ("serial", "/dev/serial/by-id/usb-a:b-if00", 57600)),
    ],
)
def test_addresses_are_taken_apart(text: str, parts: tuple[str, str, int]) -> None:
    address = parse_address(text)
    assert (address.kind, address.place, address.number) == parts


@pytest.mark.parametrize(
    "text",
    ["", "udpout", "udpout:127.0.0.1", "udpout:127.0.0.1:0", "udpout:127.0.0.1:65536", "tcp:1.2.3.4", "tcpin:1.2.3.4:5", "ttyTHS1", "/dev/x,fast", "/dev/x,0"],
)
def test_other_addresses_are_refused_with_one_that_works(text: str) -> None:
    with pytest.raises(InputError, match=r"write --mavlink udpout:127\.0\.0\.1:14550"):
        parse_address(text)


def test_nobody_there_is_no_error_and_later_somebody_is() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    link = UdpLink(parse_address(f"udpout:127.0.0.1:{port}"))
    for _ in range(3):
        link.send(b"x")
        assert link.receive(0.05) == (b"", None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        link.send(b"hello")
        data, sender = other.recvfrom(100)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"junk from another port", sender)
        other.sendto(b"answer", sender)
        assert (data, link.receive(5)[0]) == (b"hello", b"answer")
        link.send(b"still to you")
        assert other.recv(100) == b"still to you"
    link.close()


def test_who_is_believed_is_answered_and_no_stranger_is() -> None:
    link = open_link(parse_address(f"udpin:127.0.0.1:{_free()}"))
    assert isinstance(link, UdpLink)
    place = link._socket.getsockname()
    link.send(b"into the dark")
    with ExitStack() as stack:
        strangers = [stack.enter_context(_bound()) for _ in range(3)]
        vehicles = [stack.enter_context(_bound()) for _ in range(2 * MOST_PEERS)]
        for stranger in strangers:
            stranger.sendto(b"junk", place)
            assert link.receive(5) == (b"junk", stranger.getsockname())
        for vehicle in vehicles:
            vehicle.sendto(b"here", place)
            assert link.receive(5)[0] == b"here"
            link.believe(vehicle.getsockname())
        link.send(b"to you")
        assert [vehicle.recv(100) for vehicle in vehicles[-MOST_PEERS:]] == [b"to you"] * MOST_PEERS
        for other in (*strangers, *vehicles[:-MOST_PEERS]):
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.recv(100)
    link.close()


@pytest.mark.parametrize(
    "text",
    [
        "udpout:no.such.host.invalid:14550",
        "tcp:no.such.host.invalid:5760",
        "tcp:127.0.0.1:9",
        "udpbcast:no.such.host.invalid:1",
        "udpin:203.0.113.7:14550",
        "/dev/no-such-port",
    ],
)
def test_what_cannot_be_opened_now_is_an_error_of_the_system(text: str) -> None:
    if text.startswith("/"):
        pytest.importorskip("serial", reason="the extra mavlink is not installed")
    with pytest.raises(OSError, match=r".+"):
        open_link(parse_address(text))


@pytest.mark.parametrize("kind", ["udpbcast", "udpout"])
def test_all_of_a_network_hear_what_is_sent_to_its_broadcast_address_and_may_answer(kind: str) -> None:
    port = _free()
    with ExitStack() as stack:
        hosts = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)]
        for host in hosts:
            host.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            host.bind(("", port))
            host.settimeout(5)
        link = open_link(parse_address(f"{kind}:127.255.255.255:{port}"))
        stack.callback(link.close)
        for message in (b"one", b"two"):
            link.send(message)
            senders = [host.recvfrom(100) for host in hosts]
            assert [data for data, _ in senders] == [message] * 2
            for host, (_, sender) in zip(hosts, senders, strict=True):
                host.sendto(b"answer", ("127.0.0.1", sender[1]))
                assert link.receive(5)[0] == b"answer"
                link.believe(("127.0.0.1", port))  # changes nothing: all go on to hear


def test_a_connection_that_is_closed_or_takes_nothing_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = parse_address(f"tcp:127.0.0.1:{server.getsockname()[1]}")
        link = open_link(address)
        other, _ = server.accept()
        assert link.receive(0.05) == (b"", None)
        other.sendall(b"hello")
        assert link.receive(5) == (b"hello", None)
        link.send(b"to you")
        assert other.recv(100) == b"to you"
        other.setblocking(False)
        with pytest.raises(TimeoutError):
            link.send(bytes(64 << 20))
        link.close()
        other.close()
        link = open_link(address)
        server.accept()[0].close()
        with pytest.raises(OSError, match="closed"):
            link.receive(5)
        link.close()


def test_waiting_ends_when_bytes_come() -> None:
    link = UdpLink(parse_address(f"udpin:127.0.0.1:{_free()}"))
    port = link._socket.getsockname()[1]
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    threading.Timer(0.2, sender.sendto, [b"now", ("127.0.0.1", port)]).start()
    began = time.monotonic()
    assert link.receive(20)[0] == b"now"
    assert time.monotonic() - began < 10
    sender.close()
    link.close()


def _bound() -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    bound.settimeout(5)
    return bound


def _free() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
