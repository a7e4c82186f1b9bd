"""Names signs: a box becomes a crop such as the classifier was trained on, a crop becomes a class and its probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.bundle.fusion import logit
from edge.engines.contract import Engine
from edge.images import fit_crop

MOST_IN_BATCH = 16

# GTSRB's photos keep a border around the sign's box (Roi) "of 10 % of the traffic sign (at least 5 pixels)": J. Stallkamp et al., "Man vs. computer",
# Neural Networks 2012; in Train.csv the mean border is 5.3 px for boxes below 50 px and 10.3 to 10.6 % of the side above.
_MARGIN_SHARE, _MIN_MARGIN_PX = 0.1, 5.0


@dataclass(frozen=True)
class Naming:
    """What a crop shows: the most likely class, by its id, and its probability, 0 to 1."""

    class_id: int
    confidence: float


def cut_crop(image: NDArray[np.uint8], box_xyxy: Sequence[float], size: int) -> NDArray[np.uint8]:
    """Cut a sign out of a frame with the margin that GTSRB's photos have.

    Args:
        image: the frame, (height, width, 3) uint8 BGR.
        box_xyxy: tight box of the sign's face, pixels, end-exclusive. Beyond the frame its edge pixels are repeated; a box without area is a point.
        size: the classifier's input side, pixels.

    Returns:
        (size, size, 3) uint8 BGR, both axes stretched to fit, as the training photos are.
    """
    return fit_crop(cut_out(image, box_xyxy), size)


def cut_out(image: NDArray[np.uint8], box_xyxy: Sequence[float]) -> NDArray[np.uint8]:
    """Cut a box out with its margin, (height, width, 3) uint8, as `cut_crop` does, at the frame's own resolution."""
    x1, y1, x2, y2 = box_xyxy
    rows, columns = _span(y1, y2), _span(x1, x2)
    return image.take(rows, axis=0, mode="clip").take(columns, axis=1, mode="clip")


def _span(start: float, end: float) -> NDArray[np.int64]:
    """Return the pixel indices, possibly beyond the frame, of a side with its margins."""
    margin = max(_MIN_MARGIN_PX, (end - start) * _MARGIN_SHARE)
    return np.arange(round(start - margin), round(max(start, end) + margin))


class Classifier:
    """Names crops through an engine, which it owns and closes; rejects what the model is not sure of."""

    def __init__(self, engine: Engine, threshold: float) -> None:
        """Take an open engine over.

        Args:
            engine: of the role "classifier": images to probabilities (n, classes).
            threshold: least confidence, 0 to 1, of a naming that is accepted.
        """
        self._engine, self._threshold = engine, threshold

    @property
    def size(self) -> int:
        """Side of the square input, pixels."""
        return self._engine.spec.input.shape[1]

    def name_in(self, image: NDArray[np.uint8], boxes_xyxy: Sequence[Sequence[float]] | NDArray[np.float32]) -> list[Naming]:
        """Name what stands in boxes, (n, 4) pixels with any n, of a frame, (height, width, 3) uint8 BGR, as `cut_crop` cuts them; raises as `name` does."""
        return self.name(np.array([cut_crop(image, box, self.size) for box in boxes_xyxy], np.uint8).reshape(-1, self.size, self.size, 3))

    def name(self, crops: NDArray[np.uint8]) -> list[Naming]:
        """Name crops, (n, size, size, 3) uint8 BGR with any n, in their order, in batches of at most `MOST_IN_BATCH`.

        Raises:
            EngineError: crops of another size or dtype, or the engine failed.
        """
        namings: list[Naming] = []
        for start in range(0, len(crops), MOST_IN_BATCH):
            probabilities = self._engine.infer(crops[start : start + MOST_IN_BATCH])
            best = probabilities.argmax(axis=1)
            namings += [Naming(class_id, float(row[class_id])) for class_id, row in zip(best.tolist(), probabilities, strict=True)]
        return namings

    def margin(self, naming: Naming) -> float:
        """Return how far a naming is on the side of what is believed, in log odds: 0 and more is sure enough."""
        return float(logit(naming.confidence) - logit(self._threshold))

    def accepts(self, naming: Naming) -> bool:
        """Tell whether a naming is sure enough to be believed."""
        return naming.confidence >= self._threshold

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *exc: object) -> None:
        self._engine.close()
