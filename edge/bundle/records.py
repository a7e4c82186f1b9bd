"""Reads a JSON file into the frozen dataclass that describes it: nothing missing that has no default, nothing unknown, each value of its declared type."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from edge.errors import BundleError
from edge.outside.reading import read_bounded

_MOST_BYTES = 16 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")


def read_record(kind: type[T], path: Path, schema: int, *, what: str, cure: str, check: Callable[[T], None]) -> T:
    """Read a file's JSON as a dataclass with a field `schema`.

    Args:
        kind: the dataclass.
        path: the file.
        schema: the number that is wanted, looked at before anything else.
        what: the record's name in a message, one word.
        cure: what the user does about a damaged file.
        check: raises ValueError for what the types cannot say.

    Raises:
        BundleError: no JSON, too much of it, another schema, or a field that is missing, unknown or wrong.
    """
    try:
        raw = json.loads(read_bounded(path, _MOST_BYTES).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"wanted JSON in {path}, cannot read it ({error}): {cure}") from error
    found = raw.get("schema") if isinstance(raw, dict) else None
    if type(found) is not int or found != schema:
        newer = isinstance(found, int) and found > schema
        raise BundleError(f"wanted a {what} of schema {schema} in {path}, found {found!r}: {'update signwing' if newer else cure}")
    try:
        record: T = _parsed(kind, raw, what)
        check(record)
    except (ValueError, OverflowError) as error:
        raise BundleError(f"wanted a complete {what} in {path}, found a fault ({error}): {cure}") from error
    return record


def check_sha256(digest: str, of: str) -> None:
    """Refuse what is no SHA-256 in hexadecimal.

    Raises:
        ValueError: it is not 64 small hexadecimal digits.
    """
    if not _SHA256.fullmatch(digest):
        raise ValueError(f"sha256 of {of} is {digest!r}, not 64 hexadecimal digits")


def _parsed(kind: Any, raw: Any, where: str) -> Any:
    """Build a value of a type from JSON; `where` names the place in a fault.

    Raises:
        ValueError: a field is missing, unknown or of another type.
    """
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        held = _of_type(dict, raw, where)
        needed = {field.name for field in fields(kind) if field.default is MISSING}  # what has a default came later than the first files
        if not needed <= set(held) <= set(hints):
            raise ValueError(f"{where} lacks {sorted(needed - set(held))} and has unknown {sorted(set(held) - set(hints))}")
        return kind(**{name: _parsed(hints[name], value, f"{where}.{name}") for name, value in held.items()})  # type: ignore[operator]
    if get_origin(kind) is UnionType:  # only `X | None` is used
        return None if raw is None else _parsed(get_args(kind)[0], raw, where)
    if get_origin(kind) is tuple:
        return tuple(_parsed(get_args(kind)[0], item, f"{where}[{place}]") for place, item in enumerate(_of_type(list, raw, where)))
    if get_origin(kind) is dict:
        return {key: _parsed(get_args(kind)[1], value, f"{where}.{key}") for key, value in _of_type(dict, raw, where).items()}
    if kind is Any:
        return raw
    return float(raw) if kind is float and type(raw) is int else _of_type(kind, raw, where)


def _of_type(kind: type[T], raw: Any, where: str) -> T:
    if type(raw) is not kind:  # isinstance would take true for 1
        raise ValueError(f"{where} is {type(raw).__name__}, not {kind.__name__}")
    return raw
