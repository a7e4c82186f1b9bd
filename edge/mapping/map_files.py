"""Writes a map's signs for what people open them with: GeoJSON, KML, CSV and GPX; and reads GeoJSON back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from edge.errors import InputError, one_line
from edge.files import write_text
from edge.mapping.checks import SIGN, checked, place_of
from edge.mapping.merge import Sign
from edge.outside.reading import read_bounded

_MOST_BYTES = 1 << 28

COLUMNS = (
    "id",
    "label",
    "class_id",
    "lat",
    "lon",
    "alt_m",
    "sigma_m",
    "facing_deg",
    "confidence",
    "sightings",
    "flights",
    "first_seen",
    "last_seen",
    "status",
    "was",
)


def row_of(sign: Sign) -> dict[str, Any]:
    """Return what is told of a sign, by the names of `COLUMNS`."""
    place = sign.place
    moments = [moment for seen in sign.seen for moment in (seen.first, seen.last) if moment]
    return {
        "id": sign.name,
        "label": sign.label,
        "class_id": sign.class_id,
        "lat": round(place.lat, 7),
        "lon": round(place.lon, 7),
        "alt_m": None if place.alt_m is None else round(place.alt_m, 2),
        "sigma_m": round(place.sigma_m, 2),
        "facing_deg": None if place.facing_deg is None else round(place.facing_deg, 1),
        "confidence": round(sign.confidence, 4),
        "sightings": len(sign.seen),
        "flights": len({seen.flight for seen in sign.seen}),
        "first_seen": moments[0] if moments else None,
        "last_seen": moments[-1] if moments else None,
        "status": sign.status,
        "was": sign.was or None,
    }


def write_geojson(path: Path, signs: Sequence[Sign]) -> None:
    """Write points with everything that is told as their properties."""
    features = []
    for row in map(row_of, signs):
        told = {key: value for key, value in row.items() if key not in ("lat", "lon")}
        features.append({"type": "Feature", "id": row["id"], "geometry": {"type": "Point", "coordinates": [row["lon"], row["lat"]]}, "properties": told})
    lines = ",\n".join(json.dumps(feature, ensure_ascii=False, allow_nan=False) for feature in features)
    write_text(path, f'{{"type": "FeatureCollection", "features": [\n{lines}\n]}}\n')


def write_csv(path: Path, signs: Sequence[Sign]) -> None:
    """Write a table."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(map(row_of, signs))
    write_text(path, text.getvalue())


def write_kml(path: Path, signs: Sequence[Sign]) -> None:
    """Write placemarks on the ground."""
    marks = []
    for row in map(row_of, signs):
        told = "".join(f'<Data name="{key}"><value>{escape(str(value))}</value></Data>' for key, value in row.items() if value is not None)
        name, point = escape(f"{row['id']} {row['label']}"), f"<Point><coordinates>{row['lon']},{row['lat']}</coordinates></Point>"
        marks.append(f"<Placemark><name>{name}</name><ExtendedData>{told}</ExtendedData>{point}</Placemark>")
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>Traffic signs</name>'
    write_text(path, "\n".join([head, *marks, "</Document></kml>\n"]))


def write_gpx(path: Path, signs: Sequence[Sign]) -> None:
    """Write waypoints."""
    points = []
    for row in map(row_of, signs):
        name, told = escape(f"{row['id']} {row['label']}"), escape(f"{row['status']}, within {row['sigma_m']} m (standard deviation)")
        points.append(f'<wpt lat="{row["lat"]}" lon="{row["lon"]}"><name>{name}</name><desc>{told}</desc></wpt>')
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<gpx version="1.1" creator="signwing" xmlns="http://www.topografix.com/GPX/1/1">'
    write_text(path, "\n".join([head, *points, "</gpx>\n"]))


def read_geojson(path: Path) -> list[Sign]:
    """Read what `write_geojson` wrote; signs that were gone then are left out.

    Raises:
        InputError: no such file, or another kind of file.
    """
    try:
        features = json.loads(read_bounded(path, _MOST_BYTES))["features"]
        signs = []
        for feature in features:
            told, (lon, lat, *_) = feature["properties"], feature["geometry"]["coordinates"]
            place = place_of({**told, "lat": lat, "lon": lon})
            values = checked(told, SIGN)
            if told["status"] != "gone":
                signs.append(Sign(values["id"], values["class_id"], values["label"], place, values["confidence"]))
    except OSError as error:
        raise InputError(f"wanted an older map in {path}, cannot read it: {error.strerror or error}: give a signs.geojson") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"wanted an older map in {path}, found no signs.geojson of ours ({one_line(error)}): give what signwing map wrote") from error
    return signs
