import json
import zipfile
from dataclasses import asdict, replace

import keras
import numpy as np
import pytest

from edge.errors import InputError
from train.runs import folder as runs
from train.recipes import FEWSHOT, FULL

ASKED = {"recipe": {"name": "full", "size": 48, "epochs": 20}, "weights": "none", "data": "photos"}


def start(out, **changes):
    (out / runs.ASKED).write_text(json.dumps(ASKED))
    runs.check_start(out, {**ASKED, **changes}, resume=True)


def test_a_new_or_empty_folder_may_start_with_and_without_resume(tmp_path):
    for out in (tmp_path, tmp_path / "none"):
        for resume in (False, True):
            runs.check_start(out, ASKED, resume)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", [runs.ASKED, runs.CHECKPOINT, runs.MODEL])
def test_a_folder_with_a_run_is_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match=r"found a run in .*--resume"):
        runs.check_start(tmp_path, ASKED, resume=False)


def test_the_same_options_resume(tmp_path):
    start(tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"recipe": {"name": "full", "size": 64, "epochs": 20}}, r"size 48 \(now 64\)"),
        ({"recipe": {"name": "tutorial", "size": 48, "epochs": 20}}, r"recipe full \(now tutorial\)"),
        ({"weights": "imagenet"}, r"weights none \(now imagenet\)"),
        ({"data": "elsewhere"}, r"data photos \(now elsewhere\)"),
    ],
)
def test_other_options_do_not_resume_and_both_sides_are_told(tmp_path, changes, told):
    with pytest.raises(InputError, match=told):
        start(tmp_path, **changes)


def test_what_an_older_version_did_not_write_down_counts_as_the_recipes_own_value(tmp_path):
    newer = ("optimizer", "last_layers", "patience", "augmented", "drawn_steps", "train_per_class", "valid_per_class")
    for recipe in (FULL, FEWSHOT):
        older = {key: value for key, value in asdict(recipe).items() if key not in newer}
        (tmp_path / runs.ASKED).write_text(json.dumps({**ASKED, "recipe": older}))
        runs.check_start(tmp_path, {**ASKED, "recipe": asdict(recipe)}, resume=True)
        with pytest.raises(InputError, match=r"patience None \(now 3\)"):
            runs.check_start(tmp_path, {**ASKED, "recipe": asdict(replace(recipe, patience=3))}, resume=True)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_damaged_state_is_refused(tmp_path, text):
    (tmp_path / runs.ASKED).write_text(text)
    with pytest.raises(InputError, match=r"asked\.json"):
        runs.check_start(tmp_path, ASKED, resume=True)


@pytest.mark.parametrize("text", [None, "{", '{"schema": 2}'])
def test_a_run_that_is_unfinished_damaged_or_newer_is_not_read(tmp_path, text):
    if text is not None:
        (tmp_path / runs.RUN).write_text(text)
    with pytest.raises(InputError, match=r"run\.json"):
        runs.read_run(tmp_path)


def test_history_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / runs.HISTORY
    assert runs.read_history(path) == []
    rows = [{"epoch": float(n), "loss": 1 / (n + 3), "val_loss": 0.1} for n in range(3)]
    rows.append({**rows[-1], "seconds": 2.5})  # the rows above are of an older version
    runs.write_history(rows, path)
    assert runs.read_history(path) == rows
    path.write_text("epoch,loss\n1.0,low\n")
    with pytest.raises(InputError, match=r"history\.csv"):
        runs.read_history(path)


def network(optimizer):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dropout(0.5, name="dropout")])
    model.compile(optimizer, "mse")
    return model


def adam():
    return keras.optimizers.Adam(0.1)


@pytest.mark.parametrize("optimizer", [adam, lambda: keras.optimizers.LossScaleOptimizer(adam(), initial_scale=2.0**127, dynamic_growth_steps=3)])
def test_a_checkpoint_says_how_far_it_has_come_and_brings_its_optimizer(tmp_path, optimizer):
    assert runs.read_progress(tmp_path) == runs.Progress(0, None, {})
    first, path = network(optimizer()), tmp_path / runs.CHECKPOINT
    for _ in range(20):  # with a scaled loss the first ones overflow and are passed over
        first.train_on_batch(np.ones((2, 4)), np.ones((2, 3)))
    runs.save_checkpoint(first, path, 7)
    progress = runs.read_progress(tmp_path)
    assert (progress.epochs, progress.precision) == (7, "float32")
    second = network(optimizer())
    runs.load_checkpoint(second, path)
    assert int(second.optimizer.iterations) == int(first.optimizer.iterations)
    assert (int(first.optimizer.iterations) == 20) == (optimizer is adam)
    for _ in range(4):
        for each in (first, second):
            each.train_on_batch(np.ones((2, 4)), np.ones((2, 3)))
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(first.optimizer.variables, second.optimizer.variables, strict=True))


def test_an_older_checkpoint_has_come_as_far_as_its_history(tmp_path):
    runs.save_model(network("sgd"), tmp_path / runs.CHECKPOINT)
    runs.write_history([{"epoch": 1.0, "loss": 0.5}, {"epoch": 2.0, "loss": 0.4}], tmp_path / runs.HISTORY)
    assert runs.read_progress(tmp_path) == runs.Progress(2, None, {})


@pytest.mark.parametrize("damage", ["cut", "text", "comment"])
def test_a_damaged_checkpoint_is_told_with_its_cure(tmp_path, damage):
    path = tmp_path / runs.CHECKPOINT
    runs.save_checkpoint(network("sgd"), path, 7)
    if damage == "comment":
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = b"[]"
    else:
        path.write_bytes(path.read_bytes()[:2000] if damage == "cut" else b"no model")
    with pytest.raises(InputError, match=r"checkpoint\.keras.*damaged.*remove it to begin anew"):
        runs.read_progress(tmp_path)


@pytest.mark.parametrize("with_optimizer", [False, True])
def test_weights_are_loaded_whatever_the_optimizers(tmp_path, with_optimizer):
    first, second, path = network("adam"), network("sgd"), tmp_path / runs.BEST
    first.train_on_batch(np.ones((2, 4)), np.ones((2, 3)))
    (runs.save_model if with_optimizer else runs.save_weights)(first, path)
    runs.load_weights(second, path)
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))
    assert int(second.optimizer.iterations) == 0
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
    other.compile("sgd", "mse")
    with pytest.raises(InputError, match=r"best\.keras.*remove the file"):
        runs.load_weights(other, path)
