"""`python -m edge map`: from the events of flights to a map of signs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.datasets.classes import GTSRB, Classes, with_faces
from edge.drawn.signs import draw_sign
from edge.errors import InputError
from edge.files import check_outputs, telling_refusal
from edge.images import encode_image
from edge.mapping.map_files import read_geojson, write_csv, write_geojson, write_gpx, write_kml
from edge.mapping.map_page import write_page
from edge.mapping.merge import Sign, compared, merged
from edge.mapping.sightings import FlightSeen, read_flights

_FACE_PX = 64
FILES = ("map.html", "signs.geojson", "signs.kml", "signs.csv", "signs.gpx")


def make_map(paths: Sequence[Path], out: Path, before: Path | None, tiles: str | None, faces: Path | None = None) -> None:
    """Write signs.geojson, .kml, .csv and .gpx, and map.html, to a folder, and print what came of it; `faces` is a data set or a bundle with faces of its own.

    Raises:
        InputError: no events, or no older map, in a file; no sign has a place; no address of tiles.
        BundleError, DataError: damaged faces.
        OutputError: the folder cannot be written, or what is read would be replaced.
    """
    own = None if faces is None else with_faces(faces)
    if tiles is not None and not all(part in tiles for part in ("{z}", "{x}", "{y}")):
        raise InputError(f"wanted --tiles with {{z}}, {{x}} and {{y}}, found {tiles!r}: write https://SERVER/{{z}}/{{x}}/{{y}}.png")
    check_outputs({"--out": [out / name for name in FILES]}, {"events": list(paths), "--before": [] if before is None else [before]})
    older = None if before is None else read_geojson(before)
    flights = read_flights(paths, once=True)
    signs = merged(flights)
    if not signs and older is None:
        raise InputError(f"wanted signs with a place in {_named(paths)}, {_why(flights)}")
    if older is not None:
        signs = compared(signs, older, flights)
    write_map(out, signs, flights, tiles, own)
    _print(signs, flights, out, compare=older is not None)


def write_map(out: Path, signs: Sequence[Sign], flights: Sequence[FlightSeen], tiles: str | None, own: Classes | None = None) -> None:
    """Write `FILES` to a folder; `tiles` are the page's background, `own` classes of which the first, or all, have faces of their own.

    Raises:
        OutputError: the folder cannot be written.
    """
    with telling_refusal(out):
        out.mkdir(parents=True, exist_ok=True)
    page, geojson, kml, table, gpx = (out / name for name in FILES)
    write_geojson(geojson, signs)
    write_kml(kml, signs)
    write_csv(table, signs)
    write_gpx(gpx, signs)
    write_page(page, signs, flights, _faces(signs, own), tiles)


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")


def _why(flights: Sequence[FlightSeen]) -> str:
    unplaced = sum(flight.unplaced for flight in flights)
    if not unplaced:
        return "found no tracked sign at all: run a video, a camera or demo:// with --events"
    return f"found {unplaced} without one: run again with --pose and --camera"


def _faces(signs: Sequence[Sign], own: Classes | None) -> dict[str, bytes]:
    """Draw the faces of the classes whose names are those that we can draw, by these names: class ids of several bundles may be the same."""
    known = dict(zip(GTSRB.names, GTSRB.faces, strict=True)) | (dict(zip(own.names, own.faces, strict=False)) if own else {})
    drawable = sorted({sign.label for sign in signs if sign.label in known})
    return {label: encode_image(draw_sign(known[label], _FACE_PX)) for label in drawable}


def _print(signs: Sequence[Sign], flights: Sequence[FlightSeen], out: Path, *, compare: bool) -> None:
    unplaced = sum(flight.unplaced for flight in flights)
    print(f"{'flights':<14}{len(flights)}")
    print(f"{'sightings':<14}{sum(len(flight.signs) for flight in flights)}" + (f", {unplaced} more without a place" if unplaced else ""))
    print(f"{'signs':<14}{sum(sign.status != 'gone' for sign in signs)}")
    if compare:
        for status in ("kept", "new", "changed", "gone", "unsure"):
            print(f"{status:<14}{sum(sign.status == status for sign in signs)}")
    print(f"{'written':<14}{out}/ ({', '.join(FILES)})")
