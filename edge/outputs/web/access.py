"""Who may read the page: decisions on the parts of a request, without any server. No message and no log holds the token or what stood in its place."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from edge.errors import InputError
from edge.outside.reading import read_bounded, warn_of_readers

LEAST_TOKEN = 16
_MOST_TOKEN = 4096
_MOST_FILE = 1 << 16
MOST_HEADERS = 16 << 10
"""Bytes of names and values together."""

REALM = b'Basic realm="signwing", charset="UTF-8"'

_ALLOWED = "script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'"
HEADERS = (
    ("content-security-policy", f"default-src 'none'; {_ALLOWED}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ("cache-control", "no-store"),
)
"""What every answer says to a browser: nothing from elsewhere, in no frame of another page, kept nowhere."""


class Access:
    """Judges requests: with a token, they must bring it; without one, the server is on loopback and they must ask for it by a name of loopback.

    Attributes:
        digest: SHA-256 of the token, in hexadecimal; None where there is none.
    """

    def __init__(self, host: str, token: str | None) -> None:
        """Guard a server that listens on `host`.

        Raises:
            InputError: others can reach the server and there is no token.
        """
        if token is None and not is_loopback(host):
            raise InputError(
                f"wanted --web-token-file with --web-host {host}, since others can reach it, found none: "
                f"put a secret of {LEAST_TOKEN} characters or more into a file"
            )
        self.digest = None if token is None else hashlib.sha256(token.encode()).hexdigest()

    @classmethod
    def of(cls, host: str, digest: str | None) -> Access:
        """Guard a server whose `digest` is known, and not the token."""
        access = cls(host, "" if digest is not None else None)
        access.digest = digest
        return access

    def refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> int:
        """Return the status that a request with these headers, names in lower case, is refused with: 400 or 401; 0 if it may pass."""
        held: dict[bytes, list[bytes]] = {}
        size = 0
        for name, value in headers:
            held.setdefault(name, []).append(value)
            size += len(name) + len(value)
        if size > MOST_HEADERS:
            return 400
        given = held.get(b"authorization", [])
        if self.digest is not None:
            return 0 if len(given) == 1 and self._is_token(given[0]) else 401
        # A page from elsewhere can make its own name lead to loopback, and would then read what is here.
        return 0 if all(names_loopback(host) for host in held.get(b"host", [])) else 400

    def _is_token(self, authorization: bytes) -> bool:
        """Tell whether `Bearer TOKEN` or `Basic` with the token as password holds the token, in a time that does not depend on how much of it is right."""
        kind, _, rest = authorization.strip().partition(b" ")
        given = rest.strip()
        if kind.lower() == b"basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                given = b""
        elif kind.lower() != b"bearer":
            given = b""
        assert self.digest is not None
        return hmac.compare_digest(hashlib.sha256(given).hexdigest(), self.digest)


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on can be reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: who knows where it leads
        return False


def names_loopback(host: bytes) -> bool:
    """Tell whether a Host header, with or without a port, is a name of loopback."""
    name = host.decode("latin-1").strip()
    if name.startswith("["):
        name, closed, port = name[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            return False
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    return is_loopback(name)


def read_token(path: Path) -> str:
    """Read the token in a file: its one line, without the blanks around it; a file that others can read is warned of.

    Raises:
        InputError: the file cannot be read, or holds no token of a fair length.
    """
    try:
        text = read_bounded(path, _MOST_FILE).decode("ascii").strip()
    except OSError as error:
        raise InputError(f"wanted a token in {path}, the system refused: {error.strerror or error}: name a file that can be read") from error
    except UnicodeDecodeError:
        text = ""
    if not LEAST_TOKEN <= len(text) <= _MOST_TOKEN or not text.isprintable() or " " in text:
        raise InputError(
            f"wanted one line of {LEAST_TOKEN} to {_MOST_TOKEN} ASCII characters without blanks in {path}, found something else: "
            "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
        )
    warn_of_readers(path)
    return text
