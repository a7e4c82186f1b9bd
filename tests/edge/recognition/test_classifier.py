"""Crops with GTSRB's margin, and names from an engine."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from edge.bundle.manifest import read_bundle
from edge.datasets.gtsdb import read_frames, sign_free_crops, split_by_group
from edge.datasets.gtsrb import read_photo, read_test
from edge.engines.fake import FakeEngine
from edge.engines.open import open_engine
from edge.errors import EngineError
from edge.images import fit_crop
from edge.recognition.classifier import MOST_IN_BATCH, Classifier, Naming, cut_crop


class CountingEngine(FakeEngine):
    """The fake engine, with a record of its batches."""

    def __init__(self, spec, precision):
        super().__init__(spec, precision)
        self.batches = []
        self.closed = False

    def infer(self, images):
        self.batches.append(len(images))
        return super().infer(images)

    def close(self):
        super().close()
        self.closed = True


@pytest.fixture
def engine(tiny_spec):
    return CountingEngine(tiny_spec, "fp16")


@pytest.fixture
def frame():
    """A frame in which each pixel tells where it stands: blue is x, green is y."""
    y, x = np.mgrid[0:200, 0:240]
    return np.stack([x, y, np.full_like(x, 7)], axis=2).astype(np.uint8)


def span(crop):
    """First and last x, first and last y of what a crop shows, from a crop that was not resized."""
    return int(crop[0, 0, 0]), int(crop[0, -1, 0]), int(crop[0, 0, 1]), int(crop[-1, 0, 1])


@pytest.mark.parametrize(("side", "margin"), [(10, 5), (30, 5), (50, 5), (70, 7), (100, 10)])
def test_the_margin_is_a_tenth_and_at_least_five_pixels(frame, side, margin):
    size = side + 2 * margin
    crop = cut_crop(frame, (60, 50, 60 + side, 50 + side), size)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    assert span(crop) == (60 - margin, 60 + side + margin - 1, 50 - margin, 50 + side + margin - 1)


@pytest.mark.parametrize("box", [(0, 0, 40, 40), (-8, -3, 32, 37), (200, 160, 240, 200), (215, 170, 255, 210)])
def test_beyond_the_frame_its_edge_is_repeated(frame, box):
    crop = cut_crop(frame, box, 50)
    x1, x2, y1, y2 = span(crop)
    assert (x1, x2) == (max(box[0] - 5, 0), min(box[2] + 4, 239))
    assert (y1, y2) == (max(box[1] - 5, 0), min(box[3] + 4, 199))


@pytest.mark.parametrize("size", [32, 48, 64])
@pytest.mark.parametrize("box", [(10, 10, 31, 74), (10.4, 20.6, 111.2, 40.1), (0, 0, 240, 200), (3, 3, 4, 4)])
def test_every_shape_of_box_fills_the_square(frame, box, size):
    assert cut_crop(frame, box, size).shape == (size, size, 3)


@pytest.mark.parametrize("box", [(50, 50, 50, 50), (50, 50, 40, 30), (500, 500, 520, 520), (-90, 20, -60, 50)])
def test_a_box_without_area_or_frame_is_still_a_crop(frame, box):
    crop = cut_crop(frame, box, 24)
    assert crop.shape == (24, 24, 3)
    assert (crop[:, :, 2] == 7).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 90)])
def test_the_smallest_frames_can_be_cut(shape):
    assert cut_crop(np.full((*shape, 3), 9, np.uint8), (0, 0, shape[1], shape[0]), 48).shape == (48, 48, 3)


def test_a_crop_comes_through_the_pixels_that_training_sees(frame):
    assert np.array_equal(cut_crop(frame, (60, 50, 160, 150), 48), fit_crop(frame[40:160, 50:170], 48))


def test_the_margin_is_that_of_real_photos(data_root: Path):
    near = []
    with (data_root / "gtsrb" / "Train.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for axis, whole in (("X", "Width"), ("Y", "Height")):
                first, second = int(row[f"Roi.{axis}1"]), int(row[f"Roi.{axis}2"])
                margin = max(5, (second - first) / 10)
                near += [abs(first - margin) <= 2, abs(int(row[whole]) - second - margin) <= 2]
    assert np.mean(near) > 0.9


@pytest.mark.parametrize("n", [0, 1, MOST_IN_BATCH, MOST_IN_BATCH + 1, 2 * MOST_IN_BATCH + 3])
def test_crops_are_named_in_order_in_small_batches(engine, draw_crops, n):
    crops = draw_crops(max(n, 1), engine.spec.input.shape[1])[0][:n]
    with Classifier(engine, 0.5) as classifier:
        namings = classifier.name(crops)
        singly = [classifier.name(crop[None])[0] for crop in crops]
    assert namings == singly
    assert sum(engine.batches) == 2 * n
    assert max(engine.batches, default=0) <= MOST_IN_BATCH


def test_a_name_is_the_most_likely_class(engine, draw_crops):
    crops = draw_crops(5, engine.spec.input.shape[1])[0]
    rows = engine.infer(crops)
    with Classifier(engine, 0.5) as classifier:
        for naming, row in zip(classifier.name(crops), rows, strict=True):
            assert naming == Naming(int(row.argmax()), float(row.max()))
            assert type(naming.class_id) is int
            assert type(naming.confidence) is float


@pytest.mark.parametrize(("confidence", "accepted"), [(0.0, False), (0.69, False), (0.7, True), (1.0, True)])
def test_what_is_not_sure_is_rejected(engine, confidence, accepted):
    assert Classifier(engine, 0.7).accepts(Naming(3, confidence)) is accepted


def test_crops_of_another_size_are_refused(engine):
    with Classifier(engine, 0.5) as classifier, pytest.raises(EngineError, match="wanted images of shape"):
        classifier.name(np.zeros((2, classifier.size + 1, classifier.size, 3), np.uint8))


def test_its_size_is_the_models_and_it_closes_its_engine(engine):
    with Classifier(engine, 0.5) as classifier:
        assert classifier.size == engine.spec.input.shape[1]
        assert not engine.closed
    assert engine.closed


def test_the_shipped_threshold_refuses_places_without_a_sign_and_few_signs(shipped_bundle: Path, data_root: Path) -> None:
    bundle = read_bundle(shipped_bundle)
    size, threshold = bundle.model("classifier", "int8-cpu").input.shape[1], bundle.manifest.thresholds.confidence
    _, frames = split_by_group(read_frames(data_root / "gtsdb"))
    rng = np.random.default_rng(11)
    empty = np.stack([fit_crop(crop, size) for frame in frames[::3] for crop in sign_free_crops(frame, rng)])
    signs = np.stack([fit_crop(read_photo(photo), size) for photo in read_test(data_root / "gtsrb")[::4]])
    with open_engine(bundle, "classifier") as engine:
        accepted, kept = ((np.concatenate([engine.infer(part) for part in np.array_split(x, 40)]).max(axis=1) >= threshold).mean() for x in (empty, signs))
    assert len(empty) > 300
    assert accepted <= 0.02
    assert kept >= 0.985  # 1 % of 632 is six photos
