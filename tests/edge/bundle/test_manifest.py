"""A bundle's manifest: read back as written, and refused with BundleError, and nothing else, whatever else stands in the file."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.fusion import Fusion, SecondLook
from edge.bundle.manifest import MANIFEST, SCHEMA, Golden, Manifest, ModelSpec, TensorSpec, Thresholds, read_bundle, write_manifest
from edge.datasets.gtsrb import LABELS
from edge.errors import BundleError, OutputError

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def manifest(tiny_spec: ModelSpec) -> Manifest:
    lineage = {"train": {"recipe": {"seed": 0}, "note": None}}
    return Manifest(SCHEMA, "test", LABELS, (tiny_spec,), Thresholds(0.5), Golden("golden.npz", "a" * 64, {"fp16": 0.01, "fp32": 0.0}), lineage)


@pytest.fixture
def folder(tmp_path: Path, manifest: Manifest) -> Path:
    write_manifest(tmp_path, manifest)
    return tmp_path


def change_manifest(folder: Path, change: Change) -> None:
    raw = json.loads((folder / MANIFEST).read_text())
    change(raw)
    (folder / MANIFEST).write_text(json.dumps(raw))


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as refused:
        read_bundle(folder)
    assert "\n" not in str(refused.value)
    assert str(folder) in str(refused.value)
    return str(refused.value)


def test_a_manifest_is_read_as_it_was_written(folder: Path, manifest: Manifest) -> None:
    bundle = read_bundle(folder)
    assert bundle.manifest == manifest
    assert bundle.folder == folder
    assert json.loads((folder / MANIFEST).read_text())["models"][0]["input"] == {"name": "images", "shape": [-1, 24, 24, 3], "dtype": "uint8"}


def test_a_whole_number_may_stand_for_a_fraction(folder: Path) -> None:
    change_manifest(folder, lambda raw: raw["thresholds"].update(confidence=1))
    assert read_bundle(folder).manifest.thresholds == Thresholds(1.0)


def test_a_folder_without_a_manifest_names_the_cure(tmp_path: Path) -> None:
    assert "python -m export bundle" in refusal(tmp_path / "nothing")
    (tmp_path / MANIFEST).mkdir()
    assert "python -m export bundle" in refusal(tmp_path)


def test_a_manifest_cannot_be_written_below_a_file(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_manifest(tmp_path / "file", manifest)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\x00", b"not json", b'{"schema": 1}x', b"[" * 100_000, b'{"schema": ' + b"9" * 5000 + b"}"],
    ids=["empty", "cut off", "no UTF-8", "text", "something behind", "deep", "a number too long"],
)
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    assert "JSON" in refusal(tmp_path)


@pytest.mark.parametrize("content", ["[]", "null", "1", '"text"', "{}", '{"schema": "1"}', '{"schema": 1.0}', '{"schema": true}', '{"schema": 0}'])
def test_another_document_is_told_by_its_schema(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    assert "schema 1" in refusal(tmp_path)


def test_numbers_and_sizes_of_own_signs_travel(tmp_path: Path, manifest: Manifest) -> None:
    sizes = ((600.0,), (420.0, 630.0), *((),) * 41)
    write_manifest(tmp_path, replace(manifest, numbers=("274-50", *("",) * 42), sizes_mm=sizes))
    found = read_bundle(tmp_path).manifest
    assert (found.numbers[0], found.sizes_mm) == ("274-50", sizes)


def test_a_newer_schema_asks_for_a_newer_signwing(folder: Path) -> None:
    change_manifest(folder, lambda raw: raw.update(schema=2, more="fields"))
    assert "found 2: update signwing" in refusal(folder)


WRONG: list[tuple[Change, str]] = [
    (lambda raw: raw.pop("labels"), "manifest lacks ['labels']"),
    (lambda raw: raw.update(extra=1), "unknown ['extra']"),
    (lambda raw: raw["models"][0].pop("sha256"), "manifest.models[0] lacks ['sha256']"),
    (lambda raw: raw["models"][0]["output"].update(layout="NC"), "manifest.models[0].output lacks [] and has unknown ['layout']"),
    (lambda raw: raw.update(models={}), "manifest.models is dict, not list"),
    (lambda raw: raw.update(models=[[]]), "manifest.models[0] is list, not dict"),
    (lambda raw: raw.update(labels=[*LABELS[1:], 1]), "manifest.labels[42] is int, not str"),
    (lambda raw: raw.update(numbers=["274"]), "there are 1 numbers and 0 sizes of 43 labels"),
    (lambda raw: raw.update(sizes_mm=[[600.0, 30_000.0]] * 43), "sizes_mm are not all from 10 to 20000"),
    (lambda raw: raw.update(sizes_mm=[[0.0]] * 43), "sizes_mm are not all from 10 to 20000"),
    (lambda raw: raw.update(labels="text"), "manifest.labels is str, not list"),
    (lambda raw: raw.update(name=None), "manifest.name is NoneType, not str"),
    (lambda raw: raw.update(lineage=[]), "manifest.lineage is list, not dict"),
    (lambda raw: raw["models"][0].update(input="images"), "manifest.models[0].input is str, not dict"),
    (lambda raw: raw["models"][0]["input"].update(shape=3), "shape is int, not list"),
    (lambda raw: raw["models"][0]["input"].update(shape=[-1, "24", 24, 3]), "shape[1] is str, not int"),
    (lambda raw: raw["models"][0]["input"].update(shape=[-1, 24.0, 24, 3]), "shape[1] is float, not int"),
    (lambda raw: raw["models"][0]["input"].update(shape=[-1, True, 24, 3]), "shape[1] is bool, not int"),
    (lambda raw: raw["models"][0]["input"].update(shape=[]), "shape () of images"),
    (lambda raw: raw["models"][0]["input"].update(shape=[1, 24, 24, 3]), "not a batch (-1)"),
    (lambda raw: raw["models"][0]["input"].update(shape=[-1, 0, 24, 3]), "sides of 1 to"),
    (lambda raw: raw["models"][0]["input"].update(shape=[-1, -24, 24, 3]), "sides of 1 to"),
    (lambda raw: raw["models"][0]["input"].update(shape=[-1, 10**30, 24, 3]), "sides of 1 to"),
    (lambda raw: raw["models"][0]["input"].update(shape=[-1, 3, 24, 24]), "not uint8 NHWC with 3 channels"),
    (lambda raw: raw["models"][0]["input"].update(dtype="float32"), "not uint8 NHWC"),
    (lambda raw: raw["models"][0]["output"].update(dtype="float16"), "not float32"),
    (lambda raw: raw["models"][0]["output"].update(shape=[-1, 42]), "not a probability for each of 43 labels"),
    (lambda raw: raw["thresholds"].update(confidence=-0.1), "threshold"),
    (lambda raw: raw["thresholds"].update(confidence=1.1), "threshold"),
    (lambda raw: raw["thresholds"].update(confidence=float("nan")), "threshold"),
    (lambda raw: raw["thresholds"].update(confidence=10**400), "too large"),
    (lambda raw: raw["thresholds"].update(confidence="0.5"), "confidence is str, not float"),
    (lambda raw: raw["golden"].update(tolerance={"fp16": float("inf")}), "tolerances"),
    (lambda raw: raw["golden"].update(tolerance={"fp16": -1}), "tolerances"),
    (lambda raw: raw["golden"].update(tolerance=[0.1]), "tolerance is list, not dict"),
    (lambda raw: raw["golden"].update(sha256="A" * 64), "not 64 hexadecimal digits"),
    (lambda raw: raw["models"][0].update(sha256="abc"), "not 64 hexadecimal digits"),
]


@pytest.mark.parametrize(("change", "found"), WRONG, ids=[found for _, found in WRONG])
def test_a_wrong_field_is_named(folder: Path, change: Change, found: str) -> None:
    change_manifest(folder, change)
    assert found in refusal(folder)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../up.onnx", "/etc/passwd", "a/b.onnx", "a\\b.onnx", "C:b.onnx", "x.onnx/", ".hidden", "\0", "\ud800", "n\nl", "x" * 300]
)
@pytest.mark.parametrize("part", ["model", "golden"])
def test_a_file_outside_the_bundle_is_refused(folder: Path, name: str, part: str) -> None:
    change_manifest(folder, lambda raw: (raw["golden"] if part == "golden" else raw["models"][0]).update(file=name))
    assert "plain name inside the bundle" in refusal(folder)


def test_a_file_is_given_out_only_if_its_bytes_are_those_exported(folder: Path, manifest: Manifest) -> None:
    bundle = read_bundle(folder)
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180-2
    with pytest.raises(BundleError, match=r"no such file: copy the bundle again"):
        bundle.verified_path("model.onnx", digest)
    (folder / "model.onnx").write_bytes(b"abc")
    assert bundle.verified_path("model.onnx", digest) == folder / "model.onnx"
    (folder / "model.onnx").write_bytes(b"abd")
    with pytest.raises(BundleError, match=r"wanted .*model\.onnx with sha256 ba7816bf8f01\.\.\., found [0-9a-f]{12}\.\.\."):
        bundle.verified_path("model.onnx", digest)


def test_a_model_is_found_by_role_and_precision(folder: Path, tiny_spec: ModelSpec) -> None:
    bundle = read_bundle(folder)
    assert bundle.model("classifier", "fp16") == tiny_spec
    with pytest.raises(BundleError, match="holds fp16"):
        bundle.model("classifier", "int8")


def test_the_spotter_may_have_another_output(folder: Path, manifest: Manifest, tiny_spec: ModelSpec) -> None:
    spotter = ModelSpec("spotter", "spotter.fp16.onnx", "b" * 64, "fp16", "tensorrt", tiny_spec.input, TensorSpec("maps", (-1, 5, 6, 6), "float32"))
    write_manifest(folder, Manifest(SCHEMA, "two", LABELS, (tiny_spec, spotter), Thresholds(0.5, 0.3), manifest.golden, {}))
    assert read_bundle(folder).model("spotter", "fp16") == spotter
    assert read_bundle(folder).holds("spotter")


def test_a_bundle_of_before_there_was_a_spotter_is_read(folder: Path) -> None:
    written = json.loads((folder / MANIFEST).read_text())
    del written["thresholds"]["spotter"]
    (folder / MANIFEST).write_text(json.dumps(written))
    bundle = read_bundle(folder)
    assert bundle.manifest.thresholds.spotter is None
    assert not bundle.holds("spotter")


@pytest.mark.parametrize(("shape", "threshold"), [((-1, 5, 6, 7), 0.3), ((-1, 4, 6, 6), 0.3), ((-1, 5, 6, 6), None), ((-1, 5, 6, 6), 1.5)])
def test_a_spotter_that_does_not_fit_its_bundle_is_refused(
    folder: Path, manifest: Manifest, tiny_spec: ModelSpec, shape: tuple[int, ...], threshold: float | None
) -> None:
    spotter = ModelSpec("spotter", "spotter.fp16.onnx", "b" * 64, "fp16", "tensorrt", tiny_spec.input, TensorSpec("maps", shape, "float32"))
    write_manifest(folder, Manifest(SCHEMA, "two", LABELS, (tiny_spec, spotter), Thresholds(0.5, threshold), manifest.golden, {}))
    with pytest.raises(BundleError, match="found a fault"):
        read_bundle(folder)


def test_a_fusion_needs_a_spotter_and_finite_numbers(folder: Path, manifest: Manifest, tiny_spec: ModelSpec) -> None:
    spotter = ModelSpec("spotter", "spotter.fp16.onnx", "b" * 64, "fp16", "tensorrt", tiny_spec.input, TensorSpec("maps", (-1, 5, 6, 6), "float32"))
    fusion = Fusion(4.0, 2.0, -17.0, SecondLook(3.0, 4.0, 2.0, -10.0))
    write_manifest(folder, Manifest(SCHEMA, "two", LABELS, (tiny_spec, spotter), Thresholds(0.5, 0.3, fusion), manifest.golden, {}))
    assert read_bundle(folder).manifest.thresholds.fusion == fusion
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace("-17.0", "1e999"))
    with pytest.raises(BundleError, match="not finite"):
        read_bundle(folder)
    write_manifest(folder, Manifest(SCHEMA, "one", LABELS, (tiny_spec,), Thresholds(0.5, None, fusion), manifest.golden, {}))
    with pytest.raises(BundleError, match="a bundle without a spotter"):
        read_bundle(folder)


STRANGERS: list[Any] = [None, True, 0, -1, 10**30, 1.5, float("nan"), float("inf"), "", "x" * 200, "\ud800", [], [[]], {}, {"a": 1}, [None], "-1"]


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a JSON value."""
    if not isinstance(value, dict | list):
        return []
    here = [(value, key) for key in (value if isinstance(value, dict) else range(len(value)))]
    return here + [place for container, key in here for place in places_in(container[key])]


