"""Draws the ground that a drone sees: a winding road, and fields to the horizon."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.drawn import scenery
from edge.drawn.drone.path import PERIOD_M, road_x
from edge.drawn.perspective import Floats, Image
from edge.drawn.scenery import ROAD, Colour


@dataclass(frozen=True)
class Detail:
    """How finely the ground is drawn.

    Attributes:
        reach_m: up to this distance from the camera.
        half_m: half the texture's width.
        across: columns for each metre.
        along: rows for each metre.
    """

    reach_m: float
    half_m: int
    across: float
    along: float


DETAILS = (Detail(24, 40, 16, 12), Detail(64, 104, 6, 5), Detail(160, 288, 2, 1.5), Detail(math.inf, 960, 0.5, 0.5))
"""From near to far; each is wide enough for what is seen within its reach."""

VERGE_M, HEDGE_M = (-10.0, 8.0), 33.0
"""Where the verges end on both sides of the road's x = 0, and how far from it the hedges stand."""

_ZONES = ((8.0, HEDGE_M, 48), (HEDGE_M, 84, 64), (84, 170, 96), (170, 340, 64), (340, 960, 96))
_TRACK, _HEDGE = (128, 148, 160), (40, 84, 58)
_STRIPE_M = 1.7
_ROWS = 3.0


@functools.lru_cache(maxsize=2 * len(DETAILS))
def ground(kind: int, detail: Detail) -> Image:
    """Draw one period of the ground from above, uint8 (rows, columns, 4); it continues itself to all sides.

    Args:
        kind: 0 to FIELDS - 1.
        detail: one of `DETAILS`.
    """
    along = max(detail.along, _ROWS)
    shape = int(PERIOD_M * along), int(2 * detail.half_m * detail.across)
    picture, furrows = np.empty((*shape, 4), np.uint8), np.zeros(shape, np.uint8)
    for patch, colour, furrow in _patches(kind):
        pixels = np.rint(((patch + np.array([detail.half_m, 0])) * np.array([detail.across, along]) - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(picture, [pixels], (*colour, 255), cv2.LINE_AA, 4)
        cv2.fillPoly(furrows, [pixels], furrow, cv2.LINE_8, 4)
    z = (np.arange(shape[0], dtype=np.float64) + 0.5) / along
    columns = ((np.arange(shape[1]) + 0.5) / detail.across - detail.half_m - road_x(z)[:, None]).astype(np.float32)
    grain = 7 * scenery.noise(np.random.default_rng((kind, 2)), shape, shape)
    for cell_m, amount in ((1, 7), (4, 8), (16, 7)):
        grain += amount * _speckle(kind, detail, cell_m, shape)
    if detail.across >= 2 / _STRIPE_M:
        grain += furrows * np.sin(columns * np.float32(2 * np.pi / _STRIPE_M))
    grain *= np.where((columns > ROAD[0]) & (columns < ROAD[1]), 0.4, 1.0).astype(np.float32)
    period = cv2.add(picture, cv2.cvtColor(grain, cv2.COLOR_GRAY2BGRA), dtype=cv2.CV_8U)
    return scenery.frozen(cv2.resize(period, (shape[1], int(PERIOD_M * detail.along)), interpolation=cv2.INTER_AREA))


def _speckle(kind: int, detail: Detail, cell_m: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Soft noise in cells of so many metres: the same in every detail, and without a seam where the period ends."""
    half, around = DETAILS[-1].half_m // cell_m, 2
    cells = np.random.default_rng((kind, 7, cell_m)).standard_normal((int(PERIOD_M) // cell_m, 2 * half), np.float32)
    within = cells[:, half - detail.half_m // cell_m : half + detail.half_m // cell_m]
    wrapped = np.pad(within, ((around, around), (0, 0)), mode="wrap")
    rows = round(shape[0] / len(within) * len(wrapped))
    cut = (rows - shape[0]) // 2
    return np.asarray(cv2.resize(wrapped, (shape[1], rows), interpolation=cv2.INTER_CUBIC)[cut : cut + shape[0]], np.float32)


def _patches(kind: int) -> Iterator[tuple[Floats, Colour, int]]:
    """Yield what the ground is painted with, in this order: outline in metres, (n, 2), colour, and how deep furrows run through it."""
    rng = np.random.default_rng((kind, 6))
    for near, far, length in _ZONES:
        for side in (-1, 1):
            first = float(rng.uniform(0, length))
            for start in np.arange(first - length, PERIOD_M, length):
                colour = scenery.FIELD_COLOURS[(kind + int(rng.integers(0, scenery.FIELDS))) % scenery.FIELDS]
                shaded = np.clip(np.array(colour) * rng.uniform(0.82, 1.12), 0, 255).astype(int).tolist()
                yield _strip(side * near, side * far, start, start + length), (shaded[0], shaded[1], shaded[2]), int(rng.choice([0, 8, 16]))
    for side in (-1, 1):
        place = float(rng.uniform(10, PERIOD_M - 10))
        yield _strip(side * 7.0, side * 960.0, place, place + 2.8), _TRACK, 0
        yield _strip(side * HEDGE_M - 1, side * HEDGE_M + 1, 0, PERIOD_M), _HEDGE, 0
    yield _strip(*VERGE_M, 0, PERIOD_M), scenery.VERGE, 0
    yield _strip(ROAD[0] - 0.5, ROAD[1] + 0.5, 0, PERIOD_M), scenery.GRAVEL, 0
    yield _strip(*ROAD, 0, PERIOD_M), scenery.ASPHALT, 0
    for lane in (ROAD[0] * 0.75 + ROAD[1] * 0.25, ROAD[0] * 0.25 + ROAD[1] * 0.75):
        for track in (lane - 0.75, lane + 0.75):
            yield _strip(track - 0.22, track + 0.22, 0, PERIOD_M), scenery.WORN, 0
    for patch in range(8):
        left, start = float(rng.uniform(ROAD[0], ROAD[1] - 1.2)), float(rng.uniform(2, 20)) + 24 * patch
        yield _strip(left, left + 1.2, start, start + rng.uniform(1, 3)), scenery.MENDED, 0
    for edge in (ROAD[0] + 0.2, ROAD[1] - 0.2):
        yield _strip(edge - 0.07, edge + 0.07, 0, PERIOD_M), scenery.PAINT, 0
    middle = (ROAD[0] + ROAD[1]) / 2
    for start in np.arange(0.0, PERIOD_M, 12):
        yield _strip(middle - 0.07, middle + 0.07, start + 4, start + 8), scenery.PAINT, 0


def _strip(left: float, right: float, start: float, end: float) -> Floats:
    """Outline a strip along the road, (n, 2) in metres; left and right count from the road's own x = 0."""
    z = np.linspace(start, end, max(int((end - start) / 2), 2))
    x = road_x(z)
    return np.concatenate([np.stack([x + left, z], axis=1), np.stack([x + right, z], axis=1)[::-1]])
