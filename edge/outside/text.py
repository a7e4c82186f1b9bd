"""Text from outside, made fit to be shown: without passwords, and without what moves a terminal's cursor or begins a line of its own.

An address may hold its password in two places: before the last `@`, and as the value of a key, in the query or, as some cameras take it, in the path.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

HIDDEN = "***"

_JOINERS = "\u200c\u200d"
"""Persian and Indian words and some emoji need these; they move nothing."""
_HARMLESS = ("Zs", "Co", "Cn")
"""Blanks, private characters, and those that this Python does not know yet."""

_WITHIN = r"(?<!\s)@(?=\S)"
"""An `@` of an address within a sentence; one that follows a blank begins a word of its own."""
_HOST = re.compile(r"([\w.-]+|\[[\da-fA-F:.]+\])(:\d+)?[/?]")
_PLACEHOLDER = re.compile(r"USER:PASSWORD@|@")
_ADDRESSES = re.compile(r"(?<![\w+.:/@%-])(?=[A-Za-z][A-Za-z0-9+.-]*://)")
"""Where they begin in a sentence."""
_END = re.compile(r"([\"'`:,.)>\]]{0,2}\s)")
"""Where they end in one: at a blank, with the punctuation before it."""
_WITHOUT_SCHEME = re.compile(r"(?<![^\s'\"`(<\[=,])([A-Za-z][A-Za-z0-9+.-]*:/|//)?[^\s/@:'\"`]+:\S*(?<!\s)@(?=\S)")
_SECRET_KEY = re.compile(
    r"user|usr|login|pas|pwd|psw|token|key|auth|secret|signature|cred|session|account|acct|hash|streamid|^(u|p|un|uid|uname|name|up|pw|sig|sid|pin)$",
    re.IGNORECASE,
)
_BEHIND_A_VALUE = re.compile(r"_(user|password|passwd|pwd|channel|stream|subtype|type)$", re.IGNORECASE)
"""Keys of cameras that part the pairs of their path by `_`."""
_PAIR = re.compile(r"([\w.%\[\]-]+)=")


def printable(text: object) -> str:
    r"""Return a text on one line: control characters, marks that turn the direction of writing, and bytes that are no UTF-8 as \n, \x1b, \u202e, \xdf."""
    found = str(text)
    return found if found.isprintable() else "".join(map(_escaped, found))


def _escaped(character: str) -> str:
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) in _HARMLESS:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps such a byte
        return f"\\x{code - 0xDC00:02x}"
    return ascii(character)[1:-1]


def without_credentials(address: str) -> str:
    """Return an address without user and password, for what is shown or kept.

    All up to the last `@` goes, since a password may hold any character; values of keys that name a user, a password, a token or a key become ***.
    """
    scheme, found, rest = address.partition("://")
    return f"{scheme}://{_without_values(_without_userinfo(_behind_a_host(rest), '@'))}" if found else _WITHOUT_SCHEME.sub(r"\1", address)


def shown(text: object) -> str:
    """Return a sentence on one line, every address in it without user and password."""
    return printable("".join(map(_in_sentence, _ADDRESSES.split(str(text)))))


def _in_sentence(words: str) -> str:
    before, found, rest = words.partition("://")
    if not found:
        return _WITHOUT_SCHEME.sub(r"\1", words)
    address, *after = _END.split(rest, maxsplit=1)
    address, *after = _END.split(_without_userinfo("".join([_behind_a_host(address), *after]), _WITHIN), maxsplit=1)
    return f"{before}://{_without_values(address)}{''.join(after)}"


def _behind_a_host(rest: str) -> str:
    """Hide values before `@` is looked for, where what begins as a host is followed by keys: a password there may hold one."""
    return _without_values(rest) if _HOST.match(rest) else rest


def _without_userinfo(rest: str, at_sign: str) -> str:
    """Cut all up to the last `@`, but USER:PASSWORD, which belongs to a cure."""
    ends = [found.end() for found in re.finditer(at_sign, rest)]
    return rest if not ends or _PLACEHOLDER.fullmatch(rest, 0, ends[-1]) else rest[ends[-1] :]


def _without_values(rest: str) -> str:
    """Hide the values of secret keys. A value ends where the next key begins: behind `&`, `;`, `?` or `/`, or as some cameras have it behind `_`."""
    told, at, hiding = "", 0, False
    for pair in _PAIR.finditer(rest):
        begins = pair.start(1)
        if hiding and rest[pair.end() : pair.end() + 1] in ("", *"=&;?/"):  # base64 ends so
            continue
        if hiding and rest[begins - 1] not in "&;?/":
            key = _BEHIND_A_VALUE.search(rest, begins, pair.end(1))
            if key is None:  # a part of the value before
                continue
            begins = key.start(1)
        told += _part(rest[at:begins], hiding)
        at, hiding = pair.end(), _SECRET_KEY.search(unquote(rest[begins : pair.end(1)])) is not None
        told += rest[begins:at]
    return told + _part(rest[at:], hiding)


def _part(text: str, hiding: bool) -> str:
    if not hiding:
        return text
    return HIDDEN + (text[-1] if text and text[-1] in "&;?/_" else "")
