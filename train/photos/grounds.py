"""What stands behind drawn signs: foliage, branches before the sky, walls, plain grounds, blurred shapes and drawn roads; made once, then cut out at random."""

from __future__ import annotations

import functools
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.drawn.backdrop import SECTION, light, render
from edge.drawn.perspective import Camera

Floats = NDArray[np.float32]

_SIDE = 192
_PICTURES = 160
_SEED = 43
_SHADES = 48
_MIDDLE = 120.0


def cut_out(rng: np.random.Generator, size_wh: tuple[int, int]) -> Floats:
    """Cut a ground out of the store, enlarged or reduced, perhaps mirrored: (height, width, 3) float32 BGR, 255 is white and may be exceeded."""
    picture = _store()[rng.integers(_PICTURES)]
    ground = _cut(picture, rng, size_wh, (0.25, 1.0))
    # Light outdoors spans more than a picture holds: the power spreads it again.
    spread = cv2.pow(cv2.cvtColor(ground, cv2.COLOR_BGR2GRAY) / np.float32(_MIDDLE), rng.uniform(0.6, 2.0))
    return ground * spread[:, :, None]


def shade(rng: np.random.Generator, size_wh: tuple[int, int]) -> Floats:
    """Cut out a mask of cast shadows, (height, width) float32 from 0 to 1, with softer or harder edges."""
    return _cut(_shades()[rng.integers(_SHADES)], rng, size_wh, (0.3, 1.0))


def _cut(picture: NDArray[np.uint8] | Floats, rng: np.random.Generator, size_wh: tuple[int, int], shares: tuple[float, float]) -> Floats:
    side = len(picture)
    across = int(side * rng.uniform(*shares))
    x, y = rng.integers(0, side - across + 1, 2).tolist()
    piece = picture[y : y + across, x : x + across]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    way = cv2.INTER_AREA if across > max(size_wh) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(piece, size_wh, interpolation=way), np.float32)


@functools.lru_cache(maxsize=1)
def _store() -> tuple[NDArray[np.uint8], ...]:
    rng = np.random.default_rng(_SEED)
    makers: tuple[tuple[Callable[[np.random.Generator], Floats], int], ...] = ((_foliage, 8), (_sky, 2), (_branches, 4), (_wall, 4), (_shapes, 3), (_plain, 1))
    weights = np.array([share for _, share in makers], np.float64)
    roads = [_road(seed) for seed in range(6)]
    pictures = []
    for _ in range(_PICTURES):
        first, second = (makers[place][0](rng) for place in rng.choice(len(makers), 2, p=weights / weights.sum()))
        picture = first if rng.random() < 0.55 else _beside(first, second, rng)
        if rng.random() < 0.15:
            road = roads[rng.integers(len(roads))]
            x, y = rng.integers(0, road.shape[1] - _SIDE), rng.integers(0, road.shape[0] - _SIDE)
            picture = road[y : y + _SIDE, x : x + _SIDE].astype(np.float32)
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    return tuple(pictures)


@functools.lru_cache(maxsize=1)
def _shades() -> tuple[Floats, ...]:
    rng = np.random.default_rng(_SEED + 1)
    made = []
    for _ in range(_SHADES):
        cells = int(rng.choice([2, 3, 5, 9, 16]))
        made.append(np.clip(_soft(rng, cells) * rng.uniform(1.5, 6) + 0.5, 0, 1))
    return tuple(made)


