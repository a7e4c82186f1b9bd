import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from train.runs import folder as runs
from train.runs.keeper import Keeper, is_over, load_best, since_best

STEPS = 2
FALLING = 3
"""Epochs after which the rate leaps, so that the loss grows."""


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([FALLING * STEPS - 1], [0.05, 5.0])
    model.compile(keras.optimizers.SGD(rate), "mse", metrics=["accuracy"])
    return model


def train(model, out, first_epoch=0, epochs=9, patience=2):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(STEPS * 8, 4))
    targets = inputs.sum(axis=1, keepdims=True)
    seen = []
    recorder = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(model.get_weights()))
    keeper = Keeper(model, out, first_epoch, patience)
    model.fit(inputs, targets, 8, epochs, 0, [recorder, keeper], validation_data=(inputs, targets), initial_epoch=first_epoch, shuffle=False)
    return seen


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_training_stops_when_nothing_gets_better_and_the_best_epochs_weights_are_kept(tmp_path):
    model = network()
    seen = train(model, tmp_path)
    rows = runs.read_history(tmp_path / runs.HISTORY)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert since_best(rows) == 2
    assert is_over(rows, 2)
    assert not is_over(rows, 3)
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.05, 0.05, 5, 5, 5])
    assert runs.read_progress(tmp_path) == runs.Progress(5, "float32", {})
    assert same(model.get_weights(), seen[4])
    load_best(model, tmp_path)
    assert same(model.get_weights(), seen[FALLING - 1])


def test_a_kill_between_checkpoint_and_best_weights_is_made_good(tmp_path):
    model = network()
    train(model, tmp_path, epochs=2)
    best = (tmp_path / runs.BEST).read_bytes()
    seen = train(model, tmp_path, first_epoch=2, epochs=3)
    (tmp_path / runs.BEST).write_bytes(best)  # as if killed before epoch 3's came
    resumed = network()
    runs.load_checkpoint(resumed, tmp_path / runs.CHECKPOINT)
    train(resumed, tmp_path, first_epoch=3)
    load_best(resumed, tmp_path)
    assert same(resumed.get_weights(), seen[0])


def test_rows_of_an_epoch_that_the_checkpoint_has_not_are_dropped(tmp_path):
    model = network()
    train(model, tmp_path, epochs=2)
    rows = runs.read_history(tmp_path / runs.HISTORY)
    runs.write_history([*rows, {**rows[-1], "epoch": 3.0, "val_loss": 0.0}], tmp_path / runs.HISTORY)  # as if killed before epoch 3's checkpoint
    train(model, tmp_path, first_epoch=2, epochs=3)
    again = runs.read_history(tmp_path / runs.HISTORY)
    assert again[:2] == rows
    assert len(again) == 3
    assert again[2]["val_loss"] > 0


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
from test_keeper import network, train
from train.runs import folder as runs

folder = Path(sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it

def press():
    while not (folder / runs.BEST).exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=press, daemon=True).start()
try:
    train(network(), folder, epochs=10_000, patience=None)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    os._exit(0)
"""


def test_ctrl_c_costs_the_epoch_that_it_falls_in(tmp_path):
    # In a process of its own: threads that TensorFlow is interrupted in may fall over much later.
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[3])])
    argv = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    ended = subprocess.run(argv, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=180, check=False)
    assert ended.stdout.splitlines()[-1] == "interrupted", ended.stderr[-2000:]
    done = runs.read_progress(tmp_path).epochs
    assert 1 <= done < 10_000
    resumed = network()
    runs.load_checkpoint(resumed, tmp_path / runs.CHECKPOINT)
    train(resumed, tmp_path, first_epoch=done, epochs=done + 1)
    assert [row["epoch"] for row in runs.read_history(tmp_path / runs.HISTORY)] == list(range(1, done + 2))


@pytest.mark.parametrize(("losses", "since"), [([], 0), ([1.0], 0), ([1.0, 1.0], 1), ([float("nan"), 2.0], 0), ([2.0, float("nan")], 1)])
def test_a_loss_that_is_no_number_is_never_the_lowest(losses, since):
    rows = [{"val_loss": loss} for loss in losses]
    assert since_best(rows) == since
    assert not is_over(rows, None)


def test_without_kept_weights_those_of_the_last_epoch_stay(tmp_path):
    model = network()
    runs.write_history([{"epoch": 1.0, "val_loss": 0.1}, {"epoch": 2.0, "val_loss": 0.2}], tmp_path / runs.HISTORY)
    before = model.get_weights()
    load_best(model, tmp_path)
    assert same(model.get_weights(), before)
