"""Signwing's edge runtime: camera frames in, named traffic signs out. Needs numpy and OpenCV; everything else is optional.

    from edge import Recognizer

    with Recognizer() as recognizer:
        for sign in recognizer.recognize("street.jpg"):
            print(sign.label, sign.confidence, sign.box_xyxy)
        for event in recognizer.follow("rtsp://10.0.0.5/stream"):
            print(event.kind, event.label, event.time, event.where)

`edge/api/README.md` has more. What stands in `__all__` is all that programs may rely on; `__init__.pyi` gives it its types.
"""

from importlib import import_module

__version__ = "0.1.0"

# Loaded when they are asked for: a part of the runtime that needs none of them, such as what builds engines, must not load OpenCV.
_HOMES = {
    "Event": "edge.api.results",
    "Pose": "edge.geometry.pose",
    "Recognizer": "edge.api.recognizer",
    "Sign": "edge.api.results",
    "Signs": "edge.api.results",
    **dict.fromkeys(
        (
            *("BundleError", "DataError", "EngineError", "InputError", "MachineError", "MissingDependency", "OutputError", "SignwingError", "SourceError"),
            "VerificationError",
        ),
        "edge.errors",
    ),
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - the names are keys above


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'edge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
