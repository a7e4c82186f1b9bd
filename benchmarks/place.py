"""Where signs of drawn flights are placed against where they stand: with true poses and with wrong ones, on maps of one flight, of two, and beside an older.

What is looked at are true boxes with a detector's jitter, so that no model counts. All goes through the surveyor of `edge run` and the merging of `edge map`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring.intervals import wilson
from benchmarks.measuring.setting import write_result
from benchmarks.measuring.state import read_state
from edge.bundle.lineage import lineage, now
from edge.datasets.gtsrb_labels import LABELS
from edge.datasets.gtsrb_sizes import sizes_of
from edge.drawn.drone.flight import DroneFlight
from edge.drawn.drone.path import ORIGIN
from edge.drawn.signposts import Signpost
from edge.errors import InputError
from edge.frame import Frame
from edge.geometry.boxes import Box
from edge.geometry.geodesy import Plane
from edge.geometry.pose import Pose
from edge.mapping.locate import R95
from edge.mapping.merge import Sign, compared, merged
from edge.mapping.sightings import FlightSeen, Seen
from edge.mapping.surveyor import Surveyor
from edge.result import Detection, Report, Sighted

GPS_M, ATTITUDE_DEG, DELAY_S = 1.5, 1.0, 0.04
"""What poses are off by: standard deviations to each side and about each axis, and how old they are."""
ERRORS = ("none", "shared", "drifting", "each its own")
"""How the errors of one flight's poses hang together: not at all wrong, the same in all, wandering (30 s for places, 3 s for attitudes), or anew each time."""
SEEN_M = 40.0
"""Signs are counted that were seen from here or nearer."""

_JITTER, _LEAST_LOOKS = 0.03, 8
_WANDER_S = (30.0, 3.0)
_ANGLES = ("roll_deg", "pitch_deg", "yaw_deg")
_PLANE = Plane(*ORIGIN)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Flown:
    """A flight, drawn once: its poses, the boxes of each frame by their signs' numbers, and the signs."""

    flight: DroneFlight
    poses: Sequence[Pose]
    boxes: Sequence[dict[int, Box]]
    posts: dict[int, Signpost]


