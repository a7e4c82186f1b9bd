"""Renders one picture: the road and what stands beside it, given signs' faces, and what light and lens make of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.drawn import scenery
from edge.drawn.perspective import Board, Camera, Floats, Image, draw, upright

SECTION = 75
"""Light and weather change from one section of so many frames to the next."""

_EYE_M = 2.45
_BANDS = ((0.0, 16.0, 12, 32, 12), (16.0, 34.0, 64, 8, 4), (34.0, 78.0, 64, 8, 1), (78.0, math.inf, 64, 3, 0.25))
"""Near and far end of a stretch of the ground in metres, half the width of its texture in metres, pixels for each metre across and along."""
_SIGHT_M = 170.0
_CLEAR_M, _HAZY_M = 12.0, 260.0
_SLOT_M = 8.0
_LEAST_PX = (1.2, 6.0)
_LANES = ((-2.65, -0.55, 62.0, True), (0.45, 0.6, 90.0, False))
_GRAIN_PX, _GRAIN_SD = 64, 52.0


@dataclass(frozen=True)
class Light:
    """What light, lens and sensor do to a picture.

    Attributes:
        gain: factor on all values.
        gamma: exponent on values from 0 to 1.
        tint: factors on blue, green and red.
        defocus_px: standard deviation of the lens's blur.
        motion_px: sides of the motion's blur, across and down, odd.
        noise: standard deviation of the sensor's noise in grey values.
        sky: one of `scenery.SKIES`.
    """

    gain: float
    gamma: float
    tint: tuple[float, float, float]
    defocus_px: float
    motion_px: tuple[int, int]
    noise: float
    sky: int


def light(seed: int, index: int, width: int) -> Light:
    """Return the light of a flight's frame: it changes gently, the motion's blur from frame to frame.

    Args:
        seed: the flight's seed.
        index: the frame's index.
        width: of the picture; blurs are in proportion to it.
    """
    section, way = divmod(index / SECTION, 1.0)
    ease = way * way * (3 - 2 * way)
    gain, gamma, blue, red, defocus, motion, noise = (1 - ease) * _weather(seed, int(section)) + ease * _weather(seed, int(section) + 1)
    rng = np.random.default_rng((seed, 32, index))
    unit = width / 960
    across, down = (1 + 2 * int(unit * motion * rng.random() ** 2 * share + 0.3 * unit) for share in (1.0, 0.6))
    sky = int(np.random.default_rng((seed, 33)).integers(scenery.SKIES))
    return Light(float(gain), float(gamma), (float(blue), 1.0, float(red)), float(defocus * unit), (across, down), float(noise), sky)


def _weather(seed: int, section: int) -> Floats:
    """Gain, gamma, blue, red, defocus, motion and noise at a section's start."""
    rng = np.random.default_rng((seed, 31, section))
    return rng.uniform([0.7, 0.85, 0.94, 0.94, 0.3, 0.4, 1.5], [1.18, 1.25, 1.07, 1.07, 0.95, 2.4, 6.0])


