"""What a training run is told: frozen, printed, and written into the run's lineage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from edge.errors import InputError

Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
FEATURES = ("auto", "cached", "computed")
SEEDS = 2**32


def check_typed(epochs: int, seed: int, rate: float) -> None:
    """Refuse what a user can type wrong in any recipe.

    Raises:
        InputError: no epoch, a seed out of range, or no rate to learn at.
    """
    if not 0 < rate <= 1:
        raise InputError(f"wanted a learning rate above 0 and at most 1, found {rate:g}: give another --rate")
    if epochs < 1:
        raise InputError(f"wanted at least 1 epoch, found {epochs}: give --epochs 1 or more")
    if not 0 <= seed < SEEDS:
        raise InputError(f"wanted a seed from 0 to {SEEDS - 1}, found {seed}: give another --seed")


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained.

    Attributes:
        name: what `--recipe` calls it.
        size: side of the square input, pixels.
        width: share of VGG-16's channels that each convolution has, above 0 and at most 1; from wider weights the most telling are kept
            (`train.networks.prune`).
        epochs: passes over as many photos as the training set has.
        least_steps: updates at least: where an epoch has few there are more epochs (`lasting`).
        batch: photos a step.
        optimizer: "sgd" (Nesterov, one cycle of the rate: L. Smith, "Super-Convergence", 2018) or "adam" at a constant rate.
        scratch_rate: peak of the learning rate where batch norm holds the weights: from random or drawn ones.
        tuning_rate: the same for a plain VGG-16 from ImageNet or a file.
        warmup_share: share of the steps in which the rate of "sgd" rises.
        momentum: of "sgd".
        weight_decay: decoupled, a step's share of rate x weight. An L2 penalty of 5e-4 under momentum 0.9 is about 5e-3 here.
        label_smoothing: share of the target that is spread over all classes.
        dropout: share of the dense layer's outputs dropped in training.
        dense: units of the hidden dense layer.
        last_layers: how many of VGG-16's 19 layers are trained, counted from the end as the tutorial does; None is all of them, and `--weights
            none` makes it that.
        patience: epochs without a lower validation loss after which training stops; None trains to the end.
        sampling_power: classes are drawn in proportion to their size to this power (1 as they come, 0 all alike).
        augmented: photos are varied (`train.photos.augment`); without it a frozen prefix is computed once.
        air: a drone's views are among the photos' (`train.photos.aerial`), where they are augmented.
        turned_share: share of the views that are turned, seen from above or from the side, where `air` is.
        weather_share: share of the views that are made worse strongly, where `air` is.
        drawn_share: share of the views that are drawn photos (`train.photos.drawn`), of each class alike.
        sign_free_share: share of the views that show no sign, with all classes alike as the target: D. Hendrycks et al., "Deep Anomaly Detection with
            Outlier Exposure", ICLR 2019. Three quarters are cut from GTSDB's frames where it lies in or beside the photos' folder, the others are drawn.
        drawn_steps: batches of drawn photos that `--weights drawn` begins with.
        train_per_class: photos of each class to train on, or None for all that are not held out.
        valid_per_class: photos of each class held out, or None for `valid_share`.
        valid_share: share of each class's tracks held out.
        teacher_share: share of the target that a teacher gives (`train.photos.teacher`); None without one.
        teacher_temperature: by which the teacher's logits are divided: above 1, what it holds for possible counts for more. None without one.
        teacher_sure: probability that a teacher must give a label for its answer to count: where it is unsure, there is something to be learnt.
        precision: Keras dtype policy; "auto" takes float16 on a GPU, and on a CPU bfloat16 where it is measured to be faster, else float32.
        seed: of the split, the weights, the order and the augmentation; 0 to 2^32 - 1.

    Raises:
        InputError: no epoch, no width, a seed out of range, or no rate to learn at.
    """

    name: str
    size: int = 48
    width: float = 1.0
    epochs: int = 22
    least_steps: int = 0
    batch: int = 32
    optimizer: Literal["sgd", "adam"] = "sgd"
    scratch_rate: float = 0.04
    tuning_rate: float = 0.01
    warmup_share: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-3
    label_smoothing: float = 0.05
    dropout: float = 0.3
    dense: int = 128
    last_layers: int | None = None
    patience: int | None = None
    sampling_power: float = 0.5
    augmented: bool = True
    air: bool = True
    turned_share: float = 0.35
    weather_share: float = 0.25
    drawn_share: float = 0.1
    sign_free_share: float = 0.06
    drawn_steps: int = 3000
    train_per_class: int | None = None
    valid_per_class: int | None = None
    valid_share: float = 0.1
    teacher_share: float | None = None
    teacher_temperature: float | None = None
    teacher_sure: float = 0.0
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what a user can type wrong; the network refuses a `size` that is too small for it."""
        check_typed(self.epochs, self.seed, self.tuning_rate)
        if not 0 < self.width <= 1:
            raise InputError(f"wanted a share of VGG-16's channels above 0 and at most 1, found {self.width:g}: give another --width")

    def steps(self, photos: int) -> int:
        """Return the whole batches of one epoch, 1 at least: as many real views as there are photos, and the shares of others beside them."""
        return max(1, int(photos / (1 - self.drawn_share - self.sign_free_share)) // self.batch)

    def lasting(self, photos: int) -> Recipe:
        """Return the recipe with the epochs that `least_steps` asks for where there are so many photos."""
        return replace(self, epochs=max(self.epochs, -(-self.least_steps // self.steps(photos))))


FULL = Recipe(name="full")
FEWSHOT = replace(FULL, name="fewshot", epochs=80, train_per_class=28, valid_per_class=12, label_smoothing=0.1)
TUTORIAL = replace(
    FULL,
    name="tutorial",
    size=224,
    epochs=101,
    optimizer="adam",
    scratch_rate=1e-4,
    tuning_rate=1e-4,
    weight_decay=0.0,
    label_smoothing=0.0,
    dropout=0.6,
    last_layers=8,
    patience=20,
    sampling_power=1.0,
    augmented=False,
    air=False,
    drawn_share=0.0,
    sign_free_share=0.0,
    train_per_class=28,
    valid_per_class=12,
)
OWN = replace(FULL, name="own", size=64, width=0.5, epochs=30, least_steps=330, last_layers=12, sampling_power=0.25, drawn_share=0.0, sign_free_share=0.2)
"""For signs of one's own, some 20 photos of each and a processor of 2 cores: learns on from the bundle that ships, whose first two blocks stay as they are.

