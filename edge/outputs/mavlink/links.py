"""Links to an autopilot or its router: UDP and serial ports that come and go. The one file that imports pyserial; a link knows nothing of what it carries."""

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

_UDP = re.compile(r"(udpout|udpin):(.+):(\d{1,5})")
_SERIAL = re.compile(r"(/[^,]*?)(?:[,:](\d{1,7}))?")
_WRITE_S = 0.2


@dataclass(frozen=True)
class Address:
    """Where a link leads.

    Attributes:
        text: as the user gave it.
        kind: "udpout" sends to a host and port, "udpin" waits there for someone and answers, "serial" is a port of this machine.
        place: host, or path of the serial port.
        number: port, or baud rate.
    """

    text: str
    kind: Literal["udpout", "udpin", "serial"]
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
    """Read `udpout:HOST:PORT`, `udpin:HOST:PORT`, or `/dev/ttyTHS1` with a baud rate behind a comma.

    Raises:
        InputError: something else.
    """
    udp, serial = _UDP.fullmatch(text), _SERIAL.fullmatch(text)
    if udp and 0 < int(udp[3]) < 65536:
        return Address(text, "udpout" if udp[1] == "udpout" else "udpin", udp[2], int(udp[3]))
    if serial and (serial[2] is None or int(serial[2])):
        return Address(text, "serial", serial[1], int(serial[2] or USUAL_BAUD))
    raise InputError(f"wanted udpout:HOST:PORT, udpin:HOST:PORT or /dev/ttyTHS1,57600, found {text!r}: write --mavlink udpout:127.0.0.1:14550")


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
    return SerialLink(address) if address.kind == "serial" else UdpLink(address)


class UdpLink:
    """Messages as datagrams of IPv4."""

    def __init__(self, address: Address) -> None:
        """Open a socket; a name is resolved anew each time.

        Raises:
            OSError: no such host, or no such address on this machine.
        """
        try:
            place = socket.getaddrinfo(address.place, address.number, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
        except UnicodeError as error:
            raise OSError(f"{address.place} is no name of a host") from error
        self._peers: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._waits = address.kind == "udpin"
        try:
            if self._waits:
                self._socket.bind(place)
            else:  # the system keeps out what others send
                self._socket.connect(place)
        except OSError:
            self._socket.close()
            raise

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
                self._socket.send(data)
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
