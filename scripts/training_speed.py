"""How long an epoch of the recipe `full` takes, and what of it: by its views and beside the same network with other batch norm, in turn in one process.

python scripts/training_speed.py ROOT [--rounds N]      ROOT: a folder with GTSRB's training photos
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

import keras

from edge.datasets.gtsrb import Split, read_split
from train.networks.compiled import compiled, network_of
from train.networks.norm import FusedBatchNorm
from train.networks.precision import choose_precision, in_policy
from train.photos.data import load_sign_free, train_stream
from train.recipes import FULL

PHOTOS = 13_070
"""What an epoch is counted in."""
STEPS = 6
READ = 4
"""One of so many photos is read: an epoch is not gone through."""
AHEAD = 12
"""More batches than the stream has ready."""


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="ROOT")
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    photos = read_split(arguments.data, Split(FULL.valid_share, FULL.seed))[0][::READ]
    precision = choose_precision(FULL.precision)
    print(f"{FULL.size} px, {precision}, {keras.backend.backend()}; seconds an epoch of {PHOTOS} photos, batches of {FULL.batch}")
    seconds: dict[str, list[float]] = defaultdict(list)
    with in_policy(precision):
        ours = compiled(FULL, "none", PHOTOS)
        others = {
            "Keras's BatchNormalization": _ready(keras.models.clone_model(ours, clone_function=_with_keras_norm)),
            "no batch norm": _ready(network_of(FULL, batch_norm=False)),
        }
        source = photos, load_sign_free(arguments.data, FULL.seed), FULL, FULL.steps(len(photos)), 0
        views, by_processes = iter(train_stream(*source)), iter(train_stream(*source, processes=True))
        next(by_processes)  # they have begun
        ours.train_on_batch(*next(views))
        for network in others.values():
            network.train_on_batch(*next(views))
        for _ in range(arguments.rounds):
            for name, stream in (("its views alone, by threads", views), ("by processes, as for a GPU", by_processes)):
                for _ in range(AHEAD):
                    held = next(stream)  # what lies ready would flatter
                seconds[name].append(_time(lambda stream=stream: next(stream), 20 * STEPS))
            seconds["the recipe, with its views"].append(_time(lambda: ours.train_on_batch(*next(views)), STEPS))
            seconds["its network, one batch again"].append(_time(lambda held=held: ours.train_on_batch(*held), STEPS))
            for name, network in others.items():
                seconds[name].append(_time(lambda network=network, held=held: network.train_on_batch(*held), STEPS))
    for name, each in seconds.items():
        epochs = [round(PHOTOS / FULL.batch * one) for one in each]
        print(f"{name:30} {median(epochs):7.0f}   {epochs}", flush=True)


def _with_keras_norm(layer: keras.layers.Layer) -> keras.layers.Layer:
    kind = keras.layers.BatchNormalization if isinstance(layer, FusedBatchNorm) else type(layer)
    return kind.from_config(layer.get_config())


def _ready(network: keras.Model) -> keras.Model:
    network.compile(keras.optimizers.SGD(1e-3, FULL.momentum, nesterov=True), "categorical_crossentropy")
    return network


def _time(step: Callable[[], object], times: int) -> float:
    """Return seconds a call."""
    start = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - start) / times


if __name__ == "__main__":
    main()