def test_a_manifest_changed_at_random_is_read_or_refused_with_a_bundle_error(folder: Path) -> None:
    rng, text, refused = random.Random(0), (folder / MANIFEST).read_text(), 0
    for _ in range(300):
        raw = json.loads(text)
        raw["labels"] = raw["labels"][:3]  # so that chance finds other places than labels
        raw["models"][0]["output"]["shape"] = [-1, 3]
        for _ in range(rng.randint(1, 3)):
            container, key = rng.choice(places_in(raw))
            act = rng.random()
            if act < 0.7:
                container[key] = rng.choice(STRANGERS)
            elif act < 0.85:
                del container[key]
            elif isinstance(container, dict):
                container[f"{key}x"] = container.pop(key)
        (folder / MANIFEST).write_text(json.dumps(raw))
        try:
            read_bundle(folder)
        except BundleError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017 - an error is one of two right outcomes
    assert 200 < refused < 300


def test_bytes_changed_at_random_are_read_or_refused_with_a_bundle_error(folder: Path) -> None:
    rng, content = random.Random(1), (folder / MANIFEST).read_bytes()
    for _ in range(300):
        damaged = bytearray(content[: rng.randrange(len(content))] if rng.random() < 0.2 else content)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (folder / MANIFEST).write_bytes(damaged)
        try:
            read_bundle(folder)
        except BundleError as error:
            assert "\n" not in str(error)  # noqa: PT017 - as above


