"""The learned spotter: frames are fitted as in training, and boxes come back in the frame's own pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.engine import check_images
from edge.fusion import Fusion
from edge.manifest import ModelSpec, TensorSpec
from edge.spotter import MOST
from edge.spotter_learned import GREY, LearnedSpotter, pad, shrink

SIZE_WH = (160, 96)
SPEC = ModelSpec(
    "spotter", "s.onnx", "0" * 64, "fp16", "tensorrt", TensorSpec("frames", (-1, 96, 160, 3), "uint8"), TensorSpec("maps", (-1, 5, 24, 40), "float32")
)


class Engine:
    """Gives a map with peaks that a test places: (row, column, heat, width, height in pixels of the network)."""

    name, precision, spec = "made", "fp16", SPEC

    def __init__(self, *peaks: tuple[int, int, float, float, float]) -> None:
        self.peaks, self.closed = peaks, False
        self.seen: NDArray[np.uint8] = np.zeros(0, np.uint8)

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        check_images(images, SPEC)
        self.seen = images[0]
        maps = np.zeros((1, 5, 24, 40), np.float32)
        for row, column, heat, width, height in self.peaks:
            maps[0, :, row, column] = heat, 0.5, 0.5, np.log(width / 16), np.log(height / 16)
        return maps

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def test_boxes_come_back_in_the_frames_own_pixels() -> None:
    fusion = Fusion(1.0, 1.0, 0.0)
    with LearnedSpotter(Engine((10, 20, 0.9, 16, 24), (3, 5, 0.2, 16, 16)), 0.5, fusion) as spotter:
        found = spotter(np.zeros((192, 320, 3), np.uint8))
    assert found.fusion is fusion
    np.testing.assert_allclose(found.boxes_xyxy, [[148, 60, 180, 108]], rtol=1e-5)
    np.testing.assert_allclose(found.scores, [0.9])


def test_a_small_frame_is_padded_and_never_enlarged() -> None:
    engine = Engine((10, 20, 0.9, 16, 16), (2, 38, 0.8, 8, 8))
    frame = np.full((60, 100, 3), 7, np.uint8)
    found = LearnedSpotter(engine, 0.5)(frame)
    assert (engine.seen[:60, :100] == 7).all()
    assert (engine.seen[60:] == GREY).all()
    assert (engine.seen[:, 100:] == GREY).all()
    np.testing.assert_allclose(found.boxes_xyxy, [[74, 34, 90, 50]], rtol=1e-5)  # the other one lies in the padding


def test_no_more_proposals_than_the_classifier_is_to_name() -> None:
    peaks = [(row, column, 0.9, 8.0, 8.0) for row in range(1, 23, 3) for column in range(1, 39, 3)]
    assert len(LearnedSpotter(Engine(*peaks), 0.5)(np.zeros((96, 160, 3), np.uint8))) == MOST


def test_the_engine_is_closed() -> None:
    engine = Engine()
    with LearnedSpotter(engine, 0.5):
        pass
    assert engine.closed


@pytest.mark.parametrize(
    ("size_hw", "fitted", "scale"), [((192, 320), (96, 160), 0.5), ((192, 160), (96, 80), 0.5), ((50, 160), (50, 160), 1), ((720, 1280), (90, 160), 0.125)]
)
def test_frames_shrink_to_fit(size_hw: tuple[int, int], fitted: tuple[int, int], scale: float) -> None:
    image, found = shrink(np.zeros((*size_hw, 3), np.uint8), SIZE_WH)
    assert image.shape[:2] == fitted
    assert found == scale
    assert pad(image, SIZE_WH).shape == (96, 160, 3)


@pytest.mark.parametrize("size_hw", [(540, 960), (720, 1280), (1080, 1920), (2160, 3840)])
def test_shrinking_passes_over_no_pixel(size_hw: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    found, scale = shrink(noise, (816, 480))
    wanted = cv2.resize(noise, (found.shape[1], found.shape[0]), interpolation=cv2.INTER_AREA)
    assert found.std() < 1.4 * wanted.std()  # leaving pixels out would keep the noise as it was: 2 to 5 times as much
    assert scale == pytest.approx(816 / size_hw[1])
