from dataclasses import replace

import pytest

from edge.errors import InputError
from train.recipes import FEWSHOT, FULL, RECIPES, TUTORIAL, Recipe, drawn_recipe, recipe


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"epochs": -1}, {"seed": -1}, {"seed": 2**32}, {"tuning_rate": 0}, {"tuning_rate": 2}])
def test_a_recipe_refuses_what_cannot_run(changes):
    with pytest.raises(InputError, match=f"found {next(iter(changes.values()))}"):
        recipe("full", **changes)


def test_a_recipe_keeps_its_own_values_where_none_is_given():
    assert recipe("full") == RECIPES["full"]
    assert recipe("full", size=64, seed=0, precision=None) == Recipe("full", size=64)
    assert recipe("tutorial", epochs=3) == replace(TUTORIAL, epochs=3)


def test_the_tutorials_settings_are_its_own():
    told = {"size": 224, "train_per_class": 28, "valid_per_class": 12, "last_layers": 8, "dense": 128, "dropout": 0.6, "batch": 32, "epochs": 101}
    assert {key: getattr(TUTORIAL, key) for key in told} == told
    assert (TUTORIAL.optimizer, TUTORIAL.tuning_rate) == ("adam", 1e-4)
    assert not TUTORIAL.augmented
    assert (FEWSHOT.train_per_class, FEWSHOT.valid_per_class) == (28, 12)


@pytest.mark.parametrize(("steps", "epochs"), [(3000, 10), (400, 1), (4, 1)])
def test_drawn_photos_train_every_layer_in_epochs_that_a_kill_may_cost(steps, epochs):
    first = drawn_recipe(replace(FULL, drawn_steps=steps, last_layers=8, patience=3))
    assert first.epochs == epochs
    assert (first.last_layers, first.patience) == (None, None)
    assert first.drawn_share + first.sign_free_share == pytest.approx(1)


def test_runs_of_every_seed_share_the_drawn_weights():
    assert drawn_recipe(FEWSHOT) == drawn_recipe(replace(FEWSHOT, seed=7, scratch_rate=0.002, tuning_rate=0.002))
