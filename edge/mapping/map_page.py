"""The map as one page that opens anywhere without a network: flight path, faces, crops, uncertainty, and when each sign was seen."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.files import write_text
from edge.geometry.geodesy import Plane
from edge.mapping.map_files import row_of
from edge.mapping.merge import Sign
from edge.mapping.sightings import FlightSeen
from edge.outside.reading import read_bounded

_TEMPLATE = Path(__file__).with_name("map.html")
_MOST_BYTES = 200_000
_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}


def write_page(path: Path, signs: Sequence[Sign], flights: Sequence[FlightSeen], faces: Mapping[str, bytes], tiles: str | None = None) -> None:
    """Write the page.

    Args:
        path: where to.
        signs: to be shown.
        flights: that saw them.
        faces: PNG pictures of classes, by their names; of others a picture of what was seen stands for the face.
        tiles: address of background tiles with {z}, {x} and {y}; None for a page that asks no server.

    Raises:
        OutputError: it cannot be written.
    """
    points = [(sign.place.lat, sign.place.lon) for sign in signs] + [(lat, lon) for flight in flights for _, lat, lon, _ in flight.way]
    plane = Plane(*points[0]) if points else Plane(0.0, 0.0)
    wanted = {sign.label for sign in signs}
    data = {
        "origin": [plane.lat, plane.lon],
        "degree": [plane.metres(plane.lat + 1, plane.lon)[1], plane.metres(plane.lat, plane.lon + 1)[0]],
        "tiles": tiles,
        "faces": {label: _data(face, "image/png") for label, face in faces.items() if label in wanted},
        "flights": [{"name": flight.name, "way": [_rounded(plane.metres(lat, lon)) for _, lat, lon, _ in flight.way]} for flight in flights],
        "signs": [_told(sign, plane, flights) for sign in signs],
    }
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    write_text(path, _TEMPLATE.read_text(encoding="utf-8").replace("/*DATA*/", text, 1))


def _told(sign: Sign, plane: Plane, flights: Sequence[FlightSeen]) -> dict[str, Any]:
    x, y = _rounded(plane.metres(sign.place.lat, sign.place.lon))
    seen = [
        {"flight": flights[one.flight].name, "when": " to ".join(dict.fromkeys(filter(None, (one.first, one.last)))), "confidence": one.confidence}
        for one in sign.seen
    ]
    pictures = [flights[one.flight].folder / one.picture for one in sorted(sign.seen, key=lambda one: -one.confidence) if one.picture]
    return row_of(sign) | {"x": x, "y": y, "seen": seen, "picture": next((data for each in pictures if (data := _picture(each))), None)}


def _rounded(point: tuple[float, float]) -> tuple[float, float]:
    return round(point[0], 2), round(point[1], 2)


def _picture(path: Path) -> str | None:
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        return None
    try:
        return _data(read_bounded(path, _MOST_BYTES), kind)
    except OSError:  # it is not there, is too large, or never was a name of a file
        return None


def _data(blob: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(blob).decode('ascii')}"
