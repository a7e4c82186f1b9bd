"""What the engines that take an ONNX file share: its weights widened to float32, and its inputs and outputs held against the manifest."""

from __future__ import annotations

import mmap
from pathlib import Path

from edge.bundle.manifest import ModelSpec
from edge.bundle.onnx_fp32 import check_plain, widen
from edge.errors import EngineError

Held = tuple[str, str, tuple[int, ...]]
"""A tensor as a library tells it: name, dtype in the library's own word, shape with -1 where it is free."""


def check_file(path: Path) -> None:
    """Look through an ONNX file without loading it.

    Raises:
        EngineError: it is none, or not a network that runs straight through.
    """
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        check_plain(memoryview(content))
    except EngineError as refusal:
        raise EngineError(f"wanted a model for an engine in {path}; {refusal}") from refusal
    except (OSError, ValueError) as error:
        raise EngineError(f"wanted an ONNX model in {path}, cannot read it ({error}): export the bundle again") from error


def widened(path: Path) -> bytes:
    """Return an fp16 ONNX file with float32 weights.

    Raises:
        EngineError: it is no ONNX file.
    """
    return widen(path.read_bytes())


def check_graph(path: Path, spec: ModelSpec, inputs: list[Held], outputs: list[Held], types: dict[str, str]) -> None:
    """Compare a graph's tensors with what a model's spec says.

    Args:
        path: of the file, for the refusal.
        spec: of the model.
        inputs: that the graph has.
        outputs: that the graph has.
        types: the library's word for each dtype of a spec.

    Raises:
        EngineError: others than the spec's.
    """
    for held, wanted, kind in ((inputs, spec.input, "input"), (outputs, spec.output, "output")):
        if held != [(wanted.name, types[wanted.dtype], wanted.shape)]:
            raise EngineError(
                f"wanted {kind} {wanted.name} {wanted.dtype} {wanted.shape} in {path}, found {held}: the model is not of this bundle, export it again"
            )
