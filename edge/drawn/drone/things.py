"""Builds what stands in the land that a drone flies over: trees, hedges, houses, cars and posts, each with a top and all its sides.

What is round turns to whoever looks; of what has sides those are drawn that face the camera.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from edge.drawn import scenery
from edge.drawn.drone.ground import HEDGE_M
from edge.drawn.drone.path import road_heading, road_x
from edge.drawn.perspective import Board, Floats, Image, Pyramid, pyramid, upright
from edge.drawn.scenery import ROAD, Colour

SLOT_M = 8.0
"""Each stretch of the land of so many metres has its own things."""

_BARK: Colour = (44, 60, 78)
_BODY_M, _ROOF_M, _LENGTH_M = 0.86, 1.46, 4.3
_LANES = ((-2.65, -12.5, 58.0), (0.45, 13.5, 74.0))
_LIES_M = 0.02
CONIFER = 2
"""The one of `scenery.TREES` that is pointed."""


@dataclass(frozen=True, eq=False)
class Things:
    """Things that stand in the land.

    Attributes:
        boards: sides of what has sides; each is seen from where its corners lie clockwise.
        trees: trees and bushes, (n, 4): x, z, height in metres, and one of `scenery.TREES`.
    """

    boards: tuple[Board, ...]
    trees: Floats


@functools.lru_cache(maxsize=512)
def standing(seed: int, slot: int) -> Things:
    """Return what stands on both sides of one stretch of the road."""
    rng = np.random.default_rng((seed, 44, slot % 2**32))  # the road goes on behind its beginning, where slots are counted below 0
    z = slot * SLOT_M
    road, heading = (float(of(np.array(z))) for of in (road_x, road_heading))
    boards: list[Board] = []
    trees: list[tuple[float, float, float, int]] = []

    def plant(x: float, height: float) -> None:
        trees.append((road + x, z + rng.uniform(0, SLOT_M), height, int(rng.integers(scenery.TREES))))

    if slot % 3 == 0:
        boards += [upright(scenery.post(), road + x, z, 0.12, 1.0) for x in (ROAD[0] - 0.8, ROAD[1] + 0.8)]
    for side, verge in ((-1, ROAD[0]), (1, ROAD[1])):
        if slot % 5 == 1 and rng.random() < 0.4:
            boards += _house(road + verge + side * rng.uniform(16, 22), z, heading, int(rng.integers(scenery.HOUSES)))
        elif rng.random() < 0.4:
            plant(verge + side * rng.uniform(7, 14), rng.uniform(5, 9))
        if slot % 2 == 0 and rng.random() < 0.1:
            boards += _car(road + verge + side * rng.uniform(2.8, 3.4), z + 4, heading, int(rng.integers(scenery.CARS)))
        for _ in range(int(rng.random() < 0.75)):
            plant(side * HEDGE_M + rng.uniform(-0.8, 0.8), float(rng.choice([1.8, 2.6, 6.0])))
        wooded = np.random.default_rng((seed, 45, slot // 7 % 2**32, side + 1)).random() < 0.35
        for _ in range(3 if wooded else int(rng.random() < 0.3)):
            plant(side * rng.uniform(HEDGE_M + 6, 84), rng.uniform(5, 10))
    return Things(tuple(boards), np.array(trees, np.float64).reshape(-1, 4))


def driving(seed: int, time_s: float, start_m: float, end_m: float) -> Iterator[Board]:
    """Return the cars on a stretch of the road at a moment."""
    for lane, (x, speed, gap) in enumerate(_LANES):
        moved = speed * time_s
        for place in range(math.floor((start_m - moved) / gap), math.floor((end_m - moved) / gap) + 1):
            rng = np.random.default_rng((seed, 46 + lane, place + 2**31))
            if rng.random() < 0.6:
                z = moved + place * gap + rng.uniform(0, gap / 3)
                road, heading = (float(of(np.array(z))) for of in (road_x, road_heading))
                yield from _car(road + x + rng.uniform(-0.15, 0.15), z, heading + (math.pi if speed < 0 else 0), int(rng.integers(scenery.CARS)))


def shadows_of(trees: Floats) -> Floats:
    """Return the corners of trees' shadows, (n, 4, 3)."""
    half = 0.36 * trees[:, 2]
    return _lying(trees[:, 0], trees[:, 1], half, half, np.full(len(trees), _LIES_M))


