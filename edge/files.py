"""Writing that leaves the old file or the new one, never half of either."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edge.errors import OutputError, SignwingError


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a partial name beside `path` to write to; renamed to `path` on success, removed on any failure.

    The partial name keeps the suffix, since writers of video and models choose their format by it.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    path = Path(path)
    beside = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        with telling_refusal(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            beside.replace(path)
    finally:
        with suppress(OSError):  # renamed by now, or never made
            beside.unlink()


@contextmanager
def telling_refusal(path: Path) -> Iterator[None]:
    """Turn what the system says against writing `path`, a file or a folder, into an error for people.

    Raises:
        OutputError: an OSError within the block.
    """
    try:
        yield
    except SignwingError:  # some are OSErrors too, and say better what is wrong
        raise
    except OSError as error:
        raise refused(path, error) from error


def check_place(path: Path) -> None:
    """Refuse a file that cannot be written, before any work is done for it.

    Raises:
        OutputError: the folder cannot be made or written, or a folder stands there already.
    """
    with telling_refusal(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    if path.is_dir():
        raise OutputError(f"wanted to write {path}, found a folder of that name: choose another name")


def refused(path: Path, error: OSError) -> OutputError:
    """Return the error that tells of a file that the system does not let us write."""
    return OutputError(f"wanted to write {path}, the system refused: {error.strerror or error}: choose another place or free it")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text by way of a partial file.

    Raises:
        OutputError: the file cannot be written.
    """
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write one JSON document, indented, by way of a partial file.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal, read in pieces."""
    with Path(path).open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def cache_folder() -> Path:
    """Return the folder for what can be made again, in the user's cache; it need not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "signwing"
