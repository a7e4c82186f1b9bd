"""How far a network's values reach on training photos, and the ranges that int8 spans because of it: MinMax, Entropy and Percentile.

One pass, a photo at a time. Of each tensor only its extremes and a histogram are kept, so memory does not grow with the number of photos.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from edge.datasets.gtsrb import Photo
from edge.errors import VerificationError

PER_CLASS = 10
METHODS = ("minmax", "entropy", "percentile")
PERCENTILE = 99.999
BINS = 2048
OBSERVED = frozenset({"Add", "Conv", "Gemm", "MatMul", "MaxPool", "Relu", "Reshape", "Resize"})

_LEVELS = 128
_STEP = 8
_ONLY_FATAL = 4
_MOST = float(np.finfo(np.float16).max)

Range = tuple[float, float]


def calibration_photos(photos: Sequence[Photo], seed: int) -> list[Photo]:
    """Draw up to `PER_CLASS` photos of each class, in mixed order; the result does not depend on the order of `photos`."""
    rng = np.random.default_rng(seed)
    by_class: dict[int, list[Photo]] = defaultdict(list)
    for photo in sorted(photos, key=lambda photo: photo.path.as_posix()):
        by_class[photo.class_id].append(photo)
    drawn = [members[i] for _, members in sorted(by_class.items()) for i in rng.permutation(len(members))[:PER_CLASS]]
    return [drawn[i] for i in rng.permutation(len(drawn))]


class Histogram:
    """Extremes of a tensor, and magnitudes of its values but zero, which every scale holds exactly, counted in `BINS` bins from 0 to `top`."""

    def __init__(self) -> None:
        self.lowest = self.highest = self.top = 0.0
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        """Count values, float32 of any shape; the bins widen as they must."""
        magnitudes = np.abs(values[values != 0])
        if not magnitudes.size:
            return
        self.lowest, self.highest = min(self.lowest, float(values.min())), max(self.highest, float(values.max()))
        self.top = self.top or self.reach
        while self.top < self.reach:
            self.top *= 2
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)])
        bins = np.minimum((magnitudes * np.float32(BINS / self.top)).astype(np.int32), BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)

    @property
    def reach(self) -> float:
        """The largest magnitude."""
        return max(-self.lowest, self.highest)

    def range(self, method: str) -> Range:
        """Return the range that int8 shall span, (lowest, highest), by one of `METHODS`; what lies beyond is clipped."""
        if not self.counts.any():
            return 0.0, 0.0
        limit = {"minmax": lambda: self.reach, "entropy": self._entropy, "percentile": self._percentile}[method]()
        return max(self.lowest, -limit), min(self.highest, limit)

    def _percentile(self) -> float:
        share = np.cumsum(self.counts) / self.counts.sum()
        return (int(np.searchsorted(share, PERCENTILE / 100)) + 1) * self.top / BINS

    def _entropy(self) -> float:
        """The limit by which a histogram in 128 levels tells least apart from the whole one, by relative entropy, as TensorRT's own calibrator chose it."""
        last = int(np.flatnonzero(self.counts)[-1]) + 1
        ends = range(_LEVELS, max(last, _LEVELS) + _STEP, _STEP)
        return min((min(end, BINS) for end in ends), key=self._divergence) * self.top / BINS

    def _divergence(self, end: int) -> float:
        within = self.counts[:end].astype(np.float64)
        clipped = within.copy()
        clipped[-1] += self.counts[end:].sum()
        level = np.arange(end) * _LEVELS // end
        held = within > 0
        members = np.bincount(level, held, _LEVELS)
        spread = np.where(held, (np.bincount(level, within, _LEVELS) / np.maximum(members, 1))[level], 0)
        p, q = clipped / clipped.sum(), spread / max(spread.sum(), 1)
        seen = p > 0
        return float((p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-9))).sum())


def observe(fp32: onnx.ModelProto, batches: Iterable[NDArray[np.uint8]]) -> dict[str, Histogram]:
    """Run a float32 model over images, one at a time, and count what enters and leaves the nodes of `OBSERVED`, but for what a Relu rectifies.

    Args:
        fp32: a model with one input; not changed.
        batches: images as the model takes them, to calibrate on.

    Returns:
        A histogram for each tensor, by its name.

    Raises:
        VerificationError: a value is no number or does not fit float16, in which the board computes.
        InputError: a broken photo among `batches`.
    """
    session, names = _session(fp32)
    histograms = {name: Histogram() for name in names}
    taken = session.get_inputs()[0].name
    for images in batches:
        for image in images:
            for name, values in zip(names, session.run(names, {taken: image[None]}), strict=True):
                histograms[name].add(_fitting(values, name))
    return histograms


def _session(fp32: onnx.ModelProto) -> tuple[ort.InferenceSession, list[str]]:
    """A session that gives the tensors to observe, which are inside the graph and beyond the engine seam."""
    made = {name for node in fp32.graph.node for name in node.output}
    rectified = {name for node in fp32.graph.node if node.op_type == "Relu" for name in node.input}
    around = dict.fromkeys(name for node in fp32.graph.node if node.op_type in OBSERVED for name in (*node.input, *node.output))
    names = [name for name in around if name in made - rectified]
    observed = onnx.ModelProto()
    observed.CopyFrom(fp32)
    del observed.graph.output[:]
    observed.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = _ONLY_FATAL
    return ort.InferenceSession(observed.SerializeToString(), options, providers=["CPUExecutionProvider"]), names


def _fitting(values: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    reach = float(np.abs(values).max())
    if not reach <= _MOST:
        raise VerificationError(f"wanted values within float16's {_MOST:g} inside the network, found {reach:g} in {name}: train again, with more weight decay")
    return values


def ranges(histograms: Mapping[str, Histogram], method: str) -> dict[str, Range]:
    """Return every tensor's range by one of `METHODS`."""
    return {name: histogram.range(method) for name, histogram in histograms.items()}