def test_labels_and_texts_have_bounds(folder: Path) -> None:
    before, long = (folder / MANIFEST).read_text(), "x" * 201
    changes = (
        ({"sizes_mm": [[600]]}, "1 sizes of 43 labels"),
        ({"sizes_mm": [[1]] + [[]] * 42}, "from 10 to"),
        ({"labels": []}, "0 labels"),
        ({"labels": ["x"] * 10_001}, "10001 labels"),
        ({"labels": [long] * 43}, "200"),
        ({"name": long}, "200"),
    )
    for change, told in changes:
        (folder / MANIFEST).write_text(json.dumps(json.loads(before) | change))
        assert told in refusal(folder)


def test_a_manifest_of_many_mebibytes_is_not_read(folder: Path) -> None:
    with (folder / MANIFEST).open("r+b") as file:
        file.truncate(17 << 20)
    assert "longer than 16 MiB" in refusal(folder)


def test_labels_and_the_name_are_printable_whatever_the_file_has(folder: Path) -> None:
    change_manifest(folder, lambda raw: raw.update(name="a\nb", labels=["\ud800\x1b[31m", *raw["labels"][1:]]))
    manifest = read_bundle(folder).manifest
    assert (manifest.name, manifest.labels[0]) == ("a\\nb", "\\ud800\\x1b[31m")
