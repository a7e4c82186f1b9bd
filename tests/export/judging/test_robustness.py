"""Corruptions grow with their strength and are the same each time; their table and picture hold what was measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnxslim", reason="needs the export extra")

from edge.bundle.manifest import read_bundle
from edge.datasets.gtsrb import CLASSES, Photo, read_photo
from edge.engines.open import open_engine
from edge.images import fit_crop
from export.judging.robustness import CORRUPTIONS, GREY, draw, measure, views
from export.judging.verify import run_on_photos


@pytest.fixture
def photo(draw_crops: Callable[..., Any]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(draw_crops(1, 48)[0][0], (60, 72)))


@pytest.fixture
def photos(draw_crops: Callable[..., Any], tmp_path: Path) -> list[Photo]:
    crops, class_ids = draw_crops(12, 48)
    for place, crop in enumerate(crops):
        cv2.imwrite(str(tmp_path / f"{place}.png"), crop)
    return [Photo(tmp_path / f"{place}.png", class_id, "") for place, class_id in enumerate(class_ids)]


def _strengths(photo: NDArray[np.uint8], name: str, place: int = 0) -> list[NDArray[np.uint8]]:
    start = 1 + 3 * list(CORRUPTIONS).index(name)
    return views(photo, place)[start : start + 3]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_photos_get_worse_with_strength(photo: NDArray[np.uint8], name: str) -> None:
    before = photo.copy()
    made = _strengths(photo, name)
    errors = [np.abs(fit_crop(view, 48).astype(int) - fit_crop(photo, 48)).mean() for view in made]
    assert all(view.dtype == np.uint8 for view in made)
    assert 0.5 < errors[0] < errors[1] < errors[2]
    np.testing.assert_array_equal(photo, before)
    for view, again in zip(made, _strengths(photo, name), strict=True):
        np.testing.assert_array_equal(view, again)


@pytest.mark.parametrize("name", ["noise", "occlusion"])
def test_chance_differs_from_photo_to_photo(photo: NDArray[np.uint8], name: str) -> None:
    assert not np.array_equal(_strengths(photo, name, 0)[0], _strengths(photo, name, 1)[0])


def test_strengths_mean_what_they_say(photo: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(views(photo, 0)[0], photo)
    assert [view.shape[:2] for view in _strengths(photo, "low_resolution")] == [(24, 24), (16, 16), (12, 12)]
    plain = np.full((80, 80, 3), 100, np.uint8)
    assert [int(view.max()) for view in _strengths(plain, "dark")] == [50, 25, 10]
    assert [int(view.min()) for view in _strengths(plain + 60, "bright")] == [200, 240, 255]
    assert _strengths(plain, "noise")[1].std() == pytest.approx(25, rel=0.05)
    assert [(view == GREY).all(axis=2).mean() for view in _strengths(plain, "occlusion")] == pytest.approx([0.15, 0.3, 0.45], abs=0.01)


def test_blur_grows_with_the_photo() -> None:
    small = np.zeros((48, 48, 3), np.uint8)
    small[:, 24:] = 255
    large = cv2.resize(small, (144, 144), interpolation=cv2.INTER_NEAREST)
    softened = [fit_crop(_strengths(image, "blur")[2], 48).astype(int) for image in (small, large)]
    assert np.abs(softened[0] - softened[1]).max() < 12


def test_measured_figures_are_those_of_the_engine(tiny_bundle: Path, photos: list[Photo]) -> None:
    bundle = read_bundle(tiny_bundle)
    # An untrained network would be wrong throughout: its own answers on clean photos are the classes.
    named = run_on_photos(bundle, ["int8-cpu"], photos)["int8-cpu"].argmax(axis=1)
    known = [Photo(photo.path, int(class_id), "") for photo, class_id in zip(photos, named, strict=True)]
    known[0] = Photo(known[0].path, (known[0].class_id + 1) % CLASSES, "")
    found = measure(bundle, known)
    assert (found["precision"], found["n"], found["clean"]) == ("int8-cpu", 12, round(11 / 12, 6))
    assert list(found["corruptions"]) == list(CORRUPTIONS)
    assert all(len(figures["top1"]) == len(figures["strengths"]) == 3 for figures in found["corruptions"].values())
    assert min(top1 for figures in found["corruptions"].values() for top1 in figures["top1"]) < found["clean"]
    assert measure(bundle, known) == found
    with open_engine(bundle, "classifier", engine="onnxruntime", precision="int8-cpu") as engine:
        size = engine.spec.input.shape[1]
        strong = np.stack([fit_crop(_strengths(read_photo(photo), "jpeg", place)[2], size) for place, photo in enumerate(known)])
        right = engine.infer(strong).argmax(axis=1) == [photo.class_id for photo in known]
    assert found["corruptions"]["jpeg"]["top1"][2] == round(right.mean(), 6)


def test_picture_is_small_and_light(tmp_path: Path) -> None:
    corruptions = {name: {"means": c.means, "strengths": list(c.strengths), "top1": [0.98, 0.7, 0.05]} for name, c in CORRUPTIONS.items()}
    draw({"precision": "int8-cpu", "n": 430, "clean": 0.995, "corruptions": corruptions}, tmp_path / "robustness.png")
    picture = cv2.imread(str(tmp_path / "robustness.png"))
    assert picture is not None
    assert picture.shape == (520, 1000, 3)
    assert (picture == 255).mean() > 0.8
    assert (tmp_path / "robustness.png").stat().st_size < 100_000
    assert [path.name for path in tmp_path.iterdir()] == ["robustness.png"]
