import numpy as np
import pytest

from edge.recognition.finding import figures, judge
from edge.recognition.proposals import Proposals


def proposals(*found):
    return Proposals(np.array([box for box, _ in found], np.float32).reshape(-1, 4), np.array([score for _, score in found], np.float32))


SIGN, OTHER, SMALL = (100, 100, 130, 130), (300, 50, 320, 70), (400, 50, 415, 90)


def test_a_sign_is_found_once_and_twice_is_once_false():
    found = judge([(proposals((SIGN, 0.9), (SIGN, 0.8)), [SIGN, OTHER])])
    assert found.hits.tolist() == [True, False]
    assert found.recall_at(0) == 0.5
    assert found.recall_at(1) == 0.5
    assert found.ap50() == 0.5


def test_small_truth_is_neither_hit_nor_miss():
    found = judge([(proposals((SMALL, 0.9), (SIGN, 0.8)), [SIGN, SMALL])])
    assert found.signs == 1
    assert found.scores.tolist() == pytest.approx([0.8])
    assert found.ap50() == 1.0


def test_truth_that_reaches_beyond_the_picture_is_neither_hit_nor_miss():
    beyond = (80, 20, 140, 60)
    seen = (80, 20, 100, 60)  # a third of it: nobody sees more in a picture that is 100 wide
    found = judge([(proposals((seen, 0.9), ((10, 10, 40, 40), 0.8)), [beyond, (10, 10, 40, 40)])], [(100, 80)])
    assert (found.signs, found.hits.tolist()) == (1, [True])
    assert found.scores.tolist() == pytest.approx([0.8])
    frames = [(proposals((seen, 0.9)), [beyond])] * 2
    assert judge(frames, [(100, 80), (200, 80)]).signs == 1  # each frame has a size of its own


def test_recall_at_a_rate_counts_the_false_boxes_of_all_frames():
    empty = [(proposals((OTHER, 0.95)), np.zeros((0, 4)))] + [(proposals(), [])] * 9
    frames = [*empty[:-1], (proposals((SIGN, 0.9)), [SIGN])]
    found = judge(frames)
    assert (found.recall_at(0.05), found.recall_at(0.1)) == (0.0, 1.0)
    assert found.score_at(0.05) == 1.0
    assert found.score_at(0.1) == pytest.approx(0.9)
    assert found.ap50() == 0.5


def test_equal_scores_stand_or_fall_together():
    found = judge([(proposals((SIGN, 0.9), (OTHER, 0.9)), [SIGN])])
    assert found.recall_at(0) == 0.0


def test_no_frames_have_figures_too():
    assert figures(judge([])) == {"frames": 0, "signs": 0, "ap50": 0.0, "recall_at_0.1": 1.0, "recall_at_0.3": 1.0, "recall_at_1": 1.0}
