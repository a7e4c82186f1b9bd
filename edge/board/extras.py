"""The extras of the project: which packages each brings, and the command that installs them where we run.

The project is on no package index, so pip does not know its name; it knows the packages, in a checkout, in an installed wheel and in a release on a board.
"""

from __future__ import annotations

import shlex
import sys

from edge.cli import ROOT

CONSTRAINTS = ROOT / "constraints.txt"
PACKAGES: dict[str, tuple[str, ...]] = {
    "edge": ("numpy", "opencv-python-headless", "onnxruntime"),
    "openvino": ("numpy", "opencv-python-headless", "openvino"),
    "tensorrt": ("tensorrt",),
    "web": ("starlette", "uvicorn", "prometheus-client"),
    "video": ("av",),
    "mavlink": ("pymavlink", "pyserial", "anyascii"),
    "mqtt": ("paho-mqtt",),
    "survey": ("fsspec", "pyarrow", "ray"),
    "rtx": ("tensorrt-rtx",),
    "draw": ("matplotlib",),
    "train": ("numpy", "opencv-python-headless", "tensorflow", "keras", "matplotlib", "onnx", "tqdm", "supervision", "imagehash", "resvg-py"),
    "export": ("numpy", "opencv-python-headless", "tensorflow", "keras", "matplotlib", "onnx", "onnxruntime", "onnxslim", "tf2onnx", "tqdm"),
}
"""What pyproject.toml calls the same."""


def install(extra: str) -> str:
    """Return the command that installs an extra's packages into this Python, in the versions that were tested where the list of them is at hand."""
    pins = ["-c", str(CONSTRAINTS)] if CONSTRAINTS.is_file() else []
    return shlex.join([sys.executable, "-m", "pip", "install", *pins, *PACKAGES[extra]])
