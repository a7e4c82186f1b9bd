"""What int8 is made to span: histograms, the three methods, and the values of a real graph on real files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the export extra")
ort = pytest.importorskip("onnxruntime", reason="needs the export extra")

from edge.datasets.gtsrb import Photo  # noqa: E402
from edge.errors import VerificationError  # noqa: E402
from edge.images import fit_crop, read_image  # noqa: E402
from export.graphs.calibrate import BINS, METHODS, Histogram, observe, ranges  # noqa: E402
from export.judging.crops import read_batches  # noqa: E402

SIZE = 24


def histogram(*parts: np.ndarray) -> Histogram:
    made = Histogram()
    for part in parts:
        made.add(part.astype(np.float32))
    return made


def test_bins_widen_and_lose_nothing() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, deviation, (4, 50)) for deviation in (1, 10, 0.1, 300)]
    found, whole = histogram(*parts), np.abs(np.concatenate(parts).astype(np.float32)).ravel()
    assert found.counts.sum() == whole.size
    assert found.top >= whole.max()
    wanted, _ = np.histogram(whole, BINS, (0, found.top))
    assert np.abs(np.cumsum(found.counts) - np.cumsum(wanted)).max() <= 2  # a value on an edge may round to either side
    assert (found.lowest, found.highest) == pytest.approx((np.min(parts), np.max(parts)))


def test_minmax_spans_everything() -> None:
    assert histogram(np.array([-2.0, 3.0]), np.array([5.0, 0.0])).range("minmax") == (-2.0, 5.0)
    assert histogram(np.array([0.5])).range("minmax") == (0.0, 0.5)


@pytest.mark.parametrize("method", METHODS)
def test_zeros_do_not_count_and_alone_span_nothing(method: str) -> None:
    values = np.random.default_rng(1).exponential(1, 5000)
    assert histogram(values).range(method) == histogram(np.concatenate([values, np.zeros(90_000)])).range(method)
    assert histogram(np.zeros(9)).range(method) == (0.0, 0.0)


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_a_lone_outlier_is_clipped_on_both_sides(method: str) -> None:
    values = np.random.default_rng(2).normal(0, 1, 200_000)
    low, high = histogram(values, np.array([60.0, -60.0])).range(method)
    assert 2.5 < high < 8
    assert low == -high


def test_percentile_leaves_its_share_out() -> None:
    values = np.concatenate([np.full(100_000, 0.25), np.full(2, 0.75), [1.0]])
    assert histogram(values).range("percentile")[1] == pytest.approx(0.75, abs=2 / BINS)
    assert histogram(values, values[:100_000], values[:100_000]).range("percentile")[1] == pytest.approx(0.25, abs=2 / BINS)


@pytest.mark.parametrize("method", METHODS)
def test_even_values_are_not_clipped_far(method: str) -> None:
    assert histogram(np.linspace(0, 1, 100_000)).range(method)[1] > 0.9


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    rng = np.random.default_rng(3)
    for place in range(18):
        cv2.imwrite(str(tmp_path / f"{place}.png"), rng.integers(0, 256, (30, 30, 3), np.uint8))
    return [Photo(tmp_path / f"{place}.png", 0, "") for place in range(18)]


def test_a_graph_is_observed_on_every_photo(tiny_models: dict[str, bytes], photos: list[Photo]) -> None:
    model = onnx.load_from_string(tiny_models["fp32"])
    found = observe(model, read_batches(photos, SIZE, "calibrating"))
    assert set(found) == {"nchw", "relu", "flat", "logits"}
    assert model.SerializeToString() == onnx.load_from_string(tiny_models["fp32"]).SerializeToString()
    crops = np.stack([fit_crop(read_image(photo.path), SIZE) for photo in photos])
    session = ort.InferenceSession(_giving(model, "relu"), providers=["CPUExecutionProvider"])
    relu = session.run(["relu"], {"images": crops})[0]
    assert found["relu"].range("minmax") == pytest.approx((0.0, float(relu.max())))
    assert found["relu"].counts.sum() == (relu > 0).sum()
    assert ranges(found, "minmax")["nchw"][0] < 0 < ranges(found, "minmax")["nchw"][1]


def _giving(model: onnx.ModelProto, name: str) -> bytes:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return bytes(changed.SerializeToString())


@pytest.mark.parametrize("weight", [np.nan, np.inf, 60_000.0])
def test_values_that_half_precision_cannot_hold_are_refused(tiny_models: dict[str, bytes], photos: list[Photo], weight: float) -> None:
    model = onnx.load_from_string(tiny_models["fp32"])
    kernel = next(tensor for tensor in model.graph.initializer if tensor.name == "conv_w")
    kernel.CopyFrom(onnx.numpy_helper.from_array(np.full(tuple(kernel.dims), weight, np.float32), "conv_w"))
    with pytest.raises(VerificationError, match=r"wanted values within float16's 65504 .* in relu"):
        observe(model, read_batches(photos[:1], SIZE, "calibrating"))


OBSERVER = """
import sys
import numpy as np, onnx
from edge.board.machine import peak_rss_mib
from export.graphs.calibrate import METHODS, observe, ranges
chance = np.random.default_rng(0)
found = observe(onnx.load(sys.argv[1]), (chance.integers(0, 256, (1, 224, 224, 3), np.uint8) for _ in range(int(sys.argv[2]))))
for method in METHODS:
    ranges(found, method)
print(peak_rss_mib())
"""


def test_the_largest_input_is_calibrated_in_memory_that_does_not_grow(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="needs the train extra")
    from export.graphs.to_onnx import to_onnx
    from train.networks.vgg import build

    onnx.save(to_onnx(build(224, dense=128, dropout=0.6, batch_norm=False)), tmp_path / "vgg.onnx")
    peaks_mib = []
    for photos in (2, 8):
        command = [sys.executable, "-c", OBSERVER, str(tmp_path / "vgg.onnx"), str(photos)]
        told = subprocess.run(command, cwd=Path(__file__).resolve().parents[3], capture_output=True, text=True, check=True)
        peaks_mib.append(float(told.stdout))
    assert peaks_mib[1] < 2048
    assert peaks_mib[1] < peaks_mib[0] + 64
