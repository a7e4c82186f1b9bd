"""How the page's process asks the run: a line of JSON and so many bytes behind it, one question at a time, over a pair of sockets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import IO, Any

LONGEST_LINE = 64 << 10
LAST_LOOK_S, HURRIED_LOOK_S = 1.5, 0.3
"""What who looks at the page gets at most, when the run has ended by itself or by a signal, to take the last of it; nobody waits for who does not look."""


@dataclass(frozen=True)
class Limits:
    """What the page may take, and how patient it is.

    Attributes:
        connections: at once; of one address three quarters of it.
        bytes_a_second: of all answers to all clients together.
        idle_s: until a connection that asks nothing, or takes nothing of an answer, is cut off.
        silent_s: the same for one that has not asked anything yet.
        wait_s: for a picture; one that is not there by then is answered with 204, so that a client sees that the server lives.
        refusals: how often one address is answered that it is refused, at once; ten more each second.
    """

    connections: int = 200
    bytes_a_second: int = 8 << 20
    idle_s: float = 15.0
    silent_s: float = 5.0
    wait_s: float = 5.0
    refusals: int = 50


def packed(head: dict[str, Any], body: bytes = b"") -> bytes:
    """Return a message as it is sent."""
    return json.dumps({**head, "size": len(body)}).encode() + b"\n" + body


def read(file: IO[bytes]) -> dict[str, Any] | None:
    """Read a message without a body; None where the other end has gone."""
    line = file.readline(LONGEST_LINE)
    return json.loads(line) if line.endswith(b"\n") else None
