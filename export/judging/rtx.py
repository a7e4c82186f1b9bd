"""NVIDIA's own verdict on a desk without a GPU: TensorRT-RTX parses a graph and builds it, strongly typed, for an Ampere GPU.

It is not the board's TensorRT: it knows no Orin (compute capability 8.7), so the nearest, 8.6, stands in. What its parser refuses, the board's refuses too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.board.extras import install
from edge.bundle.manifest import ModelSpec
from edge.errors import EngineError, MissingDependency
from export.engines.build import Settings, build_plan


def build_with_rtx(onnx: Path, spec: ModelSpec) -> int:
    """Parse and build a model; returns the size of the engine in bytes, which nothing here can run.

    Raises:
        MissingDependency: tensorrt-rtx is not installed.
        EngineError: NVIDIA's parser or builder refuses the graph, with its own words.
    """
    try:
        import tensorrt_rtx as rtx
    except ImportError as error:
        raise MissingDependency(f"wanted NVIDIA's tensorrt-rtx to judge the graphs, found none: {install('rtx')}") from error

    def without_gpu(config: Any) -> None:
        config.num_compute_capabilities = 1
        if not config.set_compute_capability(rtx.ComputeCapability.SM86, 0):
            raise EngineError(f"wanted tensorrt-rtx {rtx.__version__} to build for compute capability 8.6, it refused: install another release of it")

    return len(build_plan(rtx, onnx, spec, Settings(), configure=without_gpu))
