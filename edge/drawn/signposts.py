"""Stands drawn signs in the world: a face on a pole, lined up along a flight's road or anywhere in a still."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from edge.datasets.faces import Face, PaintedFace
from edge.drawn.perspective import Board, Camera, Floats, Pyramid, View, pyramid, upright
from edge.drawn.scenery import ROAD, pole
from edge.drawn.signs import FLIGHT_CLASSES, draw_sign, outline

Box = tuple[float, float, float, float]

FIRST_M = 36.0
"""Where along the road the first sign of a flight stands."""

_SPACING_M = (25.5, 33.5)
_MASTER_PX = 256
_KEPT = 64
"""Faces in memory."""
_METAL, _RAIL, _TUBE = (142, 140, 138), (104, 102, 100), (172, 172, 172)
_SHADES = ((1.0, 1.0), (0.8, 0.8), (1.0, 0.55), (0.62, 1.0))


@dataclass(frozen=True)
class Signpost:
    """A sign that stands in the world.

    Attributes:
        number: its place in the row of signs.
        class_id: one of `DRAWN_CLASSES`, or of a data set's own.
        x: metres to the right.
        y: metres from the ground to the face's middle.
        z: metres along the road.
        side: side of the face in metres.
        yaw: how far the face is turned about its pole, radians.
        shade: which part of it lies in the shade.
        own: the picture of its face, where `class_id` is that of a data set of one's own.
    """

    number: int
    class_id: int
    x: float
    y: float
    z: float
    side: float
    yaw: float
    shade: int
    own: PaintedFace | None = None

    @functools.cached_property
    def middle(self) -> Floats:
        """The middle of the face in the world, (3,)."""
        return np.array([self.x, self.y, self.z])

    @property
    def _drawn_by(self) -> Face:
        return self.class_id if self.own is None else self.own

    def face(self) -> Board:
        """Return the face in the world."""
        return Board(_face(self._drawn_by, self.shade), self._points(np.array([[0.0, 0.0], [1, 0], [1, 1], [0, 1]])))

    def back(self) -> Board:
        """Return the bare metal that is seen from behind."""
        return Board(_back(self._drawn_by), self._points(np.array([[1.0, 0.0], [0, 0], [0, 1], [1, 1]])))

    @functools.cached_property
    def outline(self) -> Floats:
        """The face's edge in the world, (n, 3)."""
        return self._points(_outline(self._drawn_by))

    def pole(self) -> Board:
        """Return the tube that carries the face."""
        return upright(pole(), self.x, self.z, 0.09, self.y)

    def box_xyxy(self, camera: View) -> Box:
        """Return the box that encloses the face in a camera's picture; parts of it may lie outside of the picture."""
        points = camera.project(self.outline)
        (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return x1, y1, x2, y2

    def _points(self, units: Floats) -> Floats:
        """Bring points on the face, (n, 2) in units of its side, to the world, (n, 3)."""
        across, up = (units[:, 0] - 0.5) * self.side, (0.5 - units[:, 1]) * self.side
        return np.stack([self.x + across * np.cos(self.yaw), self.y + up, self.z + across * np.sin(self.yaw)], axis=1)


def line_up(seed: int, end_m: float) -> tuple[Signpost, ...]:
    """Stand signs along the road up to `end_m`, most of them on the right; every class comes once before one comes again."""
    rng = np.random.default_rng((seed, 10))
    signs: list[Signpost] = []
    classes: list[int] = []
    z = FIRST_M
    while z <= end_m:
        classes = classes or rng.permutation(FLIGHT_CLASSES).tolist()
        right = rng.random() < 0.8
        x = ROAD[1] + rng.uniform(0.75, 1.3) if right else ROAD[0] - rng.uniform(0.7, 1.1)
        y, side, yaw = rng.uniform(2.1, 3.0), rng.uniform(0.72, 0.92), rng.uniform(-0.1, 0.3) * (1 if right else -1)
        signs.append(Signpost(len(signs), classes.pop(), x, y, z, side, yaw, int(rng.integers(len(_SHADES)))))
        z += rng.uniform(*_SPACING_M)
    return tuple(signs)


def stand_anywhere(rng: np.random.Generator, camera: Camera, number: int, classes: Sequence[int] = FLIGHT_CLASSES) -> Signpost:
    """Stand one sign of `classes`, of any visible size, somewhere before a camera, high enough above the ground; it may reach beyond the picture."""
    side, yaw = rng.uniform(0.55, 0.9), rng.uniform(-0.55, 0.55)
    side_px = (12.5 * (camera.size_wh[0] / 960 * 12) ** rng.random() + 1) / np.cos(yaw)
    scale = side / side_px
    across, up = (rng.uniform(0.06, 0.94) - 0.5) * camera.size_wh[0], camera.horizon - rng.uniform(0.15, 0.6) * camera.size_wh[1]
    x, y, z = camera.x + across * scale, float(np.clip(camera.y + up * scale, 1.2, 6.0)), camera.z + camera.focal * scale
    return Signpost(number, int(rng.choice(classes)), x, y, z, side, yaw, int(rng.integers(len(_SHADES))))


def repainted(signs: Iterable[Signpost], faces: Sequence[Face], seed: int) -> tuple[Signpost, ...]:
    """Give signs other faces, by class id; each comes once before one comes again. Without faces they stay as they are."""
    return tuple(_repainted(sign, tuple(faces), seed) for sign in signs) if faces else tuple(signs)


@functools.lru_cache(maxsize=1024)
def _repainted(sign: Signpost, faces: tuple[Face, ...], seed: int) -> Signpost:
    turn, left = divmod(sign.number, len(faces))
    class_id = int(np.random.default_rng((seed, 17, turn)).permutation(len(faces))[left])
    face = faces[class_id]
    return replace(sign, class_id=class_id, own=face if isinstance(face, PaintedFace) else None)


_outline = functools.lru_cache(maxsize=_KEPT)(outline)


@functools.lru_cache(maxsize=_KEPT * len(_SHADES))
def _face(class_id: Face, shade: int) -> Pyramid:
    """A face of which a part may lie in the shade: light changes softly from the upper left to the lower right."""
    start, end = _SHADES[shade]
    place = np.linspace(0, 1, _MASTER_PX, dtype=np.float32)
    lit = start + (end - start) * np.clip(np.add.outer(place, place) * 4 - 3.2, 0, 1)
    factors = cv2.cvtColor(np.rint(lit * 255).astype(np.uint8), cv2.COLOR_GRAY2BGRA)
    return pyramid(np.asarray(cv2.multiply(draw_sign(class_id, _MASTER_PX), factors, scale=1 / 255), np.uint8))


@functools.lru_cache(maxsize=_KEPT)
def _back(class_id: Face) -> Pyramid:
    """Bare metal with the two rails by which it hangs on its pole, which is seen before it."""
    picture = draw_sign(class_id, _MASTER_PX)
    picture[:, :, :3] = _METAL
    for rail in (0.3, 0.7):
        picture[round((rail - 0.025) * _MASTER_PX) : round((rail + 0.025) * _MASTER_PX), :, :3] = _RAIL
    picture[:, round(0.45 * _MASTER_PX) : round(0.55 * _MASTER_PX), :3] = _TUBE
    return pyramid(picture)
