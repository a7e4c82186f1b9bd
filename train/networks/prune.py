"""Fewer channels for trained convolutions: those are kept that tell most of all, and what follows is fitted anew to what they tell.

Sources: Y. He, X. Zhang, J. Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017 (least squares against the wide network's outputs,
layer after layer, on the inputs that the narrow one really gets); for the choice, greedy selection of columns by a pivoted Cholesky decomposition:
S. Fine, K. Scheinberg, "Efficient SVM Training Using Low-Rank Kernel Representations", JMLR 2001.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIDE = 3
"""Of VGG-16's kernels."""
_AT_A_TIME = 32
_RIDGE = 1e-4
"""Of the mean square of the inputs, so that what hardly ever shows gets no large weight."""
_SAMPLES_A_WEIGHT = 6
"""Places that are looked at for each weight of an output, at most."""


@dataclass(frozen=True)
class Convolution:
    """A 3x3 convolution with ReLU.

    Attributes:
        kernel: (3, 3, channels in, channels out) float32.
        bias: (channels out,) float32.
        pooled: 2x2 max pooling follows.
    """

    kernel: Floats
    bias: Floats
    pooled: bool


def prune(wide: Sequence[Convolution], channels: Sequence[int], inputs: Floats, seed: int = 0) -> list[Convolution]:
    """Return a chain of convolutions with fewer channels that computes nearly what `wide` does, as a start for training.

    Args:
        wide: the trained chain.
        channels: that each is to keep, no more than it has.
        inputs: (n, height, width, channels in) float32, such as the first is fed with: some hundred photos at 64 px. All outputs of a layer are in memory.
        seed: of the places that are looked at.

    Returns:
        The narrow chain. The channels that its last convolution keeps stand in the order of the wide one's.
    """
    chance = np.random.default_rng(seed)
    told, seen = inputs, inputs
    narrow: list[Convolution] = []
    for at, (layer, count) in enumerate(zip(wide, channels, strict=True)):
        following = wide[at + 1].kernel if at + 1 < len(wide) else None
        told = _before_relu(told, layer)
        kept = _most_telling(_places(np.maximum(told, 0), chance, 1, _SAMPLES_A_WEIGHT * layer.bias.size)[0], following, count)
        kernel, bias = _fitted(seen, told[..., kept], chance)
        narrow.append(Convolution(kernel, bias, layer.pooled))
        seen, told = _after_relu(_before_relu(seen, narrow[-1]), pooled=layer.pooled), _after_relu(told, pooled=layer.pooled)
    return narrow


def _most_telling(outputs: Floats, following: Floats | None, count: int) -> NDArray[np.intp]:
    """Choose the channels, in order, from which the others can best be told, each counted by what the next convolution makes of it.

    Args:
        outputs: (places, channels) float32, after ReLU.
        following: the next convolution's kernel, or None where all count alike.
        count: channels to choose.
    """
    weights = np.ones(outputs.shape[1], np.float32) if following is None else np.sqrt((following**2).sum(axis=(0, 1, 3)))
    weighed = (outputs * weights).astype(np.float64)
    rest = weighed.T @ weighed
    least = 1e-9 * np.trace(rest)
    free = np.ones(len(rest), bool)
    for _ in range(count):
        best = int(np.argmax(np.where(free, np.diag(rest), -np.inf)))
        free[best] = False
        if rest[best, best] > least:  # else it tells nothing that the chosen ones do not
            column = rest[:, best] / np.sqrt(rest[best, best])
            rest = rest - np.outer(column, column)
    return np.flatnonzero(~free)


def _fitted(inputs: Floats, wanted: Floats, chance: np.random.Generator) -> tuple[Floats, Floats]:
    """Fit a 3x3 convolution by least squares: from `inputs` (n, height, width, channels in) to `wanted` (n, height, width, channels out)."""
    unknown = SIDE * SIDE * inputs.shape[-1] + 1
    patches, targets = _places(inputs, chance, SIDE, _SAMPLES_A_WEIGHT * unknown, wanted)
    known = np.concatenate([patches, np.ones((len(patches), 1), np.float32)], axis=1)
    gram = (known.T @ known).astype(np.float64)
    gram[np.diag_indices(unknown - 1)] += _RIDGE * np.trace(gram) / unknown
    solution = np.linalg.solve(gram, (known.T @ targets).astype(np.float64)).astype(np.float32)
    return solution[:-1].reshape(SIDE, SIDE, inputs.shape[-1], -1), solution[-1]


def _places(maps: Floats, chance: np.random.Generator, side: int, count: int, others: Floats | None = None) -> tuple[Floats, Floats]:
    """Look at chance places of maps (n, height, width, channels).

    Returns:
        What a kernel of that side sees there (places, side * side * channels), zeros beyond the border, and what `others`, of the same size, hold there.
    """
    n, height, width, _ = maps.shape
    which, y, x = np.unravel_index(chance.choice(n * height * width, min(count, n * height * width), replace=False), (n, height, width))
    margin = side // 2
    padded = np.pad(maps, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    seen = np.concatenate([padded[which, y + dy, x + dx] for dy in range(side) for dx in range(side)], axis=1)
    return seen, seen if others is None else others[which, y, x]


def _before_relu(maps: Floats, layer: Convolution) -> Floats:
    return _in_parts(maps, lambda part: keras.ops.conv(part, layer.kernel, padding="same") + layer.bias)


def _after_relu(maps: Floats, *, pooled: bool) -> Floats:
    positive = np.maximum(maps, 0)
    return _in_parts(positive, lambda part: keras.ops.max_pool(part, 2)) if pooled else positive


def _in_parts(maps: Floats, compute: Any) -> Floats:
    parts = [keras.ops.convert_to_numpy(compute(maps[start : start + _AT_A_TIME])) for start in range(0, len(maps), _AT_A_TIME)]
    return np.concatenate(parts)
