"""`python -m edge survey`: what is to be done still, who does it, and the map of all that was done."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import __version__
from edge.api.placing import AUTO, camera_of, number
from edge.bundle.manifest import MANIFEST, read_bundle
from edge.commands.map import FILES, write_map
from edge.commands.survey import tables
from edge.commands.survey.crews import by_processes, by_ray
from edge.commands.survey.recordings import Recording, find_recordings
from edge.commands.survey.storage import Folder
from edge.commands.survey.work import Job, Outcome
from edge.datasets.classes import Classes, drawn_classes_of
from edge.errors import InputError, OutputError
from edge.files import check_outputs, sha256_of
from edge.mapping.merge import Sign, merged
from edge.mapping.sightings import FlightSeen, read_flights

TABLES = ("signs.parquet", "sightings.parquet", "flights.parquet")
EVENTS = "flights"
"""The folder of the flights' events, within the result's."""

_LOG = logging.getLogger(__name__)
_KEY_DIGITS = 12
_LONGEST_NAME = 80
NO_POSES = "signs get no place: no file of its name with poses (.tlog, .bin, .srt, .csv or .gpx) lies beside it"


@dataclass(frozen=True)
class Crew:
    """Who does the work: so many workers, of this machine or of the Ray cluster at an address."""

    workers: int | None
    ray: str | None

    @property
    def size(self) -> int:
        """How many workers there are where it was not said: half of the processors, for decoder and models use two each."""
        return self.workers or max((os.cpu_count() or 1) // 2, 1)


def survey(typed: Sequence[str], out: str, crew: Crew, settings: Mapping[str, Any]) -> None:
    """Recognize what recordings show, all that was not done before, and write the map of all.

    Args:
        typed: files, folders, patterns and addresses of recordings.
        out: folder or address for the result.
        crew: who does it.
        settings: what is typed beside: `bundle`, `camera`, `offset`, `min_side`, and the `options` of the recognizer.

    Raises:
        InputError: no recordings, no camera, or recordings that failed: the others are done and written then.
        BundleError: no such bundle, or a damaged one.
        OutputError: the result cannot be written.
        MissingDependency: a package of the extra `survey` is not installed.
    """
    tables.needed()
    recordings, folder = find_recordings(typed), Folder(out)
    if settings["camera"] is not None:
        camera_of(settings["camera"])
    elif any(recording.poses for recording in recordings):
        raise InputError("wanted --camera for recordings with poses, found none: add --camera hfov=DEGREES, or --camera FILE of signwing calibrate")
    if settings["offset"] not in (None, AUTO) and number(settings["offset"]) is None:
        raise InputError(f"wanted --offset in seconds or auto, found {settings['offset']!r}: write --offset 12.5")
    _check_places(typed, recordings, out)
    opened = read_bundle(settings["bundle"])
    bundle, classes = opened.folder.resolve(), drawn_classes_of(opened)
    base = {**settings, "bundle": sha256_of(bundle / MANIFEST), "camera": _content(settings["camera"]), "version": __version__}
    names = {_file_name(recording, base): recording for recording in recordings}
    folder.make()
    done = folder.names(EVENTS) & names.keys()
    if done:
        print(f"{'done before':<14}{len(done)} of {len(names)} recordings")
    options = {**settings["options"], "bundle": str(bundle)}
    jobs = {
        name: Job(_absolute(one.address), _absolute(one.poses), settings["camera"], settings["offset"] if one.poses else None, settings["min_side"], options)
        for name, one in names.items()
        if name not in done
    }
    failures = _work(jobs, names, folder, crew)
    _write_result(names, folder, failures, classes)
    if failures:
        worst = next(iter(failures))
        raise InputError(
            f"wanted {len(names)} recordings, {len(failures)} failed ({names[worst].name}: {failures[worst]}); the others are in {out}: "
            "mend or remove what failed, and type the same line again"
        )


def _check_places(typed: Sequence[str], recordings: Sequence[Recording], out: str) -> None:
    """Refuse the folder of the recordings for the result, and one on this machine where it would replace a film or its poses."""
    for text in typed:
        if os.path.realpath(text) == os.path.realpath(out):
            raise OutputError(f"wanted another folder for --out than that of the recordings, found {out}: choose a new one")
    read = [Path(each) for one in recordings for each in (one.address, one.poses) if each and "://" not in each]
    if "://" not in out:
        check_outputs({"--out": [Path(out) / name for name in (*FILES, *TABLES)]}, {"recordings": read})


def _absolute(address: str) -> str:
    """Return a path from the root, for workers stand elsewhere; other addresses as they are."""
    return str(Path(address).absolute()) if address and "://" not in address else address


def _content(camera: str | None) -> str:
    """Return what a camera's text says, and what its file holds."""
    name = "" if camera is None else camera.split(",")[0]
    return f"{camera} {sha256_of(Path(name))}" if name and Path(name).is_file() else str(camera)


def _file_name(recording: Recording, settings: Mapping[str, Any]) -> str:
    """Return how a recording's events are called: another name where the recording, the models or what is typed beside have changed."""
    key = hashlib.sha256(json.dumps([recording.content, settings], sort_keys=True, default=str).encode()).hexdigest()[:_KEY_DIGITS]
    return f"{_plain(recording)}-{key}.jsonl"


