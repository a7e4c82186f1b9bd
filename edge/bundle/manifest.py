"""The bundle: a folder with `manifest.json` and the model files it names. The only thing that passes from stage to stage.

The manifest is checked field by field as it is read; a model's bytes are checked against its sha256 before anything loads them.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge.bundle.fusion import Fusion
from edge.bundle.records import check_sha256, read_record
from edge.errors import BundleError
from edge.files import sha256_of, write_json
from edge.outside.text import printable

SCHEMA = 1
MANIFEST = "manifest.json"
PLANES, STRIDE = 5, 4
"""Of a spotter's map: see `edge.recognition.heatmap.decode`; pixels a cell."""
SHIPPED = Path(__file__).resolve().parents[1] / "models"

_LONGEST_SIDE = 1 << 16
_MOST_BYTES = 2 << 30
_MOST_LABELS, _LONGEST_TEXT = 10_000, 200
_WIDTHS_MM = 10.0, 20_000.0
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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
    """The self-test: drawn inputs and the outputs to expect.

    Attributes:
        file: name inside the bundle.
        sha256: of the file, hexadecimal.
        tolerance: largest absolute difference allowed, by `tolerance_key`.
    """

    file: str
    sha256: str
    tolerance: dict[str, float]


@dataclass(frozen=True)
class Faces:
    """Pictures of the faces of own signs, as `edge.datasets.faces` packs them.

    Attributes:
        file: name inside the bundle.
        sha256: of the file, hexadecimal.
    """

    file: str
    sha256: str


def tolerance_key(role: str, precision: str) -> str:
    """Return how `Golden.tolerance` calls a model in a precision: a classifier's by the precision alone, "int8", others as "spotter.int8"."""
    return precision if role == "classifier" else f"{role}.{precision}"


@dataclass(frozen=True)
class Thresholds:
    """What the runtime accepts.

    Attributes:
        confidence: the classifier's probability, 0 to 1, below which a crop is no sign.
        spotter: the learned spotter's score, 0 to 1, from which it proposes a box; None where the bundle has none.
        fusion: what decides, instead of `confidence`, on boxes that the learned spotter proposed; None: `confidence` does.
    """

    confidence: float
    spotter: float | None = None
    fusion: Fusion | None = None


@dataclass(frozen=True)
class Manifest:
    """A bundle's contents; `lineage` holds a record for each stage that made it. Name and labels are on one line each, whatever the file has.

    Attributes:
        numbers: the signs' own, by class id, "" where one has none; empty where none has.
        sizes_mm: the widths in which each class's signs are made, none for a class of which nothing is known; empty where nothing is told at all.
        faces: what own signs look like; None where the bundle brings no pictures.
    """

    schema: int
    name: str
    labels: tuple[str, ...]
    models: tuple[ModelSpec, ...]
    thresholds: Thresholds
    golden: Golden
    lineage: dict[str, Any]
    numbers: tuple[str, ...] = ()
    sizes_mm: tuple[tuple[float, ...], ...] = ()
    faces: Faces | None = None

    @property
    def files(self) -> tuple[ModelSpec | Golden | Faces, ...]:
        """What it names by hash: all that belongs to the bundle and is read."""
        return (self.golden, *self.models, *([self.faces] if self.faces else []))


