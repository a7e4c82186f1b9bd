"""PyAV: FFmpeg's libraries in a wheel, which carries libx264 too, which is under the GPL. Only here is it imported; who uses it takes it from here."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any


def is_here() -> bool:
    """Tell whether PyAV is installed."""
    return find_spec("av") is not None


def load() -> Any:
    """Return the module `av`, imported as late as this since it takes a tenth of a second and 20 MiB.

    Raises:
        ImportError: it is not installed.
    """
    import av

    return av
