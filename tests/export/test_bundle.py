"""A small real network (VGG-16 at 32 px, its head fitted to drawn signs) through the whole of export."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

keras = pytest.importorskip("keras", reason="needs the train and export extras")
onnx = pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("tf2onnx", reason="needs the export extra")

from small_network import DRAWN, FRAMES, SIZE, draw_photo, fitted_network, write_data  # noqa: E402
from small_network import write_run as write_small_run  # noqa: E402
from spotter_runs import write_frames, write_run  # noqa: E402

from edge import cli  # noqa: E402
from edge.bundle.manifest import SHIPPED, Bundle, read_bundle, write_manifest  # noqa: E402
from edge.datasets.gtsrb import CLASSES, LABELS  # noqa: E402
from edge.engines.open import open_engine  # noqa: E402
from edge.engines.self_test import Choice, self_test  # noqa: E402
from edge.errors import BundleError, DataError, InputError, OutputError, VerificationError  # noqa: E402
from edge.files import sha256_of, write_json  # noqa: E402
from edge.images import fit_crop  # noqa: E402
from export.__main__ import _parser  # noqa: E402
from export.artefacts import TARGETS  # noqa: E402
from export.bundle import _Draft, _kept_spotter, write_bundle  # noqa: E402
from export.card import write_card  # noqa: E402
from export.judging import golden  # noqa: E402
from export.judging.fusion import fused  # noqa: E402
from export.judging.verify import BUDGETS, Budget, verify_bundle  # noqa: E402
from export.source import read_source  # noqa: E402
from export.spotter import make_spotter, read_spotter  # noqa: E402
from train.networks import vgg  # noqa: E402

PRECISIONS = ("fp32", "fp16", "int8", "int8-cpu")
MODELS = {"classifier.fp16.onnx": 17, "classifier.int8.onnx": 19, "classifier.int8-cpu.onnx": 17}
FILES = {"MODEL_CARD.md", "golden.npz", "manifest.json", "robustness.png", *MODELS}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn signs in the Train/Test csv layout, and frames in GTSDB's beside them."""
    root = tmp_path_factory.mktemp("drawn")
    write_data(root)
    return root


@pytest.fixture
def photos(data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data, tmp_path / "photos", ignore=shutil.ignore_patterns("gtsdb")))  # too few frames to choose or judge by


@pytest.fixture(scope="module")
def network(data: Path) -> Any:
    return fitted_network(data)


