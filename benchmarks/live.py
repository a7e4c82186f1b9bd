"""A drawn flight live, beside a vehicle that tells its poses over MAVLink, against the same flight as a recording: how far their signs stand apart.

The vehicle is played by pymavlink over UDP at 10 Hz; the frames come at the flight's own speed; both go through what `edge run` does with `--mavlink`.
"""

from __future__ import annotations

import argparse
import math
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measuring.setting import Setting, check_flown, print_conditions, write_result
from edge.api.recognizer import Recognizer
from edge.bundle.lineage import now
from edge.commands.wiring import wired
from edge.commands.words import add_run
from edge.drawn.drone.flight import DroneFlight
from edge.errors import InputError
from edge.frame import Frame, Source
from edge.geometry.geodesy import Plane
from edge.geometry.pose import Pose
from edge.mapping.merge import Sign, merged
from edge.mapping.sightings import read_flights
from edge.pipeline import Summary
from edge.sources.realtime import Realtime
from edge.vehicle.mavlink_library import dialect
from edge.vehicle.pose_track import PoseTrack

SIZE_WH, FPS = (640, 360), 10.0
"""Of the films: what a small machine recognizes as fast as it comes."""
RATE_HZ = 10.0
"""At which the vehicle tells place and attitude."""

_AUTOPILOT, _QUADROTOR, _ARDUPILOT, _ACTIVE, _FIX_3D, _ACCURACY_MM = 1, 2, 3, 4, 3, 300
_BEFORE_S, _APART_M = 1.0, 5.0
_PLACING = ("level", "place")


class _Film:
    """A flight that was drawn before, so that each of its frames is there when it is due; its frames know their poses, or not."""

    stills = live = False
    feed = None
    dropped = unreadable = 0
    fps: float | None = FPS

    def __init__(self, uri: str, images: Sequence[Any], poses: Sequence[Pose | None]) -> None:
        self.uri, self._images, self._poses = uri, images, poses
        self.begun = threading.Event()
        self.begun_s = 0.0

    def __enter__(self) -> _Film:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        self.begun_s = time.monotonic() + _BEFORE_S
        self.begun.set()  # the vehicle tells where it stands, for a moment
        time.sleep(_BEFORE_S)
        self.begun_s = time.monotonic()  # a busy machine sleeps longer than it was told to
        for index, (image, pose) in enumerate(zip(self._images, self._poses, strict=True)):
            yield Frame(index, image, time.monotonic_ns(), None, media_s=index / FPS, pose=pose)


def live(setting: Setting, seeds: Sequence[int], frames: int, json_path: Path | None) -> dict[str, Any]:
    """Fly live and as a recording, and print how far the two maps are apart.

    Args:
        setting: the models.
        seeds: of the flights.
        frames: of each, 10 a second.
        json_path: where the result goes, or None.

    Returns:
        `signs` (on the recordings' maps), `apart_m` {p50, max}, `missing` (not on the live map), `extra` (there alone), `frames` {`shown`, `worked_on`},
        `placing_share` (of the loop's time without its source and sinks).

    Raises:
        InputError: no sign along the flights.
        MissingDependency: pymavlink is not installed.
        OutputError: `json_path` cannot be written.
    """
    check_flown(setting)
    started_at, conditions = now(), setting.conditions(seeds=list(seeds), frames=frames, size_wh=SIZE_WH, fps=FPS, rate_hz=RATE_HZ)
    apart: list[float] = []
    figures: dict[str, Any] = {"missing": 0, "extra": 0, "frames": {"shown": 0, "worked_on": 0}}
    spent: list[float] = []
    with Recognizer(setting.bundle, engine=setting.engine, precision=setting.precision, provider=setting.provider) as recognizer:
        print_conditions(recognizer.engine.name, recognizer.engine.precision, setting)
        for seed in seeds:
            flight = DroneFlight(seed, SIZE_WH, frames, FPS)
            images = [flight.frame(index).image for index in range(frames)]
            poses = [flight.pose(index) for index in range(frames)]
            uri = f"demo://?seed={seed}&frames={frames}&width={SIZE_WH[0]}&height={SIZE_WH[1]}&fps={FPS:g}"
            recorded, _ = _mapped(recognizer, _Film(uri, images, poses), None)
            lived, summary = _mapped(recognizer, _Film(uri, images, [None] * frames), PoseTrack((float(pose.time_s or 0), pose) for pose in poses))
            near, missing, extra = compared_by_place(recorded, lived)
            apart += near
            figures["missing"], figures["extra"] = figures["missing"] + missing, figures["extra"] + extra
            figures["frames"]["shown"] += frames
            figures["frames"]["worked_on"] += summary.frames
            stages = {stage: ms for stage, ms in summary.stage_ms.items() if stage not in ("source", "sinks")}
            spent.append(sum(stages[stage] for stage in _PLACING) / sum(stages.values()))
    if not apart:
        raise InputError(f"wanted signs along flights of {frames} frames, found none on both maps: give more --frames, or other --seeds")
    figures |= {"signs": len(apart) + figures["missing"], "apart_m": {"p50": round(median(apart), 3), "max": round(max(apart), 3)}}
    figures["placing_share"] = round(sum(spent) / len(spent), 4)
    print(
        f"{figures['signs']} signs; live and recorded {figures['apart_m']['p50']:.2f} m apart at the median, {figures['apart_m']['max']:.2f} m at most; "
        f"{figures['missing']} missing, {figures['extra']} extra"
    )
    told = figures["frames"]
    print(f"{told['worked_on']} of {told['shown']} frames worked on live; placing took {figures['placing_share']:.1%} of the loop")
    write_result(json_path, "live", started_at, conditions, figures)
    return figures


