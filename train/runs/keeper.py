"""What a run keeps after each epoch, so that a kill costs one epoch at most."""

from __future__ import annotations

import math
import time
from pathlib import Path

import keras

from train.runs import folder as runs
from train.report.plots import draw_curves

CURVES_EVERY_S = 30.0
"""Curves take a second, a tenth of a short epoch."""


class Keeper(keras.callbacks.Callback):
    """After each epoch: history and at times curves, then the checkpoint, which alone says how far the run has come, then the best weights.

    Stops the training where `patience` epochs have brought no lower validation loss; what counts is the history, so a resumed run counts on.
    """

    def __init__(self, network: keras.Model, out: Path, first_epoch: int, patience: int | None, judged_by: str = "val_loss") -> None:
        """Keep `network` in `out`; it may be more than the part of it that `fit` trains. The best epoch is that with the least `judged_by`."""
        super().__init__()
        self.network, self.out, self.patience, self.judged_by = network, out, patience, judged_by
        self.rows = runs.read_history(out / runs.HISTORY)[:first_epoch]
        self.began = self.drawn = -math.inf

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Catch up where a kill came between a checkpoint and its best weights."""
        self._keep_best()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the clock."""
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keep what the epoch brought."""
        figures = {key: float(value) for key, value in (logs or {}).items()}
        rate = float(keras.ops.convert_to_numpy(self.network.optimizer.learning_rate))
        self.rows.append({"epoch": float(epoch + 1), **figures, "learning_rate": rate, "seconds": round(time.monotonic() - self.began, 2)})
        runs.write_history(self.rows, self.out / runs.HISTORY)
        if time.monotonic() - self.drawn > CURVES_EVERY_S:
            draw_curves(self.rows, self.out / runs.CURVES)
            self.drawn = time.monotonic()
        runs.save_checkpoint(self.network, self.out / runs.CHECKPOINT, epoch + 1)
        self._keep_best()
        if is_over(self.rows, self.patience, self.judged_by):
            self.model.stop_training = True

    def _keep_best(self) -> None:
        if self.rows and since_best(self.rows, self.judged_by) == 0:
            runs.save_weights(self.network, self.out / runs.BEST)


def load_best(network: keras.Model, out: Path, judged_by: str = "val_loss") -> None:
    """Give a network that has come to the end of a run the weights of the run's best epoch.

    Raises:
        InputError: they cannot be read.
    """
    rows = runs.read_history(out / runs.HISTORY)
    if since_best(rows, judged_by) > 0 and (out / runs.BEST).exists():  # an older version kept none
        runs.load_weights(network, out / runs.BEST)


def since_best(rows: list[dict[str, float]], judged_by: str = "val_loss") -> int:
    """Return how many epochs ago the lowest validation loss was, 0 if it is the last one's; a loss that is no number is the highest."""
    losses = [math.inf if math.isnan(row[judged_by]) else row[judged_by] for row in rows]
    return len(rows) - 1 - losses.index(min(losses)) if rows else 0


def is_over(rows: list[dict[str, float]], patience: int | None, judged_by: str = "val_loss") -> bool:
    """Tell whether the last `patience` epochs have brought nothing better."""
    return patience is not None and since_best(rows, judged_by) >= patience
