"""Ways for packets out: datagrams from a socket of ours, which goes to one address and no other, and SRT by the program ffmpeg."""

from __future__ import annotations

import os
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
_SENT = b"progress="
"""Ends each of ffmpeg's reports, of which the first comes when packets have gone."""


class Way(Protocol):
    """Takes what a muxer writes, as a file does."""

    @property
    def stands(self) -> bool:
        """Whether something was sent; what was written may wait still for somebody to answer."""
        ...

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
            raise OutputError(f"the system refused: {one_line(error)}: check the address") from error
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._address = address
        self.stands = False

    def write(self, data: bytes) -> int:
        if self._rtp and len(data) > 1 and data[1] & 0x7F in _RTCP:
            return len(data)
        try:
            self._socket.sendto(data, self._address)
        except ConnectionRefusedError:  # nobody listens there yet
            pass
        except OSError as error:
            raise OutputError(f"the system refused: {one_line(error)}") from error
        self.stands = True
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
        words = ["ffmpeg", "-v", "quiet", "-progress", "pipe:1", "-f", "mpegts", "-i", "-", "-c", "copy", "-f", "mpegts", "-flush_packets", "1", address]
        # A system tool; a target is a name or an address, and a number.
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603
        self._pipe: Any
        self._said: Any
        self._pipe, self._said = self._process.stdin, self._process.stdout
        os.set_blocking(self._said.fileno(), False)
        self._stands = False

    @property
    def stands(self) -> bool:
        # What is said is always read: a full pipe would hold the program up. It says nothing before its connection stands.
        while said := self._said.raw.read(_BUFFER):
            self._stands = self._stands or _SENT in said
        return self._stands

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
        self._said.close()
        with suppress(OSError):  # what it did not take is lost
            self._pipe.close()
