"""UDP ports: opened for one process, joined to a multicast group, and who holds one that is busy."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from contextlib import suppress
from pathlib import Path

from edge.errors import SourceError

# 10 Mbit/s for a second and more; the system may grant less (net.core.rmem_max).
RECEIVE_BUFFER = 4 << 20

_PROC = Path("/proc")


def open_udp(host: str, port: int) -> socket.socket:
    """Listen on a UDP port: of all interfaces where `host` is "", of one, or of a multicast group on every interface that takes part.

    Raises:
        SourceError: the port is busy or not ours to take, the host is not this machine's, or no interface takes multicast.
    """
    address = resolve(host or "0.0.0.0", port)[0]  # noqa: S104 - a camera's packets come from outside
    group = ipaddress.ip_address(address).is_multicast
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if group:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        listening.bind((address, port))
        if group:
            _join(listening, address)
    except OSError as error:
        listening.close()
        if isinstance(error, SourceError):
            raise
        raise _told(error, host, port) from error
    return listening


def resolve(host: str, port: int) -> tuple[str, int]:
    """Return the IPv4 address of a host, and the port.

    Raises:
        SourceError: the host is unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise SourceError(f"wanted an IPv4 address or a name that has one, found {host!r}: check the host") from error
    return found[0][4][0], port  # type: ignore[return-value]


def free_ports() -> int:
    """Return an even port of the loopback interface that is free, with its neighbour, where FFmpeg listens for RTCP.

    Raises:
        SourceError: none is free.
    """
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1] & ~1
            if port == first.getsockname()[1]:
                with suppress(OSError):
                    second.bind(("127.0.0.1", port + 1))
                    return int(port)
    raise SourceError("wanted two free UDP ports side by side on 127.0.0.1, found none in 100 tries: close other programs")


def udp_holder(port: int) -> str | None:
    """Return who holds a UDP port, as "name (process 17)"; None where the system does not tell, as of other users' processes."""
    inodes = set()
    for table in ("udp", "udp6"):
        with suppress(OSError):
            rows = [line.split() for line in (_PROC / "net" / table).read_text().splitlines()[1:]]
            inodes |= {f"socket:[{row[9]}]" for row in rows if int(row[1].rpartition(":")[2], 16) == port}
    for process in _PROC.glob("[0-9]*"):
        with suppress(OSError):
            for handle in (process / "fd").iterdir():
                if str(handle.readlink()) in inodes:
                    return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return None


def _join(listening: socket.socket, group: str) -> None:
    joined = 0
    for index, _ in socket.if_nameindex():
        with suppress(OSError):  # an interface that is down, or takes no multicast
            listening.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4si", socket.inet_aton(group), bytes(4), index))
            joined += 1
    if not joined:
        raise SourceError(f"wanted to join {group}, found no network interface that takes multicast: bring one up (ip link)")


def _told(error: OSError, host: str, port: int) -> SourceError:
    wanted = f"wanted to listen on UDP port {port}{f' of {host}' if host else ''}"
    if error.errno == errno.EADDRINUSE:
        who = udp_holder(port) or "another user's process"
        return SourceError(f"{wanted}, found {who} on it: end that one, or listen first and pass the packets on to it with forward=127.0.0.1:{port + 1}")
    if error.errno == errno.EACCES:
        return SourceError(f"{wanted}, the system refused: ports below 1024 are root's, choose another")
    if error.errno == errno.EADDRNOTAVAIL:
        return SourceError(f"{wanted}, found no such address on this machine: leave the host out (rtp://@:{port})")
    return SourceError(f"{wanted}, the system refused: {error.strerror or error}")
