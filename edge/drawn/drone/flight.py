"""A drawn flight of a drone along a winding road, with the truth about every sign and the pose of every frame: no data set is needed.

`edge.drawn.drone.path` flies, `edge.drawn.drone.backdrop` draws what the camera sees, `edge.drawn.signposts` draws the signs.
Whatever is random follows from the seed and the frame's index, so any frame can be drawn on its own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge.datasets.faces import Face
from edge.drawn.backdrop import light
from edge.drawn.drone.backdrop import render
from edge.drawn.drone.path import SLOWEST_MPS, lat_lon, road_heading, road_x, shaking, time_at, way
from edge.drawn.perspective import LENS, Board, DroneCamera, project_by
from edge.drawn.scenery import ROAD
from edge.drawn.scenes import Pass, SceneFrame, Truth, check_flight, passes_of, visible
from edge.drawn.signposts import Signpost, repainted
from edge.drawn.signs import FLIGHT_CLASSES
from edge.errors import InputError
from edge.geometry.camera import Camera, axes_of
from edge.geometry.pose import Pose

MIN_SIDE_PX = 16.0
"""Shorter side from which a sign counts as visible."""

_SPACING_M, _SHARES = 8.0, (0.9, 0.55)
_FARTHEST_M, _BESIDE_M, _NEAREST_M, _GRAZING = 90.0, 4.0, 0.6, 0.1
_LOOKED_HZ, _LOOKED_FROM_M = 15, 70.0
_NOMINAL_WH = (960, 540)
_LEAST_S, _BEST_PX, _CLEAR_M = 0.7, 24.0, 2.5
_ONCOMING, _SHADES = 0.25, 4

Point = tuple[float, float]


@dataclass(frozen=True)
class QuadTruth(Truth):
    """A sign in a picture, as `Truth`, and the corners of the square around its face, from the face's own upper left one clockwise, in pixels."""

    quad_xy: tuple[Point, Point, Point, Point]


@dataclass(frozen=True)
class DroneFlight:
    """A drone's flight; the same attributes and index give the same bytes.

    Sizes of signs are those of a picture 960 px wide; in narrower ones signs stay smaller and passes shorter. A sign is visible when it is whole in the
    picture and its shorter side is 16 px or more. Signs stand where the flight shows them well enough to be read, on both sides of the road.

    Attributes:
        seed: 0 and more.
        size_wh: width and height in pixels, 64 and more each.
        frames: length of the flight.
        fps: frames a second of the flight's own time.
        signs: whether there are any along the road; without them the road is the same.
        lens: whether the camera has the lens of an FPV camera, with barrel distortion; without, it is a pinhole.
        faces: what signs show instead of GTSRB's, by class id; empty: GTSRB's.
    """

    seed: int = 0
    size_wh: tuple[int, int] = (960, 540)
    frames: int = 600
    fps: float = 30.0
    signs: bool = True
    lens: bool = True
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
        return math.ceil(_FARTHEST_M / SLOWEST_MPS * self.fps)

    def pose(self, index: int) -> Pose:
        """Return the pose of a frame's camera, which a gimbal turns up and down and the drone in all other ways.

        Raises:
            InputError: the flight has no such frame.
        """
        camera = self.camera(index)
        return Pose(index / self.fps, *lat_lon(camera.x, camera.z), camera.y, camera.roll_deg, camera.pitch_deg, camera.yaw_deg % 360, 0.0)

    @property
    def optics(self) -> Camera:
        """The camera that flies along, as a map needs it."""
        (width, height), camera = self.size_wh, self.camera(0)
        return Camera(self.size_wh, (camera.focal,) * 2, (width / 2, height / 2), "barrel", (camera.lens,) if camera.lens else ())

    def camera(self, index: int) -> DroneCamera:
        """Return a frame's camera, in metres from `edge.drawn.drone.path.ORIGIN`, x to the east and z to the north.

        Raises:
            InputError: the flight has no such frame.
        """
        if not 0 <= index < self.frames:
            raise InputError(f"wanted a frame from 0 to {self.frames - 1}, found {index}: ask for one of these")
        time_s = index / self.fps
        at = way(self.seed, np.array(time_s))
        roll, pitch, yaw = shaking(self.seed, index, time_s)
        turned = float(at.roll_deg) + roll, float(at.pitch_deg) + pitch, float(at.yaw_deg) + yaw
        return DroneCamera(float(at.x), float(at.y), float(at.z), *turned, self.size_wh, LENS if self.lens else 0.0)

    def frame(self, index: int) -> SceneFrame:
        """Draw one frame.

        Raises:
            InputError: the flight has no such frame.
        """
        camera = self.camera(index)
        signs = self._near(camera)
        posts = [*signs, *(sign for place in _places_near(camera) for sign in _oncoming(self.seed, place))]
        stands = [board for sign in posts for board in _stand(sign)]
        faces = [sign.face() for sign in signs if _shows(camera, sign)]
        look = light(self.seed, index, self.size_wh[0])
        truths = (truth for truth in _truths(camera, signs) if visible(truth, self.size_wh, MIN_SIDE_PX))
        return SceneFrame(render(camera, index / self.fps, stands, faces, look, (self.seed, index)), tuple(truths))

    def truths(self, index: int) -> tuple[QuadTruth, ...]:
        """Return the signs that are visible in a frame, without drawing it.

        Raises:
            InputError: the flight has no such frame.
        """
        return tuple(truth for truth in self.signs_in(index) if visible(truth, self.size_wh, MIN_SIDE_PX))

    def signs_in(self, index: int) -> tuple[QuadTruth, ...]:
        """Return every sign whose face is at least partly in a frame, however small.

        Raises:
            InputError: the flight has no such frame.
        """
        camera = self.camera(index)
        return _truths(camera, self._near(camera))

    def passes(self) -> tuple[Pass, ...]:
        """Return the passes in the order of their signs along the road."""
        return passes_of(self)

    def signposts(self, index: int) -> tuple[Signpost, ...]:
        """Return the signs that stand near a frame's camera; along the whole flight they are those that look largest before it ends.

        Raises:
            InputError: the flight has no such frame.
        """
        return self._near(self.camera(index))

    def _near(self, camera: DroneCamera) -> tuple[Signpost, ...]:
        if not self.signs:
            return ()
        ends_s = (self.frames - 1) / self.fps
        signs = (sign for place in _places_near(camera) for sign, best_s in _standing(self.seed, place) if best_s <= ends_s)
        return repainted(signs, self.faces, self.seed)


