"""A spotter's run folder and frames for it, as export reads them, without training."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from edge.drawn.scenes import scene

SIZE_HW = (192, 320)


def write_run(folder: Path) -> Path:
    """Write a run of random weights whose map is lively."""
    import keras

    from train.networks import spotter
    from train.networks.vgg import round_to_fp16

    keras.utils.set_random_seed(5)
    network = spotter.build(SIZE_HW, batch_norm=False)
    for name, spread in (("heat_logits", 1.5), ("boxes", 0.1)):
        layer = network.get_layer(name)
        kernel, bias = layer.get_weights()
        layer.set_weights([np.random.default_rng(1).normal(0, spread / np.sqrt(kernel.shape[2]), kernel.shape), bias * 0.3])
    round_to_fp16(network)
    folder.mkdir(parents=True)
    network.save(folder / "model.keras")
    valid = {"frames": 2, "signs": 5, "ap50": 0.5, "recall_at_0.1": 0.4, "recall_at_0.3": 0.5, "recall_at_1": 0.6}
    frames, made = {"train": 2, "tuning": 2, "valid": 2}, {"made_at": "2026-11-25T12:00:00+00:00", "commit": None}
    record = {
        "recipe": {"name": "spotter", "seed": 0},
        "metrics": {"valid": valid},
        "frames": frames,
        "parameters": network.count_params(),
        "flop": 10**9,
        "lineage": made,
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def write_frames(folder: Path) -> Path:
    """Write a small drawn gtsdb/ with frames on all sides of its split."""
    images = folder / "gtsdb" / "images"
    images.mkdir(parents=True)
    rows = []
    for number in (0, 1, 12, 13, 30, 31):
        drawn = scene(number, (320, 192))
        cv2.imwrite(str(images / f"{number:05}.png"), drawn.image)
        rows += [";".join([f"{number:05}.png", *(str(round(side)) for side in truth.box_xyxy), str(truth.class_id)]) for truth in drawn.truths]
    (folder / "gtsdb" / "gt.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder
