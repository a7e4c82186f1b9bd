"""Ways for packets out: datagrams from a socket of ours, which goes to one address and no other, and SRT by the program ffmpeg."""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import suppress
from typing import Any, Protocol

from edge.errors import MissingDependency, OutputError, one_line
from edge.outputs.restream.address import Target

DATAGRAM = 1316
"""Seven packets of MPEG-TS, as players expect."""
_RTCP = range(72, 77)
"""Payload types, less the marker's bit, that are RTCP's (RFC 5761)."""
_BUFFER = 1 << 20
_END_S = 0.5


class Way(Protocol):
    """Takes what a muxer writes, as a file does."""

    def write(self, data: bytes) -> int:
        """Send.

        Raises:
            OutputError: there is no way any more.
        """
        ...

    def cut(self) -> None:
        """Let a write that waits come back, whatever becomes of it; from another thread."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


def open_way(target: Target) -> Way:
    """Open the way to a target.

    Raises:
        MissingDependency: no program for SRT.
        OutputError: the address cannot be had.
    """
    return _Program(target) if target.scheme == "srt" else _Datagrams(target)


def check_program(target: Target) -> None:
    """Refuse what this machine has no program for.

    Raises:
        MissingDependency: SRT, and no ffmpeg here.
    """
    if target.scheme == "srt" and shutil.which("ffmpeg") is None:
        raise MissingDependency(f"wanted the program ffmpeg for --restream {target.told}, found none: apt install ffmpeg, or send to rtp:// or udp://")


class _Datagrams:
    """RTP without RTCP, which would go to a port that nobody named; or MPEG-TS."""

    def __init__(self, target: Target) -> None:
        self._rtp = target.scheme == "rtp"
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind, protocol)
        except OSError as error:
            raise OutputError(f"wanted to send to {target.told}, the system refused: {one_line(error)}: check the address") from error
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._address = address

    def write(self, data: bytes) -> int:
        if self._rtp and len(data) > 1 and data[1] & 0x7F in _RTCP:
            return len(data)
        try:
            self._socket.sendto(data, self._address)
        except ConnectionRefusedError:  # nobody listens there yet
            pass
        except OSError as error:
            raise OutputError(f"the system refused: {one_line(error)}") from error
        return len(data)

    def cut(self) -> None:
        pass  # it never waits for long

    def close(self) -> None:
        self._socket.close()


class _Program:
    """SRT by the program ffmpeg, which copies: no wheel of PyAV has it."""

    def __init__(self, target: Target) -> None:
        check_program(target)
        address = f"{target.told}?mode=caller&transtype=live"
        words = ["ffmpeg", "-v", "quiet", "-f", "mpegts", "-i", "-", "-c", "copy", "-f", "mpegts", "-flush_packets", "1", address]
        # A system tool; a target is a name or an address, and a number.
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        self._pipe: Any = self._process.stdin

    def write(self, data: bytes) -> int:
        try:
            self._pipe.write(data)
            self._pipe.flush()
        except OSError as error:
            raise OutputError("nobody answers there") from error
        return len(data)

    def cut(self) -> None:
        self._process.kill()  # a write that waits for it fails

    def close(self) -> None:
        self.cut()
        self._process.wait(_END_S)
        with suppress(OSError):  # what it did not take is lost
            self._pipe.close()
