"""The threshold weighs true signs against places without a sign, which come from frames that training does not see."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnxslim", reason="needs the export extra")

from edge.bundle.manifest import read_bundle
from edge.datasets.gtsdb import CROPS_PER_FRAME
from edge.errors import DataError, InputError
from export.judging.threshold import NO_FRAMES, choose_rejection, choose_threshold, sign_free_confidences

FEW: NDArray[np.float32] = np.zeros(0, np.float32)


def _confidences(n: int, *others: float, most: float = 0.9567) -> NDArray[np.float32]:
    """The given confidences, and `most` for the rest of n."""
    return np.array([*others, *[most] * (n - len(others))], np.float32)


@pytest.mark.parametrize(("low", "threshold", "lost"), [(0, 0.956, 0.0), (1, 0.956, 0.005), (2, 0.6, 0.0)])
def test_without_sign_free_crops_half_a_percent_of_the_signs_may_go(low: int, threshold: float, lost: float) -> None:
    found = choose_threshold(_confidences(200, *[0.6001] * low), FEW, NO_FRAMES)
    assert (found.threshold, found.true_lost) == (threshold, lost)
    assert (found.sign_free_accepted, found.sign_free_crops, found.source) == (None, 0, NO_FRAMES)
    assert "no sign-free crops were at hand" in str(found)


@pytest.mark.parametrize(("high", "threshold", "accepted"), [(0, 0.501, 0.0), (1, 0.501, 0.01), (2, 0.751, 0.0)])
def test_threshold_is_the_least_that_accepts_one_percent_of_what_is_no_sign(high: int, threshold: float, accepted: float) -> None:
    found = choose_threshold(_confidences(300), _confidences(100, *[0.7501] * high, most=0.5001), "frames")
    assert (found.threshold, found.sign_free_accepted, found.true_lost) == (threshold, accepted, 0.0)
    assert "wanted" not in str(found)


def test_threshold_stays_above_one_half() -> None:
    assert choose_threshold(_confidences(100), _confidences(100, most=0.2), "frames").threshold == 0.5
    weak = choose_threshold(_confidences(50, most=0.25), FEW, NO_FRAMES)
    assert (weak.threshold, weak.true_lost) == (0.5, 1.0)


def test_signs_come_first_and_it_is_said_aloud() -> None:
    signs = _confidences(400, *[0.7001] * 4, 0.8001)
    found = choose_threshold(signs, _confidences(50, *[0.95] * 5, most=0.3), "frames")
    assert (found.threshold, found.true_lost, found.sign_free_accepted) == (0.8, 0.01, 0.1)
    assert "refuses 1.00% of the validation photos and accepts 10.00% of 50 sign-free crops (frames), wanted 1%" in str(found)


def test_a_confidence_is_compared_as_the_runtime_does() -> None:
    """As a float32, 0.9 lies below the 0.9 of the manifest, and the runtime would refuse it."""
    assert choose_threshold(_confidences(10, most=0.9), FEW, NO_FRAMES).threshold == 0.899


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """GTSDB's form: of 40 frames only those of the held-out group, 30 to 39, can be read; the first has a sign."""
    folder = tmp_path / "gtsdb"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(0, 40, 3):
        (folder / "images" / f"{number:05}.png").touch()
        if number >= 30:
            cv2.imwrite(str(folder / "images" / f"{number:05}.png"), cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (240, 180)))
    (folder / "gt.txt").write_text("00030.png;20;20;60;60;14\n", encoding="utf-8")
    return folder


def test_only_frames_that_training_does_not_see_are_read(tiny_bundle: Path, frames: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    found = sign_free_confidences(bundle, frames, "int8-cpu")
    assert CROPS_PER_FRAME < len(found) <= 4 * CROPS_PER_FRAME
    assert ((found > 1 / 43) & (found <= 1)).all()
    np.testing.assert_array_equal(found, sign_free_confidences(bundle, frames, "int8-cpu"))
    signs = _confidences(20)
    rejection = choose_rejection(bundle, signs, frames, "int8-cpu")
    assert (rejection.sign_free_crops, rejection.sign_free_accepted) == (len(found), round((found >= rejection.threshold).mean(), 6))
    assert choose_rejection(bundle, signs, None, "int8-cpu") == choose_threshold(signs, FEW, NO_FRAMES)


def test_no_frame_held_out_counts_as_no_frames(tiny_bundle: Path, frames: Path) -> None:
    for path in (frames / "images").glob("0003*"):
        path.unlink()
    (frames / "gt.txt").write_text("", encoding="utf-8")
    assert choose_rejection(read_bundle(tiny_bundle), _confidences(20), frames, "int8-cpu").source == NO_FRAMES


def test_broken_frames_and_tables_are_told(tiny_bundle: Path, frames: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    (frames / "images" / "00033.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"00033\.png"):
        sign_free_confidences(bundle, frames, "int8-cpu")
    (frames / "gt.txt").write_text("00030.png;20;20;60\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 1"):
        sign_free_confidences(bundle, frames, "int8-cpu")
