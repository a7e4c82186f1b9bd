"""A bundle as the teacher of a run: its classifier's answer to each view stands beside the label, and what its spotter takes for a sign is shown as none.

G. Hinton et al., "Distilling the Knowledge in a Neural Network", 2015; the teacher sees the very view that the network gets, over many epochs: L. Beyer et al.,
"Knowledge distillation: A good teacher is patient and consistent", CVPR 2022.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from edge.bundle.manifest import Bundle, read_bundle
from edge.datasets.aerial import mixture
from edge.datasets.classes import GTSRB
from edge.datasets.gtsdb import find_frames, read_sides
from edge.engines.contract import Engine
from edge.engines.open import open_engine
from edge.errors import InputError
from edge.geometry.boxes import iou_matrix
from edge.images import fit_crop, read_image
from edge.recognition.classifier import cut_out
from edge.recognition.finding import LEAST_SIDE_PX
from edge.recognition.spotter_learned import LearnedSpotter
from train.photos.views import Crop
from train.recipes import Recipe

SHARE, TEMPERATURE = 0.7, 2.0
"""Of the target, what the teacher gives; what its logits are divided by: what it holds for possible counts for more then."""
SIGN_FREE_SHARE = 0.2
"""Of the views: more than without a teacher, for it knows which places are hard."""
SPOTTER, _LEAST_SCORE = "spotter", 0.02
_LEAST = 1e-8
"""Probabilities below this are rounding."""


def taught(recipe: Recipe) -> Recipe:
    """Return how a recipe is trained with a teacher: it says how sure to be, so that labels need no smoothing."""
    sign_free_share = SIGN_FREE_SHARE if recipe.sign_free_share else 0.0
    return replace(recipe, label_smoothing=0.0, teacher_share=SHARE, teacher_temperature=TEMPERATURE, sign_free_share=sign_free_share)


class Teacher:
    """A bundle's classifier in ONNX Runtime, in its precision for CPUs, which it owns and closes.

    Attributes:
        name: of the bundle.
        sha256: of the model's file.
    """

    def __init__(self, folder: Path, recipe: Recipe, names: tuple[str, ...] = GTSRB.names) -> None:
        """Open a bundle's classifier, which knows the first of the classes of these names; its input may be of another size than the recipe's.

        Raises:
            BundleError: no bundle, or a damaged one.
            InputError: a bundle of other classes.
            EngineError: ONNX Runtime refuses the model.
            MissingDependency: ONNX Runtime is not installed.
        """
        self._bundle: Bundle = read_bundle(folder)
        self.name, self.sha256 = self._bundle.manifest.name, self._bundle.model("classifier", "int8-cpu").sha256
        known = self._bundle.manifest.labels
        if known != names[: len(known)]:
            raise InputError(
                f"wanted a --teacher whose {len(known)} classes are the first of the data set's {len(names)}, found another in {folder}: leave it out"
            )
        self._unknown = len(names) - len(known)
        self._sure = recipe.teacher_sure
        self._engine: Engine = open_engine(self._bundle, "classifier", engine="onnxruntime", precision="int8-cpu")
        self.soften(np.zeros((recipe.batch, recipe.size, recipe.size, 3), np.uint8))  # so that a memory count finds it as large as it gets

    def soften(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the teacher makes of crops, (n, size, size, 3) uint8 BGR, at TEMPERATURE: (n, classes) float32 probabilities."""
        return self._softened(self._asked(crops))

    def _asked(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        side = self._engine.spec.input.shape[1]
        return self._engine.infer(np.stack([fit_crop(crop, side) for crop in crops]))

    def _softened(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        softened = np.maximum(probabilities, _LEAST) ** (1 / TEMPERATURE)
        return np.pad(np.asarray(softened / softened.sum(axis=1, keepdims=True), np.float32), ((0, 0), (0, self._unknown)))

    def mix(self, crops: NDArray[np.uint8], targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return targets, (n, classes) shares of the classes, with the teacher's share of what it makes of their crops.

        A target stays as it is where it names no class, for there is no sign, and where the teacher names another, or is not sure: it would pass its error on.
        """
        asked = self._asked(crops)
        softened = self._softened(asked)
        agrees = (targets.max(axis=1) > 0.5) & (softened.argmax(axis=1) == targets.argmax(axis=1)) & (asked.max(axis=1) >= self._sure)
        share = np.where(agrees, SHARE, 0.0)[:, None]
        return np.asarray((1 - share) * targets + share * softened, np.float32)

    def seeming(self, data: Path) -> list[Crop]:
        """Cut out what the teacher's spotter takes for signs where none stands, at however low a score: (h, w, 3) uint8 BGR each.

        From GTSDB's frames in or beside `data` that spotters are trained on, as they are and in the drone's views (`edge.datasets.aerial.MIXTURE`); those of
        the tuning groups stay unseen, to choose thresholds by. None without such frames, or without a spotter. Boxes too small to count are left out: the
        smallest signs are not all annotated.

        Raises:
            DataError: a damaged `gt.txt`, or too few frames.
            InputError: a frame that cannot be read.
        """
        if not self._bundle.holds(SPOTTER) or find_frames(data) is None:
            return []
        crops = []
        with LearnedSpotter(open_engine(self._bundle, SPOTTER, engine="onnxruntime", precision="int8-cpu"), _LEAST_SCORE) as spotter:
            for place, frame in enumerate(tqdm(read_sides(data).train, "looking for what seems a sign", unit="frame", disable=None)):
                seen = read_image(frame.path), frame.boxes_xyxy
                for image, signs_xyxy in (seen, *mixture(*seen, place)):
                    boxes = spotter(image).boxes_xyxy
                    free = ~(iou_matrix(boxes, signs_xyxy) > 0).any(axis=1)
                    large = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= LEAST_SIDE_PX
                    crops += [cut_out(image, box) for box in boxes[free & large]]
        return crops

    def teach(self, stream: tf.data.Dataset) -> tf.data.Dataset:
        """Mix what the teacher says into a stream's targets: ((b, size, size, 3) uint8 BGR, (b, classes) float32 shares of the classes) in and out."""

        def mix(crops: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return crops, tf.ensure_shape(
                tf.numpy_function(self.mix, [crops, targets], tf.float32, stateful=False), (None, len(self._bundle.manifest.labels) + self._unknown)
            )

        return stream.map(mix).prefetch(4)

    def __enter__(self) -> Teacher:
        return self

    def __exit__(self, *exc: object) -> None:
        self._engine.close()
