"""Reads event files back: which signs each flight saw, and where it flew."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from edge.errors import InputError
from edge.geometry.pose import Place
from edge.mapping.checks import check_event, place_of
from edge.outside.reading import read_bounded

SCHEMA = 2

_MOST_BYTES = 1 << 30
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What a flight told of one sign, as it knew it last.

    Attributes:
        flight: the flight's place in the row of flights.
        track: its track's number.
        class_id: its class.
        label: the class's name.
        confidence: 0 to 1.
        place: where it stands.
        first_frame: in which it was announced.
        last_frame: in which it was told of last.
        first: when it was announced, UTC or seconds of the recording; empty where neither is known.
        last: when it was told of last.
        picture: a file that shows it, relative to the event file's folder; empty where there is none.
    """

    flight: int
    track: int
    class_id: int
    label: str
    confidence: float
    place: Place
    first_frame: int
    last_frame: int
    first: str
    last: str
    picture: str = ""


@dataclass
class FlightSeen:
    """A flight: its name, the signs that it placed, how many got no place, and poses along its way (time in seconds, lat, lon, yaw in degrees or None)."""

    name: str
    folder: Path
    signs: list[Seen] = field(default_factory=list)
    unplaced: int = 0
    way: list[tuple[float, float, float, float | None]] = field(default_factory=list)


def read_flights(paths: Sequence[Path], *, once: bool = False) -> list[FlightSeen]:
    """Read event files; one that several runs wrote to one after the other holds several flights.

    Args:
        paths: the files.
        once: a flight that comes again, under whatever name, is told and left out.

    Raises:
        InputError: no such file, or one that holds something else than events of schema 2.
    """
    flights: list[FlightSeen] = []
    known: dict[str, str] = {}
    for path in paths:
        runs = _runs(path)
        for number, events in enumerate(runs, 1):
            name = path.name if len(runs) == 1 else f"{path.name} ({number})"
            digest = sha256(json.dumps(events).encode()).hexdigest()
            if once and events and digest in known:
                _LOG.warning("%s holds the same flight as %s: it is counted once", name, known[digest])
                continue
            known[digest] = name
            flights.append(_flight(len(flights), FlightSeen(name, path.parent), events))
    return flights


def _runs(path: Path) -> list[list[dict[str, Any]]]:
    """Return the events of each run that wrote to a file: its frames count from 0 again."""
    runs: list[list[dict[str, Any]]] = [[]]
    last = -1
    for event in _events(path):
        frame = event["frame"]
        if frame is None:
            continue
        if frame < last:
            runs.append([])
        last = frame
        runs[-1].append(event)
    return runs


def _events(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = read_bounded(path, _MOST_BYTES).decode("utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        told = (error.strerror or error) if isinstance(error, OSError) else "it is no text"
        raise InputError(f"wanted events in {path}, cannot read it: {told}: give what --events wrote") from error
    if lines == [""]:  # a run that saw nothing
        return
    for number, line in enumerate(lines, 1):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError) as error:
            if 1 < number == len(lines):  # a run that was killed may have left half a line
                _LOG.warning("line %d of %s, its last one, is no JSON: it is left out", number, path)
                return
            raise InputError(f"wanted an event in line {number} of {path}, found no JSON: give what --events wrote as JSON lines") from error
        if not isinstance(event, dict) or event.get("schema") != SCHEMA or not {"event", "frame", "where", "pose"} <= event.keys():
            found = f"schema {event.get('schema')}" if isinstance(event, dict) and event.get("schema") != SCHEMA else "something else"
            raise InputError(f"wanted events of schema {SCHEMA} in {path}, found {found} in line {number}: run it again with --events")
        try:
            check_event(event)
        except ValueError as error:
            raise InputError(f"wanted {error} in line {number} of {path}: mend or remove that line, or run it again with --events") from error
        yield event


def _flight(place: int, flight: FlightSeen, events: Sequence[dict[str, Any]]) -> FlightSeen:
    tracks: dict[int, list[dict[str, Any]]] = {}
    for event in events:
        pose = event["pose"]
        if pose is not None and pose["lat"] is not None and pose["lon"] is not None:
            flight.way.append((_seconds(event), pose["lat"], pose["lon"], pose["yaw_deg"]))
        if event["event"] != "state" and event.get("track") is not None:
            tracks.setdefault(event["track"], []).append(event)
    for track, told in tracks.items():
        placed = [event for event in told if event["where"] is not None]
        if not placed:
            flight.unplaced += 1
            continue
        best, last = placed[-1], told[-1]
        pictures = [event["picture"] for event in told if event.get("picture")]
        flight.signs.append(
            Seen(
                *(place, track, last["class_id"], last["label"], last["confidence"], place_of(best["where"])),
                *(told[0]["frame"], last["frame"], _moment(told[0]), _moment(last), pictures[-1] if pictures else ""),
            )
        )
    return flight


def _seconds(event: dict[str, Any]) -> float:
    return float(event["received_ns"] / 1e9 if event["media_s"] is None else event["media_s"])


def _moment(event: dict[str, Any]) -> str:
    if event["media_s"] is not None:  # `time` tells when a recording was read
        return f"{event['media_s']:.1f} s"
    return event["time"] or ""
