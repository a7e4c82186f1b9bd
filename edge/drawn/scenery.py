"""Draws what stands and lies along a road: sky, ground, trees, houses, cars and posts. Each picture is made once and kept."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.drawn.perspective import Image, Pyramid, pyramid

Colour = tuple[int, int, int]

HAZE: Colour = (214, 208, 200)
ROAD = (-4.2, 2.0)
"""Left and right edge of the road in metres."""
PERIOD_M = 96.0
"""The ground repeats itself after so many metres."""
SKIES = 3
FIELDS = 6
TREES = 5
HOUSES = 4
CARS = 8

_SKIES = (((222, 172, 112), (236, 222, 204)), ((196, 188, 180), (222, 220, 216)), ((204, 158, 122), (206, 220, 240)))
FIELD_COLOURS = ((52, 118, 92), (60, 132, 112), (64, 176, 200), (48, 108, 78), (96, 150, 160), (58, 124, 100))
_WIDEST_M = 64
VERGE = (58, 112, 88)
ASPHALT = (108, 106, 104)
WORN, MENDED = (100, 98, 96), (92, 90, 90)
GRAVEL = (134, 146, 150)
PAINT = (214, 218, 218)
_WALLS = ((206, 220, 226), (168, 204, 222), (84, 102, 158), (188, 196, 198))
_ROOFS = ((52, 58, 132), (70, 66, 70), (48, 66, 118), (60, 60, 150))
_DOORS = ((126, 72, 34), (60, 74, 46), (40, 52, 92), (150, 84, 30))
CAR_PAINTS = ((38, 32, 168), (146, 78, 28), (224, 224, 222), (52, 50, 50), (150, 148, 146), (92, 86, 80), (28, 24, 120), (112, 60, 24))
_FLAT, DARK_GLASS = 16, (58, 50, 44)


@functools.lru_cache(maxsize=4)
def sky(kind: int, size_wh: tuple[int, int]) -> Image:
    """Draw the sky with its clouds and the hills on the horizon, which is the lower edge.

    Args:
        kind: 0 to SKIES - 1.
        size_wh: width and height in pixels.

    Returns:
        uint8 (height, width, 4), as all pictures of this module.
    """
    width, height = size_wh
    rng = np.random.default_rng((kind, 1))
    top, bottom = (np.array(colour, np.float32) for colour in _SKIES[kind])
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    clouds = sum(noise(rng, (2 + 3 * 2**i, 3 + 2 * 2**i), (height, width)) / 2**i for i in range(4))
    cover = np.clip(np.asarray(clouds, np.float32) * 0.5 - 0.05, 0, 0.85)[:, :, None] * (1 - 0.6 * down)
    picture = (top + (bottom - top) * down) * (1 - cover) + np.float32(242) * cover
    across = np.linspace(0, 1, width)
    for rise, share, colour in ((0.1, 0.75, (150, 132, 104)), (0.055, 0.5, (92, 112, 92)), (0.03, 0.3, (66, 88, 72))):
        wave = sum(np.sin(across * (7 + 6 * i + 40 * (0.1 - rise) * i) + rng.uniform(0, 6.3)) / (i + 1) for i in range(5))
        ridge = height * (1 - rise * (1 + 0.35 * wave) * (1 + 0.1 * rng.standard_normal(width) * (rise < 0.05)))
        hill = np.arange(height)[:, None] >= ridge
        picture[hill] = share * np.array(HAZE) + (1 - share) * np.array(colour)
    return frozen(np.dstack([picture, np.full((height, width), 255)]))


@functools.lru_cache(maxsize=16)
def ground(kind: int, half_m: int, across: int, along: float) -> Image:
    """Draw the ground from above, the road and what lies beside it, a few periods long.

    Args:
        kind: 0 to FIELDS - 1.
        half_m: how far it reaches to both sides, in metres.
        across: columns for each metre.
        along: rows for each metre; less than one blurs what is finer.
    """
    drawn = max(along, 4)
    shape = int(PERIOD_M * drawn), 2 * half_m * across
    picture = np.empty((*shape, 4), np.uint8)
    for left, right, start, end, colour in _patches(kind):
        box = np.array([(left, start), (right, start), (right, end), (left, end)])
        pixels = (box + np.array([half_m, 0])) * np.array([across, drawn]) - 0.5
        cv2.fillPoly(picture, [np.rint(pixels * 16).astype(np.int32)], (*colour, 255), cv2.LINE_AA, 4)
    rng = np.random.default_rng((kind, 2))
    grain = 8 * noise(rng, shape, shape)
    for cell_m, amount in ((1, 9), (4, 8)):
        # The same for every texture of this kind, so that no seam shows where one ends.
        patches = np.random.default_rng((kind, 7, cell_m)).standard_normal((int(PERIOD_M) // cell_m, 2 * _WIDEST_M // cell_m), np.float32)
        within = patches[:, (_WIDEST_M - half_m) // cell_m : (_WIDEST_M + half_m) // cell_m]
        grain += amount * cv2.resize(within, shape[::-1], interpolation=cv2.INTER_CUBIC)
    columns = np.arange(shape[1]) / across - half_m
    grain *= np.where((columns > ROAD[0]) & (columns < ROAD[1]), 0.45, 1.0).astype(np.float32)
    period = cv2.add(picture, cv2.cvtColor(grain, cv2.COLOR_GRAY2BGRA), dtype=cv2.CV_8U)
    thinned = cv2.resize(period, (shape[1], int(PERIOD_M * along)), interpolation=cv2.INTER_AREA)
    return frozen(np.vstack([thinned] * (2 if along > 0.5 else 4)))


def _patches(kind: int) -> Iterator[tuple[float, float, float, float, Colour]]:
    """Yield what the ground is painted with, in this order: left, right, start and end in metres, and the colour."""
    rng = np.random.default_rng((kind, 6))
    for start in np.arange(0.0, PERIOD_M, 32):
        for left, right in ((-200.0, 0.0), (0.0, 200.0)):
            yield left, right, start, start + 32, FIELD_COLOURS[(kind + int(rng.integers(0, FIELDS))) % FIELDS]
    yield -11, 8, 0, PERIOD_M, VERGE
    yield ROAD[0] - 0.5, ROAD[1] + 0.5, 0, PERIOD_M, GRAVEL
    yield *ROAD, 0, PERIOD_M, ASPHALT
    for lane in (ROAD[0] * 0.75 + ROAD[1] * 0.25, ROAD[0] * 0.25 + ROAD[1] * 0.75):
        for track in (lane - 0.75, lane + 0.75):
            yield track - 0.22, track + 0.22, 0, PERIOD_M, WORN
    for patch in range(4):
        left, start = float(rng.uniform(ROAD[0], ROAD[1] - 1.2)), float(rng.uniform(2, 20)) + 24 * patch
        yield left, left + 1.2, start, start + rng.uniform(1, 3), MENDED
    for edge in (ROAD[0] + 0.2, ROAD[1] - 0.2):
        yield edge - 0.07, edge + 0.07, 0, PERIOD_M, PAINT
    middle = (ROAD[0] + ROAD[1]) / 2
    for start in np.arange(0.0, PERIOD_M, 12):
        yield middle - 0.07, middle + 0.07, start + 4, start + 8, PAINT


@functools.lru_cache(maxsize=TREES)
def tree(kind: int) -> Pyramid:
    """Draw a tree, 3 wide and 4 high; `kind` is 0 to TREES - 1, every third is a conifer."""
    rng = np.random.default_rng((kind, 3))
    picture = _canvas(192, 256)
    cv2.rectangle(picture, (90, 150), (102, 255), (46, 62, 80, 255), -1)
    hue = np.array([rng.uniform(28, 50), rng.uniform(84, 112), rng.uniform(58, 92)])
    for step in np.linspace(0, 1, 260):
        x, y, radius = _conifer_blob(rng) if kind % 3 == 2 else _crown_blob(rng, step)
        light = 0.55 + 0.5 * step + 0.25 * (130 - y) / 130 - 0.15 * (x - 96) / 96
        colour = np.clip(hue * light * rng.uniform(0.88, 1.12), 0, 255)
        cv2.circle(picture, (int(x), int(y)), int(radius), (*map(float, colour), 255), -1, cv2.LINE_AA)
    return _grained(picture, rng, 9)


def _crown_blob(rng: np.random.Generator, step: float) -> tuple[float, float, float]:
    angle, reach = rng.uniform(0, 6.283), np.sqrt(rng.random())
    return 96 + 74 * reach * np.cos(angle), 96 + 78 * reach * np.sin(angle), rng.uniform(8, 17) * (1.15 - 0.5 * step)


def _conifer_blob(rng: np.random.Generator) -> tuple[float, float, float]:
    down = np.sqrt(rng.random())
    return 96 + 66 * down * rng.uniform(-1, 1), 14 + 196 * down, rng.uniform(4, 10)


@functools.lru_cache(maxsize=HOUSES)
def house(kind: int) -> tuple[Pyramid, Pyramid, Pyramid]:
    """Draw a house: its gable (8 wide, 8 high, eaves at 4.75), its long wall (10 wide, 4.75 high) and one half of its roof; `kind` is 0 to HOUSES - 1."""
    rng = np.random.default_rng((kind, 4))
    wall, roof = _WALLS[kind], _ROOFS[kind]
    gable = _canvas(256, 256)
    cv2.fillPoly(gable, [np.array([(8, 100), (128, 4), (248, 100), (248, 255), (8, 255)])], (*wall, 255))
    cv2.polylines(gable, [np.array([(2, 104), (128, 4), (254, 104)])], False, (*roof, 255), 10, cv2.LINE_AA)
    for x, y in ((104, 60), (40, 122), (168, 122), (168, 190)):
        _window(gable, x, y)
    cv2.rectangle(gable, (52, 184), (88, 255), (*_DOORS[kind], 255), -1)
    side = np.full((152, 320, 4), (*(int(c * 0.82) for c in wall), 255), np.uint8)
    for x in (24, 98, 172, 246):
        _window(side, x, 16)
        _window(side, x, 88)
    tiles = np.full((128, 256, 4), (*roof, 255), np.uint8)
    tiles[::8, :, :3] = np.array(roof) * 0.78
    return _grained(gable, rng, 5), _grained(side, rng, 5), _grained(tiles, rng, 8)


def _window(picture: Image, x: int, y: int) -> None:
    cv2.rectangle(picture, (x, y), (x + 44, y + 40), (232, 234, 234, 255), -1)
    for left in (x + 4, x + 24):
        cv2.rectangle(picture, (left, y + 4), (left + 16, y + 36), (96, 84, 72, 255), -1)


@functools.lru_cache(maxsize=2 * CARS)
def car(kind: int, *, oncoming: bool) -> Pyramid:
    """Draw a car from behind or from the front, 8 wide and 7 high; `kind` is 0 to CARS - 1 and gives its colour."""
    paint = np.array(CAR_PAINTS[kind], np.float64)
    picture = _canvas(256, 224)
    body, dark, bright = ((*np.clip(paint * share, 0, 255), 255) for share in (1.0, 0.62, 1.18))
    for x in (30, 190):
        cv2.rectangle(picture, (x, 160), (x + 36, 221), (30, 28, 28, 255), -1)
    _polygon(picture, [(14, 100), (242, 100), (250, 140), (246, 196), (10, 196), (6, 140)], body)
    _polygon(picture, [(44, 34), (212, 34), (238, 104), (18, 104)], dark)
    _polygon(picture, [(58, 14), (198, 14), (214, 38), (42, 38)], bright)
    _polygon(picture, [(54, 42), (202, 42), (224, 96), (32, 96)], (*DARK_GLASS, 255))
    _polygon(picture, [(70, 46), (120, 46), (80, 92), (46, 92)], (104, 96, 88, 255))
    cv2.rectangle(picture, (8, 176), (248, 200), (*(0.45 * paint + 18), 255), -1)
    lamp = (214, 228, 232, 255) if oncoming else (36, 30, 150, 255)
    for left in (16, 202):
        cv2.ellipse(picture, (left + 19, 128), (19, 13), 0, 0, 360, lamp, -1, cv2.LINE_AA)
    cv2.rectangle(picture, (94, 180), (162, 194), (226, 228, 228, 255), -1)
    if oncoming:
        cv2.rectangle(picture, (74, 140), (182, 164), (40, 38, 38, 255), -1)
    return _grained(picture, np.random.default_rng((kind, 5)), 3)


@functools.lru_cache(maxsize=1)
def shadow() -> Pyramid:
    """Draw the soft shadow below a car or a tree."""
    picture = _canvas(128, 128)
    cv2.ellipse(picture, (64, 64), (50, 50), 0, 0, 360, (0, 0, 0, 150), -1)
    return pyramid(cv2.GaussianBlur(picture, (0, 0), 7).astype(np.uint8, copy=False))


@functools.lru_cache(maxsize=1)
def post() -> Pyramid:
    """Draw a delineator, the white post with a black band and a reflector that lines German roads, 1 wide and 8 high."""
    picture = np.full((256, 32, 4), (226, 228, 228, 255), np.uint8)
    picture[40:108, :, :3] = 34
    picture[56:92, 10:22, :3] = 200, 214, 222
    return pyramid(picture)


@functools.lru_cache(maxsize=1)
def pole() -> Pyramid:
    """Draw the steel tube that carries a sign, 1 wide; it may be stretched to any height."""
    shine = 96 + 84 * np.sin(np.linspace(0.35, 2.9, _FLAT))
    picture = np.full((_FLAT, _FLAT, 4), 255, np.uint8)
    picture[:, :, :3] = shine[None, :, None]
    return pyramid(picture)


def _canvas(width: int, height: int) -> Image:
    return np.zeros((height, width, 4), np.uint8)


def _polygon(picture: Image, points: list[tuple[int, int]], colour: tuple[float, ...]) -> None:
    cv2.fillPoly(picture, [np.array(points)], colour, cv2.LINE_AA)


def noise(rng: np.random.Generator, cells: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Soft noise of standard deviation about 1, (height, width), from `cells` random values."""
    values = rng.standard_normal(cells, dtype=np.float32)
    return np.asarray(cv2.resize(values, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _grained(picture: Image, rng: np.random.Generator, amount: float) -> Pyramid:
    grain = amount * (rng.standard_normal(picture.shape[:2], dtype=np.float32) + noise(rng, (24, 24), (picture.shape[0], picture.shape[1])))
    colours = np.clip(picture[:, :, :3] + grain[:, :, None], 0, 255).astype(np.uint8)
    return pyramid(np.dstack([colours, picture[:, :, 3]]))


def frozen(picture: NDArray[np.generic]) -> Image:
    """Return a picture's values as uint8, cut off at 0 and 255, so that nobody writes on them."""
    made: Image = np.clip(picture, 0, 255).astype(np.uint8)
    made.setflags(write=False)
    return made