def _soft(rng: np.random.Generator, cells: int) -> Floats:
    """Soft noise of standard deviation about 1, so many cells across."""
    return np.asarray(cv2.resize(rng.standard_normal((cells, cells), np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC), np.float32)


def _mixed(low: Floats, high: Floats, share: Floats) -> Floats:
    return low + (high - low) * np.clip(share, 0, 1)[:, :, None]


def _colour(rng: np.random.Generator, low: tuple[int, int, int], high: tuple[int, int, int]) -> Floats:
    """Mix a colour between two, mostly by its brightness: what stands at roads is rarely gaudy."""
    share = rng.random() + rng.normal(0, 0.08, 3)
    return (np.array(low) + np.clip(share, 0, 1) * (np.array(high) - np.array(low))).astype(np.float32)


def _foliage(rng: np.random.Generator) -> Floats:
    """Leaves, twigs and gaps: noise of several sizes, dark in the gaps, here and there the sky."""
    noise = sum(_soft(rng, cells) for cells in (6, 14, 30, 64, 110)) / 2.2
    dark, lit = _colour(rng, (6, 9, 9), (30, 34, 38)), _colour(rng, (40, 70, 70), (130, 190, 200))
    leaves = _mixed(dark, lit, np.asarray(noise, np.float32) * 0.8 + 0.25)
    gaps = _soft(rng, int(rng.choice([24, 48, 96]))) + np.float32(0.8) * _soft(rng, 5)
    return _mixed(leaves, _colour(rng, (180, 180, 180), (255, 255, 255)), (gaps - np.float32(rng.uniform(1.0, 4.0))) * 3)


def _sky(rng: np.random.Generator) -> Floats:
    top, bottom = _colour(rng, (170, 150, 130), (250, 230, 225)), _colour(rng, (200, 200, 200), (250, 248, 245))
    share = np.linspace(0, 1, _SIDE, dtype=np.float32)[:, None] + 0.12 * _soft(rng, 4)
    return _mixed(top, bottom, share)


def _branches(rng: np.random.Generator) -> Floats:
    """Twigs before the sky: lines that fork, in dark colours."""
    picture = _sky(rng)
    for _ in range(int(rng.integers(8, 40))):
        steps = rng.normal(0, 9, (12, 2)).cumsum(axis=0) + rng.uniform(-1, 1, 2) * 10 * np.arange(12)[:, None] + rng.uniform(0, _SIDE, 2)
        colour = _colour(rng, (20, 20, 22), (80, 85, 95)).tolist()
        cv2.polylines(picture, [np.rint(steps).astype(np.int32)], False, colour, int(rng.choice([1, 1, 2, 3, 7])), cv2.LINE_AA)
    return picture


def _wall(rng: np.random.Generator) -> Floats:
    """A front with windows, or courses of bricks."""
    picture = np.full((_SIDE, _SIDE, 3), _colour(rng, (60, 70, 80), (220, 225, 230)), np.float32)
    if rng.random() < 0.35:
        step = int(rng.integers(6, 16))
        picture[::step] *= 0.75
        for row in range(0, _SIDE, step):
            picture[row : row + step, int(rng.integers(step)) :: 2 * step] *= 0.75
    else:
        for _ in range(int(rng.integers(2, 7))):
            x, y = rng.integers(0, _SIDE - 20, 2).tolist()
            wide, high = rng.integers(20, 70, 2).tolist()
            cv2.rectangle(picture, (x - 3, y - 3), (x + wide + 3, y + high + 3), _colour(rng, (150, 150, 150), (245, 245, 245)).tolist(), -1)
            cv2.rectangle(picture, (x, y), (x + wide, y + high), _colour(rng, (20, 20, 20), (110, 105, 100)).tolist(), -1)
    return picture * (1 + 0.03 * _soft(rng, 96) + 0.08 * _soft(rng, 3))[:, :, None]


def _shapes(rng: np.random.Generator) -> Floats:
    """Whatever stands farther away, out of focus: cars, signs, people."""
    picture = np.full((_SIDE, _SIDE, 3), _colour(rng, (30, 30, 30), (200, 200, 200)), np.float32)
    for _ in range(int(rng.integers(10, 40))):
        x, y = rng.uniform(0, _SIDE, 2)
        corners = rng.normal(0, rng.uniform(8, 40), (int(rng.integers(3, 7)), 2)) + np.array([x, y])
        hull = cv2.convexHull(corners.astype(np.int32))
        cv2.fillConvexPoly(picture, hull, _colour(rng, (10, 10, 10), (250, 250, 250)).tolist(), cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 6)), np.float32)


def _plain(rng: np.random.Generator) -> Floats:
    """Tarmac, fog, a near wall."""
    ground = _colour(rng, (50, 50, 50), (190, 190, 190))
    return ground * (1 + rng.uniform(0, 0.08) * _soft(rng, 150) + 0.1 * _soft(rng, 3))[:, :, None]


def _beside(first: Floats, second: Floats, rng: np.random.Generator) -> Floats:
    """Let two grounds meet along a line."""
    angle = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.35)
    rows, columns = np.mgrid[:_SIDE, :_SIDE].astype(np.float32) - _SIDE / 2
    distance = columns * np.cos(angle) + rows * np.sin(angle) + rng.uniform(-50, 50)
    return first + (second - first) * np.clip(distance + 0.5, 0, 1)[:, :, None]


def _road(seed: int) -> NDArray[np.uint8]:
    size_wh = (640, 360)
    camera = Camera(0.0, 2.0, 40.0 * seed, 0.0, 0.0, 0.0, size_wh)
    return render(camera, [], [], light(seed, SECTION // 2, size_wh[0]), (seed, SECTION // 2))
