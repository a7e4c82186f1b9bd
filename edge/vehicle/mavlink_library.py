"""pymavlink, in the one file that imports it: messages of the common dialect, and logs of flights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.board.extras import install
from edge.errors import MissingDependency


def dialect(wanted_for: str) -> Any:
    """Return the module of MAVLink 2's common messages.

    Raises:
        MissingDependency: pymavlink is not installed.
    """
    try:
        from pymavlink.dialects.v20 import common
    except ImportError as error:
        raise _missing(wanted_for) from error
    return common


def telemetry_log(path: Path, kinds: tuple[str, ...]) -> Iterator[tuple[Any, float]]:
    """Yield messages of a ground station's log (.tlog) with the time at which each arrived there, seconds since 1970.

    Raises:
        MissingDependency: pymavlink is not installed.
        Exception: whatever pymavlink makes of a file that is none.
    """
    try:
        from pymavlink import mavutil
    except ImportError as error:
        raise _missing(path.name) from error
    log = mavutil.mavlogfile(str(path))
    try:
        while (message := log.recv_match(type=list(kinds))) is not None:
            yield message, float(message._timestamp)
    finally:
        log.close()


def dataflash_log(path: Path, kinds: tuple[str, ...]) -> Iterator[Any]:
    """Yield messages of an autopilot's own log (.bin).

    Raises:
        MissingDependency: pymavlink is not installed.
        Exception: whatever pymavlink makes of a file that is none.
    """
    try:
        from pymavlink import DFReader
    except ImportError as error:
        raise _missing(path.name) from error
    log = DFReader.DFReader_binary(str(path))
    try:
        while (message := log.recv_match(type=list(kinds))) is not None:
            yield message
    finally:
        log.close()


def _missing(wanted_for: str) -> MissingDependency:
    return MissingDependency(f"wanted pymavlink for {wanted_for}, found none: {install('mavlink')}")
