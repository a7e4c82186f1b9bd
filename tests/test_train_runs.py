import json

import pytest

from edge.errors import InputError
from train import runs
from train.config import RECIPES, Recipe, recipe

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
    runs.write_history(rows, path)
    assert runs.read_history(path) == rows
    path.write_text("epoch,loss\n1.0,low\n")
    with pytest.raises(InputError, match=r"history\.csv"):
        runs.read_history(path)


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"epochs": -1}, {"seed": -1}, {"seed": 2**32}])
def test_a_recipe_refuses_what_cannot_run(changes):
    with pytest.raises(InputError, match=f"found {next(iter(changes.values()))}"):
        recipe("full", **changes)


def test_a_recipe_keeps_its_own_values_where_none_is_given():
    assert recipe("full") == RECIPES["full"]
    assert recipe("full", size=64, seed=0) == Recipe("full", size=64)
