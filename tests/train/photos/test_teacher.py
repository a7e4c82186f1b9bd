"""A teacher: its answers, softened, stand beside the labels, and the run tells of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from training import MODELS, main, options

from edge.bundle.manifest import read_bundle
from edge.datasets.classes import GTSRB
from edge.engines.open import open_engine
from edge.errors import BundleError, InputError
from train.fit import _sign_free, _Source
from train.photos.teacher import SHARE, SIGN_FREE_SHARE, TEMPERATURE, Teacher, taught
from train.recipes import FULL, TUTORIAL, drawn_recipe
from train.runs import folder as runs

SIZE = 64
RECIPE = taught(replace(FULL, size=SIZE, batch=20))


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def probabilities(crops):
    with open_engine(read_bundle(MODELS), "classifier", engine="onnxruntime") as engine:
        return np.concatenate([engine.infer(crops[:16]), engine.infer(crops[16:])])


def test_what_it_says_is_the_bundles_own_answer_softened(crops, probabilities):
    with Teacher(MODELS, RECIPE) as teacher:
        softened = teacher.soften(crops)
    assert softened.dtype == np.float32
    np.testing.assert_allclose(softened.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(softened.argmax(axis=1), probabilities.argmax(axis=1))
    logits = np.log(np.maximum(probabilities, 1e-8)) / TEMPERATURE
    np.testing.assert_allclose(softened, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=1e-5)
    assert (softened.max(axis=1) < probabilities.max(axis=1)).all()


def test_it_reads_crops_of_another_size_as_the_board_would(crops):
    small = np.ascontiguousarray(crops[:, ::2, ::2])
    with Teacher(MODELS, replace(RECIPE, size=SIZE // 2)) as teacher:
        assert teacher.soften(small).shape == (20, 43)


def test_targets_are_mixed_view_by_view(crops, probabilities):
    labels = np.eye(43, dtype=np.float32)[probabilities.argmax(axis=1)]
    stream = tf.data.Dataset.from_tensors((crops, labels)).repeat(2)
    with Teacher(MODELS, RECIPE) as teacher:
        mixed = list(teacher.teach(stream).as_numpy_iterator())
        softened = teacher.soften(crops)
    assert len(mixed) == 2
    for views, targets in mixed:
        np.testing.assert_array_equal(views, crops)
        np.testing.assert_allclose(targets, (1 - SHARE) * labels + SHARE * softened, atol=1e-6)
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)


def test_where_no_sign_is_or_the_teacher_names_another_the_label_alone_counts(crops, probabilities):
    named = probabilities.argmax(axis=1)
    targets = np.eye(43, dtype=np.float32)[named]
    targets[::3] = 1 / 43
    targets[1::3] = np.eye(43, dtype=np.float32)[(named[1::3] + 1) % 43]
    with Teacher(MODELS, RECIPE) as teacher:
        mixed = teacher.mix(crops, targets)
        softened = teacher.soften(crops)
    np.testing.assert_array_equal(mixed[::3], targets[::3])
    np.testing.assert_array_equal(mixed[1::3], targets[1::3])
    np.testing.assert_allclose(mixed[2::3], (1 - SHARE) * targets[2::3] + SHARE * softened[2::3], atol=1e-6)


def test_what_its_spotter_takes_for_a_sign_is_among_the_places_without_one(tmp_path, data_root):
    with Teacher(MODELS, RECIPE) as teacher:
        assert teacher.seeming(tmp_path) == []
        seeming = teacher.seeming(data_root)
        mixed = _sign_free(_Source(data_root, [], (np.zeros(0), np.zeros(0)), (np.zeros(0), np.zeros(0)), 1, teacher, GTSRB), RECIPE)
        others = _sign_free(_Source(data_root, [], (np.zeros(0), np.zeros(0)), (np.zeros(0), np.zeros(0)), 1, None, GTSRB), RECIPE)
    assert len(seeming) > 500
    assert all(crop.dtype == np.uint8 and crop.ndim == 3 and min(crop.shape[:2]) >= 16 for crop in seeming)
    assert all(one is not other and np.array_equal(one, other) for one, other in zip(mixed, seeming, strict=False))
    assert len(mixed) - len(seeming) == len(others[:: max(1, len(others) // len(seeming))])


def test_a_taught_run_tells_by_whom_and_is_resumed_with_its_teacher_alone(all_classes, tmp_path, capsys):
    out = tmp_path / "run"
    ask = [*options(all_classes, out, "--teacher", MODELS), "--epochs", 1]
    assert main(*ask) == 0
    run = runs.read_run(out)
    told = (run["recipe"]["teacher_share"], run["recipe"]["teacher_temperature"], run["recipe"]["label_smoothing"])
    assert told == (SHARE, TEMPERATURE, 0.0)
    bundle = read_bundle(MODELS)
    assert run["taught_by"] == {"name": bundle.manifest.name, "sha256": bundle.model("classifier", "int8-cpu").sha256}
    assert np.isfinite(runs.read_history(out / runs.HISTORY)[0]["loss"])
    capsys.readouterr()
    assert main(*[word for word in ask if word not in ("--teacher", MODELS)], "--resume") == 1
    assert "found that it had" in capsys.readouterr().err
    assert json.loads((out / runs.ASKED).read_text())["teacher"] == str(MODELS)


def test_what_comes_before_the_photos_has_no_teacher():
    first = drawn_recipe(taught(FULL))
    assert first.teacher_share is None
    assert first.teacher_temperature is None
    assert taught(FULL).teacher_share == SHARE


def test_more_views_show_no_sign_where_the_recipe_has_such():
    assert taught(FULL).sign_free_share == SIGN_FREE_SHARE > FULL.sign_free_share
    assert taught(TUTORIAL).sign_free_share == 0


def test_a_damaged_teacher_is_refused(tmp_path: Path):
    with pytest.raises(BundleError, match="wanted a bundle"):
        Teacher(tmp_path, RECIPE)


def test_a_teacher_of_the_first_classes_says_nothing_of_those_that_are_added(shipped_bundle, draw_crops):
    crops, class_ids = draw_crops(6, SIZE)
    names = (*GTSRB.names, "Dock", "Pier")
    with Teacher(MODELS, RECIPE, names) as teacher, Teacher(MODELS, RECIPE) as plain:
        softened = teacher.soften(crops)
        np.testing.assert_array_equal(softened[:, :-2], plain.soften(crops))
        assert not softened[:, -2:].any()
        targets = np.eye(len(names), dtype=np.float32)[[44, *class_ids[1:]]]
        np.testing.assert_array_equal(teacher.mix(crops, targets)[0], targets[0])  # of a sign that it does not know it teaches nothing
    with pytest.raises(InputError, match="whose 43 classes are the first of the data set's 2, found another"):
        Teacher(MODELS, RECIPE, ("Dock", "Pier"))
