"""Pictures of a run: loss and error by epoch."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from edge.files import written_beside


def draw_curves(rows: list[dict[str, float]], path: Path) -> None:
    """Draw a run's history (one dict an epoch: epoch, loss, accuracy, val_loss, val_accuracy) as a PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    epochs = [row["epoch"] for row in rows]
    figure, (loss, error) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, key, name in ((loss, "loss", "loss"), (error, "accuracy", "error (1 - top-1)")):
        for prefix, label in (("", "train (augmented, dropout)"), ("val_", "valid (unseen signs)")):
            values = [row[prefix + key] for row in rows]
            axis.plot(epochs, values if key == "loss" else [max(1e-4, 1 - v) for v in values], marker=".", label=label)
        axis.set(xlabel="epoch", ylabel=name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend()
    error.set_yscale("log")
    with written_beside(path) as beside:
        figure.savefig(beside, dpi=110, format="png")
    plt.close(figure)
