from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import InputError
from edge.gtsrb import Photo, read_test, read_train
from train.data import load_crops, sample_epoch, train_stream

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


def batches(photos, first_epoch, epochs=3):
    stream = train_stream(photos, size=32, batch=4, power=0.5, seed=5, first_epoch=first_epoch, epochs=epochs)
    return [(images.numpy(), one_hot.numpy()) for images, one_hot in stream]


def test_a_resumed_stream_gives_what_an_unbroken_one_would(photos):
    whole, resumed = batches(photos, 0), batches(photos, 1)
    assert len(whole) == 3 * (len(photos) // 4)
    assert len(resumed) == 2 * (len(photos) // 4)
    for (images, one_hot), (images_again, one_hot_again) in zip(whole[2:], resumed, strict=True):
        assert np.array_equal(images, images_again)
        assert np.array_equal(one_hot, one_hot_again)
    assert not np.array_equal(whole[0][0], whole[2][0])


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
        train_stream(photos, size=32, batch=4, power=0.5, seed=0, first_epoch=0, epochs=1)
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
