"""Text from outside, made fit to be shown: without passwords, and without what moves a terminal's cursor or begins a line of its own.

An address may hold its password in two places: before the last `@`, and as the value of a key, in the query or, as some cameras take it, in the path. Nobody
knows all names of such keys, so that what is shown are the values of keys that are known to be harmless, and values of one character.
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
_HOST = re.compile(
    r"([\w.-]+|\d{1,3}(\.\d{1,3}){3}:\d{1,5}|\[[\da-fA-F:.]+\](:\d{1,5})?|[\w-]+(\.[\w-]+)+:(80|443|554|1935|8080|8554))(?=[/?#])",
)
"""What is a host, and no user with the beginning of a password: an `@` behind it is none that ends a password."""
_MAY_BE_A_HOST = re.compile(r"[\w.-]+:\d+[/?#]")
_PLACEHOLDER = re.compile(r"USER:PASSWORD@|@")
_ADDRESSES = re.compile(r"(?<![\w+.:/@%-])(?=[A-Za-z][A-Za-z0-9+.-]*://)")
"""Where they begin in a sentence."""
_END = re.compile(r"([\"'`:,.)>\]]{0,2}\s)")
"""Where they end in one: at a blank, with the punctuation before it."""
_WITHOUT_SCHEME = re.compile(r"(?<![^\s'\"`(<\[=,])([A-Za-z][A-Za-z0-9+.-]*:/|//)?[^\s/@:'\"`]+:\S*(?<!\s)@(?=\S)")
HARMLESS_KEYS = frozenset(
    (
        *("backend", "codec", "flip", "forward", "fps", "frames", "from", "height", "lens", "realtime", "record", "seed", "signs", "view", "width"),
        *("app", "buffer_size", "fifo_size", "latency", "mode", "overrun_nonfatal", "pkt_size", "rtsp_transport", "timeout", "transtype"),
        *("audio", "bitrate", "camera", "cam", "ch", "channel", "channelid", "chn", "compression", "format", "inst", "multicast", "port", "profile"),
        *("profileid", "proto", "protocol", "quality", "rate", "real_stream", "res", "resolution", "size", "stream", "streamtype", "subtype", "track"),
        *("trackid", "transport", "transportmode", "ttl", "type", "unicast", "video", "videocodec"),
    )
)
"""Of ours, of FFmpeg, and of cameras, in small letters: their values are shown."""
_SECRET_KEY = re.compile(
    r"user|usr|login|pas|pwd|psw|token|key|auth|secret|signature|cred|session|account|acct|hash|streamid|^(u|p|un|uid|uname|name|up|pw|sig|sid|pin)$",
    re.IGNORECASE,
)
_BEHIND_A_VALUE = re.compile(r"_(user|password|passwd|pwd|channel|stream|subtype|type)$", re.IGNORECASE)
"""Keys of cameras that part the pairs of their path by `_`."""
_PAIR = re.compile(r"([^\s=&;?/#,@]*)=")
_SHORT = 1
"""Characters of a value that is no password; in a sentence two more could be taken for its punctuation."""


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

    All up to the last `@` goes, since a password may hold any character; behind what can only be a host, it becomes ***, as values of keys do that are not
    known to be harmless.
    """
    scheme, found, rest = address.partition("://")
    if not found:
        return _WITHOUT_SCHEME.sub(r"\1", address)
    return f"{scheme}://{_without_values(_without_userinfo(rest, '@'))}"


def shown(text: object) -> str:
    """Return a sentence on one line, every address in it without user and password."""
    return printable("".join(map(_in_sentence, _ADDRESSES.split(str(text)))))


def _in_sentence(words: str) -> str:
    before, found, rest = words.partition("://")
    if not found:
        return _WITHOUT_SCHEME.sub(r"\1", words)
    address, *after = _END.split(_without_userinfo(rest, _WITHIN), maxsplit=1)
    return f"{before}://{_without_values(address)}{''.join(after)}"


def _without_userinfo(rest: str, at_sign: str) -> str:
    """Hide all up to the last `@`, but USER:PASSWORD, which belongs to a cure. Of values that are hidden anyway, none counts."""
    address, *after = _END.split(rest, maxsplit=1) if at_sign == _WITHIN else [rest]
    host = _HOST.match(address)
    if host is not None:
        address = _without_values(address)
    elif _MAY_BE_A_HOST.match(address):  # or else a user, and a password that looks like keys
        address = _without_values(address, known_alone=True)
    if host is not None:
        _, found, behind = address.rpartition("@")
        return "".join([f"{host[0]}/{HIDDEN}@{behind}" if found else address, *after])
    rest = "".join([address, *after])
    ends = [each.end() for each in re.finditer(at_sign, rest)]
    return rest if not ends or _PLACEHOLDER.fullmatch(rest, 0, ends[-1]) else rest[ends[-1] :]


def _without_values(rest: str, *, known_alone: bool = False) -> str:
    """Hide values, of secret keys alone or of all but the harmless.

    A value ends where the next key begins: behind `&`, `;`, `?` or `/`, or as some cameras have it behind `_`.
    """
    told, at, spared = "", 0, len(rest)
    for pair in _PAIR.finditer(rest):
        begins = pair.start(1)
        if spared < len(rest) and rest[pair.end() : pair.end() + 1] in ("", *"=&;?/"):  # base64 ends so
            continue
        key = _BEHIND_A_VALUE.search(rest, begins, pair.end(1))
        if spared < len(rest) and rest[begins - 1] not in "&;?/" and key is None:  # a part of the value before
            continue
        begins = begins if key is None else key.start(1)
        told += _part(rest[at:begins], spared)
        name = unquote(rest[begins : pair.end(1)])
        secret, harmless = _SECRET_KEY.search(name) is not None, known_alone or name.lower() in HARMLESS_KEYS
        at, spared = pair.end(), 0 if secret else len(rest) if harmless else _SHORT
        told += rest[begins:at]
    return told + _part(rest[at:], spared)


def _part(value: str, spared: int) -> str:
    """Return a value, with the sign that ends it, hidden where it has more characters than are spared."""
    sign = value[-1] if value and value[-1] in "&;?/_" else ""
    return value if len(value) - len(sign) <= spared else HIDDEN + sign
