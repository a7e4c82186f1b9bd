"""A small real network (VGG-16 at 32 px, its head fitted to drawn signs), the data that it knows, and its run as train leaves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from edge.datasets.gtsrb import CLASSES, read_train, split_by_track
from edge.drawn.signs import draw_sign
from edge.files import write_json
from edge.images import fit_crop, read_image
from train.networks import vgg

SIZE = 32
DRAWN = (1, 8, 12, 13, 14, 17, 35, 39)
TRACKS, FRAMES = 4, 4


def write_data(root: Path) -> None:
    """Draw signs in the Train/Test csv layout, and frames in GTSDB's beside them."""
    rng = np.random.default_rng(0)
    names = [f"Train/{c}/{c:05}_{t:05}_{f:05}.png" for c in DRAWN for t in range(TRACKS) for f in range(FRAMES)]
    write_photos(root, "Train.csv", names, rng)
    write_photos(root, "Test.csv", [f"Test/{c}/{c:05}.png" for c in DRAWN], rng)
    (root / "gtsdb").mkdir()
    (root / "gtsdb" / "gt.txt").write_text("00031.png;30;30;60;60;14\n", encoding="utf-8")
    for number in range(30, 33):
        cv2.imwrite(str(root / "gtsdb" / f"{number:05}.png"), cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (240, 180)))


def write_photos(root: Path, table: str, names: list[str], rng: np.random.Generator) -> None:
    rows = ["ClassId,Path"]
    for name in names:
        class_id = int(name.split("/")[1])
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), draw_photo(class_id, rng))
        rows.append(f"{class_id},{name}")
    (root / table).write_text("\n".join(rows) + "\n", encoding="utf-8")


def draw_photo(class_id: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    picture = 110 + rng.normal(0, 6, (1, 1, 3)) + rng.normal(0, 8, (48, 48, 3))
    face = draw_sign(class_id, 38).astype(np.float64)
    alpha = face[:, :, 3:] / 255
    picture[5:43, 5:43] = picture[5:43, 5:43] * (1 - alpha) + face[:, :, :3] * alpha
    return np.clip(picture * rng.uniform(0.93, 1.05), 0, 255).astype(np.uint8)


def fitted_network(data: Path) -> Any:
    """A plain VGG-16 that tells the drawn signs apart: random convolutions, kept in range by batch norm and folded, and a last layer by least squares."""
    keras.utils.set_random_seed(0)
    photos, _ = split_by_track(read_train(data), 0.1, 0)
    crops = np.stack([fit_crop(read_image(photo.path), SIZE) for photo in photos])
    normed = vgg.build(SIZE, dense=128, dropout=0.5, batch_norm=True, blocks=vgg.channels(0.5))
    for layer in normed.layers:
        if isinstance(layer, vgg.FusedBatchNorm):
            layer.momentum = 0.0
        elif layer.name.startswith(("block3_conv", "block4_conv", "block5_conv")) and isinstance(layer, keras.layers.Conv2D):
            _pass_on(layer)
    normed(crops, training=True)
    plain = vgg.fold(normed)
    features = np.asarray(keras.Model(plain.input, plain.get_layer("dense").output)(crops))
    features = np.concatenate([features, np.ones((len(crops), 1))], axis=1)
    wanted = np.eye(CLASSES)[[photo.class_id for photo in photos]] * 3
    solved = np.linalg.solve(features.T @ features + 3 * np.eye(features.shape[1]), features.T @ wanted)
    plain.get_layer("logits").set_weights([solved[:-1], solved[-1]])
    vgg.round_to_fp16(plain)
    return plain


def _pass_on(layer: Any) -> None:
    """Let a convolution hand its input on, with a little of the rest: a dozen random layers would make noise of int8's rounding, as no trained ones do."""
    kernel, *others = layer.get_weights()
    channels, filters = kernel.shape[2:]
    kernel *= 0.3
    kernel[1, 1, np.arange(filters) % channels, np.arange(filters)] += 1
    layer.set_weights([kernel, *others])


def write_run(network: Any, data: Path, folder: Path) -> Path:
    photos, valid = split_by_track(read_train(data), 0.1, 0)
    network.save(folder / "model.keras")
    metrics = {"valid": {"n": len(valid), "top1": 1.0, "per_class": {}}}
    recipe = {"name": "tiny", "size": SIZE, "valid_share": 0.1, "seed": 0, "label_smoothing": 0.05}
    lineage = {"made_at": "2026-01-01T00:00:00+00:00", "commit": None, "python": "3", "versions": {}}
    counts = {"train": len(photos), "valid": len(valid)}
    record = {"schema": 1, "recipe": recipe, "weights": "none", "data": str(data), "photos": counts, "metrics": metrics, "lineage": lineage}
    write_json(folder / "run.json", record)
    return folder
