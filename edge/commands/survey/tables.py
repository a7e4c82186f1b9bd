"""pyarrow, in the one file that imports it: signs, sightings and flights as Parquet. Signs have a geometry, as GeoParquet 1.0 wants it."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from typing import Any

from edge.board.extras import install
from edge.errors import MissingDependency
from edge.mapping.map_files import row_of
from edge.mapping.merge import Sign
from edge.mapping.sightings import FlightSeen

Rows = Sequence[dict[str, Any]]

_TYPES = {
    **dict.fromkeys(("lat", "lon", "alt_m", "sigma_m", "facing_deg", "confidence", "seconds"), "float64"),
    **dict.fromkeys(("class_id", "sightings", "flights", "track", "first_frame", "last_frame", "frames", "unreadable", "placed"), "int64"),
    "geometry": "binary",
}
"""Of columns; others are texts."""


def needed() -> Any:
    """Return pyarrow with its writer.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependency(f"wanted the package pyarrow for survey, found none: {install('survey')}") from error
    return pyarrow


def signs_table(signs: Sequence[Sign]) -> bytes:
    """Return the signs of a map with their points in WGS84, longitude first."""
    rows = [row_of(sign) for sign in signs]
    for row in rows:
        row["geometry"] = struct.pack("<BIdd", 1, 1, row["lon"], row["lat"])  # WKB: little endian, a point
    geo = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Point"]}}}
    return table(rows, ("id", "label", "class_id", "lat", "lon", "alt_m", "sigma_m", "facing_deg", "confidence", "sightings", "flights", *_MORE), geo)


_MORE = ("first_seen", "last_seen", "status", "was", "geometry")


def sightings_table(signs: Sequence[Sign], flights: Sequence[FlightSeen]) -> bytes:
    """Return each sighting that a sign of the map is made of."""
    names = ("sign", "flight", "track", "label", "class_id", "confidence", "lat", "lon", "alt_m", "sigma_m", "facing_deg", "first_frame", "last_frame")
    rows = [{**vars(seen), **vars(seen.place), "sign": sign.name, "flight": flights[seen.flight].name} for sign in signs for seen in sign.seen]
    return table(rows, (*names, "first", "last"))


def table(rows: Rows, names: Sequence[str], geo: dict[str, Any] | None = None) -> bytes:
    """Return rows as Parquet: the same rows give the same bytes."""
    arrow = needed()
    schema = arrow.schema([(name, getattr(arrow, _TYPES.get(name, "string"))()) for name in names])
    if geo is not None:
        schema = schema.with_metadata({"geo": json.dumps(geo)})
    columns = {name: [row[name] for row in rows] for name in names}
    written = io.BytesIO()
    arrow.parquet.write_table(arrow.table(columns, schema), written, compression="zstd")
    return written.getvalue()
