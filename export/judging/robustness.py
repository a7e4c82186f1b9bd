"""How accuracy falls as photos get worse: seven corruptions, three strengths each, the same each time; a table and a picture of the curves.

A photo is corrupted at its own resolution, before it is resized to the network's input, as a camera would. Lengths are for a photo of 48 px and grow with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

from edge.bundle.manifest import Bundle
from edge.datasets.gtsrb import Photo, read_photo
from edge.engines.open import open_engine
from edge.files import written_beside
from edge.images import decode_image, fit_crop
from export.artefacts import ROLE
from export.judging.crops import BATCH

PRECISION = "int8-cpu"
SEED = 48
REFERENCE_PX = 48
GREY = 128

_STYLE: Any = {
    "font.size": 9,
    "figure.facecolor": "white",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e7ec",
}

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Corruption:
    """One way in which photos get worse.

    Attributes:
        means: what a strength is, for people.
        strengths: from mild to strong.
        apply: from (photo, strength, source of chance) to the photo, made worse.
    """

    means: str
    strengths: tuple[float, float, float]
    apply: Callable[[Image, float, np.random.Generator], Image]


def _as_image(values: NDArray[np.float64]) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _blur(photo: Image, sigma: float, _: np.random.Generator) -> Image:
    return np.asarray(cv2.GaussianBlur(photo, (0, 0), sigma * max(photo.shape) / REFERENCE_PX), np.uint8)


def _noise(photo: Image, deviation: float, rng: np.random.Generator) -> Image:
    return _as_image(photo + rng.normal(0, deviation, photo.shape))


def _darken(photo: Image, factor: float, _: np.random.Generator) -> Image:
    return _as_image(photo * np.float64(factor))


def _brighten(photo: Image, added: float, _: np.random.Generator) -> Image:
    return _as_image(photo + np.float64(added))


def _compress(photo: Image, quality: float, _: np.random.Generator) -> Image:
    return decode_image(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1], "a photo compressed here")


def _shrink(photo: Image, side: float, _: np.random.Generator) -> Image:
    return fit_crop(photo, int(side))


def _cover(photo: Image, share: float, rng: np.random.Generator) -> Image:
    """Cover a share of the area, anywhere, by a patch of the photo's proportions."""
    covered = photo.copy()
    sides = np.rint(np.array(photo.shape[:2]) * share**0.5).astype(int)
    top, left = np.floor(rng.random(2) * (np.array(photo.shape[:2]) - sides + 1)).astype(int)
    covered[top : top + sides[0], left : left + sides[1]] = GREY
    return covered


CORRUPTIONS: dict[str, Corruption] = {
    "blur": Corruption("Gaussian sigma, px at 48 px", (1, 2, 3), _blur),
    "noise": Corruption("Gaussian sigma, of 255", (10, 25, 50), _noise),
    "dark": Corruption("brightness times", (0.5, 0.25, 0.1), _darken),
    "bright": Corruption("brightness plus, of 255", (40, 80, 120), _brighten),
    "jpeg": Corruption("JPEG quality", (30, 15, 7), _compress),
    "low_resolution": Corruption("side, px", (24, 16, 12), _shrink),
    "occlusion": Corruption("grey patch, share of the area", (0.15, 0.3, 0.45), _cover),
}


def measure(bundle: Bundle, photos: Sequence[Photo]) -> dict[str, Any]:
    """Score a bundle's classifier in int8-cpu on photos as they are and corrupted.

    Returns:
        `precision`, `n` (photos), `clean` (top-1, a fraction) and `corruptions`: for each what its strengths mean, the `strengths` and the `top1` of each.

    Raises:
        EngineError: the model cannot be run.
        InputError: a broken photo.
    """
    size = bundle.model(ROLE, PRECISION).input.shape[1]
    right = []
    with open_engine(bundle, ROLE, engine="onnxruntime", precision=PRECISION) as engine:
        for place, photo in enumerate(tqdm(photos, "corrupting photos", unit="photo")):
            crops = np.stack([fit_crop(view, size) for view in views(read_photo(photo), place)])
            named = np.concatenate([engine.infer(crops[start : start + BATCH]).argmax(axis=1) for start in range(0, len(crops), BATCH)])
            right.append(named == photo.class_id)
    clean, *corrupted = np.mean(right, axis=0).round(6).tolist()
    corruptions = {
        name: {"means": corruption.means, "strengths": list(corruption.strengths), "top1": top1}
        for (name, corruption), top1 in zip(CORRUPTIONS.items(), np.reshape(corrupted, (len(CORRUPTIONS), -1)).tolist(), strict=True)
    }
    return {"precision": PRECISION, "n": len(photos), "clean": clean, "corruptions": corruptions}


def views(photo: Image, place: int) -> list[Image]:
    """Return a photo, (height, width, 3) uint8 BGR, as it is and in each corruption and strength; chance depends on its place in the list and nothing else."""
    return [photo] + [
        corruption.apply(photo, strength, np.random.default_rng([SEED, place])) for corruption in CORRUPTIONS.values() for strength in corruption.strengths
    ]


def draw(figures: dict[str, Any], path: Path) -> None:
    """Draw what `measure` returned as a PNG: a panel for each corruption, accuracy over strength.

    Raises:
        OutputError: the file cannot be written.
    """
    with rc_context(_STYLE), written_beside(path) as beside:
        figure = Figure((10, 5.2), dpi=100, layout="constrained")
        panels = figure.subplots(2, 4, sharey=True).flat
        for panel, (name, found) in zip(panels, figures["corruptions"].items(), strict=False):
            _draw_panel(panel, name, found, figures["clean"])
        for first in (panels[0], panels[4]):
            first.set_ylabel("top1")
        panels[7].axis("off")
        told = f"{figures['n']} validation photos,\nbalanced over the classes\n\n{figures['precision']} on ONNX Runtime's CPU\n\n"
        panels[7].text(0.0, 0.5, f"{told}dashed: photos as they are, {figures['clean']:.3f}", va="center", transform=panels[7].transAxes)
        figure.savefig(beside, format="png")


def _draw_panel(panel: Axes, name: str, found: dict[str, Any], clean: float) -> None:
    values = [clean, *found["top1"]]
    panel.axhline(clean, color="#98a2b3", linestyle="--", linewidth=1)
    panel.plot(values, marker="o", markersize=4, color="#2b6cb0")
    for place, value in enumerate(found["top1"], 1):
        beside = (0, -14) if value > 0.8 else (11, 6)  # above the point a falling curve leaves room
        panel.annotate(f"{value:.3f}", (place, value), beside, textcoords="offset points", ha="center")
    panel.set_title(name.replace("_", " "))
    panel.set_xticks(range(len(values)), ["as it is", *(f"{strength:g}" for strength in found["strengths"])])
    panel.set(xlabel=found["means"], xlim=(-0.3, len(values) - 0.7), ylim=(0, 1.05))