def _mapped(recognizer: Recognizer, film: _Film, track: PoseTrack | None) -> tuple[list[Sign], Summary]:
    """Run a film as `edge run` does, live beside a vehicle that flies along a track, or without one as a recording; returns the map's signs."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        events, port = Path(folder) / "e.jsonl", _free_port()
        words = [film.uri, "--events", str(events), "--quiet", *(["--mavlink", f"udpin:127.0.0.1:{port}"] if track is not None else [])]
        parser = argparse.ArgumentParser()
        add_run(parser)
        source: Source = film if track is None else Realtime(film)
        wiring = wired(parser.parse_args(words), source, recognizer.manifest, {})
        if wiring.monitor is not None:
            stack.enter_context(wiring.monitor)
        if track is not None:
            stack.enter_context(_Vehicle(film, track, port))
        summary = recognizer.run(source, wiring.sinks, surveyor=wiring.surveyor, utc=wiring.utc)
        return merged(read_flights([events])), summary


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Vehicle:
    """Flies along a track from when a film begins on, and tells so."""

    def __init__(self, film: _Film, track: PoseTrack, port: int) -> None:
        self._film, self._track, self._port = film, track, port
        self._common = dialect("the vehicle")
        self._landed = threading.Event()
        self._thread = threading.Thread(target=self._fly, name="vehicle", daemon=True)

    def __enter__(self) -> _Vehicle:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._landed.set()
        self._film.begun.set()
        self._thread.join()

    def _fly(self) -> None:
        mav = self._common.MAVLink(None, srcSystem=1, srcComponent=_AUTOPILOT)
        self._film.begun.wait()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            while not self._landed.wait(1 / RATE_HZ):
                time_s = max(time.monotonic() - self._film.begun_s, 0.0)
                pose = self._track.at(min(time_s, self._track.span[1]))
                for message in () if pose is None else self._messages(pose):
                    link.sendto(message.pack(mav), ("127.0.0.1", self._port))

    def _messages(self, pose: Pose) -> Iterator[Any]:
        common, boot_ms = self._common, int(time.monotonic() * 1000) & 0xFFFFFFFF
        lat, lon, up_mm = round((pose.lat or 0) * 1e7), round((pose.lon or 0) * 1e7), round((pose.alt_m or 0) * 1000)
        roll, pitch, yaw = (math.remainder(math.radians(angle or 0.0), math.tau) for angle in (pose.roll_deg, pose.pitch_deg, pose.yaw_deg))
        yield common.MAVLink_heartbeat_message(_QUADROTOR, _ARDUPILOT, 0, 0, _ACTIVE, 3)
        yield common.MAVLink_gps_raw_int_message(boot_ms * 1000, _FIX_3D, lat, lon, up_mm, 65535, 65535, 65535, 65535, 12, h_acc=_ACCURACY_MM)
        yield common.MAVLink_global_position_int_message(boot_ms, lat, lon, up_mm, up_mm, 0, 0, 0, 65535)
        yield common.MAVLink_attitude_message(boot_ms, roll, pitch, yaw, 0.0, 0.0, 0.0)


def compared_by_place(recorded: Sequence[Sign], lived: Sequence[Sign]) -> tuple[list[float], int, int]:
    """Return how far signs of the same name stand apart on two maps, metres, how many of the first have none within 5 m, and how many of the second."""
    left, near = list(lived), []
    for sign in recorded:
        plane = Plane(sign.place.lat, sign.place.lon)
        found = [(math.hypot(*plane.metres(other.place.lat, other.place.lon)), place) for place, other in enumerate(left) if other.label == sign.label]
        distance, place = min(found, default=(math.inf, -1))
        if distance <= _APART_M:
            near.append(distance)
            del left[place]
    return near, len(recorded) - len(near), len(left)