def _shows(camera: DroneCamera, sign: Signpost) -> bool:
    """Tell whether a sign lies before the camera and turns its face to it."""
    sight = sign.middle - camera.place
    turned = sight @ (-math.sin(sign.yaw), 0, math.cos(sign.yaw)) > _GRAZING * np.linalg.norm(sight)
    return bool(turned and camera.depths(sign.middle) > _NEAREST_M + sign.side / 2)


def _truths(camera: DroneCamera, signs: Sequence[Signpost]) -> tuple[QuadTruth, ...]:
    """Return the truth about the signs whose faces are at least partly in a camera's picture."""
    found = []
    for sign in signs:
        x1, y1, x2, y2 = box = sign.box_xyxy(camera)
        if x1 < camera.size_wh[0] and y1 < camera.size_wh[1] and x2 > 0 and y2 > 0 and _shows(camera, sign):
            first, second, third, fourth = ((x, y) for x, y in camera.project(sign.face().corners).tolist())
            found.append(QuadTruth(sign.number, sign.class_id, box, (first, second, third, fourth)))
    return tuple(found)


@functools.lru_cache(maxsize=512)
def _stand(sign: Signpost) -> tuple[Board, Board]:
    return sign.pole(), sign.back()


def _places_near(camera: DroneCamera) -> range:
    return range(max(0, math.floor((camera.z - _BESIDE_M) / _SPACING_M)), math.floor((camera.z + _FARTHEST_M) / _SPACING_M) + 1)


@functools.lru_cache(maxsize=4096)
def _standing(seed: int, place: int) -> tuple[tuple[Signpost, float], ...]:
    """Return the signs at one of the places along the road, and when each looks largest to the drone, seconds."""
    rng = np.random.default_rng((seed, 14, place))
    found = []
    for side, share in enumerate(_SHARES):
        stands, sign = rng.random() < share, _sign(seed, place, side, rng)
        best_s = _largest_at(seed, sign) if stands else None
        if best_s is not None:
            found.append((sign, best_s))
    return tuple(found)


def _sign(seed: int, place: int, side: int, rng: np.random.Generator) -> Signpost:
    """Make the sign on the right (0) or on the left (1) of a place; classes come in turn, each once before one comes again."""
    number = 2 * place + side
    turn, left = divmod(number, len(FLIGHT_CLASSES))
    class_id = int(np.random.default_rng((seed, 15, turn)).permutation(FLIGHT_CLASSES)[left])
    z = np.array(place * _SPACING_M + rng.uniform(0, 3) + 3 * side)
    beside = ROAD[1] + rng.uniform(0.8, 1.5) if side == 0 else ROAD[0] - rng.uniform(0.8, 1.5)
    y, size, own = rng.uniform(2.1, 3.0), rng.uniform(0.76, 0.96), rng.uniform(-0.1, 0.25) * (1 - 2 * side)
    return Signpost(number, class_id, float(road_x(z)) + beside, y, float(z), size, own - float(road_heading(z)), int(rng.integers(_SHADES)))


@functools.lru_cache(maxsize=4096)
def _oncoming(seed: int, place: int) -> tuple[Signpost, ...]:
    """Return the sign for those who come the other way, if there is one: the drone sees its back."""
    rng = np.random.default_rng((seed, 16, place))
    if rng.random() > _ONCOMING or any(sign.x < float(road_x(np.array(sign.z))) for sign, _ in _standing(seed, place)):
        return ()
    sign = _sign(seed, place, 1, rng)
    return (replace(sign, yaw=sign.yaw + math.pi),)


def _largest_at(seed: int, sign: Signpost) -> float | None:
    """Return when a sign looks largest to the drone, seconds; None where the flight does not show it well, or comes too near to it."""
    passed = time_at(seed, sign.z)
    times = np.arange(passed - _LOOKED_FROM_M / SLOWEST_MPS, passed + 0.5, 1 / _LOOKED_HZ)
    times = times[times >= 0]
    if not len(times):
        return None
    at = way(seed, times)
    places = np.stack([at.x, at.y, at.z], axis=1)
    axes = axes_of(at.roll_deg, at.pitch_deg, at.yaw_deg)[:, None]
    outline = sign.outline[:: max(len(sign.outline) // 24, 1)]
    flat = project_by(axes, outline - places[:, None], _NOMINAL_WH, 0.0)
    low, high = flat.min(axis=1), flat.max(axis=1)
    sides = np.where((low >= 0).all(axis=1) & (high <= _NOMINAL_WH).all(axis=1), (high - low).min(axis=1), 0)
    best = int(sides.argmax())
    long_enough = int((sides >= MIN_SIDE_PX).sum()) >= _LEAST_S * _LOOKED_HZ
    clear = float(np.linalg.norm(places - sign.middle, axis=1).min()) >= _CLEAR_M
    return float(times[best]) if long_enough and clear and sides[best] >= _BEST_PX else None
