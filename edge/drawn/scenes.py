"""Draws flights along a road past traffic signs, and single scenes, with the truth about every sign: no data set is needed.

`edge.drawn.signs` draws faces, `edge.drawn.signposts` stands them along the road, `edge.drawn.scenery` draws all else, `edge.drawn.perspective` projects,
`edge.drawn.backdrop` renders. Whatever is random follows from the seed and the frame's index, so any frame can be drawn on its own.
"""

from __future__ import annotations

import bisect
import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.datasets.faces import Face
from edge.drawn.backdrop import SECTION, light, render
from edge.drawn.perspective import Camera, Image
from edge.drawn.signposts import FIRST_M, Box, Signpost, line_up, repainted, stand_anywhere
from edge.drawn.signs import FLIGHT_CLASSES
from edge.errors import InputError
from edge.geometry.boxes import iou_matrix

MIN_SIDE_PX = 12.0
"""Shorter side from which a sign counts as visible."""
MATCH_IOU = 0.3
"""Overlap from which an announcement is about a sign."""

_STEP_M = 1.0
_LAST_M = 8.0
_NEAREST_M, _FARTHEST_M = 1.0, 130.0
_TRIES = 200


@dataclass(frozen=True)
class Truth:
    """A sign in a picture; `box_xyxy` encloses its face (pixels, end-exclusive). It is visible when it is whole in the picture, shorter side 12 px or more."""

    pass_id: int
    class_id: int
    box_xyxy: Box


@dataclass(frozen=True)
class Pass:
    """One sign's approach: the first and the last frame in which it is visible."""

    pass_id: int
    class_id: int
    first_frame: int
    last_frame: int


@dataclass(frozen=True)
class SceneFrame:
    """A picture, (height, width, 3) uint8 BGR, and the signs that are visible in it."""

    image: Image
    truths: tuple[Truth, ...]


class Watched(Protocol):
    """A flight with the truth about its signs, whatever flies; it can be hashed."""

    @property
    def frames(self) -> int:
        """Length of the flight."""
        ...

    def truths(self, index: int) -> Sequence[Truth]:
        """Return the signs that are visible in a frame."""
        ...

    def signs_in(self, index: int) -> Sequence[Truth]:
        """Return every sign that is at least partly in a frame, however small."""
        ...

    def passes(self) -> tuple[Pass, ...]:
        """Return the passes in the order of their signs along the road."""
        ...


