"""Training on more than one device or process at once: Keras's data parallelism, on JAX. Each batch is split, and batch norm sees the whole of it."""

from __future__ import annotations

import os

import keras

from edge.errors import InputError

PROCESSES = ("KERAS_DISTRIBUTION_JOB_ADDRESSES", "JAX_COORDINATOR_ADDRESS")
"""Either says that there are several processes. The first goes with KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID."""


def distribute(batch: int) -> int:
    """Split each batch over all devices of all processes from here on, say over how many, and return their number. With one device nothing changes.

    To be called before anything is computed and before the network is built. Each process trains the same network on its part of each batch and keeps a
    run folder of its own.

    Args:
        batch: photos a step, over all devices.

    Raises:
        InputError: another backend than JAX, processes that do not find each other, or a batch that cannot be split evenly.
    """
    backend = keras.backend.backend()
    if backend != "jax":
        raise InputError(f"wanted the JAX backend for --distribute, found {backend}: pip install jax, then set KERAS_BACKEND=jax")
    if any(name in os.environ for name in PROCESSES):
        _join()
    devices = keras.distribution.list_devices()
    if batch % len(devices):
        raise InputError(f"wanted a batch that {len(devices)} devices can share evenly, found {batch}: give another number of devices")
    if len(devices) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    print(f"{batch} photos a step over {len(devices)} device(s): {', '.join(devices)}")
    return len(devices)


def device_count() -> int:
    """Return over how many devices each batch is split."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.device_mesh.devices.size


def gather() -> None:
    """Undo `distribute`: what is built from here on lives on one device. Networks that were distributed stay so."""
    keras.distribution.set_distribution(None)


def _join() -> None:
    try:
        keras.distribution.initialize()
    except (RuntimeError, ValueError) as error:  # JAX's and Keras's for addresses, numbers and time
        told = " ".join(str(error).split())[:200]
        raise InputError(f"wanted the processes that {' or '.join(PROCESSES)} names, JAX did not join them ({told}): set it alike in each process") from error