Twelve signs took 330 steps to be told apart (`tests/support/own/foreign_trial.py`).
"""
ADDING: dict[str, Any] = {"drawn_share": 0.2, "sign_free_share": 0.12, "teacher_sure": 0.9, "tuning_rate": 0.004}
"""What of recipe `own` is otherwise where a bundle learns on from reviewed photos."""
ADDING_STEPS = 360
"""Batches that this takes, whatever the number of photos."""
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (TUTORIAL, FEWSHOT, FULL, OWN)}


@dataclass(frozen=True)
class SpotterRecipe:
    """How the spotter is trained.

    Attributes:
        name: what `--recipe` calls it.
        crop: side of the square that is cut out of a frame, pixels, a multiple of 16.
        epochs: of `steps` batches each.
        steps: batches an epoch.
        batch: crops a step.
        scratch_rate: peak of the learning rate from random weights (AdamW, one cosine after a warm-up).
        tuning_rate: the same for another run's spotter, which has no batch norm any more.
        warmup_share: share of the steps in which the rate rises.
        weight_decay: decoupled.
        scales: least and largest factor by which a frame is scaled.
        drawn_share: share of the crops that come from drawn scenes and flights.
        drawn_frames: how many of these are drawn, half of them flights.
        most_pasted: signs from GTSRB's photos pasted into a crop, at most.
        pasted_px: shorter side of a pasted sign, least and largest.
        most_photos: GTSRB's photos that are kept in memory to paste.
        false_a_frame: false boxes a frame that the threshold lets through on the tuning frames.
        air: a drone's view is among the crops (`train.photos.aerial`), and the epoch and the threshold are chosen on it too.
        turned_share: share of the crops that are turned, where `air` is.
        weather_share: share of the crops that are blurred, dark, foggy, noisy, coarse or strongly compressed, where `air` is.
        valid_share: share of each class's tracks whose photos are not pasted: those that classifiers hold out.
        precision: Keras dtype policy; "auto" as for `Recipe`.
        seed: of the weights, the order and all chance; 0 to 2^32 - 1.

    Raises:
        InputError: no epoch, or a seed out of range.
    """

    name: str = "spotter"
    crop: int = 384
    epochs: int = 40
    steps: int = 150
    batch: int = 8
    scratch_rate: float = 3e-3
    tuning_rate: float = 8e-4
    warmup_share: float = 0.08
    weight_decay: float = 0.02
    scales: tuple[float, float] = (0.6, 1.6)
    drawn_share: float = 0.2
    drawn_frames: int = 240
    most_pasted: int = 4
    pasted_px: tuple[float, float] = (9.0, 110.0)
    most_photos: int = 6000
    false_a_frame: float = 0.3
    air: bool = True
    turned_share: float = 0.5
    weather_share: float = 0.4
    valid_share: float = 0.1
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what a user can type wrong."""
        check_typed(self.epochs, self.seed, self.tuning_rate)