def turned_to(place: Floats, trees: Floats) -> tuple[list[Pyramid], Floats]:
    """Return the lower and the upper picture of each tree as they are turned to somebody at a place, (3,), and their corners, (2 n, 4, 3).

    The lower one is the trunk, or the wide end of a conifer; the upper one is the crown.
    """
    x, z, height, kinds = trees.T
    foot, up = np.stack([x, 0 * x, z], axis=1), np.stack([0 * x, height, 0 * x], axis=1)
    right, x_up, y_up, z_up = _turned(x - place[0], 0.6 * height - place[1], z - place[2])
    tilted = np.stack([x_up, y_up, z_up], axis=1) * height[:, None]
    across = right * height[:, None]
    pointed = kinds == CONIFER
    trunks, tops = _upright(foot, 0.03 * across, 0.5 * up), _lying(x, z, 0.34 * height, 0.34 * height, 0.3 * height)
    round_, spires = _upright(foot + 0.625 * up - 0.3125 * tilted, 0.375 * across, 0.6875 * tilted), _upright(foot, 0.375 * across, up)
    lower, upper = (np.where(pointed[:, None, None], of_conifer, of_others) for of_conifer, of_others in ((tops, trunks), (spires, round_)))
    pictures = [(_conifer_top(), scenery.tree(CONIFER)) if kind == CONIFER else (_plain(_BARK), _crown(kind)) for kind in kinds.astype(int).tolist()]
    return [picture for pair in pictures for picture in pair], np.stack([lower, upper], axis=1).reshape(-1, 4, 3)


def _house(x: float, z: float, heading: float, kind: int) -> tuple[Board, ...]:
    """A house of 8 x 10 m with its ridge along the road."""
    gable, wall, roof = scenery.house(kind)
    block = _Block(x, z, heading)
    # The picture of a gable leaves room for its eaves.
    gables, walls = (block.walls((half, half), (0, height), (-5, -5, 5, 5)) for half, height in ((4, 8.0), (3.75, 4.75)))
    slopes = block.walls((4.4, 0), (4.45, 8.05), (-5.3, -5.3, 5.3, 5.3))
    sides = ((gable, gables[0]), (gable, gables[2]), (wall, walls[1]), (wall, walls[3]), (roof, slopes[1]), (roof, slopes[3]))
    return Board(scenery.shadow(), block.flat(7.5, _LIES_M, -8.5, 8.5)), *(Board(*side) for side in sides)


def _car(x: float, z: float, heading: float, kind: int) -> tuple[Board, ...]:
    """A car of 4.3 m, its middle at (x, z)."""
    pictures, corners = _model(kind)
    return tuple(map(Board, pictures, _Block(x, z, heading).placed(corners)))


@functools.lru_cache(maxsize=scenery.CARS)
def _model(kind: int) -> tuple[tuple[Pyramid, ...], Floats]:
    """Build a car at the origin: its sides, and their corners, (n, 4, 3)."""
    block, half, paint = _Block(0, 0, 0), _LENGTH_M / 2, scenery.CAR_PAINTS[kind]
    behind, right, before, left = block.walls((0.9, 0.86), (0.0, _BODY_M), (-half, -half, half, half))
    glass = block.walls((0.84, 0.62), (_BODY_M, _ROOF_M), (-half + 0.15, -half + 0.6, half - 1.2, half - 1.9))
    flank, pane = _flank(_scaled(paint, 0.72)), _plain(scenery.DARK_GLASS)
    sides = [
        (scenery.shadow(), block.flat(1.45, _LIES_M, -half - 0.6, half + 0.6)),
        (_lower_half(kind, oncoming=False), behind),
        (_lower_half(kind, oncoming=True), before),
        (flank, right),
        (flank, left),
        (_plain(paint), block.flat(0.86, _BODY_M, -half, half)),
        *((pane, side) for side in glass),
        (_plain(_scaled(paint, 1.15)), block.flat(0.62, _ROOF_M, -half + 0.6, half - 1.9)),
    ]
    return tuple(picture for picture, _ in sides), np.stack([corners for _, corners in sides])


class _Block:
    """A place on the ground, turned to a heading, on which what has sides is built."""

    def __init__(self, x: float, z: float, heading: float) -> None:
        """Stand at (x, 0, z), turned by so many radians clockwise from the z axis."""
        self._foot = np.array([x, 0.0, z])
        self._axes = np.array([[math.cos(heading), 0, -math.sin(heading)], [0, 1, 0], [math.sin(heading), 0, math.cos(heading)]])

    def placed(self, points: Floats) -> Floats:
        """Bring points that count from the foot, (..., 3), to the world."""
        return np.asarray(self._foot + points @ self._axes, np.float64)

    def walls(self, halves: tuple[float, float], heights: tuple[float, float], ends: tuple[float, float, float, float]) -> list[Floats]:
        """Return the four sides between a lower and an upper rectangle, as seen from outside: behind, right, before, left.

        Args:
            halves: half the width of the lower and of the upper rectangle.
            heights: of the two.
            ends: where the lower and the upper one begin, and where they end.
        """
        rings = []
        for half, height, start, end in zip(halves, heights, ends[:2], ends[2:], strict=True):
            corners = np.array([[-half, height, start], [half, height, start], [half, height, end], [-half, height, end]])
            rings.append(self.placed(corners))
        lower, upper = rings
        return [np.stack([upper[i], upper[(i + 1) % 4], lower[(i + 1) % 4], lower[i]]) for i in range(4)]

    def flat(self, half: float, height: float, start: float, end: float) -> Floats:
        """Return a lying rectangle, as seen from above."""
        corners = np.array([[-half, height, end], [half, height, end], [half, height, start], [-half, height, start]])
        return self.placed(corners)


