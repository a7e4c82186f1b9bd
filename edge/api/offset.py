"""How many seconds later the poses of a film stand in their file, by what both tell of the camera's turning.

The picture tells it by its own motion from frame to frame, the file by its angles. Both are correlated at every offset, about all three axes at once; distances
in the picture need no lens for that. Method: normalized cross-correlation, as cameras and inertial sensors are aligned in time (J. Kelly and G. S. Sukhatme,
"A general framework for temporal calibration of multiple proprioceptive and exteroceptive sensors", 2010, name it among others).
"""

from __future__ import annotations

import logging
import math

import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.frame import Frame
from edge.geometry.camera import Floats, Mount, axes_of
from edge.geometry.pose import Pose
from edge.recognition.ego_motion import EgoMotion
from edge.sources.open import open_source
from edge.vehicle.pose_track import PoseTrack

_LOG = logging.getLogger(__name__)
_STEP_S = 0.02
_SLOW_S = 2.0
"""What both turn more slowly is left out: all flights bank for their turns in much the same way, and what shakes one shakes no other so."""
_LONGEST_S, _LEAST_S = 120.0, 4.0
_LEAST_SHARE = 0.6
"""So much of the film must lie within the file's time."""
_LEAST_ALIKE, _LEAST_AHEAD, _AWAY_S = 0.4, 1.4, 0.5
"""The best offset must correlate so well, and any that is farther from it leave so many times as much of the turning unexplained."""


def find_offset(film: str, track: PoseTrack, mount: Mount, name: str) -> float:
    """Return the offset in seconds at which a file's poses turn as a film's picture does, and say so.

    Args:
        film: its source.
        track: the file's poses.
        mount: how the camera is mounted against what tells them.
        name: of the file, for messages.

    Raises:
        InputError: the film is too short, or turns too little, or otherwise than the file, to tell.
        SourceError: the film cannot be read.
    """
    offset_s, alike, ahead = best_offset(picture_turns(film), file_turns(track, mount))
    if alike < _LEAST_ALIKE or ahead < _LEAST_AHEAD:
        raise InputError(f"wanted one offset at which {name} turns as the picture does, found none that is clear (correlation {alike:.2f}): give it, offset=S")
    _LOG.warning("offset=%.2f was found for %s: there it turns as the picture does (correlation %.2f)", offset_s, name, alike)
    return offset_s


def picture_turns(film: str) -> tuple[float, Floats]:
    """Return the time at which a film's turning begins, seconds, and its rates each 20 ms, (3, n): to the right, up and clockwise, in units of its own.

    Raises:
        InputError: it is too short.
        SourceError: it cannot be read.
    """
    motion, times, turns, before_s = EgoMotion(), [], [], math.nan
    with open_source(film) as source:
        for frame in source:
            if not isinstance(frame, Frame) or frame.media_s is None or frame.media_s > _LONGEST_S:
                break
            moved, height, width = motion.see(frame.image), *frame.image.shape[:2]
            apart_s = frame.media_s - before_s
            if moved is not None and apart_s > 0:
                x, y = moved.point(width / 2, height / 2)
                times.append((frame.media_s + before_s) / 2)
                turns.append(np.array([width / 2 - x, y - height / 2, -math.radians(moved.degrees) * width]) / apart_s)
            before_s = frame.media_s
    if len(times) < 2 or times[-1] - times[0] < _LEAST_S:
        raise InputError(f"wanted a film of {_LEAST_S:g} s and more to find an offset, whose picture shows how it turns, found less: give it, offset=S")
    grid = np.arange(times[0], times[-1], _STEP_S)
    return times[0], np.stack([np.interp(grid, times, rates) for rates in np.array(turns).T])


