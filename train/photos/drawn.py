"""Draws photos of single signs as a car's camera takes them, and of places without a sign: any number of training photos, none of them real."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.datasets.faces import Face, PaintedFace
from edge.datasets.gtsrb import CLASSES
from edge.drawn.canvas import BLACK, BLUE, RED, WHITE, YELLOW
from edge.drawn.perspective import Pyramid, pyramid
from edge.drawn.signs import outline, vary_sign
from train.photos.camera import photograph
from train.photos.grounds import cut_out, shade

Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]

VARIANTS = 8
"""How many boards of each class are drawn; a photo shows one of them."""
SIDE_PX = (13.0, 115.0)
"""Shortest and longest side of a sign, evenly spread by their logarithms."""

_MASTER_PX = 128
_SEED = 42
_PRIORITY = 12
_KEPT = 512
"""Boards in memory, of some 90 kB each."""


def draw_photo(class_id: Face, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one photo of a sign, cut out as GTSRB does: with a margin of a tenth, 5 px at least.

    Args:
        class_id: 0 to 42, or a picture of a face.
        rng: the only source of chance, so that a seed repeats the photo.

    Returns:
        (height, width, 3) uint8 BGR.

    Raises:
        InputError: no such class.
    """
    return photograph(_scene(class_id, _side(rng), rng)[0], rng)


def draw_track(class_id: Face, frames: int, rng: np.random.Generator) -> list[tuple[NDArray[np.uint8], Box]]:
    """Draw photos of one sign from far to near: board, place, light and ground stay, and only the camera takes each anew.

    Args:
        class_id: 0 to 42.
        frames: how many, 1 or more.
        rng: the only source of chance.

    Returns:
        Photos as of `draw_photo`, each with the sign's box in it: x1, y1, x2, y2 in pixels, end-exclusive.

    Raises:
        InputError: no such class.
    """
    scene_seed, track = int(rng.integers(2**63)), []
    for side in sorted(_side(rng) for _ in range(frames)):
        scene, place = _scene(class_id, side, np.random.default_rng(scene_seed))
        edge = _seen(place, _edge(class_id))
        (x1, y1), (x2, y2) = np.rint([edge.min(axis=0), edge.max(axis=0)]).astype(int).tolist()
        track.append((photograph(scene, rng), (x1, y1, x2, y2)))
    return track


def _scene(class_id: Face, side: float, rng: np.random.Generator) -> tuple[Floats, NDArray[np.float64]]:
    """Draw what the camera has before it: the light, (height, width, 3) BGR, and where the board stands, as of `_stand`."""
    place, size_wh = _stand(class_id, side, rng)
    variant = int(rng.integers(VARIANTS))
    board = _board(class_id, 0 if isinstance(class_id, PaintedFace) else variant)
    # Light on the sign is what exposure leaves of it: dark photos are frequent. The ground has light of its own, the sky much more of it.
    light = _light(rng)
    scene = cut_out(rng, size_wh) * np.float32(light * np.exp(rng.normal(-0.4, 0.55)))
    _stand_beside(scene, place, light, rng)
    if rng.random() < 0.18:
        _stand_next(scene, place, light, rng)
    face = _lit(_painted(_warped(board, place, size_wh), class_id, rng), light, rng)
    scene *= 1 - face[:, :, 3:] / 255
    scene += face[:, :, :3]
    if rng.random() < 0.12:
        _cover(scene, place, light, rng)
    if rng.random() < 0.06:
        scene += shade(rng, size_wh)[:, :, None] * np.float32(rng.uniform(40, 200) * light)  # glare
    return scene, place