@pytest.fixture(scope="module")
def run(network: Any, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as train leaves it."""
    return write_small_run(network, data, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def known() -> Iterator[pytest.MonkeyPatch]:
    """For the self-test to show the signs that this network knows: on others its guesses would turn on a rounding."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def made(run: Path, data: Path, known: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `run`, made by the command; not to be written to."""
    out = tmp_path_factory.mktemp("made") / "bundle"
    known.setattr(golden, "DRAWN_CLASSES", DRAWN)
    assert cli.main(_parser(), ["bundle", str(run), "--data", str(data), "--out", str(out), "--name", "drawn"]) == 0
    return out


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The same bundle, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


@pytest.fixture
def crops() -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    return np.stack([fit_crop(draw_photo(class_id, rng), SIZE) for class_id in (*DRAWN, 13)])


def test_bundle_is_whole_and_tells_its_origin(made: Path, data: Path) -> None:
    manifest = read_bundle(made).manifest
    assert {path.name for path in made.iterdir()} == FILES
    assert sorted(path.name for path in made.parent.iterdir()) == ["bundle", "bundle-worst.png"]  # photos stay outside
    assert (manifest.name, manifest.labels) == ("drawn", LABELS)
    export = manifest.lineage["export"]
    assert 0.5 <= manifest.thresholds.confidence == export["rejection"]["threshold"] <= 1
    assert 0 < export["rejection"]["sign_free_crops"] <= 48
    assert export["robustness"]["n"] == len(DRAWN) * FRAMES
    assert export["robustness"]["clean"] >= 0.9
    for reference, key in (("fp32", "verification"), ("keras", "verification_against_keras")):
        figures = export[key]
        assert set(figures) == {*PRECISIONS, "keras"} - ({"fp32"} - {reference})
        assert (figures[reference]["max_error"], figures[reference]["agreement"]) == (0.0, 1.0)
        assert figures["fp16"]["max_error"] < 1e-4
        assert 1e-4 < figures["int8"]["max_error"] < 0.2
        assert min(figures[precision]["top1"] for precision in ("int8", "int8-cpu")) >= 0.9
    for precision in ("int8", "int8-cpu"):
        choice = export["quantization"][precision]
        assert set(choice["tried"]) == {"minmax", "entropy", "percentile"}
        assert choice["tried"][choice["method"]]["mean_error"] == export["verification"][precision]["mean_error"]
    assert export["test"]["n"] == len(DRAWN)
    assert set(export["cost"]) == {"classifier"}
    assert export["cost"]["classifier"]["parameters"] == 3_680_160 + 256 * 128 + 128 * 43  # half of the channels
    assert str(data) not in (made / "manifest.json").read_text(encoding="utf-8")


def test_card_says_what_was_measured(made: Path) -> None:
    card = (made / "MODEL_CARD.md").read_text(encoding="utf-8")
    for wanted in (
        "| 14 | Stop | 4 |",
        "| fp32 | classifier.fp16.onnx, widened",
        "| int8 | classifier.int8.onnx | tensorrt | 3.",
        "classifier.int8-cpu.onnx",
        "Stallkamp",
        "Simonyan",
        "Apache-2.0",
        "Not yet measured on a board",
    ):
        assert wanted in card
    export = read_bundle(made).manifest.lineage["export"]
    for precision in PRECISIONS:
        assert f"| {precision} | {export['verification'][precision]['top1']:.4f} | {export['verification'][precision]['drop']:.4f} |" in card
    assert f"{export['quantization']['int8']['method']} for int8; {export['quantization']['int8-cpu']['method']} for int8-cpu" in card
    assert f"accepts {export['rejection']['sign_free_accepted']:.2%} of {export['rejection']['sign_free_crops']} sign-free crops" in card
    assert f"| low resolution | side, px: 24, 16, 12 | {export['robustness']['corruptions']['low_resolution']['top1'][0]:.3f} |" in card
    assert "(robustness.png)" in card
    assert "nothing is calibrated afterwards" in card
    assert "With few photos" not in card


def test_card_tells_what_else_the_records_hold(copy: Path) -> None:
    bundle = read_bundle(copy)
    train, export = bundle.manifest.lineage["train"], bundle.manifest.lineage["export"]
    figures = {"ece": 0.0263, "nll": 0.031, "confidence": 0.9732}
    train["metrics"]["valid"]["calibration"] = {"temperature": 0.5221, "before": figures, "after": {**figures, "ece": 0.0017}}
    export["rejection"] |= {"sign_free_accepted": None, "sign_free_crops": 0, "source": "validation photos alone"}
    export["quantization"]["int8"]["kept_in_float"] = ["block1_conv1/Conv", "block3_conv2/Conv"]
    train["recipe"] |= {"last_layers": None, "width": 0.5}
    train["fewshot"] = [{"weights": "drawn", "per_class": 28, "seeds": [0, 1, 2], "n": 2526, "top1": 0.99024, "top1_std": 0.00165}]
    card = write_card(bundle, {"top1": 1.0, "per_class": {}})
    for wanted in (
        "A VGG-16 with 50% of the channels that names the German traffic sign",
        " for int8, with block1_conv1/Conv, block3_conv2/Conv left in float; ",
        "temperature of 0.522 ",
        "(15 bins) 0.0263 and 0.0017",
        "chosen on validation photos alone",
        "| 28 | drawn | 3 | 2526 | 0.9902 | 0.0016 |",
    ):
        assert wanted in card
    assert "nothing is calibrated" not in card
    assert "None" not in card


@pytest.mark.parametrize(("file", "opset"), MODELS.items())
def test_graph_is_clean(made: Path, file: str, opset: int) -> None:
    model = onnx.load(made / file)
    operators = [node.op_type for node in model.graph.node if node.op_type not in ("QuantizeLinear", "DequantizeLinear")]
    assert operators.count("Transpose") == 1
    assert operators[:3] == ["Cast", "Add", "Transpose"]
    assert operators[-2:] == (["Add", "Softmax"] if "int8-cpu" in file else ["Cast", "Softmax"])  # in float32
    assert "Shape" not in operators
    assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
    for tensor, name, sides in ((model.graph.input[0], "images", [SIZE, SIZE, 3]), (model.graph.output[0], "probabilities", [CLASSES])):
        dims = tensor.type.tensor_type.shape.dim
        assert tensor.name == name
        assert dims[0].dim_param == "batch"
        assert [dim.dim_value for dim in dims[1:]] == sides


def test_fp16_file_holds_the_weights_exactly(made: Path, network: Any) -> None:
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(made / "classifier.fp16.onnx").graph.initializer}
    for layer in vgg.convolution_names():
        kernel, bias = network.get_layer(layer).get_weights()
        assert tensors[f"{layer}/Conv/constant_1"].dtype == np.float16
        np.testing.assert_array_equal(tensors[f"{layer}/Conv/constant_1"].astype(np.float32), kernel.transpose(3, 2, 0, 1))
        np.testing.assert_array_equal(tensors[f"{layer}/Conv/constant_2"].astype(np.float32), bias)
    np.testing.assert_array_equal(tensors["mean_subtraction/Add/constant_1"], -np.array(vgg.MEAN_BGR, np.float32))


