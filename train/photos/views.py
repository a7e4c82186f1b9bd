"""What one view of an epoch's plan looks like, and what the network is to say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.datasets.classes import GTSRB, Classes
from edge.images import decode_image, fit_crop
from train.photos.aerial import AMBIGUOUS_FROM, draw_turn
from train.photos.augment import augment
from train.photos.drawn import draw_background, draw_photo
from train.recipes import Recipe

REAL, DRAWN, SIGN_FREE = range(3)
"""What a view shows, in an epoch's plan."""

Crop = NDArray[np.uint8]

_CUT_OUT = 0.75
"""Share of the views without a sign that are cut from frames, where there are any; the others are drawn."""
_AMBIGUOUS = 0.08
"""Share of the turned views that roll so far that an arrow may be another sign's: those of arrows are to be told as unsure."""


@dataclass(frozen=True)
class Views:
    """Makes a view of what an epoch's plan asks for."""

    blobs: Sequence[NDArray[np.uint8]]
    names: Sequence[str]
    class_ids: Sequence[int]
    sign_free: Sequence[Crop]
    recipe: Recipe
    classes: Classes = GTSRB

    def view(self, at: NDArray[np.int64]) -> tuple[Crop, NDArray[np.float32]]:
        """Make the view at (kind, number, epoch, place)."""
        kind, number, epoch, place = (int(value) for value in at)
        rng = np.random.default_rng([self.recipe.seed, epoch, place])
        crop, class_id, photographed = self._original(kind, number, rng)
        if self.recipe.augmented and class_id is not None and class_id in self.classes.mirrored and rng.random() < 0.5:
            crop, class_id = np.ascontiguousarray(crop[:, ::-1]), self.classes.mirrored[class_id]
        # What is drawn has been blurred and darkened by its own camera: half of it stays as it is.
        varied = self.recipe.augmented and (photographed or rng.random() < 0.5)
        ambiguous = _AMBIGUOUS if self.classes.arrows else 0.0  # else nothing would be told as unsure there
        turn = draw_turn(rng, ambiguous=ambiguous) if self.recipe.air and rng.random() < self.recipe.turned_share else None
        if varied:
            seen = augment(crop, self.recipe.size, rng, turn, bad_weather=self.recipe.air and rng.random() < self.recipe.weather_share)
        else:
            seen, turn = fit_crop(crop, self.recipe.size), None
        if turn and abs(turn[0]) > AMBIGUOUS_FROM and class_id in self.classes.arrows:
            class_id = None
        count = len(self.classes)
        target = np.full(count, 1 / count, np.float32) if class_id is None else np.eye(count, dtype=np.float32)[class_id]
        return seen, target

    def _original(self, kind: int, number: int, rng: np.random.Generator) -> tuple[Crop, int | None, bool]:
        """Return a crop before augmentation, its class if it shows a sign, and whether it is of a real photo."""
        if kind == REAL:
            return decode_image(self.blobs[number], self.names[number]), self.class_ids[number], True
        if kind == DRAWN:
            return draw_photo(self.classes.faces[number], rng), number, False
        if self.sign_free and rng.random() < _CUT_OUT:
            return self.sign_free[number % len(self.sign_free)], None, True
        return draw_background(rng), None, False
