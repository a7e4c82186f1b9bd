"""The bundle: a folder with `manifest.json` and the model files it names. The only thing that passes from stage to stage.

The manifest is checked field by field as it is read; a model's bytes are checked against its sha256 before anything loads them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from edge.errors import BundleError
from edge.files import sha256_of, write_json

SCHEMA = 1
MANIFEST = "manifest.json"
SHIPPED = Path(__file__).resolve().parent / "models"
DTYPES = ("uint8", "float32")

T = TypeVar("T")


@dataclass(frozen=True)
class TensorSpec:
    """A tensor as a model names it; -1 in `shape` is the batch. `dtype` is uint8 or float32."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class ModelSpec:
    """One model file of a bundle.

    Attributes:
        role: "classifier" or "spotter".
        file: name inside the bundle, no folders.
        sha256: of the file, hexadecimal.
        precision: "fp16", "int8" or "int8-cpu".
        target: the engine it is made for, "tensorrt" or "onnxruntime".
        input: uint8 BGR images, NHWC.
        output: what `Engine.infer` returns, float32.
    """

    role: str
    file: str
    sha256: str
    precision: str
    target: str
    input: TensorSpec
    output: TensorSpec


@dataclass(frozen=True)
class Golden:
    """The self-test: drawn inputs and the outputs to expect, largest absolute difference allowed by precision."""

    file: str
    sha256: str
    tolerance: dict[str, float]


@dataclass(frozen=True)
class Thresholds:
    """What the runtime accepts: `confidence` is the probability, 0 to 1, below which a crop is no sign."""

    confidence: float


@dataclass(frozen=True)
class Manifest:
    """A bundle's contents; `lineage` holds a record for each stage that made it."""

    schema: int
    name: str
    labels: tuple[str, ...]
    models: tuple[ModelSpec, ...]
    thresholds: Thresholds
    golden: Golden
    lineage: dict[str, Any]


@dataclass(frozen=True)
class Bundle:
    """A manifest and the folder it stands in."""

    folder: Path
    manifest: Manifest

    def model(self, role: str, precision: str) -> ModelSpec:
        """Return the model of a role and precision.

        Raises:
            BundleError: the bundle has no such model.
        """
        of_role = [model for model in self.manifest.models if model.role == role]
        for model in of_role:
            if model.precision == precision:
                return model
        held = ", ".join(model.precision for model in of_role) or "none"
        raise BundleError(f"wanted a {role} in {precision}, {self.folder} holds {held}: choose another --precision or export the bundle again")

    def verified_path(self, file: str, sha256: str) -> Path:
        """Return the path of a file of the bundle after comparing its hash.

        Raises:
            BundleError: the file is missing, or its bytes are not those that were exported.
        """
        path = self.folder / file
        if not path.is_file():
            raise BundleError(f"wanted {file} in the bundle {self.folder}, found no such file: copy the bundle again, whole")
        found = sha256_of(path)
        if found != sha256:
            raise BundleError(f"wanted {path} with sha256 {sha256[:12]}..., found {found[:12]}...: the file is damaged or of another bundle, copy it again")
        return path


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle's manifest; the models' bytes are checked when they are loaded.

    Raises:
        BundleError: no manifest, a newer schema, or a field that is missing, unknown or of another type.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"wanted a bundle (a folder with {MANIFEST}), found none in {folder}: make one with `python -m export bundle`")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"wanted JSON in {path}, cannot read it ({error}): copy the bundle again") from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA:
        cure = "update signwing" if isinstance(schema, int) and schema > SCHEMA else "export the bundle again"
        raise BundleError(f"wanted a manifest of schema {SCHEMA} in {path}, found {schema!r}: {cure}")
    try:
        return Bundle(folder, _manifest(raw))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"wanted a complete manifest in {path}, found a fault ({error}): export the bundle again") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` into a bundle's folder.

    Raises:
        OutputError: the folder cannot be written.
    """
    write_json(Path(folder) / MANIFEST, asdict(manifest))


def _manifest(raw: dict[str, Any]) -> Manifest:
    models = tuple(_model(model) for model in _typed(raw, "models", list))
    labels = tuple(str(label) for label in _typed(raw, "labels", list))
    thresholds = _strict(Thresholds, _typed(raw, "thresholds", dict))
    if not 0.0 <= float(thresholds.confidence) <= 1.0:
        raise ValueError(f"threshold confidence {thresholds.confidence} is not within 0 to 1")
    golden = _strict(Golden, _typed(raw, "golden", dict))
    _check_name(golden.file)
    whole = {**raw, "models": models, "labels": labels, "thresholds": thresholds, "golden": golden}
    return _strict(Manifest, whole)


def _model(raw: dict[str, Any]) -> ModelSpec:
    model = _strict(ModelSpec, {**raw, "input": _tensor(raw["input"]), "output": _tensor(raw["output"])})
    _check_name(model.file)
    if model.input.dtype != "uint8" or len(model.input.shape) != 4 or model.input.shape[3] != 3:
        raise ValueError(f"input of {model.file} is {model.input}, not uint8 NHWC with 3 channels")
    return model


def _tensor(raw: dict[str, Any]) -> TensorSpec:
    spec = _strict(TensorSpec, {**raw, "shape": tuple(int(side) for side in raw["shape"])})
    if spec.dtype not in DTYPES:
        raise ValueError(f"dtype {spec.dtype!r} of {spec.name} is none of {', '.join(DTYPES)}")
    return spec


def _strict(kind: type[T], raw: dict[str, Any]) -> T:
    wanted = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if set(raw) != wanted:
        raise ValueError(f"{kind.__name__} lacks {sorted(wanted - set(raw))} and has unknown {sorted(set(raw) - wanted)}")
    return kind(**raw)


def _typed(raw: dict[str, Any], key: str, kind: type[T]) -> T:
    value = raw[key]
    if not isinstance(value, kind):
        raise TypeError(f"{key} is {type(value).__name__}, not {kind.__name__}")
    return value


def _check_name(file: str) -> None:
    if Path(file).name != file or file in ("", ".", ".."):
        raise ValueError(f"file {file!r} is not a plain name inside the bundle")