@pytest.mark.parametrize(("precision", "most"), [("int8", 127), ("int8-cpu", 64)])
def test_int8_weights_keep_to_their_bits(made: Path, precision: str, most: int) -> None:
    kernels = [onnx.numpy_helper.to_array(t) for t in onnx.load(made / f"classifier.{precision}.onnx").graph.initializer if len(t.dims) == 4]
    assert len(kernels) == 13
    assert all(kernel.dtype == np.int8 and np.abs(kernel.astype(int)).max() == most for kernel in kernels)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rows_do_not_depend_on_the_batch(made: Path, crops: NDArray[np.uint8], precision: str) -> None:
    with open_engine(read_bundle(made), "classifier", precision=precision) as engine:
        together, alone = engine.infer(crops), np.concatenate([engine.infer(crop[None]) for crop in crops])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert (together.argmax(axis=1) == [*DRAWN, 13]).mean() >= 0.8


def test_golden_holds_drawn_signs_and_their_outputs(made: Path) -> None:
    with np.load(made / "golden.npz") as file:
        images, probabilities = file["images"], file["probabilities"]
    with open_engine(read_bundle(made), "classifier", precision="fp32") as engine:
        np.testing.assert_allclose(engine.infer(images), probabilities, atol=1e-4)
    assert set(read_bundle(made).manifest.golden.tolerance) == set(PRECISIONS)


