"""Links to an autopilot or its router: UDP, TCP and serial ports that come and go, whatever they carry. The one file that imports pyserial."""

from __future__ import annotations

import os
import re
import select
import socket
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from edge.board.extras import install
from edge.errors import InputError, MissingDependency

MOST_BYTES = 4096
MOST_PEERS, PEER_S = 8, 10.0
"""Who is answered on a `udpin` link: those that were believed last, for so long after."""
USUAL_BAUD = 57600
"""ArduPilot's own on its telemetry ports."""

_NETWORK = re.compile(r"(udpout|udpin|udpbcast|tcp):(.+):(\d{1,5})")
_SERIAL = re.compile(r"(/[^,]*?)(?:[,:](\d{1,7}))?")
_WRITE_S = 0.2
_CONNECT_S, _SILENT_MS = 2.0, 10_000


@dataclass(frozen=True)
class Address:
    """Where a link leads.

    Attributes:
        text: as the user gave it.
        kind: "udpout" sends to a host and port, "udpin" waits there for someone and answers, "udpbcast" sends to all hosts of a network, "tcp" connects to a
            host and port, "serial" is a port of this machine.
        place: host, or path of the serial port.
        number: port, or baud rate.
    """

    text: str
    kind: Literal["udpout", "udpin", "udpbcast", "tcp", "serial"]
    place: str
    number: int


Sender = tuple[str, int] | None
"""An IPv4 address and port; None on a link that has one other end."""


class Link(Protocol):
    """An open link. Every method may raise OSError: then the link is gone."""

    def receive(self, wait_s: float) -> tuple[bytes, Sender]:
        """Wait so long for bytes at most, and return those that are there, and who sent them."""
        ...

    def believe(self, sender: Sender) -> None:
        """Take note that what a sender sent made sense: it is answered."""
        ...

    def send(self, data: bytes) -> None:
        """Send one message."""
        ...

    def close(self) -> None:
        """Give the link back."""
        ...


def parse_address(text: str) -> Address:
    """Read `udpout:`, `udpin:`, `udpbcast:` or `tcp:` with HOST:PORT behind it, or `/dev/ttyTHS1` with a baud rate behind a comma.

    Raises:
        InputError: something else.
    """
    network, serial = _NETWORK.fullmatch(text), _SERIAL.fullmatch(text)
    if network and 0 < int(network[3]) < 65536:
        kind: Any = network[1]
        return Address(text, kind, network[2], int(network[3]))
    if serial and (serial[2] is None or int(serial[2])):
        return Address(text, "serial", serial[1], int(serial[2] or USUAL_BAUD))
    wanted = "udpout:HOST:PORT, udpin:HOST:PORT, udpbcast:ADDRESS:PORT, tcp:HOST:PORT or /dev/ttyTHS1,57600"
    raise InputError(f"wanted {wanted}, found {text!r}: write --mavlink udpout:127.0.0.1:14550")


def check_serial(address: Address) -> None:
    """Refuse a serial port where nothing can open one, before any work is done.

    Raises:
        MissingDependency: pyserial is not installed.
    """
    if address.kind == "serial":
        _pyserial()


def open_link(address: Address) -> Link:
    """Open a link.

    Raises:
        OSError: it cannot be had now; it may be, later.
    """
    if address.kind == "serial":
        return SerialLink(address)
    return TcpLink(address) if address.kind == "tcp" else UdpLink(address)


