"""Which int8 artefact is kept: the method that loses least, and as few layers in float as the budget asks for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("onnxruntime", reason="needs the export extra")

from export.graphs.calibrate import Histogram, Range
from export.judging.verify import Agreement, Budget, compare
from export.quantize import Judge, Quantized, quantize, worst_first

HARM = {"first": 0.02, "second": 0.005, "third": 0.1, "fourth": 0.001}
IDS = np.array([0, 1, 0, 1])
REFERENCE: NDArray[np.float32] = np.eye(2, dtype=np.float32)[IDS]
COMPARED = partial(compare, reference=REFERENCE, class_ids=IDS)


def make(spans: Mapping[str, Range], kept: Collection[str]) -> bytes:
    """An artefact whose bytes are the error that it makes: less where a method spans less, and less for each layer in float."""
    return repr((1 + spans["x"][1]) / 100 * sum(harm for layer, harm in HARM.items() if layer not in kept)).encode()


def run(content: bytes) -> NDArray[np.float32]:
    error = np.float32(float(content))
    return np.abs(REFERENCE - error)


def histograms() -> dict[str, Histogram]:
    """Of values with an outlier that minmax does not clip."""
    made = Histogram()
    made.add(np.concatenate([np.random.default_rng(0).exponential(1, 50_000), [100]]).astype(np.float32))
    return {"x": made}


def chosen(max_error: float) -> Quantized[Agreement]:
    judge = Judge(run, COMPARED)
    return quantize(make, histograms(), list(HARM), judge, judge, Budget(drop=0.0, max_error=max_error))


def test_the_method_that_loses_least_is_kept_and_all_are_told() -> None:
    found = chosen(max_error=1.0)
    assert set(found.tried) == {"minmax", "entropy", "percentile"}
    assert found.method == min(found.tried, key=lambda method: found.tried[method].mean_error) != "minmax"
    assert found.kept == ()
    assert found.content == make({"x": histograms()["x"].range(found.method)}, ())
    np.testing.assert_array_equal(found.outputs, run(found.content))
    record = found.as_record()
    assert (record["method"], record["kept_in_float"]) == (found.method, [])
    assert record["tried"]["minmax"]["max_error"] > record["tried"][found.method]["max_error"]


def test_signs_lost_weigh_more_than_error() -> None:
    least = chosen(max_error=1.0)

    def run_losing(content: bytes) -> NDArray[np.float32]:
        return REFERENCE[::-1] if content == least.content else run(content)

    judge = Judge(run_losing, COMPARED)
    found = quantize(make, histograms(), list(HARM), judge, judge, Budget(drop=1.0))
    assert found.method != least.method
    assert (found.tried[least.method].drop, found.tried[found.method].drop) == (1.0, 0.0)


def test_layers_are_ranked_by_the_harm_that_each_does_alone() -> None:
    assert worst_first(make, {"x": (0.0, 1.0)}, list(HARM), Judge(run, COMPARED)) == ["third", "first", "second", "fourth"]


def test_no_more_layers_stay_in_float_than_it_takes() -> None:
    whole = float(chosen(max_error=1.0).content)
    assert chosen(whole * 0.5).kept == ("third",)
    assert chosen(whole * 0.1).kept == ("third", "first")
    assert chosen(whole * 0.1).content == make({"x": histograms()["x"].range(chosen(whole * 0.1).method)}, ("third", "first"))


def test_where_half_of_the_layers_are_not_enough_the_whole_is_left_to_be_refused() -> None:
    found = chosen(max_error=1e-6)
    assert found.kept == ()
    assert found.content == chosen(max_error=1.0).content