def test_what_was_measured_since_joins_card_and_manifest(copy: Path, data: Path, tmp_path: Path) -> None:
    before = read_bundle(copy).manifest
    card = (copy / "MODEL_CARD.md").read_text(encoding="utf-8")
    runs = [{"run": f"runs/{seed}", "weights": "drawn", "recipe": {"name": "fewshot", "seed": seed, "train_per_class": 28}} for seed in range(3)]
    write_json(tmp_path / "few.json", {"conditions": {"runs": runs, "split": "test"}, "n": 2526, "top1": 0.99024, "top1_std": 0.00165})
    assert cli.main(_parser(), ["refresh", str(copy), "--data", str(data), "--fewshot", str(tmp_path / "few.json")]) == 0
    told = (copy / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| 28 | drawn | 3 | 2526 | 0.9902 | 0.0016 |" in told
    assert set(card.splitlines()) <= set(told.splitlines())
    after = read_bundle(copy).manifest
    assert (after.models, after.thresholds, after.golden) == (before.models, before.thresholds, before.golden)
    assert after.lineage["export"] == before.lineage["export"]
    assert cli.main(_parser(), ["refresh", str(copy), "--data", str(data)]) == 0
    assert (copy / "MODEL_CARD.md").read_text(encoding="utf-8") == told


def test_a_bundle_without_records_has_no_card(copy: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_manifest(copy, dataclasses.replace(read_bundle(copy).manifest, lineage={}))
    assert cli.main(_parser(), ["refresh", str(copy), "--data", str(data)]) == 1
    assert "wanted a bundle with the records of train and export, found none" in capsys.readouterr().err


def test_bundle_of_a_bundle_has_the_same_bytes_and_may_take_anothers_spotter(made: Path, photos: Path, tmp_path: Path) -> None:
    again = write_bundle(made, photos, tmp_path / "again", "drawn", spotter=SHIPPED)
    spotters = {model.sha256 for model in read_bundle(SHIPPED).manifest.models if model.role == "spotter"}
    assert {model.sha256 for model in again.manifest.models} == {model.sha256 for model in read_bundle(made).manifest.models} | spotters
    assert again.manifest.thresholds.spotter == read_bundle(SHIPPED).manifest.thresholds.spotter
    assert not {"keras", "verification_against_keras"} & {*again.manifest.lineage["export"], *again.manifest.lineage["export"]["verification"]}


def test_verify_passes_a_sound_bundle(made: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(_parser(), ["verify", str(made), "--data", str(data)]) == 0
    assert "int8-cpu" in capsys.readouterr().out


def test_verify_asks_nvidia_too(made: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra, for x86-64 Linux")
    assert cli.main(_parser(), ["verify", str(made), "--data", str(data), "--tensorrt-rtx"]) == 0
    told = capsys.readouterr().out
    assert all(f"classifier.{precision}.onnx: tensorrt-rtx parses and builds it" in told for precision in ("fp16", "int8"))


@pytest.mark.parametrize("precision", ["fp16", "int8", "int8-cpu"])
def test_verify_refuses_spoiled_weights(copy: Path, data: Path, precision: str) -> None:
    bundle = read_bundle(copy)
    model = onnx.load(path := copy / bundle.model("classifier", precision).file)
    kernel = next(t for t in model.graph.initializer if len(t.dims) == 4)
    kernel.raw_data = kernel.raw_data[::-1]
    onnx.save(model, path)
    with pytest.raises(BundleError, match="sha256"):
        verify_bundle(bundle, data)
    models = tuple(dataclasses.replace(m, sha256=sha256_of(copy / m.file)) for m in bundle.manifest.models)
    write_manifest(copy, dataclasses.replace(bundle.manifest, models=models))
    with pytest.raises(VerificationError, match=rf"wanted (the outputs that|{precision} within)"):
        verify_bundle(read_bundle(copy), data)


def test_verify_refuses_a_drop_that_golden_does_not_see(copy: Path, data: Path) -> None:
    bundle = read_bundle(copy)
    golden = dataclasses.replace(bundle.manifest.golden, tolerance=dict.fromkeys(PRECISIONS, 1.0))
    model = onnx.load(path := copy / "classifier.int8-cpu.onnx")
    last = next(t for t in model.graph.initializer if list(t.dims) == [CLASSES])
    last.raw_data = (np.arange(CLASSES, dtype=np.float32) * 10).tobytes()
    onnx.save(model, path)
    models = tuple(dataclasses.replace(m, sha256=sha256_of(copy / m.file)) for m in bundle.manifest.models)
    write_manifest(copy, dataclasses.replace(bundle.manifest, models=models, golden=golden))
    with pytest.raises(VerificationError, match="wanted int8-cpu within"):
        verify_bundle(read_bundle(copy), data)


def test_failed_verification_leaves_what_was_there(copy: Path, data: Path) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(VerificationError, match="wanted fp16 within"):
        write_bundle(copy, data, copy, budgets={**BUDGETS, "fp16": Budget(drop=-1.0)})
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    assert sorted(path.name for path in copy.parent.iterdir()) == ["copy", "copy-worst.png"]


def test_a_bundle_that_is_worse_than_another_is_not_written(copy: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(VerificationError, match="no worse than"):
        write_bundle(copy, photos, tmp_path / "new", unless_worse=SHIPPED)
    assert not (tmp_path / "new").exists()
    assert "the new bundle is worse than the old one" in capfd.readouterr().out


def test_weights_that_fp16_would_change_are_refused(network: Any, data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    run = write_small_run(keras.models.clone_model(network), data, tmp_path / "run")
    with pytest.raises(VerificationError, match="exact in float16"):
        write_bundle(run, data, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("shape", "dtype", "classes"), [((SIZE, SIZE, 3), "float32", CLASSES), ((SIZE, 16, 3), "uint8", CLASSES), ((SIZE, SIZE, 3), "uint8", 10)]
)
def test_another_network_is_refused(data: Path, tmp_path: Path, shape: tuple[int, ...], dtype: str, classes: int) -> None:
    images = keras.Input(shape, dtype=dtype)
    flat = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1.0)(images))
    (tmp_path / "run").mkdir()
    write_small_run(keras.Model(images, keras.layers.Dense(classes)(flat)), data, tmp_path / "run")
    with pytest.raises(InputError, match=r"wanted a model from uint8 .* found"):
        write_bundle(tmp_path / "run", data, tmp_path / "out")


@pytest.mark.parametrize("missing", ["model.keras", "run.json"])
def test_unfinished_run_is_refused(run: Path, data: Path, tmp_path: Path, missing: str) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / missing).unlink()
    with pytest.raises(InputError, match=f"found no {missing}.*--resume"):
        write_bundle(tmp_path / "run", data, tmp_path / "out")


def test_damaged_records_are_refused(run: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    del record["recipe"]["seed"]
    write_json(tmp_path / "run" / "run.json", record)
    with pytest.raises(InputError, match="seed"):
        write_bundle(tmp_path / "run", data, tmp_path / "out")
    (tmp_path / "run" / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="JSON"):
        write_bundle(tmp_path / "run", data, tmp_path / "out")


def test_missing_data_and_source_are_one_line(run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=r"Train\.csv"):
        write_bundle(run, tmp_path, tmp_path / "out")
    assert cli.main(_parser(), ["bundle", str(tmp_path), "--data", str(data), "--out", str(tmp_path / "out")]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_foreign_folder_is_not_replaced(run: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        write_bundle(run, data, tmp_path)
    with pytest.raises(OutputError, match="a file at"):
        write_bundle(run, data, tmp_path / "thesis.txt")
    with pytest.raises(OutputError, match="the system refused"):
        write_bundle(run, data, tmp_path / "thesis.txt" / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_spotter_joins_a_bundle_and_stays_in_what_is_made_of_it(made: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    source, joined = read_bundle(made), tmp_path / "joined"
    shutil.copytree(made, joined)
    draft = _Draft(joined, read_source(joined), None)
    spotter = make_spotter(read_spotter(write_run(tmp_path / "run")), write_frames(tmp_path / "frames"), joined, draft.of)
    whole = draft.joined(Bundle(joined, source.manifest), spotter)
    manifest = dataclasses.replace(whole.manifest, golden=golden.write_golden(whole, ["fp32", *TARGETS]))
    write_manifest(joined, manifest)
    bundle = read_bundle(joined)
    assert {(model.role, model.precision) for model in bundle.manifest.models} == {
        (role, precision) for role in ("classifier", "spotter") for precision in TARGETS
    }
    assert set(bundle.manifest.golden.tolerance) == {*PRECISIONS, *(f"spotter.{precision}" for precision in PRECISIONS)}
    assert all(outcome.passed for outcome in self_test(bundle, "spotter", Choice("onnxruntime")))
    card = write_card(bundle, {"top1": 1.0, "per_class": {}})
    assert "## The spotter" in card
    assert "decide together" not in card
    judged = fused(bundle, tmp_path / "frames")
    assert judged.manifest.thresholds.fusion is not None
    assert judged.manifest.lineage["spotter"]["fusion"]["held"]["frames"] == 2
    assert "decide together" in write_card(judged, {"top1": 1.0, "per_class": {}})
    assert fused(bundle, tmp_path / "run").manifest == bundle.manifest  # no frames there
    assert "finds 0.400, 0.500 and 0.600 of 5 signs" in card

    again = tmp_path / "again"
    shutil.copytree(made, again)
    kept = _kept_spotter(Bundle(again, source.manifest), bundle)
    assert kept.manifest.models == bundle.manifest.models
    assert kept.manifest.thresholds == bundle.manifest.thresholds
    assert kept.manifest.lineage["spotter"] == bundle.manifest.lineage["spotter"]
    for model in kept.manifest.models:
        assert (again / model.file).read_bytes() == (joined / model.file).read_bytes()
    assert _kept_spotter(Bundle(again, source.manifest), source).manifest == source.manifest
