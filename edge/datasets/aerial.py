"""The drone's view: what banks, height, haste, weather and a thin radio link make of an annotated picture, by fixed rules.

Frames are changed with their boxes: a box becomes that of the changed ellipse that fills it, for corners would exaggerate. Photos of single signs are
changed and cropped to the sign again. The same picture and seed always give the same view; outside the source a picture is grey.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError, MissingDependency
from edge.images import decode_image

Image = NDArray[np.uint8]
Boxes = NDArray[np.float64]
Floats = NDArray[np.float64]

GREY = 114
SEED = 49
BARREL = 0.35
"""Of `fisheye`: a pixel at radius r, in half widths, shows what was at r (1 + 0.35 r^2)."""
GAMMA = 2.2
"""By which `darkened` falls: a camera at dusk has already opened its lens."""
FOG_LEVEL = 200.0
_TURN = np.linspace(0, 2 * np.pi, 64, endpoint=False)
_NEWTON_STEPS = 8
_CONCEALED = 0.3
_WEBP_QUALITY, _JPEG_QUALITY = (1, 35), (5, 30)
_CROP_PX = 32
_LEAST_ENCODED_PX = 16


def turned(size_wh: tuple[int, int], roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0) -> Floats:
    """Return how a picture's pixels move when it turns about its middle as a plane before a pinhole camera of focal length = width: (3, 3) float64.

    Args:
        size_wh: of the picture, pixels.
        roll: degrees in the picture, clockwise.
        pitch: degrees about the horizontal axis; above 0 the picture is seen from above.
        yaw: degrees about the vertical axis.
    """
    focal = float(size_wh[0])
    r, p, y = np.deg2rad([roll, pitch, yaw])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    turn = about_z @ about_x @ about_y
    # A point (x, y) of the plane lies at turn @ (x, y, 0) + (0, 0, focal).
    plane = np.column_stack([turn[:, 0], turn[:, 1], [0, 0, focal]])
    middle = (np.array(size_wh) - 1) / 2
    centred = np.array([[1, 0, -middle[0]], [0, 1, -middle[1]], [0, 0, 1]])
    camera = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
    return np.asarray(camera @ plane @ centred, np.float64)


def moved(points: Floats, matrix: Floats) -> Floats:
    """Move points, (..., 2) pixel centres, by a homography, (3, 3)."""
    homogeneous = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1) @ matrix.T
    return np.asarray(homogeneous[..., :2] / homogeneous[..., 2:], np.float64)


def boxes_of_ellipses(boxes_xyxy: Boxes, move: Callable[[Floats], Floats]) -> Boxes:
    """Return the boxes, (n, 4), of the moved ellipses that fill boxes, (n, 4), both in pixels, end-exclusive.

    Args:
        boxes_xyxy: before.
        move: of points, (n, k, 2) pixel centres.
    """
    if not len(boxes_xyxy):
        return np.zeros((0, 4))
    centres, halves = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2 - 0.5, (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / 2
    rims = centres[:, None] + halves[:, None] * np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
    rims = move(rims) + 0.5
    return np.concatenate([rims.min(axis=1), rims.max(axis=1)], axis=1)


def warp(image: Image, boxes_xyxy: Boxes, matrix: Floats, size_wh: tuple[int, int] | None = None) -> tuple[Image, Boxes]:
    """Move a picture, (h, w, 3) uint8 BGR, and its boxes, (n, 4), by a homography into a picture of `size_wh`, its own size where none is given."""
    size = size_wh or (image.shape[1], image.shape[0])
    view = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(GREY,) * 3)
    return np.asarray(view, np.uint8), boxes_of_ellipses(boxes_xyxy, partial(moved, matrix=matrix))


def barrelled(image: Image, boxes_xyxy: Boxes, strength: float = BARREL) -> tuple[Image, Boxes]:
    """Show a picture, (h, w, 3) uint8 BGR, and its boxes, (n, 4), through a lens with barrel distortion: see `BARREL`."""
    height, width = image.shape[:2]
    middle, half = np.array([(width - 1) / 2, (height - 1) / 2]), width / 2
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    seen = (np.stack([columns, rows], axis=-1) - middle) / half
    source = seen * (1 + strength * (seen**2).sum(axis=-1, keepdims=True)) * half + middle
    view = cv2.remap(image, source.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(GREY,) * 3)  # type: ignore[call-overload]

    def move(points: Floats) -> Floats:
        offset = (points - middle) / half
        far = np.linalg.norm(offset, axis=-1, keepdims=True)
        near = far.copy()
        for _ in range(_NEWTON_STEPS):
            near -= (near * (1 + strength * near**2) - far) / (1 + 3 * strength * near**2)
        return np.asarray(offset * np.where(far > 0, near / np.maximum(far, 1e-9), 1) * half + middle, np.float64)

    return np.asarray(view, np.uint8), boxes_of_ellipses(boxes_xyxy, move)


def shaken(image: Image, length: float, direction: float) -> Image:
    """Blur a picture, (h, w, 3) uint8, along a line of `length` pixels in a direction, radians."""
    side = max(1, int(np.ceil(length))) | 1
    if side < 3:
        return image
    # Drawn eight times as large, so that every direction gets its share of each pixel.
    fine, middle = 8, (side * 8 - 1) / 2
    reach = np.array([np.cos(direction), np.sin(direction)]) * (length - 1) / 2 * fine
    kernel = np.zeros((side * fine, side * fine), np.float32)
    ends = [tuple(np.rint((middle + sign * reach) * 16).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], (1.0,), fine, cv2.LINE_AA, 4)
    small = cv2.resize(kernel, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.filter2D(image, -1, small / small.sum(), borderType=cv2.BORDER_REPLICATE), np.uint8)


def darkened(image: Image, factor: float, sigma: float, rng: np.random.Generator) -> Image:
    """Show a picture, (h, w, 3) uint8, with its light to the power `GAMMA`, times a factor, and with noise of `sigma` of 255 levels."""
    levels = (np.arange(256) / 255.0) ** GAMMA * factor * 255
    dark = cv2.LUT(image, levels.astype(np.float32))
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(sigma)
    return np.clip(np.rint(dark + noise), 0, 255).astype(np.uint8)


def fogged(image: Image, share: float, level: float = FOG_LEVEL) -> Image:
    """Show so large a share of a picture, (h, w, 3) uint8, the rest being fog of a level from 0 to 255."""
    return np.asarray(np.clip(np.rint(image * np.float32(share) + np.float32(level * (1 - share))), 0, 255), np.uint8)


def has_ffmpeg() -> bool:
    """Tell whether the ffmpeg binary is there, which `through_h265` needs."""
    return shutil.which("ffmpeg") is not None


def through_h265(image: Image, quantiser: int) -> Image:
    """Send a picture, (h, w, 3) uint8 BGR, through one intra frame of H.265 at a constant quantiser, 0 to 51.

    The quantiser is what libx265 takes as its `qp`: that of a stream's inter frames. Its intra frames get 3 less, for what follows is made from them.

    Raises:
        MissingDependency: no ffmpeg.
        InputError: ffmpeg cannot encode H.265.
    """
    if not has_ffmpeg():
        raise MissingDependency("wanted ffmpeg to compress pictures by H.265, found none: install it (Debian, Ubuntu: apt install ffmpeg)")
    # Halved colour wants even sides, and libx265 none below 16: what is added at the right and below is cut off again.
    down, aside = (max(side % 2, _LEAST_ENCODED_PX - side) for side in image.shape[:2])
    whole = cv2.copyMakeBorder(image, 0, down, 0, aside, cv2.BORDER_REPLICATE)
    height, width = whole.shape[:2]
    ffmpeg = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin"]
    raw = ["-f", "rawvideo", "-pix_fmt", "bgr24"]
    into = ["-c:v", "libx265", "-preset", "medium", "-x265-params", f"qp={quantiser}:keyint=1:log-level=none", "-pix_fmt", "yuv420p", "-f", "hevc", "pipe:1"]
    try:
        encoded = subprocess.run(  # noqa: S603
            [*ffmpeg, *raw, "-s", f"{width}x{height}", "-i", "pipe:0", *into], input=whole.tobytes(), capture_output=True, check=True
        )
        decoded = subprocess.run(  # noqa: S603
            [*ffmpeg, "-f", "hevc", "-i", "pipe:0", *raw, "pipe:1"], input=encoded.stdout, capture_output=True, check=True
        )
    except subprocess.CalledProcessError as error:
        told = error.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing"]
        raise InputError(f"wanted ffmpeg to encode and decode H.265, it said: {told[-1]}: install one with libx265") from error
    return np.frombuffer(decoded.stdout, np.uint8).reshape(whole.shape)[: image.shape[0], : image.shape[1]].copy()


def through_link(image: Image, rng: np.random.Generator, jpeg_share: float = 0.25) -> Image:
    """Compress a picture, (h, w, 3) uint8 BGR, as strongly as a link of a few Mbit/s: WebP of a quality from 1 to 34, now and then JPEG.

    WebP is a video codec's intra frame, and every OpenCV has it: a quality of 1 to 20 leaves of a frame about what H.265 leaves at a quantiser of 42 to 38.
    """
    if rng.random() < jpeg_share:
        end, option, quality = ".jpg", cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*_JPEG_QUALITY))
    else:
        end, option, quality = ".webp", cv2.IMWRITE_WEBP_QUALITY, int(rng.integers(*_WEBP_QUALITY))
    return decode_image(cv2.imencode(end, image, [option, quality])[1].astype(np.uint8, copy=False), "a compressed view")


@dataclass(frozen=True)
class FrameView:
    """One way to look at an annotated frame.

    Attributes:
        cause: what its strength is counted in: roll, levelled roll, pitch, yaw, blur, light, quantiser, or a word of its own.
        strength: how strong; 0 is none. Of light and fog it is the share that is lost.
        apply: from (picture, boxes, place of the frame in its list) to the view and its boxes, which may reach beyond it.
        needs_ffmpeg: the view goes through an encoder.
        levelled: the roll is known to the runtime, which turns the picture back.
    """

    cause: str
    strength: float
    apply: Callable[[Image, Boxes, int], tuple[Image, Boxes]]
    needs_ffmpeg: bool = False
    levelled: bool = False

    def camera_roll(self, place: int) -> float | None:
        """Return the roll, degrees, that an autopilot tells of the camera of a frame with this place in its list; None where none does."""
        return -self.strength * _sign(place) if self.levelled else None


def _rng(place: int) -> np.random.Generator:
    return np.random.default_rng([SEED, place])


def _sign(place: int) -> int:
    return 1 if place % 2 == 0 else -1


def _turn(image: Image, boxes: Boxes, place: int, *, roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0) -> tuple[Image, Boxes]:
    size = image.shape[1], image.shape[0]
    return warp(image, boxes, turned(size, roll * _sign(place), pitch, yaw * _sign(place)))


def _shake(image: Image, boxes: Boxes, place: int, length: float) -> tuple[Image, Boxes]:
    return shaken(image, length, float(_rng(place).uniform(0, np.pi))), boxes


def _defocus(image: Image, boxes: Boxes, _: int, sigma: float) -> tuple[Image, Boxes]:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8), boxes


def _dusk(image: Image, boxes: Boxes, place: int, factor: float, sigma: float) -> tuple[Image, Boxes]:
    return darkened(image, factor, sigma, _rng(place)), boxes


def _compressed(image: Image, boxes: Boxes, _: int, quantiser: int) -> tuple[Image, Boxes]:
    return through_h265(image, quantiser), boxes


def _half(image: Image, boxes: Boxes, _: int) -> tuple[Image, Boxes]:
    size = image.shape[1] // 2, image.shape[0] // 2
    scale = np.array(size) / image.shape[1::-1]  # of an odd side a little less than half
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), boxes * np.tile(scale, 2)


def _flight(image: Image, boxes: Boxes, place: int) -> tuple[Image, Boxes]:
    rng = _rng(place)
    roll, pitch, length, quantiser = rng.uniform(-30, 30), rng.uniform(0, 35), rng.uniform(0, 5), int(rng.integers(30, 39))
    image, boxes = warp(image, boxes, turned((image.shape[1], image.shape[0]), roll, pitch))
    return through_h265(shaken(image, length, float(rng.uniform(0, np.pi))), quantiser), boxes


FRAME_VIEWS: dict[str, FrameView] = {
    "as they are": FrameView("none", 0, lambda image, boxes, _: (image, boxes)),
    **{f"roll {by}": FrameView("roll", by, partial(_turn, roll=by)) for by in (10, 20, 30, 45, 60)},
    **{f"roll {by} levelled": FrameView("levelled roll", by, partial(_turn, roll=by), levelled=True) for by in (30, 45, 60)},
    **{f"pitch {by}": FrameView("pitch", by, partial(_turn, pitch=by)) for by in (30, 45, 60)},
    **{f"yaw {by}": FrameView("yaw", by, partial(_turn, yaw=by)) for by in (30, 45, 60)},
    "fisheye": FrameView("lens", BARREL, lambda image, boxes, _: barrelled(image, boxes)),
    **{f"shake {by}": FrameView("blur", by, partial(_shake, length=by)) for by in (3, 5, 7, 11, 15)},
    **{f"defocus {by}": FrameView("defocus", by, partial(_defocus, sigma=by)) for by in (1, 2)},
    "dim": FrameView("light", 0.4, partial(_dusk, factor=0.6, sigma=8)),
    "night": FrameView("light", 0.75, partial(_dusk, factor=0.25, sigma=10)),
    "fog": FrameView("fog", 0.6, lambda image, boxes, _: (fogged(image, 0.4), boxes)),
    **{f"h265 {by}": FrameView("quantiser", by, partial(_compressed, quantiser=by), True) for by in (30, 36, 42)},
    "half": FrameView("size", 0.5, _half),
    "flight": FrameView("flight", 1, _flight, True),
}
"""The views of a frame that benchmarks tell: name to view. Turns to one side and the other alternate."""

JUDGED = ("roll 20", "roll 30", "roll 45", "pitch 45", "pitch 60", "yaw 45", "yaw 60", "dim", "fog", "h265 36", "h265 42", "shake 7")
"""The views whose mean F1 stands for all."""


LINK = "link"
MIXTURE = (("roll 20", "pitch 45", "fog"), ("roll 30", "yaw 45", "dim"), ("roll 45", LINK, "shake 7"), ("roll 30", "pitch 60", "yaw 60"))
"""The views beside the frames as they are in which models and thresholds are chosen, group by group of a frame's place in its list. They need no encoder."""


