"""An engine without a model: a fixed random projection of the picture. For trying sources, sinks and screens where no model can run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import ModelSpec
from edge.engines.contract import check_images
from edge.errors import EngineError

SEED = 43
_MOST_VALUES, _MOST_OUTPUTS = 1 << 16, 64
"""Of the projection: of more pixels some are left out, and more outputs are the same ones again."""


class FakeEngine:
    """Obeys `edge.engines.contract.Engine`; the same picture always gets the same made-up probabilities."""

    name = "fake"

    def __init__(self, spec: ModelSpec, precision: str) -> None:
        """Make the projection for a model's shapes; reads no file."""
        self.spec = spec
        self.precision = precision
        self._step = -(-int(np.prod(spec.input.shape[1:])) // _MOST_VALUES)
        values = -(-int(np.prod(spec.input.shape[1:])) // self._step)
        outputs = min(int(np.prod(spec.output.shape[1:])), _MOST_OUTPUTS)
        self._projection: NDArray[np.float32] | None = np.random.default_rng(SEED).standard_normal((values, outputs), np.float32) / np.float32(np.sqrt(values))

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 (n, ...) rows that are positive; those of a classifier sum to 1."""
        if self._projection is None:
            raise EngineError(f"wanted an open engine, {self.spec.file} was closed before")
        check_images(images, self.spec)
        # One row at a time: a matrix product may round a row differently in another batch. Not by BLAS, whose threads wait for each other on a busy machine.
        rows = np.stack([np.einsum("i,ij->j", image.reshape(-1)[:: self._step].astype(np.float32) / 32.0, self._projection) for image in images])
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        shares: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
        shape = self.spec.output.shape[1:]
        return np.stack([np.resize(row, shape) for row in shares]).astype(np.float32, copy=False)

    def close(self) -> None:
        """Forget the projection."""
        self._projection = None

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
