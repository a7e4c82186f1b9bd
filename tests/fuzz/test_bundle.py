"""Files of a bundle: whatever stands in them, they are read or refused as a bundle's, in one line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import JSON, changed_json, mutated, refused_in_one_line

from edge.bundle.golden import read_golden
from edge.bundle.manifest import MANIFEST, SCHEMA, Bundle, Golden, Manifest, ModelSpec, Thresholds, read_bundle
from edge.bundle.onnx_fp32 import check_plain, widen
from edge.datasets.gtsrb import LABELS
from edge.errors import BundleError, EngineError
from edge.files import sha256_of


def manifest(spec: ModelSpec, golden: Golden) -> Manifest:
    return Manifest(SCHEMA, "test", LABELS, (spec,), Thresholds(0.5), golden, {})


@given(data=st.data())
def test_any_manifest_is_read_or_refused(tmp_path: Path, tiny_spec: ModelSpec, data: st.DataObject) -> None:
    right = json.loads(json.dumps(asdict(manifest(tiny_spec, Golden("golden.npz", "a" * 64, {"fp16": 0.01})))))
    text = json.dumps(data.draw(changed_json(right) | JSON)).encode()
    (tmp_path / MANIFEST).write_bytes(data.draw(st.just(text) | mutated(text)))
    with refused_in_one_line(BundleError):
        [label.encode() for label in read_bundle(tmp_path).manifest.labels]


def saved(save: Callable[..., None], **arrays: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


CROPS, NAMED = np.zeros((2, 24, 24, 3), np.uint8), np.zeros((2, 43), np.float32)
NPZ = [
    saved(np.savez, images=CROPS, probabilities=NAMED),
    saved(np.savez_compressed, images=CROPS, probabilities=NAMED),
    saved(np.savez, images=CROPS, probabilities=np.array(["a", "b"])),
    saved(np.savez, images=np.array(7), probabilities=NAMED),
    b"",
    b"PK\x05\x06" + b"\0" * 18,
    saved(lambda file, **arrays: np.save(file, arrays["images"]), images=CROPS),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(content=mutated(*NPZ))
def test_any_golden_file_is_read_or_refused(tmp_path: Path, tiny_spec: ModelSpec, content: bytes) -> None:
    (tmp_path / "golden.npz").write_bytes(content)
    golden = Golden("golden.npz", sha256_of(tmp_path / "golden.npz"), {"fp16": 0.01})
    with refused_in_one_line(BundleError):
        read_golden(Bundle(tmp_path, manifest(tiny_spec, golden)), "classifier")


@given(data=st.data())
def test_any_model_is_looked_through_or_refused(tiny_models: dict[str, bytes], data: st.DataObject) -> None:
    content = data.draw(mutated(*tiny_models.values()) | st.binary(max_size=200))
    with refused_in_one_line(EngineError):
        check_plain(content)
    with refused_in_one_line(EngineError):
        widen(content)