def mixture(image: Image, boxes_xyxy: Boxes, place: int) -> Iterator[tuple[Image, Boxes]]:
    """Show a frame, (h, w, 3) uint8 BGR, with its boxes, (n, 4), in the three views of `MIXTURE` that its place in its list asks for."""
    for name in MIXTURE[place % len(MIXTURE)]:
        if name == LINK:
            yield through_link(image, np.random.default_rng(place)), boxes_xyxy
        else:
            yield FRAME_VIEWS[name].apply(image, boxes_xyxy, place)


@dataclass(frozen=True)
class CropView:
    """One way to look at a photo of a single sign: from (photo, rng) to the view, both (h, w, 3) uint8 BGR."""

    apply: Callable[[Image, np.random.Generator], Image]


def turned_crop(image: Image, roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0) -> Image:
    """Turn a photo of one sign about its middle and crop it to the sign again: (h, w, 3) uint8 BGR.

    The sign is taken for the ellipse that fills the photo, with the margin that it has there. Outside the photo its edge goes on.
    """
    height, width = image.shape[:2]
    # A sign is small in its frame: its own perspective is that of a camera many widths away.
    far = 8
    matrix = turned((width * far, height * far), roll, pitch, yaw)
    inset = np.array([[1, 0, width * (far - 1) / 2], [0, 1, height * (far - 1) / 2], [0, 0, 1.0]])
    matrix = matrix @ inset
    box = boxes_of_ellipses(np.array([[0.0, 0.0, width, height]]), partial(moved, matrix=matrix))[0]
    size = np.maximum(np.rint(box[2:] - box[:2]), 2).astype(int)
    scale = size / (box[2:] - box[:2])
    corner = (0.5 - box[:2]) * scale - 0.5  # of pixel centres, where the box is of their edges
    back = np.array([[scale[0], 0, corner[0]], [0, scale[1], corner[1]], [0, 0, 1]])
    view = cv2.warpPerspective(image, back @ matrix, size.tolist(), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(view, np.uint8)


def _shrunk(image: Image, side: int) -> Image:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if side < min(image.shape[:2]) else cv2.INTER_LINEAR), np.uint8)


