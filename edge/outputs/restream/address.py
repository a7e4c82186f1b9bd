"""What `--restream` names: where to send, in what form, and how much."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from edge.errors import InputError
from edge.sources.uri import Uri, parse_uri

SCHEMES = ("rtp", "udp", "srt")
_FPS, _WIDTH, _KBIT_S = 15, 960, 2000
_CURE = "write rtp://HOST:PORT, udp://HOST:PORT or srt://HOST:PORT, such as rtp://192.168.1.10:5600?fps=15&width=960&bitrate=2000"


@dataclass(frozen=True)
class Target:
    """Where to send, and what: `rtp`, or MPEG-TS on `udp` or `srt`; frames a second, the most of a frame's width in pixels, kilobits a second."""

    scheme: str
    host: str
    port: int
    fps: int
    width: int
    kbit_s: int

    @property
    def told(self) -> str:
        """The address."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def sdp(self) -> str:
        """What players want to know of RTP before it comes (RFC 8866, RFC 6184)."""
        family = "IP6" if ":" in self.host else "IP4"
        lines = ("v=0", f"o=- 0 0 IN {family} {self.host}", "s=Signwing", f"c=IN {family} {self.host}", "t=0 0")
        media = (f"m=video {self.port} RTP/AVP 96", "a=rtpmap:96 H264/90000", "a=fmtp:96 packetization-mode=1")
        return "\n".join((*lines, *media)) + "\n"


def parse_target(text: str, source: str) -> Target:
    """Read the option; `source` is the run's own, which must not come back to itself.

    Raises:
        InputError: something else.
        SourceError: an option that is unknown or out of range.
    """
    uri = parse_uri(text)
    host, found, port = uri.path.rpartition(":")
    host = host.strip("[]")
    if uri.scheme not in SCHEMES or not found or not host or "@" in host or "/" in host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InputError(f"wanted where to send the picture with --restream, found {uri.text!r}: {_CURE}")
    uri.check_keys("fps", "width", "bitrate")
    target = Target(
        uri.scheme,
        host,
        int(port),
        uri.whole("fps", _FPS, least=1, most=60),
        uri.whole("width", _WIDTH, least=64, most=3840),
        uri.whole("bitrate", _KBIT_S, least=50, most=50_000),
    )
    if _is_here(host) and target.port == _own_port(parse_uri(source)):
        raise InputError(f"wanted another port than the source's for --restream, found {target.told}: the run would see its own picture, choose another")
    return target


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _own_port(source: Uri) -> int | None:
    port = source.path.rpartition(":")[2]
    return int(port) if source.scheme in ("rtp", "udp") and port.isascii() and port.isdigit() else None
