from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.datasets.gtsdb import CROPS_PER_FRAME, read_sides
from edge.datasets.gtsrb import Photo, read_test, read_train
from edge.errors import InputError
from train.photos.data import drawn_crops, feature_stream, load_crops, load_sign_free, plan_epoch, sample_epoch, train_stream
from train.photos.views import DRAWN, REAL, SIGN_FREE
from train.recipes import Recipe

CLASS_IDS = np.repeat([0, 7, 14, 42], [100, 25, 4, 1])


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_an_epoch_has_as_many_photos_as_the_set_and_classes_by_the_power_of_their_size(power):
    drawn = sample_epoch(CLASS_IDS, power, seed=0, epoch=0)
    assert len(drawn) == len(CLASS_IDS)
    sizes = np.bincount(CLASS_IDS)
    weight = np.where(sizes > 0, sizes.astype(float) ** power, 0)
    found = np.bincount(CLASS_IDS[drawn], minlength=43)
    assert np.all(np.abs(found - weight / weight.sum() * len(CLASS_IDS)) < 1)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_photos_of_a_class_are_drawn_evenly(power):
    counts = np.bincount(sample_epoch(CLASS_IDS, power, seed=0, epoch=0), minlength=len(CLASS_IDS))
    for class_id in np.unique(CLASS_IDS):
        assert np.ptp(counts[class_id == CLASS_IDS]) <= 1


def test_power_one_is_a_plain_shuffle():
    drawn = sample_epoch(CLASS_IDS, 1.0, seed=0, epoch=0)
    assert sorted(drawn) == list(range(len(CLASS_IDS)))
    assert list(drawn) != sorted(drawn)


def test_seed_and_epoch_alone_decide_the_order():
    first = sample_epoch(CLASS_IDS, 0.5, seed=1, epoch=2)
    assert np.array_equal(first, sample_epoch(CLASS_IDS, 0.5, seed=1, epoch=2))
    assert not np.array_equal(first, sample_epoch(CLASS_IDS, 0.5, seed=1, epoch=3))
    assert not np.array_equal(first, sample_epoch(CLASS_IDS, 0.5, seed=2, epoch=2))


@pytest.fixture
def photos(tmp_path) -> list[Photo]:
    rng = np.random.default_rng(0)
    found = []
    for index in range(11):
        path = tmp_path / f"{index:05d}_00000_00000.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (20 + index, 30, 3)).astype(np.uint8))
        found.append(Photo(path, index % 3, path.stem))
    return found


PLAIN = Recipe("plain", size=32, epochs=3, batch=4, seed=5, drawn_share=0.0, sign_free_share=0.0)
MIXED = replace(PLAIN, drawn_share=0.25, sign_free_share=0.25)


def batches(photos, first_epoch, recipe=PLAIN, **options):
    stream = train_stream(photos, [], recipe, recipe.steps(len(photos)), first_epoch, **options)
    return [(images.numpy(), targets.numpy()) for images, targets in stream]


@pytest.mark.parametrize(("recipe", "steps"), [(PLAIN, 2), (MIXED, 5)])
def test_a_resumed_stream_gives_what_an_unbroken_one_would(photos, recipe, steps):
    whole, resumed = batches(photos, 0, recipe), batches(photos, 1, recipe)
    assert len(whole) == 3 * steps
    assert len(resumed) == 2 * steps
    for (images, targets), (images_again, targets_again) in zip(whole[steps:], resumed, strict=True):
        assert np.array_equal(images, images_again)
        assert np.array_equal(targets, targets_again)
    assert not np.array_equal(whole[0][0], whole[steps][0])


def test_processes_make_the_views_that_threads_make(photos):
    by_threads, by_processes = (batches(photos, 1, MIXED, processes=processes) for processes in (False, True))
    for (images, targets), (images_again, targets_again) in zip(by_threads, by_processes, strict=True):
        assert np.array_equal(images, images_again)
        assert np.array_equal(targets, targets_again)


def test_an_epoch_mixes_real_drawn_and_sign_free_views_by_their_shares():
    recipe = replace(MIXED, batch=10, drawn_share=0.1, sign_free_share=0.06)
    class_ids = np.arange(421) % 43
    steps = recipe.steps(len(class_ids))
    plan = plan_epoch(class_ids, recipe, steps, 0)
    assert len(plan) == steps * 10 == 500
    assert np.bincount(plan[:, 0]).tolist() == [420, 50, 30]
    assert len(set(plan[plan[:, 0] == REAL, 1])) == 420
    assert set(plan[plan[:, 0] == DRAWN, 1]) == set(range(43))
    assert len(set(plan[:200, 0])) == 3
    assert not np.array_equal(plan, plan_epoch(class_ids, recipe, steps, 1))