def _noisy(image: Image, rng: np.random.Generator, sigma: float) -> Image:
    return np.clip(np.rint(image + rng.normal(0, sigma, image.shape)), 0, 255).astype(np.uint8)


def _occluded(image: Image, rng: np.random.Generator) -> Image:
    covered = image.copy()
    sides = np.rint(np.array(image.shape[:2]) * _CONCEALED**0.5).astype(int)
    top, left = (int(rng.integers(0, room + 1)) for room in np.array(image.shape[:2]) - sides)
    covered[top : top + sides[0], left : left + sides[1]] = GREY
    return covered


def _aerial(image: Image, rng: np.random.Generator) -> Image:
    view = turned_crop(image, roll=rng.uniform(-30, 30), pitch=rng.uniform(20, 50))
    return shaken(_shrunk(view, 28), 3, float(rng.uniform(0, np.pi)))


def _either_way(image: Image, rng: np.random.Generator, roll: float = 0.0, yaw: float = 0.0) -> Image:
    side = 1 if rng.random() < 0.5 else -1
    return turned_crop(image, roll=roll * side, yaw=yaw * side)


def _from_above(image: Image, _: np.random.Generator, pitch: float) -> Image:
    return turned_crop(image, pitch=pitch)


def _far(image: Image, _: np.random.Generator, side: int) -> Image:
    return _shrunk(image, side)


