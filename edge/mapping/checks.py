"""What a map can be made of: kinds and ranges of the values in events and older maps that others may have written or damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from edge.geometry.pose import Place

Check = Callable[[Any], Any]

_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_SHOWN = 60


def check_event(event: Mapping[str, Any]) -> None:
    """Refuse an event that a map cannot be made of; keys that no map uses are not looked at.

    Raises:
        ValueError: what was wanted and found, such as "where.lat as a number from -90 to 90, found NaN".
    """
    checked(event, {"event": text_of, "frame": _or_null(_WHOLE)})
    if event["pose"] is not None:
        checked(event["pose"], _POSE, "pose")
        checked(event, _MOMENT)
    if event["event"] != "state" and event.get("track") is not None:
        checked(event, _TRACKED)
        if event.get("picture") is not None:
            checked(event, {"picture": text_of})
        if event["where"] is not None:
            place_of(event["where"])


def place_of(where: object) -> Place:
    """Read where a sign stands.

    Raises:
        ValueError: as `check_event` has it.
    """
    return Place(**checked(where, _PLACE, "where"))


def checked(told: object, checks: Mapping[str, Check], name: str = "") -> dict[str, Any]:
    """Return the values of the keys that are checked, of an object that is called so.

    Raises:
        ValueError: as `check_event` has it.
    """
    if not isinstance(told, Mapping):
        raise ValueError(f"{name} as an object with {', '.join(checks)}, found {_shown(told)}")
    values = {}
    for key, check in checks.items():
        full = f"{name}.{key}" if name else key
        if key not in told:
            raise ValueError(f"{full}, found none")
        try:
            values[key] = check(told[key])
        except ValueError as error:
            raise ValueError(f"{full} as {error}, found {_shown(told[key])}") from None
    return values


def text_of(value: object) -> str:
    """Take a text without the characters that XML cannot hold.

    Raises:
        ValueError: something else.
    """
    if not isinstance(value, str) or _UNWRITABLE.search(value):
        raise ValueError("a text without control characters")
    return value


def _between(least: float, most: float, *, whole: bool = False) -> Check:
    """Make a check of a number: no truth value, and neither NaN nor infinity."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not least <= value <= most:
            raise ValueError(f"a {'whole ' if whole else ''}number from {least:g} to {most:g}")
        return value

    return check


def _or_null(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


# Wider than any flight, and narrow enough that no sum or square of them leaves the numbers that there are.
_WHOLE, _LAT, _LON, _ANGLE = _between(0, 1e15, whole=True), _between(-90, 90), _between(-180, 180), _or_null(_between(-3600, 3600))
_PLACE = {"lat": _LAT, "lon": _LON, "alt_m": _or_null(_between(-1e5, 1e5)), "sigma_m": _between(0, 1e6), "facing_deg": _ANGLE}
_POSE = {"lat": _or_null(_LAT), "lon": _or_null(_LON), "yaw_deg": _ANGLE}
_MOMENT = {"media_s": _or_null(_between(-1e15, 1e15)), "received_ns": _between(-1e20, 1e20)}
_SIGN = {"class_id": _WHOLE, "label": text_of, "confidence": _between(0, 1)}
_TRACKED = {**_SIGN, **_MOMENT, "track": _WHOLE, "frame": _WHOLE, "time": _or_null(text_of)}
SIGN: Mapping[str, Check] = {"id": text_of, **_SIGN}
"""What is checked of a sign of an older map, beside its place."""
