"""Views of signs of one's own: mirrored where their data set tells so, never drawn, pasted in an outline that nobody knows."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from edge.datasets.classes import Classes
from edge.datasets.gtsrb import Photo
from train.photos.data import plan_epoch, train_stream
from train.photos.paste import paste
from train.photos.views import DRAWN, REAL, Views
from train.recipes import OWN

RECIPE = replace(OWN, size=32, batch=4, epochs=1, air=False)
SIDES = np.hstack([np.full((40, 20, 3), 30, np.uint8), np.full((40, 20, 3), 220, np.uint8)])


@pytest.mark.parametrize("mirrored", [{}, {0: 1, 1: 0}])
def test_a_mirror_makes_the_other_sign_only_where_that_is_told(mirrored: dict[int, int]) -> None:
    blob = cv2.imencode(".png", SIDES)[1].ravel()
    views = Views([blob], ["sides.png"], [0], [], RECIPE, Classes(("dark left", "dark right", "none"), mirrored=mirrored))
    seen = [views.view(np.array([REAL, 0, 0, place])) for place in range(60)]
    said = [int(target.argmax()) for _, target in seen]
    assert set(said) == ({0, 1} if mirrored else {0})
    assert all((image[:, :16].mean() > image[:, 16:].mean()) == (of == 1) for (image, _), of in zip(seen, said, strict=True))
    assert {target.shape for _, target in seen} == {(3,)}


def test_the_stream_has_as_many_classes_as_the_data_set_and_draws_none(tmp_path) -> None:
    photos = []
    for class_id in range(5):
        cv2.imwrite(str(tmp_path / f"{class_id}.png"), SIDES)
        photos.append(Photo(tmp_path / f"{class_id}.png", class_id, f"{class_id}"))
    names = Classes(tuple("abcde"))
    plan = plan_epoch(np.arange(5), RECIPE, 1, 0, len(names))
    assert DRAWN not in plan[:, 0]
    crops, targets = next(iter(train_stream(photos, [], RECIPE, 1, 0, classes=names, processes=False)))
    assert (tuple(crops.shape), tuple(targets.shape)) == ((4, 32, 32, 3), (4, 5))
    np.testing.assert_allclose(targets.numpy().sum(axis=1), 1, atol=1e-6)


def test_an_unknown_outline_is_round_or_all_of_its_box() -> None:
    shares = []
    for seed in range(40):
        image = np.zeros((60, 60, 3), np.uint8)
        rng = np.random.default_rng(seed)
        paste(image, np.full((40, 40, 3), 200, np.uint8), np.array([10, 10]), np.array([40, 40]), np.array([5.0, 5.0, 35.0, 35.0]), "unknown", rng)
        shares.append(float((image[:, :, 0] > 60).mean()))
    assert min(shares) < 0.25 < 0.28 < max(shares)
