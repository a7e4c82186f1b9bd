"""What the page, MAVLink and MQTT need of a machine: their packages, and on a Jetson a serial port that no console holds."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from edge.board.extras import install

PACKAGES = {"web": ("starlette", "uvicorn", "prometheus_client"), "mavlink": ("pymavlink", "serial", "anyascii"), "mqtt": ("paho",)}
"""What each extra brings, by the names they are imported by."""
NAMES = {"web": "page", "mavlink": "MAVLink", "mqtt": "MQTT"}

# The login console that L4T starts on a serial port of the 40-pin header.
_CONSOLE = "nvgetty.service"


def lacking() -> dict[str, tuple[str, ...]]:
    """Return of each extra the packages that are not installed."""
    return {extra: tuple(name for name in names if find_spec(name) is None) for extra, names in PACKAGES.items()}


def shown(absent: dict[str, tuple[str, ...]]) -> str:
    """Tell which outputs there are besides files, and which extras bring the others."""
    there = [NAMES[extra] for extra, names in absent.items() if not names]
    others = [extra for extra, names in absent.items() if names]
    return ", ".join([*there, *([f"without the extra{'s' * (len(others) > 1)} {' and '.join(others)}"] if others else [])])


def halves(absent: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Return what is wrong with extras that are there in part, each with its cure."""
    return [
        (f"the extra {extra} is there in part, without {', '.join(names)}", install(extra))
        for extra, names in absent.items()
        if 0 < len(names) < len(PACKAGES[extra])
    ]


def has_serial_console(root: Path) -> bool:
    """Tell whether L4T's login console, which speaks on a serial port that an autopilot may be wired to, starts with the machine."""
    return any(wanted.name == _CONSOLE for wanted in root.glob("etc/systemd/system/*.wants/*"))