def _hasty(image: Image, rng: np.random.Generator, length: float) -> Image:
    return shaken(_shrunk(image, _CROP_PX), length, float(rng.uniform(0, np.pi)))


CROP_VIEWS: dict[str, CropView] = {
    **{f"roll {by}": CropView(partial(_either_way, roll=by)) for by in (15, 30, 45)},
    **{f"pitch {by}": CropView(partial(_from_above, pitch=by)) for by in (45, 60, 70)},
    **{f"yaw {by}": CropView(partial(_either_way, yaw=by)) for by in (45, 60, 70)},
    **{f"px {by}": CropView(partial(_far, side=by)) for by in (24, 16)},
    **{f"motion {by}": CropView(partial(_hasty, length=by)) for by in (5, 9)},
    **{f"noise {by}": CropView(partial(_noisy, sigma=by)) for by in (25, 50)},
    "dark": CropView(lambda image, rng: darkened(image, 0.25, 10, rng)),
    "fog": CropView(lambda image, _: fogged(image, 0.25)),
    "jpeg 7": CropView(
        lambda image, _: decode_image(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 7])[1].astype(np.uint8), "a photo compressed here")
    ),
    "occluded": CropView(_occluded),
    "aerial": CropView(_aerial),
}
"""The views of a photo of a single sign that benchmarks tell: name to view."""

CROP_MIXTURE = ("roll 30", "pitch 45", "yaw 45", "motion 5", "dark", "fog", "jpeg 7", "aerial", "noise 25")
"""The views beside the photos as they are in which classifiers are chosen and held against each other, by a photo's place in its list."""


def mixed_crop(image: Image, place: int) -> Image:
    """Show a photo of a single sign, (h, w, 3) uint8 BGR, in the view of `CROP_MIXTURE` that its place in its list asks for."""
    return CROP_VIEWS[CROP_MIXTURE[place % len(CROP_MIXTURE)]].apply(image, np.random.default_rng(place))
