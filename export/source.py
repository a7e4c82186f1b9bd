"""What a bundle is made from: a run of train, or another bundle, whose fp16 artefact lost nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import MANIFEST, read_bundle
from edge.datasets.classes import Classes, classes_of, classes_of_bundle
from edge.errors import InputError, one_line
from export.artefacts import ROLE, spec_of
from export.graphs.lint import check_graph
from export.judging.fewshot import KEYS as FEWSHOT_KEYS
from export.judging.fewshot import RECIPE as FEWSHOT
from export.judging.verify import Infer

MODEL = "model.keras"
RUN = "run.json"
KEPT_KEYS = ("recipe", "weights", "photos", "metrics", "lineage")
FORMER, TAUGHT_BY = "former", "taught_by"
RECIPE_KEYS = ("valid_share", "seed", "label_smoothing")


@dataclass(frozen=True)
class Source:
    """A trained classifier.

    Attributes:
        fp16: bytes of its ONNX model in float16.
        size: side of its square input, pixels.
        train: training's record: `recipe`, `weights`, `photos`, `metrics`, `lineage`; where it started from another run's model, `former` with that
            one's `recipe`, `weights` and `photos`; where a teacher helped, `taught_by` with its bundle's `name` and its model's `sha256`; `fewshot` as
            `export.judging.fewshot` reads it, where it was given.
        keras: the model before conversion, as a function from crops to probabilities; None where the source is a bundle.
        classes: that it names.
    """

    fp16: bytes
    size: int
    train: dict[str, Any]
    keras: Infer | None
    classes: Classes


def read_source(path: Path) -> Source:
    """Read a run folder or a bundle.

    Raises:
        InputError: neither, an unfinished run, a training's record with a fault, or a model with another input or output.
        BundleError: a damaged bundle, or one whose fp16 model is not of export's making.
        VerificationError: weights that are not exact in float16.
    """
    path = Path(path)
    if (path / MANIFEST).is_file():
        return _from_bundle(path)
    missing = [name for name in (RUN, MODEL) if not (path / name).is_file()]
    if missing:
        cure = "finish the training with python -m train fit --resume" if len(missing) == 1 else "give the folder that python -m train fit wrote"
        raise InputError(f"wanted a run ({RUN} and {MODEL}) or a bundle ({MANIFEST}) in {path}, found no {' and no '.join(missing)}: {cure}")
    return _from_run(path)


def _from_bundle(path: Path) -> Source:
    bundle = read_bundle(path)
    spec = bundle.model(ROLE, "fp16")
    train = _training(bundle.manifest.lineage.get("train"), path / MANIFEST)
    classes = classes_of_bundle(bundle.manifest)
    file, size = bundle.verified_path(spec.file, spec.sha256), spec.input.shape[1]
    content = file.read_bytes()
    check_graph(content, spec_of("fp16", size, len(classes)), str(file))  # before anything runs it: a bundle may be anybody's
    return Source(content, size, train, None, classes)


def _from_run(path: Path) -> Source:
    try:
        run = json.loads((path / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"wanted JSON in {path / RUN}, cannot read it ({error}): train again, or give another run") from error
    train, classes = _training(run, path / RUN), classes_of(run.get("classes", {}))
    import keras

    from export.graphs.to_fp16 import to_fp16
    from export.graphs.to_onnx import to_onnx

    try:
        network = keras.models.load_model(path / MODEL, compile=False)
    except Exception as error:  # Keras raises a different class for each of archive, layer and configuration
        raise InputError(f"wanted a Keras model in {path / MODEL}, Keras refused: {one_line(error)}: train again") from error
    _check(network, path / MODEL, len(classes))

    def infer(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(network(crops, training=False), np.float32)

    return Source(to_fp16(to_onnx(network)).SerializeToString(deterministic=True), network.input_shape[1], train, infer, classes)


def _training(record: Any, where: Path) -> dict[str, Any]:
    """Take what a bundle keeps of a training's record: no local path, and figures by class only in the model card, measured on what is shipped."""
    try:
        kept = {key: record[key] for key in KEPT_KEYS}
        lacking = [key for key in RECIPE_KEYS if key not in record["recipe"]]
        if lacking:
            raise KeyError(*lacking)
        kept["weights"] = Path(record["weights"]).name
        if TAUGHT_BY in record:
            kept[TAUGHT_BY] = {key: record[TAUGHT_BY][key] for key in ("name", "sha256")}
        if FORMER in record:
            kept[FORMER] = _former(record[FORMER])
        if FEWSHOT in record:
            kept[FEWSHOT] = [{key: row[key] for key in FEWSHOT_KEYS} for row in record[FEWSHOT]]
        kept["metrics"] = {split: _kept_figures(figures) for split, figures in record["metrics"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"wanted the record of a training in {where}, found a fault ({error!r}): train again, or give another source") from error
    return kept


def _former(record: dict[str, Any]) -> dict[str, Any]:
    kept = {**record, "weights": Path(record["weights"]).name}
    return {**kept, FORMER: _former(record[FORMER])} if FORMER in record else kept


def _kept_figures(figures: dict[str, Any]) -> dict[str, Any]:
    known = {"n": figures["n"], "top1": figures["top1"]}
    return {**known, "calibration": figures["calibration"]} if "calibration" in figures else known


def _check(network: Any, path: Path, classes: int) -> None:
    """Refuse a network that is not a classifier of so many signs on square uint8 crops."""
    found = [(tensor.dtype, tuple(tensor.shape)) for tensor in (*network.inputs, *network.outputs)]
    size = found[0][1][1] if len(found[0][1]) == 4 else None
    wanted = [("uint8", (None, size, size, 3)), ("float32", (None, classes))]
    if size is None or found != wanted:
        raise InputError(
            f"wanted a model from uint8 (batch, size, size, 3) to float32 (batch, {classes}) in {path}, found {found}: give a run of python -m train fit"
        )
