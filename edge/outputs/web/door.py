"""The page's listening socket, which turns away at once whom nobody would answer."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

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