@dataclass(frozen=True)
class Flight:
    """A drawn flight along a road past signs; the same seed, size and index give the same bytes.

    The drone covers 1 m a frame, so the sizes and lengths of passes are those of a picture 960 px wide; in narrower ones signs stay smaller and passes shorter.

    Attributes:
        seed: 0 and more.
        size_wh: width and height in pixels, 64 and more each.
        frames: length of the flight.
        fps: speed at which it is meant to be shown; it changes no frame.
        signs: whether there are any along the road; without them the road is the same.
        faces: what they show instead of GTSRB's, by class id; empty: GTSRB's.
    """

    seed: int = 0
    size_wh: tuple[int, int] = (960, 540)
    frames: int = 600
    fps: float = 30.0
    signs: bool = True
    faces: tuple[Face, ...] = ()

    def __post_init__(self) -> None:
        """Check the attributes.

        Raises:
            InputError: an attribute is out of its range.
        """
        check_flight(self.seed, self.size_wh, self.frames, self.fps)

    @property
    def seen_ahead(self) -> int:
        """Frames before it is passed from which a sign can be seen at all."""
        return int(_FARTHEST_M / _STEP_M)

    def frame(self, index: int) -> SceneFrame:
        """Draw one frame.

        Raises:
            InputError: the flight has no such frame.
        """
        camera = self._camera(index)
        return SceneFrame(_picture(camera, self._signs_near(camera), self.seed, index), self.truths(index))

    def truths(self, index: int) -> tuple[Truth, ...]:
        """Return the signs that are visible in a frame, without drawing it.

        Raises:
            InputError: the flight has no such frame.
        """
        return tuple(truth for truth in self.signs_in(index) if visible(truth, self.size_wh, MIN_SIDE_PX))

    def signs_in(self, index: int) -> tuple[Truth, ...]:
        """Return every sign that is at least partly in a frame, however small.

        Raises:
            InputError: the flight has no such frame.
        """
        camera, (width, height) = self._camera(index), self.size_wh
        seen = (_truth(camera, sign) for sign in self._signs_near(camera))
        return tuple(t for t in seen if t.box_xyxy[0] < width and t.box_xyxy[1] < height and t.box_xyxy[2] > 0 and t.box_xyxy[3] > 0)

    def passes(self) -> tuple[Pass, ...]:
        """Return the passes in the order of their signs along the road."""
        return passes_of(self)

    def _signs_near(self, camera: Camera) -> tuple[Signpost, ...]:
        """Return the signs ahead; they stand as far as each is passed before the flight ends; even the shortest flight has one."""
        if not self.signs:
            return ()
        signs = _signs(self.seed, max((self.frames - 1) * _STEP_M + _LAST_M, FIRST_M))
        first, end = (bisect.bisect_left(signs, camera.z + ahead, key=lambda sign: sign.z) for ahead in (_NEAREST_M, _FARTHEST_M))
        return repainted(signs[first:end], self.faces, self.seed)

    def _camera(self, index: int) -> Camera:
        if not 0 <= index < self.frames:
            raise InputError(f"wanted a frame from 0 to {self.frames - 1}, found {index}: ask for one of these")
        phase = np.random.default_rng((self.seed, 11)).uniform(0, 6.283, 6)
        jitter = np.random.default_rng((self.seed, 12, index)).normal(0, self.size_wh[0] / 1600, 2)
        sway = np.sin(index / np.array([47.0, 61.0, 23.0, 31.0, 37.0, 83.0]) * 2 + phase)
        unit = self.size_wh[0] / 960
        pan, pitch = 7 * unit * sway[2] + jitter[0], 5 * unit * sway[3] + jitter[1]
        return Camera(0.25 * sway[0], 2.45 + 0.15 * sway[1], index * _STEP_M, pan, pitch, 1.4 * sway[4] + 0.8 * sway[5], self.size_wh)