def _turned(x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the direction to the right, (n, 3), and up, three of (n,), of pictures that are turned to somebody from whom they lie so many metres away."""
    level = np.maximum(np.hypot(x, z), 1e-6)
    away = np.hypot(level, y)
    return np.stack([z / level, 0 * x, -x / level], axis=1), -x * y / (level * away), level / away, -y * z / (level * away)


def _upright(feet: Floats, halves: Floats, ups: Floats) -> Floats:
    """Return corners, (n, 4, 3), given the middles of lower edges, half of these edges, and the edges that lead up, (n, 3) each."""
    return np.stack([feet - halves + ups, feet + halves + ups, feet + halves, feet - halves], axis=1)


def _lying(x: Floats, z: Floats, half_x: Floats, half_z: Floats, height: Floats) -> Floats:
    """Return corners of rectangles that lie level, (n, 4, 3)."""
    left, right, near, far = x - half_x, x + half_x, z - half_z, z + half_z
    corners = [(left, height, far), (right, height, far), (right, height, near), (left, height, near)]
    return np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)


def _scaled(colour: Colour, share: float) -> Colour:
    blue, green, red = (min(round(value * share), 255) for value in colour)
    return blue, green, red


@functools.lru_cache(maxsize=scenery.TREES)
def _crown(kind: int) -> Pyramid:
    """Return a tree's crown without what is below, 3 wide and 2.75 high; its middle lies 1.5 from the top."""
    return tuple(level[: len(level) * 11 // 16] for level in scenery.tree(kind))


def small_tree(kind: int, width: int, height: int) -> Image:
    """Draw a whole tree in a few pixels, (height, width, 4) with multiplied colours; the less high, the more it is seen from above."""
    if kind == CONIFER:
        return _shrunk(scenery.tree(kind), width, height)
    round_ = _shrunk(_crown(kind), width, min(round(width * 0.92), height))
    picture = np.zeros((height, width, 4), np.uint8)
    trunk = max(round(width * 0.08), 1)
    picture[len(round_) // 2 :, (width - trunk) // 2 :][:, :trunk] = *_BARK, 255
    alpha = round_[:, :, 3:]
    picture[: len(round_)] = round_ + picture[: len(round_)] * (255.0 - alpha) / 255
    return picture


def small_shadow(width: int, height: int) -> Image:
    """Draw a shadow in a few pixels, (height, width, 4) with multiplied colours."""
    return _shrunk(scenery.shadow(), width, height)


def _shrunk(picture: Pyramid, width: int, height: int) -> Image:
    level = next((level for level in reversed(picture) if level.shape[1] >= width and level.shape[0] >= height), picture[0])
    return np.asarray(cv2.resize(level, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


@functools.lru_cache(maxsize=1)
def _conifer_top() -> Pyramid:
    """Draw a conifer from above, 1 wide and 1 high."""
    rng = np.random.default_rng(8)
    picture = np.zeros((128, 128, 4), np.uint8)
    for reach in np.linspace(1, 0, 220):
        angle = rng.uniform(0, 6.283)
        x, y = 64 + 54 * reach * math.cos(angle), 64 + 54 * reach * math.sin(angle)
        colour = np.array([44, 88, 60]) * (1.2 - 0.55 * reach) * rng.uniform(0.85, 1.15)
        cv2.circle(picture, (int(x), int(y)), int(rng.uniform(4, 9)), (*colour.tolist(), 255), -1, cv2.LINE_AA)
    return pyramid(picture)


@functools.lru_cache(maxsize=64)
def _plain(colour: Colour) -> Pyramid:
    """Draw nothing but a colour; it may be stretched to any shape."""
    return pyramid(np.full((16, 16, 4), (*colour, 255), np.uint8))


@functools.lru_cache(maxsize=2 * scenery.CARS)
def _lower_half(kind: int, *, oncoming: bool) -> Pyramid:
    """Return a car from behind or from the front, without what stands above its body."""
    return tuple(level[len(level) * 3 // 7 :] for level in scenery.car(kind, oncoming=oncoming))


@functools.lru_cache(maxsize=scenery.CARS)
def _flank(colour: Colour) -> Pyramid:
    """Draw a car's side with its wheels, 5 wide and 1 high."""
    picture = np.full((64, 320, 4), (*colour, 255), np.uint8)
    picture[54:] = 0
    for x in (62, 258):
        cv2.circle(picture, (x, 44), 20, (30, 28, 28, 255), -1, cv2.LINE_AA)
        cv2.circle(picture, (x, 44), 11, (140, 140, 142, 255), -1, cv2.LINE_AA)
    return pyramid(picture)
