"""PyAV: FFmpeg's libraries in a wheel, which carries libx264 too, which is under the GPL. Only here is it imported; who uses it takes it from here."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
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


def recorded_s(path: Path) -> float | None:
    """Return when a recording was begun, as it says itself, in seconds since 1970; None where it does not say, or PyAV is not installed.

    Cameras differ in whether they mean UTC or their local time.
    """
    if not is_here():
        return None
    av = load()
    try:
        with av.open(str(path.resolve()), metadata_errors="replace") as container:
            told = datetime.fromisoformat(container.metadata.get("creation_time", "").replace("Z", "+00:00"))
    except (av.FFmpegError, OSError, ValueError):
        return None
    return (told if told.tzinfo else told.replace(tzinfo=timezone.utc)).timestamp()
