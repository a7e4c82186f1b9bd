"""YOLOX-nano and -tiny with random weights: small general detectors, whose time the runtime's is compared with. They find nothing.

Z. Ge, S. Liu, F. Wang, Z. Li, J. Sun: YOLOX: Exceeding YOLO Series in 2021, arXiv:2107.08430. Both have depth 0.33 and are run at 416 x 416: nano has width
0.25 and depthwise convolutions, 0.91 M parameters and 1.08 GFLOP; tiny has width 0.375, 5.06 M and 6.45 GFLOP. Batch norm is folded, as in every exported
detector, so a convolution has a bias.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = 416
STRIDES = (8, 16, 32)
CLASSES = 80
INPUT, OUTPUT = "images", "predictions"
_OPSET, _IR = 19, 9
STEMS = {"nano": 16, "tiny": 24}
"""Channels of the first convolution; all others are multiples of it."""
_PRIOR = -4.6  # log(0.01 / 0.99), the prior of YOLOX's heads


def build(name: str, seed: int = 0) -> onnx.ModelProto:
    """Return one of `STEMS`: float32 (1, 3, 416, 416) in, float32 (1, 3549, 85) out (box offsets and log sizes, objectness, classes)."""
    graph = _Graph(STEMS[name], name == "nano", seed)
    levels = _neck(graph, *_backbone(graph, INPUT))
    rows = [_head(graph, level) for level in levels]
    graph.node("Concat", rows, OUTPUT, axis=1)
    cells = sum((SIZE // stride) ** 2 for stride in STRIDES)
    made = helper.make_graph(
        graph.nodes,
        f"yolox_{name}",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, (1, 3, SIZE, SIZE))],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, (1, cells, 5 + CLASSES))],
        graph.weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.checker.check_model(model, full_check=True)
    return model


def count_flop(model: onnx.ModelProto) -> int:
    """Return a model's operations for one image, two for each multiplication of a convolution."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    pixels = {value.name: int(np.prod([side.dim_value for side in value.type.tensor_type.shape.dim[2:]])) for value in inferred.value_info}
    held = {weight.name: int(np.prod(weight.dims)) for weight in inferred.initializer}
    return 2 * sum(held[node.input[1]] * pixels[node.output[0]] for node in inferred.node if node.op_type == "Conv")


def count_parameters(model: onnx.ModelProto) -> int:
    """Return how many weights and biases a model's convolutions have."""
    held = {weight.name: int(np.prod(weight.dims)) for weight in model.graph.initializer}
    return sum(held[name] for node in model.graph.node if node.op_type == "Conv" for name in node.input[1:])


@functools.cache
def grid() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return each prediction's cell, (3549, 2) x and y in cells, and its stride, (3549, 1) in pixels."""
    cells, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[: SIZE // stride, : SIZE // stride]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((cells[-1].shape[0], 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decode(predictions: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Turn (3549, 85) predictions into boxes (n, 4) x1 y1 x2 y2 in the network's pixels, scores (n,) and classes (n,), as YOLOX's own demo does before NMS."""
    cells, strides = grid()
    centres, sizes = (predictions[:, :2] + cells) * strides, np.exp(predictions[:, 2:4]) * strides
    scores = predictions[:, 4:5] * predictions[:, 5:]
    classes = scores.argmax(axis=1)
    return np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1), scores[np.arange(len(scores)), classes], classes


