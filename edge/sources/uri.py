"""Takes a source's URI apart: scheme, path, and a query in which every key is known and every value is what it should be."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote_plus

from edge.errors import SourceError
from edge.outside.reading import read_bounded, warn_of_readers
from edge.outside.text import printable, without_credentials

__all__ = ["Uri", "exists", "listed", "parse_uri", "source_of", "without_credentials"]

_LONGEST = 4096
_LONGEST_FILE = 1 << 16


@dataclass(frozen=True)
class Uri:
    """A source's URI in parts.

    Attributes:
        text: as the user gave it, without user and password: for messages.
        scheme: what stands before "://", in small letters; "" for a file or a folder.
        path: what stands between scheme and query, user and password among it.
        query: keys and values; a key without a value has "".
        raw: the query as it was written: what is another program's is not ours to write anew.
        repeated: keys that stand in it more than once.
    """

    text: str
    scheme: str
    path: str
    query: dict[str, str]
    raw: str = ""
    repeated: frozenset[str] = frozenset()

    def without(self, *ours: str) -> str:
        """Return path and query without the keys that are ours, every other byte as it was written.

        Raises:
            SourceError: one of ours stands twice.
        """
        if self.repeated & set(ours):
            self._refuse_repeated()
        rest = "&".join(pair for pair in self.raw.split("&") if unquote_plus(pair.partition("=")[0]) not in ours)
        return f"{self.path}{f'?{rest}' if rest else ''}"

    def check_keys(self, *known: str) -> None:
        """Refuse a query with another key, or with one twice.

        Raises:
            SourceError: a key is not `known`, or stands twice.
        """
        if self.repeated:
            self._refuse_repeated()
        for key in self.query:
            if key not in known:
                found = repr(key) if key in self.text else "another"  # it may be a part of a password
                raise SourceError(f"wanted one of {', '.join(known) or 'no options'} in {self.text}, found {found}: leave it out")

    def _refuse_repeated(self) -> None:
        raise SourceError(f"wanted each option once in {self.text}, found one twice: leave one out")

    def check_host(self, *, listens: bool = False) -> None:
        """Refuse an address that names no host, or a port that cannot be: whoever opens it would try for ever.

        Args:
            listens: the scheme's host may be this machine, whose port must be told then.

        Raises:
            SourceError: it is such an address.
        """
        server = re.split("[/?]", self.path, maxsplit=1)[0].rpartition("@")[2]
        host, _, port = server.rpartition(":") if re.search(r":[^\]]*$", server) else (server, "", "")
        cure = f"write {self.scheme}://@:5600" if listens else f"write {self.scheme}://HOST:PORT/PATH, the port only where it is another than usual"
        if not host and not listens:
            raise SourceError(f"wanted a host in {self.text}, found none: {cure}")
        if not port and listens:
            raise SourceError(f"wanted a port in {self.text}, found none: {cure}")
        if port and "@" not in self.path.lstrip("@") and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise SourceError(f"wanted a port from 1 to 65535 in {self.text}, found another: {cure}")

    def whole(self, key: str, default: int, *, least: int, most: int) -> int:
        """Return a whole number of the query.

        Raises:
            SourceError: anything else than a number from `least` to `most`.
        """
        text = self.query.get(key, str(default))
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
            raise SourceError(f"wanted {key} as a whole number from {least} to {most} in {self.text}, found {text!r}")
        return int(text)

    def rate(self, key: str, default: float) -> float:
        """Return a rate of the query, more than 0.

        Raises:
            SourceError: anything else than a number from more than 0 to 1000.
        """
        text = self.query.get(key, str(default))
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value <= 1000:
            raise SourceError(f"wanted {key} as a number from more than 0 to 1000 in {self.text}, found {text!r}")
        return value

    def flag(self, key: str) -> bool:
        """Return a switch of the query, off where it is absent.

        Raises:
            SourceError: neither 0 nor 1.
        """
        return self.whole(key, 0, least=0, most=1) == 1


def parse_uri(text: str) -> Uri:
    """Take a URI apart; the whole text is a path where such a file exists, whatever characters its name has.

    Raises:
        SourceError: an address is too long or not all printable.
    """
    if exists(text):
        return Uri(text, "", text, {})
    scheme, found, rest = text.partition("://")
    if found and len(text) > _LONGEST:
        raise SourceError(f"wanted an address of at most {_LONGEST} characters, found {len(text)}: check the source")
    if found and printable(text) != text:  # it goes to C++ libraries, which crash on some, and cut others short
        raise SourceError(f"wanted an address of printable characters, found {without_credentials(text)}: write others as %XX")
    scheme, rest = (scheme.lower(), rest) if found else ("", text)
    path, found, query = rest.rpartition("?")
    path, query = (path, query) if found else (rest, "")
    pairs, told = parse_qsl(query, keep_blank_values=True), without_credentials(text)
    repeated = frozenset(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
    return Uri(told, scheme, path, dict(pairs), query, repeated)


def source_of(text: str) -> str:
    """Return the source that is meant: of `@FILE` the first of `listed`, so that a password stands on no command line, which every user can read.

    An address in a file that others can read is warned of.

    Raises:
        SourceError: no such file, or nothing in it.
    """
    found = listed(text)[0]
    if found is not text and "://" in found:
        warn_of_readers(Path(text[1:]))
    return found


def listed(text: str) -> list[str]:
    """Return the lines of `@FILE` that are neither empty nor begin with #; of others the text itself.

    Raises:
        SourceError: no such file, or nothing in it.
    """
    if not text.startswith("@") or exists(text):
        return [text]
    try:
        lines = [line.strip() for line in read_bounded(Path(text[1:]), _LONGEST_FILE).decode("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise SourceError(f"wanted a source in the first line of {text[1:]}, cannot read it ({error}): write it there, or give the source itself") from error
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise SourceError(f"wanted a source in the first line of {text[1:]}, found nothing: write it there, or give the source itself")
    return found


def exists(path: str) -> bool:
    """Tell whether a file or folder of this name exists, whatever the name holds."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a name too long for the system, or with a null character
        return False