def _plain(recording: Recording) -> str:
    return re.sub(r"[^\w.-]+", "_", recording.name)[-_LONGEST_NAME:].strip("_.") or "flight"


def _work(jobs: Mapping[str, Job], names: Mapping[str, Recording], folder: Folder, crew: Crew) -> dict[str, str]:
    """Have jobs done, keep what came of each at once, tell how far it is, and return why some failed."""
    failures: dict[str, str] = {}
    if not jobs:
        return failures
    size, all_bytes, started_s = 0, sum(names[name].size for name in jobs) or 1, time.monotonic()
    coming = by_processes(jobs, crew.size) if crew.ray is None else by_ray(jobs, crew.ray, crew.size)
    for place, (name, outcome) in enumerate(coming, 1):
        size += names[name].size
        left_s = (time.monotonic() - started_s) * (all_bytes - size) / max(size, 1)
        if outcome.failure:
            failures[name] = outcome.failure
            _LOG.warning("%s failed: %s", names[name].name, outcome.failure)
        else:
            _keep(name, names[name], outcome, folder)
        told = "failed" if outcome.failure else f"{outcome.frames} frames, {_announced(outcome)} sightings"
        left = f"; about {_duration(left_s)} left" if place < len(jobs) else ""
        print(f"[{place}/{len(jobs)}] {names[name].name}: {told}{left}", flush=True)
    return dict(sorted(failures.items()))


def _announced(outcome: Outcome) -> int:
    return sum(json.loads(line)["event"] == "sighting" for line in outcome.lines)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _keep(name: str, recording: Recording, outcome: Outcome, folder: Folder) -> None:
    """Write a recording's events, whose first line tells of the recording, in place of what an earlier run made of another state of it."""
    about: dict[str, Any] = {"frames": outcome.frames, "unreadable": outcome.unreadable, "seconds": outcome.seconds}
    untold = [] if recording.poses or recording.drawn else [NO_POSES]
    about["notes"] = [*untold, *outcome.notes]
    head = {"schema": 2, "event": "state", "frame": 0, "track": None, "pose": None, "where": None, "state": "live", "recording": recording.name, **about}
    stale = re.compile(rf"{re.escape(_plain(recording))}-[0-9a-f]{{{_KEY_DIGITS}}}\.jsonl")
    older = {other for other in folder.names(EVENTS) if stale.fullmatch(other)}
    folder.write(f"{EVENTS}/{name}", "".join(f"{line}\n" for line in (json.dumps(head), *outcome.lines)).encode())
    for other in older - {name}:
        folder.remove(f"{EVENTS}/{other}")


def _write_result(names: Mapping[str, Recording], folder: Folder, failures: Mapping[str, str], classes: Classes) -> None:
    """Write the map of all flights that are done, and the tables; faces are those of the bundle's classes."""
    with tempfile.TemporaryDirectory(prefix="signwing-") as place:
        paths, rows = [], []
        for name, recording in names.items():
            row: dict[str, Any] = dict.fromkeys(_FLIGHT_COLUMNS) | {"flight": recording.name, "status": "failed", "detail": failures.get(name)}
            if name not in failures:
                content = folder.read(f"{EVENTS}/{name}")
                paths.append(Path(place) / name)
                paths[-1].write_bytes(content)
                about = json.loads(content.partition(b"\n")[0])
                row |= {key: about[key] for key in ("frames", "unreadable", "seconds")}
                row |= {"status": "done", "detail": "; ".join(about["notes"]) or None}
            rows.append(row)
        flights = read_flights(paths)
        for flight, row in zip(flights, (row for row in rows if row["status"] == "done"), strict=True):
            flight.name, row["placed"], row["sightings"] = row["flight"], len(flight.signs), len(flight.signs) + flight.unplaced
        signs = merged(flights)
        written = _files(Path(place) / "map", signs, flights, classes) if signs else {}
        written |= zip(TABLES, (tables.signs_table(signs), tables.sightings_table(signs, flights), tables.table(rows, _FLIGHT_COLUMNS)), strict=True)
        for file, content in written.items():
            folder.write(file, content)
    for row in rows:
        if row["status"] == "done" and row["detail"] is not None:
            _LOG.warning("%s: %s", row["flight"], row["detail"])
    _print(rows, signs)


_FLIGHT_COLUMNS = ("flight", "status", "detail", "frames", "unreadable", "seconds", "sightings", "placed")


def _files(place: Path, signs: Sequence[Sign], flights: Sequence[FlightSeen], classes: Classes) -> dict[str, bytes]:
    """Return the map's files by their names."""
    write_map(place, signs, flights, None, classes)
    return {name: (place / name).read_bytes() for name in FILES}


def _print(rows: Sequence[dict[str, Any]], signs: Sequence[Sign]) -> None:
    done = [row for row in rows if row["status"] == "done"]
    sightings, placed = (sum(row[name] for row in done) for name in ("sightings", "placed"))
    print(f"{'flights':<14}{len(done)}" + (f", {len(rows) - len(done)} more failed" if len(done) < len(rows) else ""))
    print(f"{'sightings':<14}{sightings}" + (f", {sightings - placed} of them without a place" if placed < sightings else ""))
    print(f"{'signs':<14}{len(signs)}")
