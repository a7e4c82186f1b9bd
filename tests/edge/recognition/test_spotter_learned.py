"""The learned spotter: frames are fitted as in training, and boxes come back in the frame's own pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from edge.engines.contract import check_images
from edge.recognition.proposals import MOST
from numpy.typing import NDArray

from edge.bundle.fusion import Fusion, logit
from edge.bundle.manifest import ModelSpec, TensorSpec
from edge.recognition.spotter_learned import GREY, UNSEEN, LearnedSpotter, pad, shrink

SIZE_WH = (160, 96)
SPEC = ModelSpec(
    "spotter", "s.onnx", "0" * 64, "fp16", "tensorrt", TensorSpec("frames", (-1, 96, 160, 3), "uint8"), TensorSpec("maps", (-1, 5, 24, 40), "float32")
)


class Engine:
    """Gives a map with peaks that a test places: (row, column, heat, width, height in pixels of the network)."""

    name, precision, spec = "made", "fp16", SPEC

    def __init__(self, *peaks: tuple[int, int, float, float, float]) -> None:
        self.peaks, self.closed, self.runs = peaks, False, 0
        self.seen: NDArray[np.uint8] = np.zeros(0, np.uint8)

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        check_images(images, self.spec)
        self.seen = images[0]
        self.runs += 1
        maps = np.zeros((1, *self.spec.output.shape[1:]), np.float32)
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


def test_a_second_look_is_from_nearer_at_both_scales_and_scores_the_same_box() -> None:
    frame = np.zeros((192, 320, 3), np.uint8)
    frame[96:, 160:] = 255
    # Halves of the network's input show it at 0.75 and as it is: the box's middle, (166, 102), in the middle of the map's cells (12, 10) and (12, 30).
    engine = Engine((12, 10, 0.7, 24, 24), (12, 30, 0.6, 32, 32))
    box = [150, 86, 182, 118]
    (closer,) = LearnedSpotter(engine, 0.5).look_closer(frame, [box], [0.4])
    assert logit(closer) == pytest.approx((logit(0.7) + logit(0.6)) / 2, rel=1e-5)
    assert engine.seen.shape == (96, 160, 3)
    for left, edge_x, edge_y in ((0, 37.5, 45.5), (80, 116, 44)):  # 6 px before the middle
        white = (engine.seen[:, left : left + 80] == 255).all(axis=2)
        rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0)) + left
        assert (columns[0], rows[0]) == (np.ceil(edge_x), np.ceil(edge_y))
        assert white[rows[0] :, columns[0] - left : 75].all()
    engine.peaks = ((2, 3, 0.7, 24, 24),)  # something else
    assert LearnedSpotter(engine, 0.5).look_closer(frame, [box], [0.4]) == pytest.approx([UNSEEN])


def test_beyond_the_frame_a_second_look_sees_grey() -> None:
    engine = Engine()
    LearnedSpotter(engine, 0.5).look_closer(np.full((96, 160, 3), 7, np.uint8), [[0, 0, 10, 10]], [0.4])
    # Where the frame's corner comes to lie, at 1.5 and at 2; beside it, both mix.
    for left, inside_x, inside_y in ((0, 42 - 7.5, 50 - 7.5), (80, 122 - 10, 50 - 10)):
        assert (engine.seen[: int(inside_y) - 1, left : left + 80] == GREY).all()
        assert (engine.seen[:, left : int(inside_x) - 1] == GREY).all()
        assert (engine.seen[int(inside_y) + 1 :, int(inside_x) + 1 : left + 80] == 7).all()


class Wide(Engine):
    """As large as the one that ships, so that eight small boxes find place beside each other."""

    spec = ModelSpec(
        "spotter", "s.onnx", "0" * 64, "fp16", "tensorrt", TensorSpec("frames", (-1, 480, 816, 3), "uint8"), TensorSpec("maps", (-1, 5, 120, 204), "float32")
    )


SMALL, MEDIUM, LARGE = [400, 200, 420, 220], [100, 100, 170, 170], [100, 100, 240, 240]


@pytest.mark.parametrize(
    ("boxes", "runs"), [([], 0), ([SMALL], 1), ([SMALL] * 4, 1), ([SMALL] * 5, 2), ([MEDIUM], 1), ([MEDIUM, SMALL], 2), ([MEDIUM] * 2, 2), ([LARGE], 0)]
)
def test_one_run_looks_at_several_boxes_again(boxes: list[list[int]], runs: int) -> None:
    engine = Wide()
    closer = LearnedSpotter(engine, 0.5).look_closer(np.zeros((480, 816, 3), np.uint8), boxes, [0.4] * len(boxes))
    assert engine.runs == runs
    assert closer == pytest.approx([0.4 if box is LARGE else UNSEEN for box in boxes])


def test_each_box_gets_the_scores_of_its_own_cells() -> None:
    # Four columns and two rows of cells of 51 x 60: those in the upper row show the boxes at 1.5, those in the lower at 2.
    middle = 12 * 2 + 1, 12 * 2 + 6
    peaks = [(top + middle[1], left + middle[0], heat, side, side) for top, left, heat, side in ((0, 0, 0.5, 30), (0, 51, 0.6, 30), (60, 51, 0.9, 40))]
    boxes = [SMALL, [30, 30, 50, 50], [600, 400, 620, 420], [300, 400, 320, 420]]
    closer = LearnedSpotter(Wide(*peaks), 0.5).look_closer(np.zeros((480, 816, 3), np.uint8), boxes, [0.4] * 4)
    wanted = [(logit(0.5) + logit(UNSEEN)) / 2, (logit(0.6) + logit(0.9)) / 2, logit(UNSEEN), logit(UNSEEN)]
    np.testing.assert_allclose(logit(closer), wanted, rtol=1e-4, atol=1e-5)


def test_where_a_box_is_too_large_to_gain_its_first_score_stands() -> None:
    frame = np.zeros((96, 160, 3), np.uint8)
    boxes = [[10, 10, 110, 90]]  # 150 px wide at 1.5, 200 at 2
    (closer,) = LearnedSpotter(Engine(), 0.5).look_closer(frame, boxes, [0.4])
    assert logit(closer) == pytest.approx((logit(UNSEEN) + logit(0.4)) / 2, rel=1e-5)


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 2000), (2000, 3), (96, 160), (100, 60), (1080, 1920)])
def test_any_frame_can_be_looked_at_twice(size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    boxes = [[0, 0, 1, 1], [width - 1, height - 1, width, height], [-5, -5, width + 5, height + 5]]
    closer = LearnedSpotter(Engine(), 0.5).look_closer(np.zeros((height, width, 3), np.uint8), boxes, [0.4, 0.5, 0.6])
    assert closer.shape == (3,)
    assert np.isfinite(closer).all()
