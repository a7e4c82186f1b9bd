"""Training on several devices and processes; each in a process of its own, since devices are counted once."""

import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("keras", reason="needs the train extra")

import keras

from edge.errors import InputError
from train.runs.distribution import distribute

pytestmark = pytest.mark.skipif(find_spec("jax") is None, reason="needs jax")

ROOT = Path(__file__).resolve().parents[3]
TEN_STEPS = """
import keras
import numpy as np
from keras import layers
from edge.errors import InputError
from train.recipes import Recipe
from train.photos.data import train_stream
from train.runs.distribution import device_count, distribute, gather
from train.networks.norm import FusedBatchNorm

recipe = Recipe("drawn", size=32, epochs=1, batch=8, drawn_share=0.8, sign_free_share=0.2)

def network():
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3), dtype="uint8")
    x = layers.Rescaling(1 / 64, offset=-2.0)(images)
    for filters in (8, 16):
        x = FusedBatchNorm(momentum=0.5)(layers.Conv2D(filters, 3, padding="same")(x))
        x = layers.MaxPooling2D(2)(layers.Activation("relu")(x))
    x = layers.BatchNormalization(momentum=0.5)(layers.Dense(16)(layers.Flatten()(x)))
    x = layers.Dropout(0.3)(layers.Activation("relu")(x))
    model = keras.Model(images, layers.Softmax()(layers.Dense(43)(x)))
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=5e-3), "categorical_crossentropy")
    return model

def train(model):
    losses = []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    model.fit(train_stream([], [], recipe, 10, 0), steps_per_epoch=10, shuffle=False, callbacks=[note], verbose=0)
    return losses, model.get_weights()

try:
    distribute(9)
except InputError as error:
    print(error)
before = network().get_weights()
losses, wanted = train(network())
assert distribute(recipe.batch) == device_count() == 2
model = network()
found_losses, found = train(model)
assert len(losses) == 10 and max(map(lambda a, b: abs(a - b), losses, found_losses)) < 1e-4, (losses, found_losses)
assert len(model.layers[2].kernel.value.sharding.device_set) == 2
for path, a, b, c in zip([v.path for v in model.weights], before, wanted, found):
    assert np.allclose(b, c, rtol=1e-4, atol=1e-4), (path, np.abs(b - c).max())
assert all(np.abs(a - b).max() > 1e-2 for a, b in zip(before, wanted) if a.ndim > 1)
gather()
assert device_count() == 1
"""
JOINED = """
from train.runs.distribution import distribute
import jax
print(distribute(8), jax.process_index(), jax.process_count())
"""
ALONE = """
import os
from edge.errors import InputError
from train.runs.distribution import device_count, distribute
try:
    distribute(9)
except InputError as error:
    print(error)
del os.environ["KERAS_DISTRIBUTION_JOB_ADDRESSES"]
print(distribute(9), device_count())
"""


def start(code, devices=1, **more):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", **more}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(process):
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out.splitlines()


def test_ten_steps_on_two_devices_are_those_of_one_with_the_same_batch():
    assert told(start(TEN_STEPS, devices=2)) == [
        "wanted a batch that 2 devices can share evenly, found 9: give another number of devices",
        "8 photos a step over 2 device(s): cpu:0, cpu:1",
    ]


def test_two_processes_join():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    named = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    both = [start(JOINED, **named, KERAS_DISTRIBUTION_PROCESS_ID=str(number)) for number in range(2)]
    assert [told(process)[-1] for process in both] == ["2 0 2", "2 1 2"]


def test_processes_that_are_named_wrongly_are_one_line_and_one_device_needs_no_sharing():
    named = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": "127.0.0.1:1,127.0.0.1:2", "KERAS_DISTRIBUTION_NUM_PROCESSES": "3", "KERAS_DISTRIBUTION_PROCESS_ID": "0"}
    refused, alone, counted = told(start(ALONE, **named))
    assert refused.startswith(
        "wanted the processes that KERAS_DISTRIBUTION_JOB_ADDRESSES or JAX_COORDINATOR_ADDRESS names, JAX did not join them (The provided"
    )
    assert alone.startswith("9 photos a step over 1 device(s): ")
    assert counted == "1 1"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="is about another backend than JAX")
def test_another_backend_is_refused():
    with pytest.raises(InputError, match=r"wanted the JAX backend for --distribute, found tensorflow: .*KERAS_BACKEND=jax"):
        distribute(8)