def scene(seed: int, size_wh: tuple[int, int] = (960, 540), classes: Sequence[int] = FLIGHT_CLASSES) -> SceneFrame:
    """Draw one still of its own, with one to four signs of any visible size.

    Args:
        seed: 0 and more; the same seed, size and classes give the same bytes.
        size_wh: width and height in pixels, 64 and more each.
        classes: of `edge.drawn.signs.DRAWN_CLASSES`, 1 or more: the signs are drawn at random from these.

    Raises:
        InputError: the seed or the size is out of its range, or no such class.
    """
    _check(seed, size_wh)
    rng = np.random.default_rng((seed, 21))
    pan, pitch = rng.normal(0, size_wh[0] / 120, 2)
    camera = Camera(rng.uniform(-1, 1), rng.uniform(1.6, 4), rng.uniform(0, 900), pan, pitch, rng.normal(0, 2), size_wh)
    wanted = int(rng.integers(1, 5))
    signs: list[Signpost] = []
    boxes = np.zeros((0, 4))
    for _ in range(_TRIES):
        sign = stand_anywhere(rng, camera, len(signs), classes)
        box = np.array(sign.box_xyxy(camera))
        if visible(_truth(camera, sign), size_wh, MIN_SIDE_PX) and not iou_matrix(box + np.array([-8, -8, 8, 8]), boxes).any():
            signs.append(sign)
            boxes = np.vstack([boxes, box])
        if len(signs) == wanted:
            break
    image = _picture(camera, signs, seed, int(rng.integers(0, 9)) * SECTION + SECTION // 2)
    return SceneFrame(image, tuple(_truth(camera, sign) for sign in signs))


def score_passes(flight: Watched, reports: Sequence[tuple[int, int, int, Sequence[float]]]) -> dict[str, int]:
    """Compare what was announced on a flight with its passes.

    A report belongs to the sign it overlaps most, if IoU >= 0.3 or the report's centre lies in the sign's box; signs that are still too small or already cut
    off by the edge of the picture count here too, for a tracker may well know them.

    Args:
        flight: the flight that was watched.
        reports: (frame index, track, class id, box_xyxy), sightings and their updates alike.

    Returns:
        Counts: `all` passes = `right` (announced, and as nothing else) + `wrong` (announced as another class) + `missed`; `twice` of them were announced by
        more than one track; `false` tracks never met a sign.

    Raises:
        InputError: a report names a frame that the flight does not have.
    """
    classes: dict[int, set[int]] = defaultdict(set)
    tracks: dict[int, set[int]] = defaultdict(set)
    for index, track, class_id, box in reports:
        met = _met(flight.signs_in(index), box)
        if met is not None:
            classes[met].add(class_id)
            tracks[met].add(track)
    passes = flight.passes()
    right = sum(classes.get(p.pass_id) == {p.class_id} for p in passes)
    missed = sum(p.pass_id not in classes for p in passes)
    known = set().union(*tracks.values()) if tracks else set()
    return {
        "all": len(passes),
        "right": right,
        "wrong": len(passes) - right - missed,
        "missed": missed,
        "twice": sum(len(tracks.get(p.pass_id, ())) > 1 for p in passes),
        "false": len({track for _, track, _, _ in reports} - known),
    }


def announced_after(flight: Watched, reports: Sequence[tuple[int, int, int, Sequence[float]]]) -> list[int]:
    """Return for each pass that was announced the frames from its first visible one to the first report about it, in the order of the passes.

    Args:
        flight: the flight that was watched.
        reports: as `score_passes` takes them, in the order of their frames.

    Raises:
        InputError: a report names a frame that the flight does not have.
    """
    first: dict[int, int] = {}
    for index, _, _, box in reports:
        met = _met(flight.signs_in(index), box)
        if met is not None:
            first.setdefault(met, index)
    return [first[one.pass_id] - one.first_frame for one in flight.passes() if one.pass_id in first]


def _met(signs: Sequence[Truth], box: Sequence[float]) -> int | None:
    """Return the pass whose sign a box is about, if any."""
    if not signs:
        return None
    boxes = np.array([sign.box_xyxy for sign in signs])
    overlaps = iou_matrix(box, boxes)[0]
    best = int(np.argmax(overlaps))
    x1, y1, x2, y2 = signs[best].box_xyxy
    inside = x1 <= (box[0] + box[2]) / 2 < x2 and y1 <= (box[1] + box[3]) / 2 < y2
    return signs[best].pass_id if overlaps[best] >= MATCH_IOU or inside else None


def _check(seed: int, size_wh: tuple[int, int]) -> None:
    if seed < 0:
        raise InputError(f"wanted a seed of 0 or more, found {seed}: give another")
    if min(size_wh) < 64:
        raise InputError(f"wanted pictures of 64 x 64 px or more, found {size_wh[0]} x {size_wh[1]}: give a larger size")


def check_flight(seed: int, size_wh: tuple[int, int], frames: int, fps: float) -> None:
    """Refuse what cannot be flown.

    Raises:
        InputError: a number is out of its range.
    """
    _check(seed, size_wh)
    if frames < 1 or not 0 < fps < float("inf"):
        raise InputError(f"wanted a flight of 1 frame or more at more than 0 fps, found {frames} at {fps}: give larger numbers")


def visible(truth: Truth, size_wh: tuple[int, int], min_side_px: float) -> bool:
    """Tell whether a sign is whole in the picture and its shorter side so long."""
    x1, y1, x2, y2 = truth.box_xyxy
    return min(x2 - x1, y2 - y1) >= min_side_px and x1 >= 0 and y1 >= 0 and x2 <= size_wh[0] and y2 <= size_wh[1]


def _truth(camera: Camera, sign: Signpost) -> Truth:
    return Truth(sign.number, sign.class_id, sign.box_xyxy(camera))


def _picture(camera: Camera, signs: Sequence[Signpost], seed: int, index: int) -> Image:
    return render(camera, [sign.pole() for sign in signs], [sign.face() for sign in signs], light(seed, index, camera.size_wh[0]), (seed, index))


_signs = functools.lru_cache(maxsize=16)(line_up)


@functools.lru_cache(maxsize=16)
def passes_of(flight: Watched) -> tuple[Pass, ...]:
    """Look through a whole flight for passes, in the order of their signs along the road."""
    seen: dict[int, list[tuple[int, Truth]]] = defaultdict(list)
    for index in range(flight.frames):
        for truth in flight.truths(index):
            seen[truth.pass_id].append((index, truth))
    return tuple(Pass(number, found[0][1].class_id, found[0][0], found[-1][0]) for number, found in sorted(seen.items()))
