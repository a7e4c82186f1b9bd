import numpy as np
import pytest

from edge.drawn.signs import draw_sign
from train.photos.augment import augment


def rng_of(seed):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (15, 200), (31, 33), (250, 240)])
@pytest.mark.parametrize("size", [32, 48])
def test_any_crop_becomes_a_square_view(shape, size):
    crop = rng_of(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    for seed in range(20):
        view = augment(crop, size, rng_of(seed))
        assert view.shape == (size, size, 3)
        assert view.dtype == np.uint8


def test_a_seed_repeats_the_view_and_leaves_the_photo_alone():
    crop = rng_of(1).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    before = crop.copy()
    views = [augment(crop, 48, rng_of([0, 3, place])) for place in (7, 7, 8)]
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])
    assert np.array_equal(crop, before)


@pytest.mark.parametrize("class_id", [33, 34])
def test_a_view_is_never_the_mirrored_sign_nor_upside_down(class_id):
    face = draw_sign(class_id, 48)[:, :, :3]
    likeness = {"itself": face, "mirrored": face[:, ::-1], "turned": face[::-1, ::-1]}
    wins = dict.fromkeys(likeness, 0)
    for seed in range(200):
        view = augment(face, 48, rng_of(seed)).ravel().astype(float)
        scores = {name: np.corrcoef(view, other.ravel().astype(float))[0, 1] for name, other in likeness.items()}
        wins[max(scores, key=lambda name: scores[name])] += 1
    assert wins["itself"] >= 190, wins


def test_views_differ_in_light_and_place_but_stay_in_the_frame():
    face = draw_sign(17, 48)[:, :, :3]
    views = np.stack([augment(face, 48, rng_of(seed)) for seed in range(200)])
    means = views.mean(axis=(1, 2, 3))
    assert means.std() > 15
    middle = views[:, 18:30, 18:30].mean(axis=(1, 2))
    assert np.mean(middle.max(axis=1) > 60) > 0.9  # the white bar stays in the middle
