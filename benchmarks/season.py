"""A season of short drawn flights through `edge survey`: by one process, and by Ray's workers of which one is killed; among the films is one that is none."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

from benchmarks.measuring.setting import Setting, check_flown, write_result
from edge.bundle.lineage import now
from edge.commands.survey.command import Crew, survey
from edge.drawn.drone.flight import DroneFlight
from edge.errors import InputError, VerificationError
from edge.files import sha256_of

SIZE_WH, FPS = (640, 360), 10.0

_LOG = logging.getLogger(__name__)
_COLUMNS = "time,lat,lon,alt,roll,pitch,yaw"


def season(setting: Setting, flights: int, frames: int, json_path: Path | None) -> dict[str, Any]:
    """Survey drawn flights in both ways, and tell whether the results are the same to the byte.

    Args:
        setting: the models.
        flights: that are drawn; one film more is no film.
        frames: of each.
        json_path: where the result goes, or None.

    Returns:
        `flights`, `signs` on their map, `seconds` of each way, `killed` workers, `files` that were compared.

    Raises:
        VerificationError: the results differ, or a flight was lost.
        MissingDependency: a package of the extra survey is not installed.
        OutputError: `json_path` cannot be written.
    """
    check_flown(setting)
    started_at, conditions = now(), setting.conditions(flights=flights, frames=frames, size_wh=SIZE_WH)
    options = {"engine": setting.engine, "precision": setting.precision, "provider": setting.provider, "spotter": "auto"}
    camera = DroneFlight(0, SIZE_WH, lens=False).optics
    hfov = f"hfov={2 * math.degrees(math.atan(SIZE_WH[0] / 2 / camera.focal_xy[0])):.6f}"
    settings = {"bundle": setting.bundle, "camera": hfov, "offset": None, "min_side": None, "options": options}
    seconds, killed = {}, 0
    with tempfile.TemporaryDirectory() as place:
        films, outs = Path(place) / "films", [Path(place) / name for name in ("one process", "two workers of Ray")]
        films.mkdir()
        for seed in range(flights):
            _film(DroneFlight(seed, SIZE_WH, frames, FPS, lens=False), films / f"{seed:03}")
        (films / "broken.avi").write_bytes(b"no film at all")
        for out, crew in zip(outs, (Crew(1, None), Crew(2, "local")), strict=True):
            started_s = time.monotonic()
            with _killing_a_worker() if crew.ray else _nothing() as count:
                _surveyed(films, out, crew, settings)
            killed += count()
            seconds[out.name] = round(time.monotonic() - started_s, 1)
        one, other = ({str(path.relative_to(out)): sha256_of(path) for path in out.rglob("*") if path.is_file()} for out in outs)
        signs = len(json.loads((outs[0] / "signs.geojson").read_text(encoding="utf-8"))["features"])
        lost = flights - len(list((outs[1] / "flights").iterdir()))
    if one != other or lost:
        differ = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
        raise VerificationError(
            f"wanted the same result from both ways, found {len(differ)} files that differ ({', '.join(differ[:3])}) and {lost} flights lost"
        )
    figures = {"flights": flights, "signs": signs, "seconds": seconds, "killed": killed, "files": len(one)}
    print(
        f"{flights} flights with {signs} signs and a broken film: {len(one)} files the same to the byte; {killed} worker killed; "
        + ", ".join(f"{name} {s} s" for name, s in seconds.items())
    )
    write_result(json_path, "season", started_at, conditions, figures)
    return figures


def _surveyed(films: Path, out: Path, crew: Crew, settings: dict[str, Any]) -> None:
    """Survey, and take note of the one film that must fail."""
    try:
        survey([str(films)], str(out), crew, settings)
    except InputError as error:
        if "1 failed (broken.avi" not in str(error):
            raise
        _LOG.warning("%s", error)
        return
    raise VerificationError("wanted the broken film to be told, found that it was not")


def _film(flight: DroneFlight, path: Path) -> None:
    writer = cv2.VideoWriter(f"{path}.avi", cv2.VideoWriter.fourcc(*"MJPG"), FPS, flight.size_wh)
    for index in range(flight.frames):
        writer.write(flight.frame(index).image)
    writer.release()
    poses: Sequence[Any] = [flight.pose(index) for index in range(flight.frames)]
    rows = [",".join(map(str, (pose.time_s, pose.lat, pose.lon, pose.alt_m, pose.roll_deg, pose.pitch_deg, pose.yaw_deg))) for pose in poses]
    Path(f"{path}.csv").write_text("\n".join([_COLUMNS, *rows]), encoding="utf-8")


@contextmanager
def _nothing() -> Iterator[Callable[[], int]]:
    yield lambda: 0


@contextmanager
def _killing_a_worker() -> Iterator[Callable[[], int]]:
    """Kill one of the workers of this process's own cluster within the block, as soon as it works; gives what counts them."""
    done = threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while not done.wait(0.2) and not killed:
            for pid in _workers():
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                break

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        yield lambda: len(killed)
    finally:
        done.set()
        killer.join()


def _workers() -> list[int]:
    """Return processes that do a survey's work for Ray, below a raylet that this process started."""
    parents: dict[int, tuple[int, bytes]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1]), (entry / "cmdline").read_bytes()
            except OSError:  # it has ended
                continue
    return [pid for pid, (parent, words) in parents.items() if words.startswith(b"ray::_answer") and parents.get(parent, (0, b""))[0] == os.getpid()]