def render(camera: Camera, stands: Sequence[Board], faces: Sequence[Board], look: Light, key: tuple[int, int]) -> Image:
    """Draw one picture, (height, width, 3) uint8 BGR.

    Args:
        camera: where it is taken from.
        stands: what stands along the road besides the scenery: poles.
        faces: signs' faces; nothing hides them, and they are drawn finer than the rest.
        look: light, lens and sensor.
        key: (seed, frame); what stands along the road follows from the seed, the noise from both.
    """
    width, height = camera.size_wh
    level = _ground_and_sky(camera, look.sky, key[0] % scenery.FIELDS)
    for board, corners in _seen(camera, [*_along_the_road(camera.z, key[0]), *stands]):
        share = 1 - math.exp(-max(board.z - camera.z - _CLEAR_M, 0) / _HAZY_M)
        draw(level, board.pyramid, corners, haze=(share, scenery.HAZE))
    image = np.asarray(cv2.warpAffine(level, camera.shake(), (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.uint8)
    for board in sorted(faces, key=lambda board: -board.z):
        corners = camera.project(board.corners)
        draw(image, board.pyramid, corners, finer=4 if np.ptp(corners, axis=0).max() < 64 else 2)
    return develop(image, look, key)


def _seen(camera: Camera, boards: Sequence[Board]) -> list[tuple[Board, Floats]]:
    """Return the boards in the level picture and where their corners lie, the farthest first."""
    corners = np.stack([board.corners for board in boards])
    flat = camera.level(corners)
    low, high = flat.min(axis=1), flat.max(axis=1)
    ahead = corners[:, :, 2].min(axis=1) - camera.z
    shown = (ahead > 1) & (ahead < _SIGHT_M) & (high > 0).all(axis=1) & (low < camera.size_wh).all(axis=1)
    shown &= ((high - low).max(axis=1) >= _LEAST_PX[1]) & ((high - low).min(axis=1) >= _LEAST_PX[0])
    return [(boards[place], flat[place]) for place in np.argsort(-ahead, kind="stable") if shown[place]]


def _ground_and_sky(camera: Camera, sky: int, field: int) -> Image:
    width, height = camera.size_wh
    edge = math.ceil(camera.horizon)
    level = np.empty((height, width, 4), np.uint8)
    level[:edge] = scenery.sky(sky, (width, edge))
    reach = camera.focal * camera.y
    for near, far, half_m, across, along in _BANDS:
        top = max(math.ceil(camera.horizon + reach / far), edge)
        bottom = height if near == 0 else min(math.ceil(camera.horizon + reach / near), height)
        if top < bottom:
            view = _ground_view(camera, half_m, across, along, top)
            texture, rows = scenery.ground(field, half_m, across, along), level[top:bottom]
            cv2.warpPerspective(texture, view, (width, bottom - top), rows, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    clear, veil = _veil(camera.size_wh)
    cv2.add(cv2.multiply(level[edge:], clear, scale=1 / 255), veil, level[edge:])
    return level


def _ground_view(camera: Camera, half_m: float, across: float, along: float, top: int) -> Floats:
    """Return the homography from a ground texture's pixels to the level picture below row `top`."""
    to_world = np.array([[1 / across, 0, 0.5 / across - half_m - camera.x], [0, 1 / along, 0.5 / along - camera.z % scenery.PERIOD_M], [0, 0, 1]])
    middle, horizon = camera.size_wh[0] / 2 - 0.5, camera.horizon - top - 0.5
    to_picture = np.array([[camera.focal, middle, 0], [0, horizon, camera.focal * camera.y], [0, 1, 0]])
    return np.asarray(to_picture @ to_world, np.float64)


@functools.lru_cache(maxsize=4)
def _veil(size_wh: tuple[int, int]) -> tuple[Image, Image]:
    """Haze over the ground, row by row: the share that stays clear, times 255, and the light of the haze to be added."""
    camera = Camera(0, _EYE_M, 0, 0, 0, 0, size_wh)
    rows = np.arange(int(np.ceil(camera.horizon)), size_wh[1]) + 0.5
    clear = np.exp(-np.maximum(camera.focal * camera.y / (rows - camera.horizon) - _CLEAR_M, 0) / _HAZY_M)[:, None, None] * np.ones((1, size_wh[0], 4))
    return np.rint(clear * 255).astype(np.uint8), np.rint((1 - clear) * (*scenery.HAZE, 255)).astype(np.uint8)


def _along_the_road(z: float, seed: int) -> Iterator[Board]:
    first = int(z // _SLOT_M)
    for slot in range(first, first + int(_SIGHT_M / _SLOT_M) + 1):
        yield from _slot(seed, slot)
    for lane, (x, pace, gap, oncoming) in enumerate(_LANES):
        # A car moves `pace` metres for each metre that the camera flies; in this frame of reference it stands still.
        start = z * (1 - pace)
        for place in range(int(start // gap), int((start + _SIGHT_M) // gap) + 1):
            yield from _driving(seed, lane, place, x, z * pace + place * gap, oncoming)


def _driving(seed: int, lane: int, place: int, x: float, z: float, oncoming: bool) -> Iterator[Board]:
    rng = np.random.default_rng((seed, 41 + lane, place))
    if rng.random() < 0.7:
        yield from _car_at(x + rng.uniform(-0.15, 0.15), z + rng.uniform(0, 30), int(rng.integers(scenery.CARS)), oncoming)


def _car_at(x: float, z: float, kind: int, oncoming: bool) -> tuple[Board, ...]:
    lying = np.array([[x - 1.25, 0.01, z + 4.6], [x + 1.25, 0.01, z + 4.6], [x + 1.25, 0.01, z - 0.5], [x - 1.25, 0.01, z - 0.5]])
    return Board(scenery.shadow(), lying), upright(scenery.car(kind, oncoming=oncoming), x, z - 0.5, 1.84, 1.5)


@functools.lru_cache(maxsize=512)
def _slot(seed: int, slot: int) -> tuple[Board, ...]:
    """What stands in one stretch of the roadside, on both sides."""
    rng = np.random.default_rng((seed, 43, slot))
    z = slot * _SLOT_M
    boards: list[Board] = []
    if slot % 3 == 0:
        boards += [upright(scenery.post(), x, z, 0.12, 1.0) for x in (scenery.ROAD[0] - 0.8, scenery.ROAD[1] + 0.8)]
    for side, verge in ((-1, scenery.ROAD[0]), (1, scenery.ROAD[1])):
        if rng.random() < 0.45:
            boards += _tree_at(verge + side * rng.uniform(5.5, 13), z + rng.uniform(0, 8), rng)
        if rng.random() < 0.2:
            boards += _tree_at(verge + side * rng.uniform(16, 50), z + rng.uniform(0, 8), rng)
        if slot % 3 == 1 and rng.random() < 0.32:
            boards += _house_at(verge + side * rng.uniform(9, 14), side, z, int(rng.integers(scenery.HOUSES)))
        if slot % 2 == 0 and rng.random() < 0.12:
            boards += _car_at(verge + side * rng.uniform(2.6, 3.4), z + 4, int(rng.integers(scenery.CARS)), bool(side < 0))
    return tuple(boards)


def _tree_at(x: float, z: float, rng: np.random.Generator) -> tuple[Board, ...]:
    height, kind = rng.uniform(5, 9), int(rng.integers(scenery.TREES))
    wide = height * 0.3
    lying = np.array([[x - wide, 0.01, z + wide], [x + wide, 0.01, z + wide], [x + wide, 0.01, z - wide], [x - wide, 0.01, z - wide]])
    return Board(scenery.shadow(), lying), upright(scenery.tree(kind), x, z - wide, height * 0.75, height)


def _house_at(x: float, side: int, z: float, kind: int) -> tuple[Board, ...]:
    """A house of 8 x 10 m whose wall along the road stands at x, with its gable towards the camera."""
    gable, wall, roof = scenery.house(kind)
    middle, end = x + side * 4.0, z + 10.0
    near, far = (z, end) if side < 0 else (end, z)
    along = np.array([[x, 4.75, near], [x, 4.75, far], [x, 0, far], [x, 0, near]])
    slope = np.array([[middle, 8.0, near], [middle, 8.0, far], [x - side * 0.3, 4.6, far], [x - side * 0.3, 4.6, near]])
    return Board(roof, slope), Board(wall, along), upright(gable, middle, z, 8, 8)


def develop(image: Image, look: Light, key: tuple[int, int]) -> Image:
    """Blur, expose and grain a picture, (height, width, 4) uint8, and drop its fourth channel; the noise follows from `key`, (seed, frame)."""
    image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8)
    if look.defocus_px > 0.4:
        side = 3 if look.defocus_px < 0.8 else 5
        image = np.asarray(cv2.GaussianBlur(image, (side, side), look.defocus_px), np.uint8)
    if max(look.motion_px) > 1:
        image = np.asarray(cv2.blur(image, look.motion_px), np.uint8)
    values = np.linspace(0, 1, 256) ** look.gamma * look.gain * 255
    exposed = cv2.transform(cv2.LUT(image, np.clip(values, 0, 255).astype(np.uint8)), np.diag(look.tint))
    height, width = image.shape[:2]
    down, across = np.random.default_rng((*key, 51)).integers(0, _GRAIN_PX, 2)
    grain = _grain((width, height))[down : down + height, across : across + width]
    return np.asarray(cv2.addWeighted(exposed, 1, grain, look.noise / _GRAIN_SD, -127.5 * look.noise / _GRAIN_SD), np.uint8)


@functools.lru_cache(maxsize=4)
def _grain(size_wh: tuple[int, int]) -> Image:
    """Noise about 127.5, larger than the picture, so that each frame can have another part: the mean of two even draws is near enough to the bell curve."""
    first, second = np.random.default_rng(52).integers(0, 256, (2, size_wh[1] + _GRAIN_PX, size_wh[0] + _GRAIN_PX, 3), np.uint8)
    return np.asarray(cv2.addWeighted(first, 0.5, second, 0.5, 0), np.uint8)
