import numpy as np
import pytest

from edge.recognition.heatmap import decode


def map_with(*peaks):
    """A map of a 816x480 frame with (row, column, heat, x, y, width, height) in it."""
    maps = np.zeros((120, 204, 5), np.float32)
    for row, column, heat, x, y, width, height in peaks:
        maps[row, column] = heat, x, y, np.log(width / 16), np.log(height / 16)
    return maps


def test_a_peak_becomes_the_box_around_its_centre():
    found = decode(map_with((30, 50, 0.9, 0.25, 0.5, 24, 32)), least_score=0.3, most=10)
    assert found.boxes_xyxy == pytest.approx(np.array([[201 - 12, 122 - 16, 201 + 12, 122 + 16]]), abs=1e-3)
    assert found.scores == pytest.approx([0.9])


def test_a_shoulder_is_no_peak_and_what_is_cold_is_nothing():
    found = decode(map_with((30, 50, 0.9, 0.5, 0.5, 16, 16), (30, 51, 0.8, 0.5, 0.5, 16, 16), (90, 9, 0.29, 0.5, 0.5, 16, 16)), least_score=0.3, most=10)
    assert len(found) == 1


def test_the_best_come_first_and_no_more_than_asked():
    peaks = [(10 + 10 * n, 20, 0.4 + 0.05 * n, 0.5, 0.5, 16, 16) for n in range(8)]
    found = decode(map_with(*peaks), least_score=0.3, most=3)
    assert found.scores == pytest.approx([0.75, 0.7, 0.65])


def test_of_two_peaks_on_one_sign_the_better_stays():
    found = decode(map_with((30, 50, 0.6, 0.5, 0.5, 60, 60), (32, 52, 0.9, 0.5, 0.5, 60, 60)), least_score=0.3, most=10)
    assert found.scores == pytest.approx([0.9])


def test_boxes_end_at_the_frame_and_wild_sizes_do_not_overflow():
    maps = map_with((0, 0, 0.9, 0.5, 0.5, 40, 40))
    maps[119, 203] = 0.8, 0.5, 0.5, 1000, 1000
    found = decode(maps, least_score=0.3, most=10)
    assert np.isfinite(found.boxes_xyxy).all()
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy <= [816, 480, 816, 480]).all()


def test_an_empty_map_has_no_boxes():
    found = decode(map_with(), least_score=0.3, most=10)
    assert found.boxes_xyxy.shape == (0, 4)
    assert len(found) == 0
