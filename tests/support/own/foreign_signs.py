"""Twelve drawn signs that GTSRB does not know, in shapes, pictograms and names of other countries: photos of them, frames with them, and layouts of both."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.drawn.drone.flight import DroneFlight
from edge.drawn.scenes import Flight
from edge.geometry.boxes import iou_matrix
from train.photos.camera import photograph
from train.photos.grounds import cut_out

NAMES = (
    "School crossing",
    "注意野生动物",
    "前方学校",
    "Переезд",
    "Рыбалка запрещена",
    "Hospital",
    "Parking",
    "Pole 7",
    "Камера",
    "单行道",
    "Dock",
    "High voltage",
)
FRAME_WH = 960, 540
_SIDE = 256
BLACK, WHITE, RED, BLUE, YELLOW, LIME, ORANGE, GREEN = (
    (20, 20, 20), (240, 240, 240), (40, 30, 200), (170, 80, 20), (20, 190, 240), (40, 230, 190), (20, 110, 240), (80, 120, 20),
)  # fmt: skip
_DIAMOND, _TRIANGLE = [(128, 4), (252, 128), (128, 252), (4, 128)], [(128, 14), (252, 236), (4, 236)]
_SQUARE, _WIDE, _TALL = [(16, 16), (240, 16), (240, 240), (16, 240)], [(4, 70), (252, 70), (252, 186), (4, 186)], [(60, 4), (196, 4), (196, 252), (60, 252)]
_PENTAGON = [(128, 6), (248, 96), (248, 250), (8, 250), (8, 96)]
_SHAPES = (_PENTAGON, _DIAMOND, _TRIANGLE, None, None, _SQUARE, _SQUARE, _TALL, _WIDE, _WIDE, _DIAMOND, _TRIANGLE)
_PAINTS = (LIME, YELLOW, YELLOW, WHITE, WHITE, BLUE, BLUE, WHITE, BLUE, GREEN, ORANGE, YELLOW)

Image = NDArray[np.uint8]


def on_grey(picture: Image) -> NDArray[np.float64]:
    """Show a face, (256, 256, 4) BGRA, before grey, small enough that only what can be seen counts: (64, 64, 3)."""
    alpha = picture[:, :, 3:] / 255
    return np.asarray(cv2.resize(picture[:, :, :3] * alpha + 128 * (1 - alpha), (64, 64), interpolation=cv2.INTER_AREA), np.float64)


def face(class_id: int) -> Image:
    """Draw a face, (256, 256, 4) uint8 BGR and alpha."""
    board, alpha = np.zeros((_SIDE, _SIDE, 3), np.uint8), np.zeros((_SIDE, _SIDE), np.uint8)
    shape, paint = _SHAPES[class_id], _PAINTS[class_id]
    if shape is not None:
        corners = np.array(shape, np.int32)
        cv2.fillPoly(alpha, [corners], 255)
        cv2.fillPoly(board, [corners], paint)
        cv2.polylines(board, [corners], True, WHITE if paint in (BLUE, GREEN) else BLACK, 8)
    elif class_id == 3:
        for start, end in (((20, 50), (236, 206)), ((20, 206), (236, 50))):
            cv2.line(alpha, start, end, 255, 44)
            cv2.line(board, start, end, RED, 44)
            cv2.line(board, start, end, WHITE, 24)
    else:
        cv2.circle(alpha, (128, 128), 122, 255, -1)
        cv2.circle(board, (128, 128), 122, RED, -1)
        cv2.circle(board, (128, 128), 96, WHITE, -1)
    _pictogram(board, class_id)
    return np.dstack([board, alpha])


def _pictogram(board: Image, class_id: int) -> None:
    def text(word: str, at: tuple[int, int], size: float, colour: tuple[int, int, int]) -> None:
        cv2.putText(board, word, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 18, cv2.LINE_AA)

    if class_id == 0:
        for x in (92, 164):
            cv2.circle(board, (x, 112), 18, BLACK, -1)
            for end in ((x - 22, 232), (x + 22, 232)):
                cv2.line(board, (x, 130), end, BLACK, 14)
    elif class_id == 1:
        cv2.ellipse(board, (120, 130), (56, 26), 0, 0, 360, BLACK, -1)
        for x in (78, 100, 140, 162):
            cv2.line(board, (x, 140), (x, 190), BLACK, 10)
        cv2.line(board, (165, 120), (196, 84), BLACK, 20)
    elif class_id == 2:
        cv2.rectangle(board, (84, 130), (122, 204), BLACK, -1)
        cv2.rectangle(board, (134, 130), (172, 204), BLACK, -1)
    elif class_id == 4:
        cv2.ellipse(board, (120, 128), (56, 26), 0, 0, 360, BLACK, -1)
        cv2.fillPoly(board, [np.array([(166, 128), (204, 96), (204, 160)], np.int32)], BLACK)
        cv2.line(board, (60, 60), (196, 196), RED, 20)
    elif class_id in (5, 6, 7):
        text({5: "H", 6: "P", 7: "7"}[class_id], (82, 180) if class_id < 7 else (84, 170), 4.4 if class_id < 7 else 4.2, WHITE if class_id < 7 else BLACK)
        if class_id == 7:
            cv2.rectangle(board, (64, 206), (192, 240), RED, -1)
    elif class_id == 8:
        cv2.rectangle(board, (70, 100), (170, 160), WHITE, -1)
        cv2.fillPoly(board, [np.array([(172, 130), (210, 100), (210, 160)], np.int32)], WHITE)
    elif class_id == 9:
        cv2.arrowedLine(board, (40, 128), (220, 128), WHITE, 26, tipLength=0.35)
    elif class_id == 10:
        cv2.circle(board, (128, 70), 18, BLACK, 10)
        cv2.line(board, (128, 88), (128, 200), BLACK, 14)
        cv2.ellipse(board, (128, 150), (56, 50), 0, 10, 170, BLACK, 14)
    elif class_id == 11:
        cv2.fillPoly(board, [np.array([(140, 80), (96, 160), (126, 160), (108, 220), (164, 140), (132, 140)], np.int32)], BLACK)


def stand(class_id: int, side: float, rng: np.random.Generator) -> tuple[Image, NDArray[np.float64]]:
    """See a face from somewhere: (height, width, 4) uint8 with a border of one pixel, and the box of what is painted, (4,) pixels."""
    drawn = face(class_id)
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
    turn = np.deg2rad(rng.normal(0, 5))
    across = rng.uniform(0.8, 1.0)
    matrix = np.array([[np.cos(turn) * across, -np.sin(turn)], [np.sin(turn) * across, np.cos(turn)]], np.float32)
    seen = (corners - 0.5) @ matrix.T + rng.normal(0, 0.02, (4, 2)).astype(np.float32)
    seen = (seen - seen.min(axis=0)) * side + 1
    width, height = np.ceil(seen.max(axis=0)).astype(int) + 1
    factor = max(1, int(_SIDE // (2 * side)))
    small = cv2.resize(drawn, (_SIDE // factor, _SIDE // factor), interpolation=cv2.INTER_AREA)
    warp = cv2.getPerspectiveTransform(corners * len(small), seen.astype(np.float32))
    warped = cv2.warpPerspective(small, warp, (int(width), int(height)), flags=cv2.INTER_AREA)
    rows, columns = np.nonzero(warped[:, :, 3] > 127)
    return warped, np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float64)


def photo(class_id: int, rng: np.random.Generator) -> Image:
    """Take a photo of one sign, with a margin of about a tenth, somewhere in some light."""
    warped, box = stand(class_id, float(np.exp(rng.uniform(np.log(24), np.log(110)))), rng)
    margin = np.maximum((box[2:] - box[:2]).max() * rng.uniform(0.06, 0.14, 4), 2)
    x1, y1 = np.floor(box[:2] - margin[:2]).astype(int)
    x2, y2 = np.ceil(box[2:] + margin[2:]).astype(int)
    light = float(np.clip(np.exp(rng.normal(-0.3, 0.4)), 0.2, 1.2))
    scene = cut_out(rng, (int(x2 - x1), int(y2 - y1))) * np.float32(light)
    canvas = np.zeros((*scene.shape[:2], 4), np.float32)
    part = warped[max(y1, 0) : y2, max(x1, 0) : x2].astype(np.float32)
    top, left = max(-y1, 0), max(-x1, 0)
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    alpha = canvas[:, :, 3:] / 255
    return photograph(scene * (1 - alpha) + canvas[:, :, :3] * alpha * light, rng)


def frame(seed: int, most: int = 3) -> tuple[Image, NDArray[np.float64], list[int]]:
    """Take a frame of a road without other signs: (height, width, 3) uint8 BGR, boxes, (n, 4) whole pixels, and class ids; `most` 0 has none."""
    rng = np.random.default_rng([seed, 11])
    flight = (DroneFlight if seed % 2 else Flight)(seed=seed, size_wh=FRAME_WH, signs=False)
    image = flight.frame(int(rng.integers(flight.frames))).image.astype(np.float32)
    boxes, class_ids = np.zeros((0, 4)), []
    for _ in range(int(rng.integers(1, most + 1)) if most else 0):
        class_id = int(rng.integers(len(NAMES)))
        warped, box = stand(class_id, float(np.exp(rng.uniform(np.log(28), np.log(120)))), rng)
        height, width = warped.shape[:2]
        x, y = int(rng.integers(0, FRAME_WH[0] - width)), int(rng.integers(0, FRAME_WH[1] - height))
        placed = box + np.tile([x, y], 2)
        if (iou_matrix(placed[None], boxes) > 0).any():
            continue
        ground = image[y : y + height, x : x + width]
        alpha = cv2.GaussianBlur(warped[:, :, 3].astype(np.float32), (0, 0), 0.6)[:, :, None] / 255
        colours = cv2.GaussianBlur(warped[:, :, :3].astype(np.float32), (0, 0), 0.5) * float(np.clip(np.exp(rng.normal(-0.2, 0.3)), 0.35, 1.1))
        ground[:] = ground * (1 - alpha) + colours * alpha
        boxes, class_ids = np.vstack([boxes, placed]), [*class_ids, class_id]
    noisy = image + rng.normal(0, rng.uniform(1, 5), image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), boxes, class_ids


def write_photos(folder: Path, a_class: int, seed: int = 0, names: tuple[str, ...] = NAMES) -> Path:
    """Write so many photos of each class to a folder of its name."""
    rng = np.random.default_rng([seed, 12])
    for class_id, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(a_class):
            cv2.imencode(".png", photo(class_id, rng))[1].tofile(folder / name / f"IMG_{number:04}.png")
    return folder


def write_yolo(folder: Path, count: int, seed: int = 0, most: int = 3) -> Path:
    """Write frames and their boxes as YOLO has them: data.yaml, images/, labels/."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number in range(count):
        image, boxes, class_ids = frame(1000 * seed + number, most)
        cv2.imwrite(str(folder / "images" / f"{number:04}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        middles = np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]]) / np.tile(FRAME_WH, 2)
        lines = [" ".join([str(class_id), *(f"{value:.6f}" for value in row)]) for class_id, row in zip(class_ids, middles, strict=True)]
        (folder / "labels" / f"{number:04}.txt").write_text("\n".join(lines), encoding="utf-8")
    listed = "\n".join(f"  {place}: {name}" for place, name in enumerate(NAMES))
    (folder / "data.yaml").write_text(f"path: .\ntrain: images\nval: images\nnames:\n{listed}\n", encoding="utf-8")
    return folder
