"""Events as rows of a table: what an event's lists and objects hold gets a column each."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from edge.outside.text import printable

_PARTS: dict[str, Sequence[str]] = {
    "box_xyxy": ("x1", "y1", "x2", "y2"),
    "quad_xy": tuple(f"{axis}{corner}" for corner in range(1, 5) for axis in "xy"),
    "pose": ("lat", "lon", "alt_m", "roll_deg", "pitch_deg", "yaw_deg"),
    "where": ("lat", "lon", "alt_m", "sigma_m", "facing_deg"),
    "feed": ("captured", "dropped", "damaged", "foreign", "reconnects", "detail"),
    "level": ("known", "detail"),
}
"""Of keys that hold more than one value; their columns are named by key and part, `box_xyxy` and `quad_xy` by their first word."""


class EventTable:
    """Writes events as lines of CSV (RFC 4180, but for the ends of lines, which are `\\n`); what is null is an empty cell."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Give the columns of these keys, in their order, and behind them those that state lines alone have."""
        self._keys = [*keys, "feed", "level"]
        self.header = _line([f"{key.partition('_')[0]}_{part}" if part else key for key in self._keys for part in _PARTS.get(key, ("",))])

    def row(self, event: Mapping[str, Any]) -> bytes:
        """Return the line of an event."""
        return _line([cell for key in self._keys for cell in _cells(key, event.get(key))])


def _cells(key: str, value: Any) -> list[Any]:
    parts = _PARTS.get(key)
    if parts is None:
        return [value]
    if value is None:
        return [None] * len(parts)
    if key == "quad_xy":
        return [side for corner in value for side in corner]
    return [value[part] for part in parts] if isinstance(value, Mapping) else list(value)


def _line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO()
    told = [str(cell).lower() if isinstance(cell, bool) else printable(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(text, lineterminator="\n").writerow(told)
    return text.getvalue().encode("utf-8")