class UdpLink:
    """Messages as datagrams of IPv4.

    Where a `udpout` link leads to all hosts of a network, by a broadcast address, it is a `udpbcast` link: it is heard by all, and hears who sends to it.
    """

    def __init__(self, address: Address) -> None:
        """Open a socket; a name is resolved anew each time.

        Raises:
            OSError: no such host, or no such address on this machine.
        """
        try:
            place: Any = socket.getaddrinfo(address.place, address.number, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
        except UnicodeError as error:
            raise OSError(f"{address.place} is no name of a host") from error
        self._peers: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._waits = address.kind == "udpin"
        self._all: tuple[str, int] | None = place if address.kind == "udpbcast" else None
        try:
            if self._waits:
                self._socket.bind(place)
            elif self._all is None:
                self._lead(place)
            if self._all is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        except OSError:
            self._socket.close()
            raise

    def _lead(self, place: Any) -> None:
        """Lead to a place, so that the system keeps out what others send; it refuses a broadcast address, which is noted."""
        try:
            self._socket.connect(place)
        except PermissionError:
            self._all = place

    def receive(self, wait_s: float) -> tuple[bytes, Sender]:
        """Wait for a datagram."""
        if not select.select([self._socket], [], [], wait_s)[0]:
            return b"", None
        try:
            data, sender = self._socket.recvfrom(MOST_BYTES)
        except ConnectionRefusedError:  # nobody listens there yet
            return b"", None
        return data, sender

    def believe(self, sender: Sender) -> None:
        """Answer a sender from now on; a `udpout` link stays where it leads."""
        if self._waits and sender is not None:
            self._peers[sender] = time.monotonic()
            self._peers.move_to_end(sender)
            if len(self._peers) > MOST_PEERS:
                self._peers.popitem(last=False)

    def send(self, data: bytes) -> None:
        """Send a datagram to who is believed; nobody hears it while nobody listens."""
        if not self._waits:
            with suppress(ConnectionRefusedError, BlockingIOError):
                if self._all is None:
                    self._socket.send(data)
                else:
                    self._socket.sendto(data, self._all)
        fault: OSError | None = None
        for peer, heard_s in list(self._peers.items()):
            if time.monotonic() - heard_s > PEER_S:
                del self._peers[peer]
                continue
            try:
                self._socket.sendto(data, peer)
            except (ConnectionRefusedError, BlockingIOError):
                continue
            except OSError as error:  # one that cannot be reached costs the others nothing
                fault = error
                del self._peers[peer]
        if fault is not None and not self._peers:
            raise fault

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class TcpLink:
    """Messages over a connection that we open."""

    def __init__(self, address: Address) -> None:
        """Connect; a name is resolved anew each time.

        Raises:
            OSError: no such host, or nobody who takes connections there.
        """
        try:
            self._socket = socket.create_connection((address.place.strip("[]"), address.number), _CONNECT_S)
        except UnicodeError as error:
            raise OSError(f"{address.place} is no name of a host") from error
        if self._socket.getsockname() == self._socket.getpeername():  # so TCP meets itself on a port of this machine that nobody holds
            self._socket.close()
            raise ConnectionRefusedError("nobody takes connections there")
        self._socket.settimeout(_WRITE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # a radio that is gone closes no connection
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_MS)

    def receive(self, wait_s: float) -> tuple[bytes, Sender]:
        """Wait for bytes."""
        if not select.select([self._socket], [], [], wait_s)[0]:
            return b"", None
        data = self._socket.recv(MOST_BYTES)
        if not data:
            raise OSError("the other end closed the connection")
        return data, None

    def believe(self, sender: Sender) -> None:
        """Nothing: there is one other end."""

    def send(self, data: bytes) -> None:
        """Write bytes; who takes none for a while is given up, for half a message would spoil the next."""
        self._socket.sendall(data)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class SerialLink:
    """Messages over a serial port."""

    def __init__(self, address: Address) -> None:
        """Open the port.

        Raises:
            OSError: there is none, or it is not ours to open.
            MissingDependency: pyserial is not installed.
        """
        try:
            self._port = _pyserial().Serial(address.place, address.number, timeout=0, write_timeout=_WRITE_S, exclusive=True)
        except ValueError as error:  # a rate that this port cannot have
            raise OSError(str(error)) from error

    def receive(self, wait_s: float) -> tuple[bytes, Sender]:
        """Wait for bytes."""
        ready, _, _ = select.select([self._port.fileno()], [], [], wait_s)
        if not ready:
            return b"", None
        data = os.read(self._port.fileno(), MOST_BYTES)
        if not data:
            raise OSError("the port was unplugged")
        return data, None

    def believe(self, sender: Sender) -> None:
        """Nothing: there is one other end."""

    def send(self, data: bytes) -> None:
        """Write bytes; a port that takes none for a while is given up."""
        self._port.write(data)

    def close(self) -> None:
        """Close the port."""
        with suppress(OSError):
            self._port.close()


def _pyserial() -> Any:
    try:
        import serial
    except ImportError as error:
        raise MissingDependency(f"wanted pyserial for a serial --mavlink, found none: {install('mavlink')}") from error
    return serial