def test_a_view_without_a_sign_wants_all_classes_alike(photos):
    targets = np.concatenate([targets for _, targets in batches(photos, 0, MIXED)])
    free = np.isclose(targets.max(axis=1), 1 / 43)
    assert free.sum() == 3 * round(20 * 0.25)
    assert np.allclose(targets.sum(axis=1), 1)
    assert np.array_equal(np.unique(targets[~free]), [0, 1])
    assert SIGN_FREE in plan_epoch(np.zeros(11, np.int64), MIXED, 5, 0)[:, 0]


def test_mirrored_views_carry_the_class_that_the_mirror_makes(tmp_path):
    left = np.zeros((40, 40, 3), np.uint8)
    left[:, :20] = 255
    cv2.imwrite(str(tmp_path / "00038_00000_00000.png"), left)
    photos = [Photo(tmp_path / "00038_00000_00000.png", 38, "00038_00000")] * 64
    seen = set()
    for images, targets in batches(photos, 0, replace(PLAIN, epochs=1, batch=32, air=False)):
        for image, class_id in zip(images.astype(float), targets.argmax(axis=1), strict=True):
            bright_left = image[:, :16].mean() > image[:, 16:].mean()
            assert class_id == (38 if bright_left else 39)
            seen.add(class_id)
    assert seen == {38, 39}


def test_without_augmentation_a_view_is_the_photo_as_the_board_would_see_it(photos):
    recipe = replace(PLAIN, augmented=False, sampling_power=1.0)
    crops, class_ids = load_crops(photos, 32)
    plan = plan_epoch(class_ids, recipe, 2, 0)
    for (images, targets), numbers in zip(batches(photos, 0, recipe), plan[:, 1].reshape(2, 4), strict=False):
        assert np.array_equal(images, crops[numbers])
        assert np.array_equal(targets.argmax(axis=1), class_ids[numbers])


def test_features_come_in_the_order_of_their_photos(photos):
    recipe = replace(PLAIN, augmented=False)
    crops, class_ids = load_crops(photos, 32)
    by_photo = batches(photos, 1, recipe)
    by_feature = list(feature_stream(crops.astype(np.float32), class_ids, recipe, 2, 1))
    for (images, targets), (features, targets_again) in zip(by_photo, by_feature, strict=True):
        assert np.array_equal(images, features.numpy())
        assert np.array_equal(targets, targets_again.numpy())


def test_drawn_photos_to_validate_on_show_every_class_and_repeat():
    crops, class_ids = drawn_crops(32, 2, seed=0)
    assert crops.shape == (86, 32, 32, 3)
    assert np.bincount(class_ids).tolist() == [2] * 43
    assert np.array_equal(crops, drawn_crops(32, 2, seed=0)[0])


def test_places_without_a_sign_are_cut_from_frames_beside_the_photos(tmp_path, data_root):
    assert load_sign_free(tmp_path, 0) == []
    crops = load_sign_free(data_root / "gtsrb", 0)
    assert 3000 < len(crops) <= CROPS_PER_FRAME * len(read_sides(data_root).train)  # none from where thresholds are chosen
    assert all(crop.dtype == np.uint8 and crop.ndim == 3 for crop in crops)


def test_the_stream_has_the_shapes_that_the_network_takes(photos):
    (images, one_hot), *_ = batches(photos, 2)
    assert images.shape == (4, 32, 32, 3)
    assert images.dtype == np.uint8
    assert one_hot.shape == (4, 43)
    assert one_hot.dtype == np.float32
    assert np.array_equal(one_hot.sum(axis=1), np.ones(4))
    assert set(one_hot.argmax(axis=1)) <= {0, 1, 2}


@pytest.mark.parametrize("damage", ["missing", "empty", "text"])
def test_a_broken_photo_stops_before_the_stream_starts_and_is_named(photos, damage):
    broken = photos[6].path
    broken.unlink() if damage == "missing" else broken.write_text("" if damage == "empty" else "no image")
    with pytest.raises(InputError, match=broken.name):
        train_stream(photos, [], PLAIN, 2, 0)
    with pytest.raises(InputError, match=broken.name):
        load_crops(photos, 32)


def test_real_photos_have_the_class_ids_of_their_folders(data_root):
    photos = read_train(data_root / "gtsrb")
    assert {photo.class_id for photo in photos} == set(range(43))
    assert all(photo.class_id == int(photo.path.parent.name) for photo in photos)
    few = photos[::500]
    crops, class_ids = load_crops(few, 48)
    assert crops.shape == (len(few), 48, 48, 3)
    assert list(class_ids) == [photo.class_id for photo in few]
    assert crops.std() > 20
    assert read_test(data_root / "gtsrb")[0].path.is_relative_to(Path(data_root))