def place(seeds: Sequence[int], frames: int, draws: int, json_path: Path | None) -> dict[str, Any]:
    """Fly, place every sign, and print how far that is off.

    Args:
        seeds: of the flights.
        frames: of each.
        draws: times that each flight is flown with errors of another chance.
        json_path: where the result goes, or None.

    Returns:
        `errors` (by name: `n`, `off_m` {p50, p95, max}, `within_95` {share, interval}, `sigma_m`, `facing_deg` {p50, p95}), `maps` (signs doubled, missed and
        false on maps of one flight and of two that flew opposite ways, of all), `before` (removed and added signs that were found), `frame_ms`
        (processor time of a frame, the errors' own included).

    Raises:
        InputError: the flights are too short to pass a sign.
        OutputError: `json_path` cannot be written.
    """
    started_at, conditions = now(), {"seeds": list(seeds), "frames": frames, "draws": draws, "commit": lineage()["commit"], "before": read_state()}
    flown = [_fly(seed, frames) for seed in seeds]
    figures: dict[str, Any] = {"errors": {}}
    spent_s, frames_seen = 0.0, 0
    for name in ERRORS:
        told: list[tuple[float, float, float]] = []
        for each in flown:
            for draw in range(1 if name == "none" else draws):
                started_s = time.process_time()
                seen = _seen(each, name, draw)
                spent_s, frames_seen = spent_s + time.process_time() - started_s, frames_seen + frames
                told += [_off(one, each.posts[one.track]) for one in seen.signs]
        if not told:
            raise InputError(f"wanted signs along flights of {frames} frames, found none that were passed: give more --frames")
        figures["errors"][name] = _summed_up(told)
        print(f"poses' errors {name}: {_said(figures['errors'][name])}")
    figures["maps"] = _maps(flown)
    figures["before"] = _before(flown)
    figures["frame_ms"] = round(spent_s * 1000 / max(frames_seen, 1), 3)
    for name, counts in figures["maps"].items():
        print(f"maps of {name}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    print("a sign removed and one added: " + ", ".join(f"{count} {what}" for what, count in figures["before"].items()))
    print(f"placing took {figures['frame_ms']} ms of processor time a frame")
    write_result(json_path, "place", started_at, conditions, figures)
    return figures


def _fly(seed: int, frames: int) -> _Flown:
    if sys.stderr.isatty():
        print(f"flight {seed}", file=sys.stderr, flush=True)
    flight = DroneFlight(seed, frames=frames)
    boxes = [{truth.pass_id: truth.box_xyxy for truth in flight.truths(index)} for index in range(frames)]
    posts = {post.number: post for index in range(0, frames, 10) for post in flight.signposts(index)}
    return _Flown(flight, [flight.pose(index) for index in range(frames)], boxes, posts)


def _wrong(flown: _Flown, errors: str, draw: int) -> list[Pose]:
    """Return the poses that are told: as wrong as `errors` says."""
    poses, fps = flown.poses, flown.flight.fps
    if errors == "none":
        return list(poses)
    rng = np.random.default_rng((flown.flight.seed, draw, ERRORS.index(errors)))
    moved, turned = (_series(errors, len(poses), sigma, round(wander_s * fps), rng) for sigma, wander_s in zip((GPS_M, ATTITUDE_DEG), _WANDER_S, strict=True))
    told = []
    for index in range(len(poses)):
        before, share = divmod(max(index - DELAY_S * fps, 0.0), 1)
        here, there = poses[int(before)], poses[min(int(before) + 1, len(poses) - 1)]
        mixed = {name: getattr(here, name) + share * (getattr(there, name) - getattr(here, name)) for name in ("lat", "lon", "alt_m")}
        turns = {name: getattr(here, name) + share * ((getattr(there, name) - getattr(here, name) + 180) % 360 - 180) for name in _ANGLES}
        east, north = _PLANE.metres(mixed["lat"], mixed["lon"])
        lat, lon = _PLANE.degrees(east + moved[index, 0], north + moved[index, 1])
        angles = {name: turns[name] + turned[index, axis] for axis, name in enumerate(_ANGLES)}
        told.append(Pose(index / fps, lat, lon, mixed["alt_m"] + moved[index, 2], **angles, sigma_m=None))
    return told


def _series(errors: str, count: int, sigma: float, wander: int, rng: np.random.Generator) -> Floats:
    if errors == "shared":
        return np.repeat(rng.normal(0, sigma, (1, 3)), count, axis=0)
    steps = rng.normal(0, sigma, (count, 3))
    if errors == "drifting":
        kept = math.exp(-1 / wander)
        for index in range(1, count):
            steps[index] = kept * steps[index - 1] + math.sqrt(1 - kept**2) * steps[index]
    return steps


def _seen(flown: _Flown, errors: str, draw: int, *, back: bool = False, hidden: frozenset[int] = frozenset(), number: int = 0) -> FlightSeen:
    """Fly with wrong poses, `back` the same way from its end with the camera turned round, and return what a map reads; `hidden` signs are not there."""
    flight, rng = flown.flight, np.random.default_rng((flown.flight.seed, draw, 7))
    poses = _wrong(flown, errors, draw)
    surveyor = Surveyor(None, flight.optics.scaled, sizes_of(LABELS))
    blank = np.zeros((flight.size_wh[1], flight.size_wh[0], 3), np.uint8)
    last: dict[int, int] = {}
    seen = FlightSeen(f"flight {flight.seed}", Path())
    for step in range(flight.frames):
        index = flight.frames - 1 - step if back else step
        frame = surveyor.posed(Frame(step, blank, 0, None, media_s=step / flight.fps, pose=poses[index]))
        found = []
        for sign, box in flown.boxes[index].items():
            if sign not in hidden:
                moved = np.array(box) + rng.normal(0, _JITTER * (box[2] - box[0]) + 0.3, 4)
                found.append(Sighted(sign, sign, Detection(tuple(moved.tolist()), flown.posts[sign].class_id, 1.0)))
                last[sign] = last.get(sign, 0) + 1
        surveyor.place(frame, (), found)
        if step % 15 == 0:
            pose = poses[index]
            seen.way.append((step / flight.fps, float(pose.lat or 0), float(pose.lon or 0), pose.yaw_deg))
        gone = [sign for sign in last if all(sign not in flown.boxes[after] for after in _after(flight.frames, index, back))]
        for sign in gone:
            looks, class_id = last.pop(sign), flown.posts[sign].class_id
            (report,) = surveyor.place(frame, [Report("gone", sign, class_id, 1.0, (0.0, 0.0, 1.0, 1.0))])
            if report.where is not None and looks >= _LEAST_LOOKS and _near(flown, sign, poses):
                seen.signs.append(Seen(number, sign, class_id, LABELS[class_id], 1.0, report.where, max(step - 2 * looks, 0), step, "", ""))
    return seen


def _after(frames: int, index: int, back: bool) -> range:
    """Return the frames within which a sign that is hidden for a moment comes back."""
    return range(index, max(index - 15, -1), -1) if back else range(index, min(index + 15, frames))


def _near(flown: _Flown, sign: int, poses: Sequence[Pose]) -> bool:
    post, places = flown.posts[sign], [flown.flight.camera(index).place for index in range(0, len(poses), 10) if sign in flown.boxes[index]]
    return any(float(np.linalg.norm(place - post.middle)) <= SEEN_M for place in places)


def _off(seen: Seen, post: Signpost) -> tuple[float, float, float]:
    """Return how far a sign is off, its standard deviation, both in metres, and how far its facing is off in degrees, NaN where none is told."""
    east, north = _PLANE.metres(seen.place.lat, seen.place.lon)
    faces = math.nan if seen.place.facing_deg is None else abs((seen.place.facing_deg - 180 + math.degrees(post.yaw) + 180) % 360 - 180)
    return math.hypot(east - post.x, north - post.z), seen.place.sigma_m, faces


def _summed_up(told: Sequence[tuple[float, float, float]]) -> dict[str, Any]:
    off, sigma, faces = np.array(told).T
    within = int((off <= R95 * sigma).sum())
    return {
        "n": len(off),
        "off_m": {"p50": round(float(np.median(off)), 3), "p95": round(float(np.percentile(off, 95)), 3), "max": round(float(off.max()), 3)},
        "within_95": {"share": round(within / len(off), 4), "interval": wilson(within, len(off))},
        "sigma_m": round(float(np.median(sigma)), 3),
        "facing_deg": {f"p{share}": round(float(np.nanpercentile(faces, share)), 1) for share in (50, 95)},
    }


def _said(figures: dict[str, Any]) -> str:
    off, within = figures["off_m"], figures["within_95"]
    low, high = within["interval"]
    return (
        f"{figures['n']} signs, off by {off['p50']:.2f} m at the median, {off['p95']:.2f} m at 95%, {off['max']:.2f} m at most; "
        f"{within['share']:.3f} ({low:.3f} to {high:.3f}) within their circles; facing off by {figures['facing_deg']['p50']:.0f} degrees"
    )


def _maps(flown: Sequence[_Flown]) -> dict[str, dict[str, int]]:
    """Count what is wrong on maps of one flight, and of two of opposite ways whose errors wander apart."""
    counts = {name: {"signs": 0, "doubled": 0, "missed": 0} for name in ("one flight", "two flights of opposite ways")}
    for each in flown:
        there = _seen(each, "drifting", 0)
        back = _seen(each, "drifting", 1, back=True, number=1)
        for name, flights in zip(counts, ([there], [there, back]), strict=True):
            wanted = {one.track for flight in flights for one in flight.signs}
            found = [{one.track for one in sign.seen} for sign in merged(flights)]
            counts[name]["signs"] += len(wanted)
            counts[name]["doubled"] += sum(max(sum(sign in tracks for tracks in found) - 1, 0) for sign in wanted)
            counts[name]["missed"] += sum(len(tracks) - 1 for tracks in found)
    return counts


def _before(flown: Sequence[_Flown]) -> dict[str, int]:
    """Take one sign away from a road and stand another one there, and compare two maps whose errors wander apart."""
    counts = {"flights": 0, "removed found": 0, "added found": 0, "others kept": 0, "others not kept": 0}
    for each in flown:
        tracks = [one.track for one in _seen(each, "drifting", 0).signs]
        if len(tracks) < 4:
            continue
        added, removed = tracks[len(tracks) // 3], tracks[2 * len(tracks) // 3]
        old: list[Sign] = merged([_seen(each, "drifting", 0, hidden=frozenset([added]))])
        flight = _seen(each, "drifting", 2, hidden=frozenset([removed]))
        gone = next(sign for sign in old if sign.seen[0].track == removed)
        old = [replace(sign, name=f"S{place}", seen=sign.seen) for place, sign in enumerate(old, 1)]
        names = {sign.name for sign in old if sign.place == gone.place}
        told = compared(merged([flight]), old, [flight])
        counts["flights"] += 1
        counts["removed found"] += any(sign.status == "gone" and sign.name in names for sign in told)
        counts["added found"] += any(sign.status == "new" and sign.seen[0].track == added for sign in told)
        others = [sign for sign in told if sign.name not in names and not (sign.seen and sign.seen[0].track == added)]
        counts["others kept"] += sum(sign.status == "kept" for sign in others)
        counts["others not kept"] += sum(sign.status != "kept" for sign in others)
    return counts
