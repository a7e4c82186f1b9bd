"""An engine that is held to its contract: it returns in time, and gives a row of the spec's shape for each image, whatever stands in the model's file."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from edge.engines.contract import Engine, check_images
from edge.errors import EngineError
from edge.process import patience

LIMIT_S = 8.0
"""Time that one image may take; a slow board takes a tenth of it for the slowest model."""
LOAD_S = 120.0
"""Time that a model may take to load, from a slow card too."""
WARM_UP_S = 60.0
"""Time that a GPU gets for the first run of each batch size, in which its libraries choose and load what they compute with."""
_SLOWER = 20
"""More images, and later runs, may take so many times what the slowest run took for each image, and never less than the limit."""


class GuardedEngine:
    """Obeys `edge.engines.contract.Engine`, by an engine that is believed nothing."""

    def __init__(self, engine: Engine, *, on_gpu: bool) -> None:
        """Take an engine over."""
        self.name, self.precision, self.spec = engine.name, engine.precision, engine.spec
        self._engine = engine
        self._warm: set[int] | None = set() if on_gpu else None
        self._each_s = 0.0

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the model on (n, height, width, 3) uint8 BGR; returns float32 (n, ...). A command whose model does not return ends here."""
        check_images(images, self.spec)
        if not self._each_s and len(images) > 1 and patience.is_limited():
            self._run(images[:1])  # so that it is known how long many may take
        return self._run(images)

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        n, started = len(images), time.monotonic()
        limit_s = max(LIMIT_S, _SLOWER * n * self._each_s)
        if self._warm is not None and n not in self._warm:
            limit_s = max(limit_s, WARM_UP_S)
        cure = "export the bundle again, or choose a smaller model"
        with patience.limited(limit_s, f"wanted {self.spec.file} to answer within {limit_s:.0f} s on {self.name}, it did not return: {cure}"):
            rows = self._engine.infer(images)
        self._each_s = max(self._each_s, (time.monotonic() - started) / n)
        if self._warm is not None:
            self._warm.add(n)
        wanted = (n, *self.spec.output.shape[1:])
        if rows.shape != wanted or rows.dtype != np.float32:
            raise EngineError(f"wanted outputs of shape {wanted} from {self.spec.file}, found {rows.shape} {rows.dtype}: export the bundle again")
        return rows

    def close(self) -> None:
        """Free the model."""
        self._engine.close()

    def __enter__(self) -> GuardedEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
