"""A tiny bundle, untrained, that names twelve foreign signs: what all that takes a bundle must take, too."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from commands import rehash_golden, rewrite
from foreign_signs import NAMES

from edge.bundle.manifest import Thresholds, read_bundle
from edge.files import sha256_of


def narrowed(tiny_bundle: Path, folder: Path) -> Path:
    """Copy the tiny bundle of GTSRB's classes, and keep of its last layer what twelve classes need; it refuses no crop."""
    import onnx

    bundle, count = Path(shutil.copytree(tiny_bundle, folder)), len(NAMES)
    for path in bundle.glob("*.onnx"):
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            if tensor.name.startswith("dense_"):
                tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)[..., :count].copy(), tensor.name))
        for value in (*model.graph.output, *model.graph.value_info):
            value.type.tensor_type.shape.dim[1].dim_value = count
        onnx.save(model, path)
    with np.load(bundle / "golden.npz") as golden:
        arrays: dict[str, Any] = dict(golden)
    kept = arrays["probabilities"][:, :count]
    np.savez(bundle / "golden.npz", **{**arrays, "probabilities": kept / kept.sum(axis=1, keepdims=True)})
    models = read_bundle(tiny_bundle).manifest.models
    models = tuple(replace(model, sha256=sha256_of(bundle / model.file), output=replace(model.output, shape=(-1, count))) for model in models)
    numbers, sizes_mm = ("W 1", *[""] * (count - 1)), ((600.0, 900.0), *[()] * (count - 1))
    rewrite(bundle, name="own-12", labels=NAMES, numbers=numbers, sizes_mm=sizes_mm, models=models, thresholds=Thresholds(0.0))
    rehash_golden(bundle)
    return bundle