def draw_background(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one photo of a place without a sign, of the sizes and in the light of `draw_photo`: (height, width, 3) uint8 BGR."""
    side = _side(rng)
    place, size_wh = _stand(int(rng.integers(CLASSES)), side, rng)
    light = _light(rng)
    scene = cut_out(rng, size_wh) * np.float32(light * np.exp(rng.normal(-0.4, 0.55)))
    if rng.random() < 0.4:
        aside = np.array([[1, 0, rng.uniform(-0.5, 0.5)], [0, 1, rng.uniform(-0.9, 0.5)], [0, 0, 1]])
        _stand_beside(scene, place @ aside, light, rng)
    for _ in range(int(rng.integers(0, 3))):
        _cover(scene, place, light, rng)
    return photograph(scene, rng)


def _side(rng: np.random.Generator) -> float:
    low, high = np.log(SIDE_PX)
    return float(np.exp(rng.uniform(low, high)))


def _light(rng: np.random.Generator) -> float:
    return float(np.clip(np.exp(rng.normal(-0.6, 0.75)), 0.05, 1.3))


def _stand(class_id: Face, side: float, rng: np.random.Generator) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Turn a board before the camera and cut it out: the (3, 3) matrix from units of its side to pixels, and the photo's width and height."""
    turn = np.deg2rad(rng.normal(0, 4))
    cosine, sine = np.cos(turn), np.sin(turn)
    squeezed = np.array([[cosine * rng.uniform(0.84, 1.0), -sine + rng.normal(0, 0.03)], [sine, cosine]])
    place = np.eye(3)
    place[:2, :2] = squeezed
    place[:2, 2] = -squeezed @ (0.5, 0.5)
    place = np.array([[1, 0, 0], [0, 1, 0], [rng.normal(0, 0.07), rng.normal(0, 0.05), 1]]) @ place
    corners = _seen(place, _edge(class_id))
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = side / float((high - low).max())
    margin = np.maximum(max(5.0, 0.1 * side) + rng.normal(0, 0.035, 4) * side, 1.0)
    size_wh = np.maximum(np.rint((high - low) * scale + margin[:2] + margin[2:]), 15).astype(int)
    x, y = (margin[:2] - low * scale).tolist()
    return np.array([[scale, 0, x], [0, scale, y], [0, 0, 1]]) @ place, (int(size_wh[0]), int(size_wh[1]))


def _seen(place: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = points @ place[:, :2].T + place[:, 2]
    return flat[:, :2] / flat[:, 2:]


@functools.lru_cache(maxsize=_KEPT)
def _edge(class_id: Face) -> NDArray[np.float64]:
    hull = outline(class_id)
    return hull[:: max(len(hull) // 32, 1)]


@functools.lru_cache(maxsize=_KEPT)
def _board(class_id: Face, variant: int) -> Pyramid:
    chance = (_SEED, variant) if isinstance(class_id, PaintedFace) else (_SEED, class_id, variant)
    face = vary_sign(class_id, np.random.default_rng(chance))
    return pyramid(np.asarray(cv2.resize(face, (_MASTER_PX, _MASTER_PX), interpolation=cv2.INTER_AREA), np.uint8))


def _warped(board: Pyramid, place: NDArray[np.float64], size_wh: tuple[int, int]) -> Floats:
    """Bring a board into the photo: (height, width, 4), colours multiplied by alpha."""
    side = float(np.hypot(place[0, 0], place[1, 0]))
    level = board[int(np.clip(np.log2(_MASTER_PX / side) + 0.3, 0, len(board) - 1))]
    pixels = len(level)
    matrix = place @ np.array([[1 / pixels, 0, 0.5 / pixels], [0, 1 / pixels, 0.5 / pixels], [0, 0, 1]])
    matrix[:2] -= 0.5 * matrix[2]
    return np.asarray(cv2.warpPerspective(level, matrix, size_wh, flags=cv2.INTER_LINEAR), np.float32)


def _paints(*colours: tuple[int, int, int]) -> NDArray[np.float64]:
    return np.linalg.inv(np.array([[*colour, 255.0] for colour in colours]))


# A linear map of colours that takes each paint to what became of it; signs with yellow have neither red nor blue.
_FROM_RED_AND_BLUE, _FROM_YELLOW = _paints(WHITE, BLACK, RED, BLUE), _paints(WHITE, BLACK, YELLOW, (200, 0, 100))


def _painted(face: Floats, class_id: Face, rng: np.random.Generator) -> Floats:
    """Give the paints the colours that they have after some years."""
    faded = rng.random() ** 4 * 0.8
    white = np.array(WHITE) * rng.uniform(0.78, 1.05) * (1 + rng.normal(0, 0.02, 3))
    black = np.array(BLACK) * rng.uniform(0.3, 1.7) + faded * 25
    if class_id == _PRIORITY:
        yellow = np.array([rng.uniform(10, 90), rng.uniform(140, 195), rng.uniform(205, 255)])
        to, back = np.array([white, black, yellow, (200, 0, 100)]), _FROM_YELLOW
    else:
        orange = rng.random() ** 6 * 100
        red = np.array([rng.uniform(25, 60), rng.uniform(15, 45) + orange, rng.uniform(140, 225) + 0.3 * orange])
        blue = np.array([rng.uniform(115, 215), rng.uniform(55, 110), rng.uniform(8, 45)])
        if isinstance(class_id, PaintedFace):  # whose paints nobody knows: what they are made of keeps its hue
            red, blue = np.array(RED, np.float64), np.array(BLUE, np.float64)
        red, blue = (paint + (white - paint) * faded * share for paint, share in ((red, 0.6), (blue, 0.35)))
        to, back = np.array([white, black, red, blue]), _FROM_RED_AND_BLUE
    matrix = (back @ np.hstack([to, np.full((4, 1), 255.0)])).T
    return np.maximum(np.asarray(cv2.transform(face, matrix.astype(np.float32)), np.float32), 0)


def _lit(face: Floats, light: float, rng: np.random.Generator) -> Floats:
    """Let light fall on a face: uneven, with dirt, and with shadows of trees and wires."""
    height, width = face.shape[:2]
    down, across = rng.normal(0, 0.15, 2)
    lit = np.add.outer(np.linspace(1 - down, 1 + down, height), np.linspace(-across, across, width)).astype(np.float32) * np.float32(light)
    if rng.random() < 0.2:
        lit *= 1 - np.float32(rng.uniform(0.3, 0.8)) * shade(rng, (width, height))
    if rng.random() < 0.3:
        lit *= 1 - np.float32(rng.uniform(0.05, 0.25)) * shade(rng, (width, height))
    face[:, :, :3] *= lit[:, :, None]
    return face


def _stand_beside(scene: Floats, place: NDArray[np.float64], light: float, rng: np.random.Generator) -> None:
    """Draw what signs have behind and below them, in place: a pole, a plate."""
    if rng.random() < 0.7:
        half, x, top = rng.uniform(0.025, 0.05), 0.5 + rng.normal(0, 0.02), 0.4 if rng.random() < 0.6 else -0.5
        grey = light * rng.uniform(40, 200)
        for left, right, shine in ((-1.0, 1.0, 0.7), (-0.5, 0.3, 1.0)):
            _box(scene, place, (x + left * half, top, x + right * half, 1.6), (grey * shine,) * 3)
    if rng.random() < 0.2:
        paint = np.array(WHITE) * light * rng.uniform(0.6, 1.0)
        top = rng.uniform(0.99, 1.06)
        _box(scene, place, (0.0, top, 1.0, top + 0.5), (paint * 0.2).tolist())
        _box(scene, place, (0.015, top + 0.015, 0.985, top + 0.5), paint.tolist())


def _stand_next(scene: Floats, place: NDArray[np.float64], light: float, rng: np.random.Generator) -> None:
    """Draw another sign above or below, in place, of which the margin shows a piece."""
    class_id, above = int(rng.integers(CLASSES)), rng.choice([-1.0, 1.0])
    shifted = place @ np.array([[1, 0, rng.normal(0, 0.04)], [0, 1, above * rng.uniform(0.98, 1.12)], [0, 0, 1]])
    face = _painted(_warped(_board(class_id, 0), shifted, (scene.shape[1], scene.shape[0])), class_id, rng)
    scene *= 1 - face[:, :, 3:] / 255
    scene += face[:, :, :3] * np.float32(light)


def _box(scene: Floats, place: NDArray[np.float64], box: tuple[float, float, float, float], colour: Sequence[float]) -> None:
    x1, y1, x2, y2 = box
    corners = _seen(place, np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]))
    cv2.fillConvexPoly(scene, np.rint((corners - 0.5) * 16).astype(np.int32), list(colour), cv2.LINE_8, 4)


def _cover(scene: Floats, place: NDArray[np.float64], light: float, rng: np.random.Generator) -> None:
    """Cover a part, in place: a sticker, a few leaves, or a twig."""
    x, y = rng.uniform(0, 1, 2)
    kind = rng.random()
    if kind < 0.4:
        wide, high = rng.uniform(0.05, 0.22, 2)
        _box(scene, place, (x, y, x + wide, y + high), (rng.uniform(60, 240, 3) * light).tolist())
        return
    leaf = np.array([rng.uniform(10, 60), rng.uniform(30, 110), rng.uniform(20, 100)]) * light
    if kind < 0.75:
        for _ in range(int(rng.integers(2, 9))):
            (middle,) = _seen(place, np.array([(x, y)]) + rng.normal(0, 0.15, 2))
            axes = np.abs(rng.normal(0, 0.05, 2) * place[0, 0]) + 1
            cv2.ellipse(scene, (middle.tolist(), (2 * axes).tolist(), float(rng.uniform(0, 180))), (leaf * rng.uniform(0.5, 1.2)).tolist(), -1)
        return
    path = _seen(place, rng.normal(0, 0.12, (6, 2)).cumsum(axis=0) + np.array([x, y]))
    cv2.polylines(scene, [np.rint(path * 16).astype(np.int32)], False, (leaf * 0.6).tolist(), int(rng.integers(1, 3)), cv2.LINE_8, 4)
