"""The page's listening socket, which turns away at once whom nobody would answer."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from edge.errors import OutputError

_SEND_BUFFER = 128 << 10
BACKLOG = 64
"""Connections that are taken at once: far fewer than descriptors."""


class Door(socket.socket):
    """Closes a connection that is not admitted: much cheaper than a transport and a protocol for each.

    Attributes:
        admits: tells by a peer's address whether it comes in; to be set before the first is accepted.
    """

    admits: Callable[[str], bool]

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection that is admitted, and its address.

        Raises:
            BlockingIOError: there is none now.
        """
        for _ in range(BACKLOG):
            client, address = super().accept()
            if self.admits(address[0]):
                return client, address
            client.close()
        raise BlockingIOError


def url_of(host: str, port: int) -> str:
    """Return where a page that listens on `host` is, for a browser on this machine."""
    return _url({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)  # noqa: S104, it is compared


def addresses(host: str, port: int) -> str:
    """Return the same, and where the page is for others, where it is on every address of this machine."""
    towards = {"0.0.0.0": (socket.AF_INET, "192.0.2.1"), "::": (socket.AF_INET6, "2001:db8::1")}.get(host)  # noqa: S104
    if towards is None:
        return url_of(host, port)
    with socket.socket(towards[0], socket.SOCK_DGRAM) as asking, suppress(OSError):  # no network
        asking.connect((towards[1], 9))  # an address for examples: it chooses a network, and sends nothing
        return f"{url_of(host, port)} here, {_url(asking.getsockname()[0], port)} from elsewhere"
    return url_of(host, port)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def listen(host: str, port: int) -> socket.socket:
    """Bind in the thread of the command, so that an address that is taken is refused before any work is done.

    Raises:
        OutputError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _refused(host, port, error) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Clients inherit it: a slow one finds a newer picture sooner, and a hundred hold little.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise _refused(host, port, error) from error
    return listening


def _refused(host: str, port: int, error: OSError) -> OutputError:
    return OutputError(f"wanted to serve the page at {host} port {port}, the system refused: {error.strerror or error}: choose another --web or --web-host")