def file_turns(track: PoseTrack, mount: Mount) -> tuple[float, Floats]:
    """Return the time at which a file's turning begins, and its rates each 20 ms, (3, n), radians a second; NaN where nothing is known.

    Raises:
        InputError: it does not tell all three angles.
    """
    if not all(track.tells(name) for name in ("roll_deg", "pitch_deg", "yaw_deg")):
        raise InputError("wanted roll, pitch and yaw in the file of poses to find an offset, found not all of them: give it, offset=S")
    start_s, end_s = track.span
    poses = [track.at(time_s) for time_s in np.arange(start_s, end_s, _STEP_S).tolist()]
    axes = axes_of(*np.array([_angles(pose, mount) for pose in poses], np.float64).T)
    turned = np.einsum("nij,nkj->nik", axes[1:], axes[:-1])  # from each camera to the next; small turns are the skew parts
    right, up, clockwise = (turned[:, i, j] - turned[:, j, i] for i, j in ((2, 0), (1, 2), (0, 1)))
    return start_s + _STEP_S / 2, np.stack([right, up, clockwise]) / (2 * _STEP_S)


def _angles(pose: Pose | None, mount: Mount) -> tuple[float, float, float]:
    """Return roll, pitch and yaw of the camera, NaN where they are not known."""
    if pose is None or pose.roll_deg is None or pose.pitch_deg is None or pose.yaw_deg is None:
        return math.nan, math.nan, math.nan
    turned = mount.turned(pose)
    return float(turned.roll_deg or 0), float(turned.pitch_deg or 0), float(turned.yaw_deg or 0)


def _quick(rates: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return rates, (3, n), without their means over two seconds; zero where they are not known."""
    width = min(round(_SLOW_S / _STEP_S), rates.shape[1])
    kernel, filled = np.ones(width), np.where(known, rates, 0.0)
    count = np.maximum(np.convolve(known.astype(float), kernel, "same"), 1.0)
    return np.stack([np.where(known, each - np.convolve(each, kernel, "same") / count, 0.0) for each in filled])


def best_offset(picture: tuple[float, Floats], file: tuple[float, Floats]) -> tuple[float, float, float]:
    """Return the offset in seconds, how well both correlate there, up to 1, and how many times as much any offset farther away leaves over."""
    (film_s, seen), (file_s, told) = picture, file
    known = np.asarray(np.isfinite(told).all(axis=0), np.bool_).reshape(-1)
    seen, told = _quick(seen, np.ones(seen.shape[1], bool)), _quick(told, known)
    size = 1 << (seen.shape[1] + told.shape[1]).bit_length()
    ones = np.ones(seen.shape[1])

    def slid(still: Floats, moving: Floats) -> Floats:
        """Correlate at every lag; lag k - n + 1 puts the film's first value on the file's value of that number."""
        product = np.fft.irfft(np.fft.rfft(still, size) * np.fft.rfft(moving[..., ::-1], size), size)
        return np.asarray(product[..., : told.shape[1] + seen.shape[1] - 1])

    covered = known.astype(float)
    count = np.maximum(slid(covered, ones), 1.0)
    spread = (slid(np.square(told), ones) - np.square(slid(told, ones)) / count).sum(axis=0)
    own = slid(covered, np.square(seen)).sum(axis=0)
    product = (slid(told, seen) - slid(told, ones) / count * slid(covered, seen)).sum(axis=0)
    inside = count > max(_LEAST_SHARE * seen.shape[1], _LEAST_S / _STEP_S)
    total = np.where(inside & (own > 0) & (spread > 0), product / np.sqrt(np.maximum(own * spread, 1e-12)), 0.0)
    best = int(total.argmax())
    away = np.abs(np.arange(len(total)) - best) * _STEP_S > _AWAY_S
    other = float(total[away].max(initial=0.0))
    left, middle, right = (float(total[min(max(best + step, 0), len(total) - 1)]) for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    between = 0.5 * (left - right) / bend if bend < 0 else 0.0
    offset_s = file_s - film_s + (best - seen.shape[1] + 1 + between) * _STEP_S
    return offset_s, middle, (1 - other**2) / max(1 - middle**2, 1e-9)
