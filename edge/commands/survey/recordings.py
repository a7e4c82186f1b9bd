"""Which recordings are meant, and which file tells the poses of each: the one beside it that has its name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from edge.commands.survey.storage import is_local, opened
from edge.errors import InputError, one_line
from edge.outside.text import printable, without_credentials

FILMS = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"))
POSES = (".tlog", ".bin", ".srt", ".csv", ".gpx")
"""What tells poses, the first that is there."""

_DRAWN = "demo://"
_DRAWN_BYTES = 10**7
_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Recording:
    """One flight.

    Attributes:
        name: for people, the same wherever the folder stands: its path below what was typed.
        address: of the film; or `demo://` with its options.
        poses: address of the file with its poses; empty where there is none.
        size: bytes of the film.
        content: what changes when the film or its poses do.
    """

    name: str
    address: str
    poses: str
    size: int
    content: str

    @property
    def drawn(self) -> bool:
        """Whether it is drawn, and knows its own poses."""
        return self.address.startswith(_DRAWN)


def find_recordings(typed: Sequence[str]) -> list[Recording]:
    """Return the recordings that files, folders, patterns and addresses name, in the order of their names.

    Raises:
        InputError: there is none, or an address leads nowhere.
        MissingDependency: what reads an address is not installed.
    """
    found: dict[str, Recording] = {}
    for text in typed:
        if text.startswith(_DRAWN):
            found[text] = Recording(text, text, "", _DRAWN_BYTES, text)
            continue
        for recording in _below(text):
            found.setdefault(recording.address, recording)
    if not found:
        raise InputError(f"wanted recordings ({', '.join(sorted(FILMS))}) in {', '.join(map(without_credentials, typed))}, found none: give another folder")
    often = Counter(recording.name for recording in found.values())
    named = [one if often[one.name] == 1 else Recording(without_credentials(one.address), *list(vars(one).values())[1:]) for one in found.values()]
    return sorted(named, key=lambda one: one.name)


def _below(text: str) -> list[Recording]:
    system, root = opened(text)
    shown = without_credentials(text)
    try:
        if system.isdir(root):
            paths, top = [path for path in system.find(root) if _is_film(path[len(root) :])], root.rstrip("/")
        elif system.isfile(root):
            paths, top = [root], str(PurePosixPath(root).parent)
        elif _PATTERN.search(root):
            paths = [path for path in system.glob(root) if _is_film(PurePosixPath(path).name)]
            top = str(PurePosixPath(root[: _PATTERN.search(root).start()] + "x").parent)  # type: ignore[union-attr]
        else:
            raise InputError(f"wanted recordings at {shown}, found nothing there: check the path")
        listed: dict[str, dict[str, str]] = {}
        return [_recording(system, path, printable(path.removeprefix(top).lstrip("/")), listed) for path in paths]
    except InputError:
        raise
    except Exception as error:  # of as many kinds as there are stores
        raise InputError(f"wanted recordings at {shown}, found that it cannot be listed: {one_line(error)}") from error


def _is_film(path: str) -> bool:
    parts = PurePosixPath(path)
    return parts.suffix.lower() in FILMS and not any(part.startswith(".") for part in parts.parts)


def _recording(system: Any, path: str, name: str, listed: dict[str, dict[str, str]]) -> Recording:
    """Describe a film; what stands in its folder is listed once."""
    parent, stem = str(PurePosixPath(path).parent), PurePosixPath(path).stem
    beside = listed.setdefault(parent, {})
    if not beside:
        beside.update({PurePosixPath(other).name.lower(): other for other in system.ls(parent, detail=False)})
    poses = next((beside[wanted] for suffix in POSES if (wanted := f"{stem}{suffix}".lower()) in beside), "")
    content = "|".join(_version(system, each) for each in (path, poses) if each)
    addresses = [each and (each if is_local(system) else system.unstrip_protocol(each)) for each in (path, poses)]
    return Recording(name, addresses[0], addresses[1], int(system.info(path).get("size") or 0), content)


def _version(system: Any, path: str) -> str:
    """Return what changes when a file's content does, as far as its folder tells: size, time, tag."""
    told = system.info(path)
    return ",".join(str(told.get(name)) for name in ("size", "mtime", "ETag", "LastModified", "created") if name != "created" or "mtime" not in told)
