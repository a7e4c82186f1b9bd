"""What a training run is told: frozen, printed, and written into the run's lineage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edge.errors import InputError

Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
SEEDS = 2**32


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained.

    Attributes:
        name: what `--recipe` calls it.
        size: side of the square input, pixels.
        epochs: passes over as many photos as the training set has.
        batch: photos a step.
        scratch_rate: peak of the one-cycle learning rate where the weights start at random (batch norm holds it).
        tuning_rate: the same where the weights are pretrained (a plain VGG-16 without batch norm).
        warmup_share: share of the steps in which the rate rises.
        momentum: of SGD, Nesterov's form.
        weight_decay: decoupled, a step's share of rate x weight. An L2 penalty of 5e-4 under momentum 0.9 is about 5e-3 here.
        label_smoothing: share of the target that is spread over all classes.
        dropout: share of the dense layer's outputs dropped in training.
        dense: units of the hidden dense layer.
        sampling_power: classes are drawn in proportion to their size to this power (1 as they come, 0 all alike).
        valid_share: share of each class's tracks held out.
        precision: Keras dtype policy; "auto" takes float16 on a GPU, and on a CPU bfloat16 where it is measured to be faster, else float32.
        seed: of the split, the weights, the order and the augmentation; 0 to 2^32 - 1.

    Raises:
        InputError: no epoch, or a seed out of range.
    """

    name: str
    size: int = 48
    epochs: int = 20
    batch: int = 64
    scratch_rate: float = 0.08
    tuning_rate: float = 0.01
    warmup_share: float = 0.25
    momentum: float = 0.9
    weight_decay: float = 5e-3
    label_smoothing: float = 0.05
    dropout: float = 0.5
    dense: int = 128
    sampling_power: float = 0.5
    valid_share: float = 0.1
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what a user can type wrong; the network refuses a `size` that is too small for it."""
        if self.epochs < 1:
            raise InputError(f"wanted at least 1 epoch, found {self.epochs}: give --epochs 1 or more")
        if not 0 <= self.seed < SEEDS:
            raise InputError(f"wanted a seed from 0 to {SEEDS - 1}, found {self.seed}: give another --seed")


RECIPES: dict[str, Recipe] = {"full": Recipe(name="full")}


def recipe(name: str, *, size: int | None = None, epochs: int | None = None, seed: int | None = None) -> Recipe:
    """Return a named recipe with the user's changes; None keeps the recipe's own value.

    Raises:
        InputError: no epoch, or a seed out of range.
    """
    changes = {key: value for key, value in {"size": size, "epochs": epochs, "seed": seed}.items() if value is not None}
    return replace(RECIPES[name], **changes)  # type: ignore[arg-type]