SPOTTER = SpotterRecipe()
OWN_SPOTTER = replace(SPOTTER, name="own-spotter", epochs=8, steps=60, drawn_share=0.0)
"""For some hundred frames of one's own: learns on from the bundle that ships."""
SPOTTERS: dict[str, SpotterRecipe] = {recipe.name: recipe for recipe in (SPOTTER, OWN_SPOTTER)}
NAMES = (*RECIPES, *SPOTTERS)


def spotter_recipe(
    name: str = SPOTTER.name,
    *,
    epochs: int | None,
    seed: int | None,
    precision: Precision | None,
    air: bool | None = None,
    scratch_rate: float | None = None,
    tuning_rate: float | None = None,
    **refused: Any,
) -> SpotterRecipe:
    """Return a recipe of the spotter with the user's changes; None keeps the recipe's own value.

    Raises:
        InputError: no epoch, a seed out of range, or an option that means nothing to the spotter (`refused`, by name).
    """
    told = [f"--{key.replace('_', '-')}" for key, value in refused.items() if value is not None]
    if told:
        raise InputError(f"wanted options of the spotter, which has a size of its own, found {', '.join(told)}: leave that out")
    changes: dict[str, Any] = {"epochs": epochs, "seed": seed, "precision": precision, "air": air, "scratch_rate": scratch_rate, "tuning_rate": tuning_rate}
    return replace(SPOTTERS[name], **{key: value for key, value in changes.items() if value is not None})


def recipe(name: str, **changes: Any) -> Recipe:
    """Return a named recipe with the user's changes, by attribute; None keeps the recipe's own value.

    Raises:
        InputError: no epoch, no width, or a seed out of range.
    """
    if changes.get("epochs") is not None:
        changes["least_steps"] = 0  # who says how many epochs gets them
    return replace(RECIPES[name], **{key: value for key, value in changes.items() if value is not None})


def extending(recipe: Recipe) -> Recipe:
    """Return how signs of one's own are added to a bundle's: these are shown drawn, lest they be forgotten, and all but the last block stays as it is."""
    return replace(recipe, drawn_share=0.4, last_layers=4, least_steps=480 if recipe.least_steps else 0)


def drawn_recipe(recipe: Recipe) -> Recipe:
    """Return how `--weights drawn` trains before the photos come: on drawn photos alone, as many steps as the recipe says, in epochs of up to 300.

    Neither the seed nor a rate that a user gave is the recipe's: what was drawn once serves runs of each.
    """
    epochs = max(1, round(recipe.drawn_steps / 300))
    drawn_share = 1 - recipe.sign_free_share
    others: dict[str, Any] = {
        "last_layers": None,
        "patience": None,
        "teacher_share": None,
        "teacher_temperature": None,
        "train_per_class": None,
        "least_steps": 0,
        "seed": 0,
    }
    rates: dict[str, Any] = {
        "scratch_rate": RECIPES[recipe.name].scratch_rate,
        "tuning_rate": RECIPES[recipe.name].tuning_rate,
    }  # the user's is for what comes after
    return replace(recipe, name="drawn", epochs=epochs, drawn_share=drawn_share, **others, **rates)
