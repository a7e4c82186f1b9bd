"""How spotter and classifier decide together: fitted to what decides, chosen by frames that nobody is judged on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tqdm", reason="needs the export extra")

from edge.bundle.fusion import Fusion, logit
from edge.bundle.manifest import SHIPPED, read_bundle
from edge.datasets.gtsdb import RoadFrame
from edge.recognition.proposals import Proposals
from export.judging.fusion import _examples, _Seen, _silent, fit

TRUTH = np.array([[100, 100, 130, 130], [300, 50, 312, 62]], np.float64)


def test_the_fit_finds_what_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    scores, confidences = rng.uniform(0.01, 0.99, (2, 20_000))
    odds = 1.5 * logit(scores) + 0.5 * logit(confidences) - 1
    found = fit((scores, confidences), rng.random(20_000) < 1 / (1 + np.exp(-odds)))
    assert found == pytest.approx([1.5, 0.5, -1], abs=0.08)


def test_labels_that_part_cleanly_have_finite_weights() -> None:
    scores = np.array([0.1, 0.2, 0.8, 0.9])
    fusion = Fusion(*fit((scores, np.full(4, 0.9)), scores > 0.5))
    assert fusion.score > 1
    assert [fusion.accepts(score, 0.9) for score in scores] == [False, False, True, True]


def test_examples_are_signs_and_what_is_none() -> None:
    boxes = [[100, 100, 130, 130], [100, 100, 118, 118], [300, 50, 312, 62], [200, 10, 230, 40], [10, 10, 40, 40]]
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.1], np.float32)
    seen = _Seen((640, 480), TRUTH, Proposals(np.array(boxes, np.float32), scores), np.linspace(0.1, 0.5, 5), np.linspace(0.5, 0.9, 5))
    (kept_scores, kept_closer, kept_confidences), labels = _examples(seen, 0.5)
    # A part of a sign and a sign too small to count are left out; so is what is below the threshold.
    np.testing.assert_allclose(kept_scores, [0.9, 0.6], rtol=1e-6)
    np.testing.assert_allclose(kept_closer, [0.5, 0.8])
    np.testing.assert_allclose(kept_confidences, [0.1, 0.4])
    assert labels.tolist() == [True, False]


def test_frames_are_shown_without_their_signs_as_they_are_and_from_the_air(tmp_path: Path) -> None:
    image = np.full((96, 160, 3), 90, np.uint8)
    image[30:60, 50:80] = (0, 0, 250)
    cv2.imwrite(str(tmp_path / "0.png"), image)
    frames = [RoadFrame(tmp_path / "0.png", np.array([[50.0, 30, 80, 60]]), np.array([14]))]
    for most, count in ((None, 4), (1, 2)):
        shown = list(_silent(frames, most))
        assert [len(boxes) for _, boxes in shown] == [0] * count
        assert np.abs(shown[0][0].astype(int) - 90).max() <= 5  # what is painted in is not to the level what is around it
        assert max((view[:, :, 2].astype(int) - view[:, :, 0]).max() for view, _ in shown) < 100


def test_a_frame_without_signs_has_false_examples_alone() -> None:
    proposals = Proposals(np.array([[10, 10, 40, 40]], np.float32), np.array([0.9], np.float32))
    seen = _Seen((640, 480), np.zeros((0, 4)), proposals, np.array([0.5]), np.array([0.5]))
    assert _examples(seen, 0.5)[1].tolist() == [False]


def test_the_shipped_bundle_decides_by_both_and_is_better_for_it() -> None:
    bundle = read_bundle(SHIPPED)
    fusion, record = bundle.manifest.thresholds.fusion, bundle.manifest.lineage["spotter"]["fusion"]
    assert fusion is not None
    assert fusion.score > 0 < fusion.confidence
    assert fusion.second is not None
    assert fusion.second.closer > 0 < fusion.second.confidence
    assert record["held"]["second"]["f1"] > record["held"]["together"]["f1"] > record["held"]["apart"]["f1"]
    assert record["held"]["second"]["precision"] > record["held"]["together"]["precision"]


def test_a_sign_that_reaches_beyond_the_frame_is_no_example() -> None:
    seen = _Seen((120, 480), TRUTH[:1], Proposals(np.array([[100, 100, 130, 130]], np.float32), np.array([0.9], np.float32)), np.array([0.5]), np.array([0.5]))
    assert _examples(seen, 0.5)[1].tolist() == []
