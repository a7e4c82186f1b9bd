"""Makes the pictures of the first page: the frame of a drawn flight on which most signs are named, and the page with a flight on it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from browser import Browser

from edge.bundle.manifest import SHIPPED, read_bundle
from edge.engines.open import open_engine
from edge.frame import FeedState
from edge.outputs.annotate import annotate
from edge.pipeline import open_spotter, run
from edge.recognition.classifier import Classifier
from edge.result import Result
from edge.sources.open import open_source

ROOT = Path(__file__).resolve().parents[2]
FLIGHT, PAGE = ROOT / "edge/drawn/flight.jpg", ROOT / "edge/outputs/web/page.jpg"
SOURCE = "demo://?seed=2&frames=600&width=1280&height=720"
SHOWN_PX, QUALITY = 960, 86
PAGE_WH, LOOK_AFTER_S = (1280, 800), 25.0
_LEAST_PX = 24


class Best:
    """Keeps the annotated frame with the most signs that a person can read, the larger the better."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels
        self._score = 0.0
        self.image = np.zeros((1, 1, 3), np.uint8)

    def __enter__(self) -> Best:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def feed(self, state: FeedState) -> None:
        """Nothing: a flight has no feed."""

    def write(self, result: Result) -> None:
        sides = [min(x2 - x1, y2 - y1) for x1, y1, x2, y2 in (track.box_xyxy for track in result.tracks)]
        score = sum(1 + side / 100 for side in sides if side >= _LEAST_PX)
        if not result.final and score > self._score:
            self._score, self.image = score, annotate(result, self._labels)


def flight() -> None:
    bundle = read_bundle(SHIPPED)
    best = Best(tuple(bundle.manifest.labels))
    with (
        Classifier(open_engine(bundle, "classifier"), bundle.manifest.thresholds.confidence) as classifier,
        open_spotter("auto", bundle) as spotter,
        open_source(SOURCE) as source,
    ):
        run(source, spotter, classifier, [best])
    height, width = best.image.shape[:2]
    save(FLIGHT, cv2.resize(best.image, (SHOWN_PX, round(height * SHOWN_PX / width)), interpolation=cv2.INTER_AREA))


def page() -> None:
    source = SOURCE.replace("frames=600", "frames=3000") + "&realtime=1"
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "said").open("w+") as said:
        child = subprocess.Popen([sys.executable, "-u", "-m", "edge", "run", source, "--web", "0"], cwd=ROOT, stdout=said)
        try:
            with Browser(Path(folder) / "browser", *PAGE_WH) as browser:
                browser.open(address(Path(said.name)))
                time.sleep(LOOK_AFTER_S)
                browser.screenshot(Path(folder) / "page.png")
                save(PAGE, cv2.imread(str(Path(folder) / "page.png")))
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(30)


def address(said: Path) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for line in said.read_text().splitlines():
            if line.startswith("page "):
                return line.split()[1]
        time.sleep(0.2)
    sys.exit(f"wanted the page within a minute, the run said: {said.read_text()}")


def save(path: Path, image: np.ndarray) -> None:
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    print(f"{path.relative_to(ROOT)}: {image.shape[1]}x{image.shape[0]}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    flight()
    page()
