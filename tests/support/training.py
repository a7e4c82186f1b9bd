"""Drawn data sets to train on, and the command that trains on them."""

import csv
from pathlib import Path

import cv2
import numpy as np

from edge import cli
from edge.drawn.signs import draw_sign
from train.__main__ import _parser

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = REPOSITORY / "edge" / "models"
EPOCHS = 2


def signs(class_ids, tracks, frames):
    """Rows of a table: so many frames of so many tracks of each class."""
    photos = [(class_id, track, frame) for class_id in class_ids for track in range(tracks) for frame in range(frames)]
    return [(class_id, f"Train/{class_id}/{class_id:05d}_{track:05d}_{frame:05d}.png") for class_id, track, frame in photos]


def table(root, name, rows):
    with (root / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ClassId", "Path"])
        writer.writerows(rows)
    rng = np.random.default_rng(0)
    for class_id, path in rows:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        side = int(rng.integers(24, 60))
        face = draw_sign(class_id, side).astype(np.float32)
        alpha = face[:, :, 3:] / 255
        photo = rng.uniform(40, 200, 3) * (1 - alpha) + face[:, :, :3] * alpha * rng.uniform(0.6, 1)
        cv2.imwrite(str(root / path), photo.astype(np.uint8))


def options(data, out, *more):
    return ["fit", "--data", data, "--out", out, "--weights", "none", "--size", "32", "--width", "0.25", "--epochs", EPOCHS, "--precision", "float32", *more]


def main(*argv):
    return cli.main(_parser(), [str(word) for word in argv])
