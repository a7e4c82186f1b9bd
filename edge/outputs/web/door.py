"""The page's listening socket, which turns away at once whom nobody would answer."""

from __future__ import annotations

import socket
from collections.abc import Callable
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
