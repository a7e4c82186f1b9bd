"""Float32 ONNX to int8 by ONNX Runtime's static quantization, calibrated on training photos."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxslim
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from edge.gtsrb import Photo
from export.crops import read_batches

PER_CLASS = 10
# The softmax stays in float32, and so does the layer before it: it costs nothing and decides between signs that are alike.
QUANTIZED = ("Conv", "MatMul", "MaxPool", "Relu", "Reshape")


def calibration_photos(photos: Sequence[Photo], seed: int) -> list[Photo]:
    """Draw up to `PER_CLASS` photos of each class, in mixed order; the result does not depend on the order of `photos`."""
    rng = np.random.default_rng(seed)
    by_class: dict[int, list[Photo]] = defaultdict(list)
    for photo in sorted(photos, key=lambda photo: photo.path.as_posix()):
        by_class[photo.class_id].append(photo)
    drawn = [members[i] for _, members in sorted(by_class.items()) for i in rng.permutation(len(members))[:PER_CLASS]]
    return [drawn[i] for i in rng.permutation(len(drawn))]


def to_int8_cpu(fp32: bytes, photos: Sequence[Photo], size: int) -> bytes:
    """Quantize for ONNX Runtime's CPU provider: uint8 asymmetric activations, int8 weights by output channel, int32 biases.

    Weights keep to 7 bits (`reduce_range`): processors without VNNI add two products of uint8 and int8 in 16 bits and would saturate.

    Args:
        fp32: a float32 ONNX model with input `images`.
        photos: to calibrate on; read in batches, so memory does not grow with their number.
        size: side of the model's input, pixels.
    """
    model = onnxslim.slim(onnx.load_from_string(fp32))
    last = [node.name for node in model.graph.node if node.op_type == "MatMul"][-1:]
    with TemporaryDirectory(prefix="signwing-int8-") as scratch:
        # By path: given a model object, the quantizer moves its weights out to a file that it then deletes.
        plain, quantized = Path(scratch) / "fp32.onnx", Path(scratch) / "int8.onnx"
        add_pre_process_metadata(model)  # or the quantizer warns: onnxslim has done what it would want done
        onnx.save(model, plain)
        quantize_static(
            plain,
            quantized,
            _Reader(photos, size),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            nodes_to_exclude=last,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            # The mean of the batches' extremes: one odd photo does not coarsen the steps for all.
            extra_options={"CalibMovingAverage": True},
        )
        onnx.checker.check_model(onnx.load(quantized), full_check=True)
        return quantized.read_bytes()


class _Reader(CalibrationDataReader):
    def __init__(self, photos: Sequence[Photo], size: int) -> None:
        self._batches = read_batches(photos, size, "calibrating int8-cpu")

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}
