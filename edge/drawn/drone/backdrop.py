"""Renders what a drone's camera sees: the land below, tilted and bent by the lens, what stands in it, and signs' faces."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.drawn import scenery
from edge.drawn.backdrop import Light, develop
from edge.drawn.drone.ground import DETAILS, Detail, ground
from edge.drawn.drone.path import PERIOD_M
from edge.drawn.drone.things import SLOT_M, driving, shadows_of, small_shadow, small_tree, standing, turned_to
from edge.drawn.perspective import Board, DroneCamera, Floats, Image, draw, lay, unbent, veiled
from edge.geometry.camera import axes_of

_COARSER = 0.6
_SIGHT_M = 140.0
_BEHIND_M = 24.0
_NEAREST_M = 0.6
_LEAST_PX, _LYING_M = (1.8, 3.0), 0.1
_CLEAR_M, _HAZY_M, _UNSEEN = 20.0, 330.0, 0.98
_SMALL_PX, _HAZES = 64, 24
_SHADOW = -1
_PANORAMA = math.radians(230)
_SKY = 0.6


@dataclass(frozen=True)
class _Sheet:
    """A picture that the camera would take without roll and lens, as large as what it sees asks for; its middle is the optical axis.

    Attributes:
        focal: in pixels of the sheet.
        left: of the first column, pixels from the middle.
        top: of the first row.
        size_wh: width and height.
    """

    focal: float
    left: int
    top: int
    size_wh: tuple[int, int]


def render(camera: DroneCamera, time_s: float, stands: Sequence[Board], faces: Sequence[Board], look: Light, key: tuple[int, int]) -> Image:
    """Draw one picture, (height, width, 3) uint8 BGR.

    Args:
        camera: where it is taken from.
        time_s: when: cars are on their way.
        stands: what stands in the land besides the scenery: posts and backs of signs.
        faces: signs' faces; nothing hides them, and they are drawn finer than the rest.
        look: light, lens and sensor.
        key: (seed, frame); what stands in the land follows from the seed, the noise from both.
    """
    image = _land_and_sky(camera, look.sky, key[0] % scenery.FIELDS)
    slots = [standing(key[0], slot) for slot in range(math.floor((camera.z - _BEHIND_M) / SLOT_M), math.floor((camera.z + _SIGHT_M) / SLOT_M) + 1)]
    cars = driving(key[0], time_s, camera.z - _BEHIND_M, camera.z + _SIGHT_M)
    boards = [*(board for slot in slots for board in slot.boards), *cars, *stands]
    _paint(image, camera, boards, np.concatenate([slot.trees for slot in slots]))
    for board in sorted(faces, key=lambda board: -float(np.linalg.norm(board.corners[0] - camera.place))):
        corners = camera.project(board.corners)
        draw(image, board.pyramid, corners, finer=4 if np.ptp(corners, axis=0).max() < 64 else 2)
    return develop(image, look, key)


def _paint(image: Image, camera: DroneCamera, boards: Sequence[Board], trees: Floats) -> None:
    """Paint what stands in the land into a picture, in place: what lies on the ground first, then what is farther away."""
    turned, corners_of_trees = turned_to(camera.place, trees)
    pictures = [*(board.pyramid for board in boards), *[scenery.shadow()] * len(trees), *turned]
    corners = np.concatenate([*(board.corners[None] for board in boards), shadows_of(trees), corners_of_trees])
    flat, away = camera.project(corners), np.linalg.norm(corners.mean(axis=1) * (1, 0, 1) - camera.place, axis=1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    edges = np.roll(flat, -1, axis=1) - flat
    after = np.roll(edges, -1, axis=1)
    seen = (camera.depths(corners).min(axis=1) > _NEAREST_M) & (high > 0).all(axis=1) & (low < camera.size_wh).all(axis=1)
    # A board that is seen from behind has its corners the other way round; of one that is seen from the edge the lens may make a knot.
    seen &= (edges[..., 0] * after[..., 1] - edges[..., 1] * after[..., 0]).min(axis=1) > 0
    seen &= ((high - low).max(axis=1) >= _LEAST_PX[1]) & ((high - low).min(axis=1) >= _LEAST_PX[0])
    trunks, crowns = (slice(len(boards) + len(trees) + which, None, 2) for which in (0, 1))
    small = (high - low).max(axis=1) < _SMALL_PX * camera.size_wh[0] / 960
    small[: len(boards)], seen[trunks] = False, seen[trunks] & ~small[crowns]
    small[trunks] = False
    stamps, kinds = flat.copy(), np.full(len(flat), _SHADOW)
    stamps[crowns], kinds[crowns] = _whole(flat[crowns], flat[trunks]), trees[:, 3]
    sizes = np.maximum(np.rint(np.linalg.norm(stamps[:, 1:3] - stamps[:, 0:2], axis=2)), 1)
    placed = np.concatenate([np.rint(stamps.mean(axis=1) - sizes / 2), sizes], axis=1).astype(int)
    hazes = np.rint(_HAZES * (1 - np.exp(-np.maximum(away - _CLEAR_M, 0) / _HAZY_M))).astype(int).tolist()
    lies = np.ptp(corners[:, :, 1], axis=1) + corners[:, 0, 1] < _LYING_M
    for number in np.lexsort((-away, ~lies)).tolist():
        if seen[number] and small[number]:
            x, y, width, height = placed[number].tolist()
            _stamp(image, int(kinds[number]), (x, y), (width, height), hazes[number])
        elif seen[number]:
            draw(image, pictures[number], flat[number], haze=(hazes[number] / _HAZES, scenery.HAZE))


def _whole(crowns: Floats, trunks: Floats) -> Floats:
    """Return the corners of trees' crowns, (n, 4, 2), drawn down to the trunks' feet where these show."""
    edges, below = crowns[:, 3] - crowns[:, 0], (trunks[:, 2:] - crowns[:, 2:]).mean(axis=1)
    beyond = np.maximum((below * edges).sum(axis=1) / np.maximum((edges * edges).sum(axis=1), 1e-6), 0)
    return np.asarray(crowns + np.array([0.0, 0, 1, 1])[:, None] * (beyond[:, None] * edges)[:, None], np.float64)


def _stamp(image: Image, kind: int, corner: tuple[int, int], size_wh: tuple[int, int], hazes: int) -> None:
    """Paint a small tree or shadow as `draw` would, but upright and in whole pixels: there are hundreds, and each looks the same for many frames."""
    (x, y), (width, height) = corner, size_wh
    left, top = max(x, 0), max(y, 0)
    below = image[top : max(y + height, 0), left : max(x + width, 0)]
    if below.size:
        rows, columns = slice(top - y, top - y + len(below)), slice(left - x, left - x + below.shape[1])
        patch, clear = _stamped(kind, size_wh, hazes)
        lay(below, patch[rows, columns], clear[rows, columns])


@functools.lru_cache(maxsize=2048)
def _stamped(kind: int, size_wh: tuple[int, int], hazes: int) -> tuple[Image, Image]:
    picture = small_shadow(*size_wh) if kind == _SHADOW else small_tree(kind, *size_wh)
    return veiled(picture, (hazes / _HAZES, scenery.HAZE))


def _land_and_sky(camera: DroneCamera, sky: int, field: int) -> Image:
    """Draw ground and sky as the lens shows them."""
    roll = math.radians(camera.roll_deg)
    along, across = math.cos(roll) * _COARSER, math.sin(roll) * _COARSER
    x, y = unbent(camera.size_wh, camera.lens)
    rim = np.stack([np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]]) for plane in (x, y)])
    edge = np.array([[along, -across], [across, along]]) @ rim
    (left, top), (right, bottom) = np.floor(edge.min(axis=1)).astype(int).tolist(), np.ceil(edge.max(axis=1)).astype(int).tolist()
    sheet = _Sheet(camera.focal * _COARSER, left, top, (right - left, bottom - top))
    drawn = _sheet(camera, sheet, sky, field)
    columns = cv2.addWeighted(x, along, y, -across, -left - 0.5)
    rows = cv2.addWeighted(x, across, y, along, -top - 0.5)
    return np.asarray(cv2.remap(drawn, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _sheet(camera: DroneCamera, sheet: _Sheet, sky: int, field: int) -> Image:
    width, height = sheet.size_wh
    drawn = np.empty((height, width, 4), np.uint8)
    pitch = math.radians(camera.pitch_deg)
    horizon = sheet.focal * math.tan(pitch) - sheet.top
    edge = min(max(math.ceil(horizon), 0), height)
    if edge > 0:
        panorama = scenery.sky(sky, (round(_PANORAMA * sheet.focal), round(_SKY * camera.size_wh[0])))
        moved = width / 2 - panorama.shape[1] / 2 - math.radians(camera.yaw_deg) * sheet.focal, horizon - panorama.shape[0]
        cv2.warpAffine(panorama, np.array([[1, 0, moved[0]], [0, 1, moved[1]]]), (width, edge), drawn[:edge], cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    bottom = height
    for detail in DETAILS:
        begins = edge
        if detail.reach_m < math.inf:
            reach = math.sqrt(max(detail.reach_m**2 - camera.y**2, 0.0))
            below = math.atan2(camera.y, reach) + pitch
            begins = bottom if below > 1.5 or reach == 0 else math.ceil(sheet.focal * math.tan(below) - sheet.top)
        begins = min(max(begins, edge), bottom)
        if begins < bottom:
            view = _ground_view(camera, sheet, detail, begins)
            cv2.warpPerspective(ground(field, detail), view, (width, bottom - begins), drawn[begins:bottom], cv2.INTER_LINEAR, cv2.BORDER_WRAP)
        bottom = begins
    _veil(drawn[edge:], camera, sheet, edge)
    return drawn


def _ground_view(camera: DroneCamera, sheet: _Sheet, detail: Detail, top: int) -> Floats:
    """Return the homography from a ground texture's pixels to the sheet below row `top`."""
    across, along = 1 / detail.across, 1 / detail.along
    to_ground = np.array([[across, 0, across / 2 - detail.half_m - camera.x], [0, along, along / 2 - camera.z % PERIOD_M], [0, 0, 1]])
    seen = axes_of(0.0, camera.pitch_deg, camera.yaw_deg)
    to_camera = np.stack([seen[:, 0], seen[:, 2], -seen[:, 1] * camera.y], axis=1)
    focal, left, above = sheet.focal, -sheet.left - 0.5, -sheet.top - top - 0.5
    return np.asarray(np.array([[focal, 0, left], [0, focal, above], [0, 0, 1]]) @ to_camera @ to_ground, np.float64)


def _veil(land: Image, camera: DroneCamera, sheet: _Sheet, edge: int) -> None:
    """Lay haze over the ground, row by row, in place."""
    rows = np.arange(edge, edge + len(land)) + 0.5 + sheet.top
    below = np.maximum(np.arctan(rows / sheet.focal) - math.radians(camera.pitch_deg), 1e-4)
    share = np.exp(-np.maximum(camera.y / np.sin(below) - _CLEAR_M, 0) / _HAZY_M)
    share = share[share < _UNSEEN][:, None]
    if len(share):
        far, size = land[: len(share)], (land.shape[1], len(share))
        rows_of = np.repeat(np.rint(share * 255), 4, axis=1), np.rint((1 - share) * (*scenery.HAZE, 255))
        clear, veil = (cv2.resize(each.astype(np.uint8)[:, None], size, interpolation=cv2.INTER_NEAREST) for each in rows_of)
        cv2.add(cv2.multiply(far, clear, scale=1 / 255), veil, far)
