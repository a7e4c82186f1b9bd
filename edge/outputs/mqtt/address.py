"""What `--mqtt` names: a broker, who we are there, and the beginning of our topics."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from edge.errors import InputError
from edge.outside.reading import read_bounded, warn_of_readers

PORTS = {"mqtt": 1883, "mqtts": 8883}

_PLACE = re.compile(r"(?P<host>\[[\da-fA-F:.]+\]|[\w.-]+)(:(?P<port>\d{1,5}))?/(?P<prefix>[^+#]+)")
_LONGEST_FILE, _LONGEST_PREFIX = 1 << 16, 200
_CURE = "write mqtt://HOST/PREFIX, mqtts:// for TLS, mqtt://USER:PASSWORD@HOST:PORT/PREFIX, or @FILE with that in its first line"


@dataclass(frozen=True)
class Broker:
    """Where to send, over TLS or not, as whom, and what topics begin with."""

    host: str
    port: int
    prefix: str
    secure: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def told(self) -> str:
        """The address without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' * self.secure}://{host}:{self.port}/{self.prefix}"


def parse_broker(text: str) -> Broker:
    """Read `mqtt(s)://[USER[:PASSWORD]@]HOST[:PORT]/PREFIX`, or `@FILE` whose first line is that.

    A user and a password end at the last `@`; what of them is written as %XX is decoded.

    Raises:
        InputError: something else.
    """
    address = _of_file(Path(text[1:])) if text.startswith("@") else text
    scheme, found, rest = address.partition("://")
    userinfo, at, place = rest.rpartition("@")
    parts = _PLACE.fullmatch(place)
    if not found or scheme.lower() not in PORTS or parts is None or not 0 < int(parts["port"] or 1) < 65536:
        raise InputError(f"wanted a broker and a prefix for --mqtt, found {address!r}: {_CURE}")
    prefix = parts["prefix"].strip("/")
    if not prefix or prefix.startswith("$") or not prefix.isprintable() or len(prefix) > _LONGEST_PREFIX:
        raise InputError(f"wanted a prefix for the topics of --mqtt, found {prefix!r}: {_CURE}")
    user, _, password = userinfo.partition(":")
    port = int(parts["port"] or PORTS[scheme.lower()])
    known = (unquote(user), unquote(password) if ":" in userinfo else None) if at else (None, None)
    return Broker(parts["host"].strip("[]"), port, prefix, scheme.lower() == "mqtts", *known)


def _of_file(path: Path) -> str:
    try:
        address = read_bounded(path, _LONGEST_FILE).decode("utf-8").partition("\n")[0].strip()
    except (OSError, ValueError) as error:
        raise InputError(f"wanted a broker in the first line of {path}, cannot read it ({error}): write it there, or give the broker itself") from error
    warn_of_readers(path)
    return address