@dataclass(frozen=True)
class Bundle:
    """A manifest and the folder it stands in."""

    folder: Path
    manifest: Manifest

    def holds(self, role: str) -> bool:
        """Tell whether there is any model of a role."""
        return any(model.role == role for model in self.manifest.models)

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
        if path.stat().st_size > _MOST_BYTES:
            raise BundleError(f"wanted {path} of at most {_MOST_BYTES >> 30} GiB, as ONNX has it, found {path.stat().st_size >> 20} MiB: copy it again")
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
    found = read_record(Manifest, path, SCHEMA, what="manifest", cure="export the bundle again", check=_check)
    return Bundle(folder, replace(found, name=printable(found.name), labels=tuple(map(printable, found.labels)), numbers=tuple(map(printable, found.numbers))))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` into a bundle's folder.

    Raises:
        OutputError: the folder cannot be written.
    """
    write_json(Path(folder) / MANIFEST, asdict(manifest))


def _check(manifest: Manifest) -> None:
    if not 1 <= len(manifest.labels) <= _MOST_LABELS:
        raise ValueError(f"there are {len(manifest.labels)} labels, not 1 to {_MOST_LABELS}")
    if not {len(manifest.numbers), len(manifest.sizes_mm)} <= {0, len(manifest.labels)}:
        raise ValueError(f"there are {len(manifest.numbers)} numbers and {len(manifest.sizes_mm)} sizes of {len(manifest.labels)} labels")
    if not all(_WIDTHS_MM[0] <= width <= _WIDTHS_MM[1] for widths in manifest.sizes_mm for width in widths):
        raise ValueError(f"sizes_mm are not all from {_WIDTHS_MM[0]:g} to {_WIDTHS_MM[1]:g}")
    if any(len(text) > _LONGEST_TEXT for text in (manifest.name, *manifest.labels, *manifest.numbers)):
        raise ValueError(f"the name, a label or a number is longer than {_LONGEST_TEXT} characters")
    if not 0.0 <= manifest.thresholds.confidence <= 1.0:
        raise ValueError(f"threshold confidence {manifest.thresholds.confidence} is not within 0 to 1")
    spotter, held = manifest.thresholds.spotter, any(model.role == "spotter" for model in manifest.models)
    if (spotter is not None) != held or not 0.0 <= (spotter or 0.0) <= 1.0:
        raise ValueError(f"threshold spotter {spotter} does not fit {'a spotter, whose score is from 0 to 1' if held else 'a bundle without one'}")
    fusion = manifest.thresholds.fusion
    if fusion is not None and not (held and fusion.is_finite()):
        raise ValueError(f"fusion {fusion} does not fit {'a spotter: its numbers are not finite' if held else 'a bundle without a spotter'}")
    if not all(0.0 <= limit < math.inf for limit in manifest.golden.tolerance.values()):
        raise ValueError(f"golden tolerances {manifest.golden.tolerance} are not all 0 and more")
    for model in manifest.models:
        _check_model(model, len(manifest.labels))
    for part in manifest.files:
        _check_file(part.file, part.sha256)


def _check_file(name: str, sha256: str) -> None:
    if not _PLAIN_NAME.fullmatch(name):
        raise ValueError(f"file {name!r} is not a plain name inside the bundle")
    check_sha256(sha256, name)


def _check_model(model: ModelSpec, labels: int) -> None:
    for tensor in (model.input, model.output):
        if len(tensor.shape) < 2 or tensor.shape[0] != -1 or not all(1 <= side <= _LONGEST_SIDE for side in tensor.shape[1:]):
            raise ValueError(f"shape {tensor.shape} of {tensor.name} is not a batch (-1) and sides of 1 to {_LONGEST_SIDE}")
    if model.input.dtype != "uint8" or len(model.input.shape) != 4 or model.input.shape[3] != 3:
        raise ValueError(f"input of {model.file} is {model.input}, not uint8 NHWC with 3 channels")
    if model.output.dtype != "float32":
        raise ValueError(f"output of {model.file} is {model.output.dtype}, not float32")
    if model.role == "spotter":
        _check_maps(model)
    if model.role == "classifier" and model.output.shape != (-1, labels):
        raise ValueError(f"output of {model.file} is {model.output.shape}, not a probability for each of {labels} labels")


def _check_maps(model: ModelSpec) -> None:
    _, height, width, _ = model.input.shape
    if height % STRIDE or width % STRIDE or model.output.shape != (-1, PLANES, height // STRIDE, width // STRIDE):
        raise ValueError(f"output of {model.file} is {model.output.shape}, not {PLANES} planes of a {STRIDE}th of its frames' {height} x {width}")
