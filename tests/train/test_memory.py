"""Keeping a training inside a memory budget."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

import keras
import numpy as np

from edge.board.machine import rss_mib
from edge.datasets.gtsrb import Photo
from edge.errors import InputError
from train.draw import draw
from train.memory import FEWEST_NORMED, Plan, plan
from train.networks.compiled import compiled
from train.recipes import FULL, TUTORIAL, Recipe

HELD = 12 * 43


@pytest.fixture
def photos(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"x" * 5000)
    return [Photo(path, 0, "0_0")] * (28 * 43)


def tutorial(photos, budget_gib, **more):
    return plan(TUTORIAL, photos, HELD, budget_gib, **{"batch_norm": False, "cacheable": True} | more)


def test_without_a_budget_the_recipe_stays_as_it_is(photos):
    assert tutorial(photos, None) == Plan(32, 1, True, None)
    assert tutorial(photos, None, cacheable=False, passes=4) == Plan(8, 4, False, None)


def test_with_less_memory_first_the_cache_goes_and_then_the_batch_shrinks(photos):
    budget_gib, found, told = 6.0 + rss_mib() / 1024, [], None  # this process may have grown in other tests
    while told is None:
        try:
            found.append(tutorial(photos, budget_gib))
            assert found[-1].expected_mib <= budget_gib * 1024
            budget_gib -= 0.2
        except InputError as error:
            told = str(error)
    assert re.search(r"found that 224 px take at least about \d+\.\d\d GiB, with batches of [12]: give a larger budget or a smaller --size", told)
    choices = list(dict.fromkeys((each.batch, each.cached) for each in found))
    assert choices[:3] == [(32, True), (32, False), (16, False)]
    assert choices == sorted(choices, reverse=True)
    assert all(each.batch * each.passes == 32 for each in found)


def test_what_is_frozen_and_what_is_small_takes_less(photos, monkeypatch):
    monkeypatch.setattr("train.memory.rss_mib", lambda: 500.0)  # this process may shrink between two counts, by what other tests left

    def expected(recipe, *, batch_norm=True):
        return plan(recipe, photos, HELD, 100, batch_norm=batch_norm, cacheable=False).expected_mib

    whole = replace(TUTORIAL, last_layers=None)
    assert expected(TUTORIAL, batch_norm=False) < expected(whole, batch_norm=False) < expected(whole)
    assert expected(replace(FULL, size=48)) < expected(replace(FULL, size=96)) < expected(replace(FULL, size=96, optimizer="adam"))
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        narrow = expected(replace(FULL, size=96))
    finally:
        keras.config.set_dtype_policy("float32")
    assert narrow < expected(replace(FULL, size=96))


def test_batch_norm_is_not_left_with_a_few_photos(photos):
    with pytest.raises(InputError, match=f"with batches of {FEWEST_NORMED}:"):
        plan(replace(FULL, size=224), photos, HELD, 0.5, batch_norm=True, cacheable=False)
    with pytest.raises(InputError, match="with batches of 4:"):
        plan(replace(FULL, size=224, batch=4), photos, HELD, 0.5, batch_norm=True, cacheable=False)


def test_devices_share_each_batch_evenly(photos):
    with pytest.raises(InputError, match="with batches of 6:"):
        plan(replace(FULL, size=224, batch=18), photos, HELD, 0.5, batch_norm=False, cacheable=False, devices=6)


def test_a_run_that_goes_on_keeps_its_batch_whatever_the_budget(photos):
    for budget in (0.1, 100):
        resumed = tutorial(photos, budget, cacheable=False, passes=4)
        assert (resumed.batch, resumed.passes) == (8, 4)


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan")])
def test_a_budget_of_nothing_is_refused(photos, budget):
    with pytest.raises(InputError, match=f"above 0 GiB, found {budget:g}"):
        tutorial(photos, budget)


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1e-2), ("adam", 1e-4)])
def test_passes_make_the_update_of_the_whole_batch(optimizer, rate):
    rng = np.random.default_rng(0)
    images, targets = rng.integers(0, 256, (8, 32, 32, 3)).astype(np.uint8), np.eye(43, dtype=np.float32)[:8]
    still = Recipe("full", size=32, epochs=4, batch=8, dense=16, dropout=0.0, tuning_rate=rate, optimizer=optimizer)
    whole, parts = (compiled(still, "imagenet", 100_000, passes) for passes in (1, 2))  # plain, with random weights
    before = whole.get_weights()
    parts.set_weights(before)
    for _ in range(3):
        whole.train_on_batch(images, targets)
        for half in (slice(0, 4), slice(4, 8)):
            parts.train_on_batch(images[half], targets[half])
    assert int(parts.optimizer.iterations) == int(whole.optimizer.iterations) == 3
    assert float(parts.optimizer.learning_rate) == pytest.approx(float(whole.optimizer.learning_rate), rel=1e-6)
    for start, wanted, found in zip(before, whole.get_weights(), parts.get_weights(), strict=True):
        # Adam takes whole steps by gradients that are all but 0, whose sign is a matter of rounding.
        assert np.linalg.norm(found - wanted) < 0.05 * np.linalg.norm(wanted - start)


def test_a_real_run_stays_inside_its_budget_by_taking_less(tmp_path):
    draw("photos", tmp_path / "data", 86, 0)

    def peak(name, budget_gib):
        asked = ["--data", tmp_path / "data", "--out", tmp_path / name, "--weights", "none", "--size", "96", "--width", "0.5", "--epochs", "1"]
        command = [sys.executable, "-m", "train", "fit", *asked, "--precision", "float32", "--memory-budget", str(budget_gib)]
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
        ran = subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert ran.returncode == 0, ran.stderr
        run = json.loads((tmp_path / name / "run.json").read_text())
        assert run["peak_memory"]["host_peak_mib"] < budget_gib * 1024
        return run["peak_memory"]["host_peak_mib"], run["memory"]

    ample, whole = peak("ample", 8)
    # How much a convolution's scratch takes is the processor's: what was counted for the whole batch is the least budget that any of them needs for it.
    less, shrunk = peak("tight", (whole["expected_mib"] - 150) / 1024)
    assert (whole["batch"], shrunk["batch"] < 32) == (32, True)
    assert less < ample - 50