class _Graph:
    """Nodes and random weights in the making."""

    def __init__(self, unit: int, light: bool, seed: int) -> None:
        self.unit = unit
        self._light = light
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._chance = np.random.default_rng(seed)

    def node(self, kind: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        name = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def constant(self, value: NDArray[np.generic]) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def conv(self, data: str, wide: int, out: int, kernel: int, stride: int = 1, groups: int = 1, *, active: bool = True) -> str:
        """Convolve, with SiLU behind it; what predicts starts at a score of next to nothing, as YOLOX's own does, so that nothing passes for a find."""
        spread, bias = (np.sqrt(2 / (wide // groups * kernel * kernel)), 0.0) if active else (0.01, _PRIOR)
        weight = self._chance.normal(0, spread, (out, wide // groups, kernel, kernel)).astype(np.float32)
        inputs = [data, self.constant(weight), self.constant(np.full(out, bias, np.float32))]
        done = self.node("Conv", inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)
        return self.node("Mul", [done, self.node("Sigmoid", [done])]) if active else done

    def wide_conv(self, data: str, wide: int, out: int, stride: int = 1) -> str:
        """Convolve by 3 x 3; in the light network by channel, and then across them."""
        if not self._light:
            return self.conv(data, wide, out, 3, stride)
        return self.conv(self.conv(data, wide, wide, 3, stride, groups=wide), wide, out, 1)

    def cross_stage(self, data: str, wide: int, out: int, depth: int, *, shortcut: bool) -> str:
        """CSPLayer: half of the channels go through bottlenecks."""
        half = out // 2
        deep, plain = self.conv(data, wide, half, 1), self.conv(data, wide, half, 1)
        for _ in range(depth):
            done = self.wide_conv(self.conv(deep, half, half, 1), half, half)
            deep = self.node("Add", [done, deep]) if shortcut else done
        return self.conv(self.node("Concat", [deep, plain], axis=1), out, out, 1)

    def pooled(self, data: str, wide: int) -> str:
        """Spatial pyramid pooling."""
        narrow = self.conv(data, wide, wide // 2, 1)
        pools = [self.node("MaxPool", [narrow], kernel_shape=[side] * 2, strides=[1, 1], pads=[side // 2] * 4) for side in (5, 9, 13)]
        return self.conv(self.node("Concat", [narrow, *pools], axis=1), wide * 2, wide, 1)

    def doubled(self, data: str) -> str:
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        return self.node("Resize", [data, "", scales], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")

    def focus(self, data: str) -> str:
        """Four pixels of a square to four times the channels, from 0 to 1: trained weights do without that, random ones would overflow."""
        axes, step, end = (self.constant(np.array(pair, np.int64)) for pair in ((2, 3), (2, 2), (SIZE, SIZE)))
        starts = ((0, 0), (1, 0), (0, 1), (1, 1))
        parts = [self.node("Slice", [data, self.constant(np.array(start, np.int64)), end, axes, step]) for start in starts]
        return self.node("Mul", [self.node("Concat", parts, axis=1), self.constant(np.array(1 / 255, np.float32))])


def _backbone(graph: _Graph, image: str) -> tuple[str, str, str]:
    """CSPDarknet: features at strides 8 (4 units of channels), 16 (8) and 32 (16)."""
    wide = graph.unit
    levels: list[str] = []
    data = graph.conv(graph.focus(image), 12, wide, 3)
    for depth in (1, 3, 3, 1):
        out, last = wide * 2, len(levels) == len(STRIDES)
        data = graph.wide_conv(data, wide, out, stride=2)
        data = graph.cross_stage(graph.pooled(data, out) if last else data, out, out, depth, shortcut=not last)
        wide = out
        levels.append(data)
    return levels[1], levels[2], levels[3]


def _neck(graph: _Graph, fine: str, middle: str, coarse: str) -> tuple[tuple[str, int], ...]:
    """PAFPN: coarse features back to the fine ones, and forth again; each level with its channels."""
    few, some, many = (graph.unit * times for times in (4, 8, 16))
    lateral = graph.conv(coarse, many, some, 1)
    joined = graph.cross_stage(graph.node("Concat", [graph.doubled(lateral), middle], axis=1), many, some, 1, shortcut=False)
    reduced = graph.conv(joined, some, few, 1)
    finest = graph.cross_stage(graph.node("Concat", [graph.doubled(reduced), fine], axis=1), some, few, 1, shortcut=False)
    down = graph.wide_conv(finest, few, few, stride=2)
    between = graph.cross_stage(graph.node("Concat", [down, reduced], axis=1), some, some, 1, shortcut=False)
    down = graph.wide_conv(between, some, some, stride=2)
    coarsest = graph.cross_stage(graph.node("Concat", [down, lateral], axis=1), many, many, 1, shortcut=False)
    return (finest, few), (between, some), (coarsest, many)


def _head(graph: _Graph, level: tuple[str, int]) -> str:
    """The decoupled head of a level: (1, cells, 85)."""
    wide = graph.unit * 4
    stem = graph.conv(*level, wide, 1)
    named, boxed = (graph.wide_conv(graph.wide_conv(stem, wide, wide), wide, wide) for _ in range(2))
    classes = graph.node("Sigmoid", [graph.conv(named, wide, CLASSES, 1, active=False)])
    boxes = graph.conv(boxed, wide, 4, 1, active=False)
    objectness = graph.node("Sigmoid", [graph.conv(boxed, wide, 1, 1, active=False)])
    joined = graph.node("Concat", [boxes, objectness, classes], axis=1)
    flat = graph.node("Reshape", [joined, graph.constant(np.array([1, 5 + CLASSES, -1], np.int64))])
    return graph.node("Transpose", [flat], perm=[0, 2, 1])
