"""The spotter's artefacts: clean graphs that compute what Keras computes, legal for TensorRT, verified by what they find."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")
onnx = pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("onnxslim", reason="needs the export extra")
pytest.importorskip("tf2onnx", reason="needs the export extra")

from spotter_runs import SIZE_HW, write_frames, write_run  # noqa: E402

from edge.bundle.manifest import SCHEMA, Bundle, Golden, Manifest, ModelSpec, Thresholds  # noqa: E402
from edge.datasets.gtsrb import LABELS  # noqa: E402
from edge.engines.open import open_engine  # noqa: E402
from edge.errors import DataError, InputError, VerificationError  # noqa: E402
from export import spotter as spotters  # noqa: E402
from export.graphs.lint import faults  # noqa: E402
from export.graphs.to_int8 import LAYERS  # noqa: E402
from export.judging.rtx import build_with_rtx  # noqa: E402
from export.judging.verify import Budget  # noqa: E402
from export.spotter import AIR_BUDGETS, BUDGETS, Seen, Spotter, SpotterSource, chance_of, compare, make_spotter, read_spotter  # noqa: E402

Draft = Callable[[ModelSpec], Bundle]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SpotterSource:
    return read_spotter(write_run(tmp_path_factory.mktemp("runs") / "spotter"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("data"))


def draft_in(folder: Path) -> Draft:
    def draft(*models: ModelSpec) -> Bundle:
        return Bundle(folder, Manifest(SCHEMA, "spotter", LABELS, models, Thresholds(0.0, 0.5), Golden("golden.npz", "", {}), {}))

    return draft


@pytest.fixture(scope="module")
def made(source: SpotterSource, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Spotter]:
    folder = tmp_path_factory.mktemp("bundle")
    spotter = make_spotter(source, data, folder, draft_in(folder))
    return draft_in(folder)(*spotter.models), spotter


def test_the_graph_is_clean(source: SpotterSource) -> None:
    model = onnx.load_from_string(source.fp16)
    operators = Counter(node.op_type for node in model.graph.node)
    assert operators["Transpose"] == 1
    assert operators["Resize"] == 2
    assert not operators["Shape"]
    assert not operators["Tile"]
    assert [tensor.name for tensor in (*model.graph.input, *model.graph.output)] == ["frames", "maps"]
    assert source.size_wh == SIZE_HW[::-1]


def test_fp32_and_fp16_compute_what_keras_computes(source: SpotterSource, made: tuple[Bundle, Spotter]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, *SIZE_HW, 3), np.uint8)
    wanted = source.keras(frames)
    for precision, error in (("fp32", 1e-5), ("fp16", 1e-2)):
        with open_engine(made[0], "spotter", engine="onnxruntime", precision=precision) as engine:
            np.testing.assert_allclose(engine.infer(frames), wanted, atol=error)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_tensorrt_would_take_it(made: tuple[Bundle, Spotter], precision: str) -> None:
    spec = made[0].model("spotter", precision)
    assert faults((made[0].folder / spec.file).read_bytes(), spec) == []


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_nvidia_builds_it(made: tuple[Bundle, Spotter], precision: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra, for x86-64 Linux")
    spec = made[0].model("spotter", precision)
    assert build_with_rtx(made[0].folder / spec.file, spec) > 0


def test_int8_quantizes_all_but_the_heads(made: tuple[Bundle, Spotter]) -> None:
    model = onnx.load(made[0].folder / "spotter.int8.onnx")
    makers = {name: node for node in model.graph.node for name in node.output}
    plain = [node.name for node in model.graph.node if node.op_type in LAYERS and makers.get(node.input[1]) is None]
    assert sorted(name.split("/")[0] for name in plain) == ["boxes", "heat_logits"]


def test_on_a_cpu_int8_never_leaves_int8_between_the_layers(made: tuple[Bundle, Spotter]) -> None:
    model = onnx.load(made[0].folder / "spotter.int8-cpu.onnx")
    users: dict[str, list[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node.op_type)
    for node in model.graph.node:
        if node.op_type in ("Resize", "Add") and "heat" not in node.name and "centred" not in node.name:
            assert users[node.output[0]] == ["QuantizeLinear"]


def test_it_is_chosen_and_verified_on_frames_that_were_not_trained_on(made: tuple[Bundle, Spotter]) -> None:
    spotter = made[1]
    export = spotter.lineage["export"]
    assert set(export["verification"]) == {"fp32", "keras", "fp16", "int8", "int8-cpu"}
    assert export["verification"]["fp32"]["n"] == 4
    assert (
        export["quantization"]["int8"]["tried"]["minmax"]["n"] == 2 * (1 + 3) + 2 * 2
    )  # tuning frames with their views, and two views more of those that calibrate
    assert set(export["verification_from_the_air"]) == {"fp32", "int8", "int8-cpu"}
    assert export["verification_from_the_air"]["int8"]["n"] == 4 * 3
    assert [model.precision for model in spotter.models] == ["fp16", "int8", "int8-cpu"]
    assert spotter.lineage["train"]["recipe"]["name"] == "spotter"


def test_what_strays_beyond_its_budget_is_refused(source: SpotterSource, data: Path, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"^wanted the spotter's int8 within"):
        make_spotter(source, data, tmp_path, draft_in(tmp_path), {**BUDGETS, "int8": Budget(drop=1.0, max_error=0.0)})


def test_what_strays_in_views_from_the_air_is_refused(source: SpotterSource, data: Path, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"^wanted the spotter's int8-cpu within .* on 12 views from the air"):
        make_spotter(source, data, tmp_path, draft_in(tmp_path), air_budgets={**AIR_BUDGETS, "int8-cpu": Budget(drop=1.0, max_error=0.0)})


def test_of_few_frames_chance_is_borne_and_a_loss_is_not() -> None:
    """Two of 40 signs missed, one of which fp32 misses: as chance has it. Twelve missed: not."""

    def maps(missed: set[int]) -> np.ndarray:
        heat = np.zeros((40, 5, 30, 40), np.float32)
        for place in set(range(40)) - missed:
            heat[place, :, 10, 10 + place % 20] = 0.9 - 0.01 * place, 0.5, 0.5, np.log(2), np.log(2)
        return heat

    frames = [Seen(np.zeros((120, 160, 3), np.uint8), np.array([[26 + 4 * (place % 20), 26, 58 + 4 * (place % 20), 58]], np.float64)) for place in range(40)]
    fp32 = maps({7})
    for missed, borne in (({7}, True), ({8, 9}, True), (set(range(12)), False)):
        found = compare(maps(missed), fp32, frames)
        assert (found.drop <= max(0.005, chance_of(maps(missed), fp32, frames))) == borne
    assert chance_of(fp32, fp32, frames) == 0


def test_no_frames_are_told(source: SpotterSource, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"GTSDB's gt\.txt"):
        make_spotter(source, tmp_path, tmp_path, draft_in(tmp_path))


@pytest.mark.parametrize(
    "record", [None, "[]", "{}", json.dumps({"recipe": {"name": "full"}, "metrics": 1, "frames": 1, "parameters": 1, "flop": 1, "lineage": 1})]
)
def test_other_runs_are_refused_in_a_line(tmp_path: Path, record: str | None) -> None:
    if record is not None:
        (tmp_path / "run.json").write_text(record, encoding="utf-8")
    with pytest.raises(InputError, match=r"^wanted a .*run .*--recipe spotter wrote$") as refused:
        read_spotter(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_model_for_frames_of_any_size_is_refused_in_a_line(tmp_path: Path) -> None:
    import keras

    run = write_run(tmp_path / "run")
    size = (None, None, 3)
    any_size = keras.Sequential([keras.Input(size, dtype="uint8"), keras.layers.Rescaling(1.0), keras.layers.Conv2D(5, 4, strides=4)])
    any_size.save(run / "model.keras")
    with pytest.raises(InputError, match=r"^wanted a spotter's model in .*, found \(None, None, None, 3\)"):
        read_spotter(run)


def test_a_finished_bundles_spotter_is_held_to_its_budgets(made: tuple[Bundle, Spotter], data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = spotters.verify_spotter(made[0], data)
    assert set(figures) == {"fp32", "fp16", "int8", "int8-cpu"}
    assert figures["fp32"].n == 4
    monkeypatch.setattr(spotters, "BUDGETS", {**BUDGETS, "int8-cpu": Budget(drop=1.0, max_error=0.0)})
    with pytest.raises(VerificationError, match="int8-cpu"):
        spotters.verify_spotter(made[0], data)
