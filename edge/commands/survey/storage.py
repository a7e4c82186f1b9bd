"""fsspec, in the one file that imports it: folders and files on this machine and in object stores, by their addresses."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from edge.board.extras import install
from edge.errors import InputError, MissingDependency, OutputError, one_line
from edge.files import telling_refusal, written_beside
from edge.outside.text import without_credentials

_LOCAL = "file"


def opened(address: str) -> tuple[Any, str]:
    """Return the file system that an address leads to, and the path in it.

    Raises:
        InputError: no such kind of address.
        MissingDependency: fsspec is not installed, or what it needs for this kind of address.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingDependency(f"wanted the package fsspec for survey, found none: {install('survey')}") from error
    try:
        system, path = url_to_fs(address)
    except ImportError as error:
        raise MissingDependency(f"wanted what reads {without_credentials(address)}, found none: {one_line(error)}") from error
    except ValueError as error:
        raise InputError(f"wanted a path, or an address such as s3://BUCKET/FOLDER, found {without_credentials(address)}: {one_line(error)}") from error
    return system, str(path)


def is_local(system: Any) -> bool:
    """Tell whether a file system is this machine's own."""
    protocol = system.protocol
    return _LOCAL in ((protocol,) if isinstance(protocol, str) else protocol)


@contextmanager
def here(addresses: list[str]) -> Iterator[list[Path]]:
    """Give files by their addresses as files of this machine, side by side within the block: those of an object store are copied here first.

    Raises:
        InputError: one of them cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="signwing-") as folder:
        found = []
        for address in addresses:
            system, path = opened(address)
            if is_local(system):
                found.append(Path(path))
                continue
            copy = Path(folder) / PurePosixPath(path).name
            try:
                system.get_file(path, str(copy))
            except Exception as error:  # of as many kinds as there are stores
                raise InputError(f"wanted to read {without_credentials(address)}, found that it cannot be copied: {one_line(error)}") from error
            found.append(copy)
        yield found


class Folder:
    """A folder to write to, on this machine or in an object store; each file stands there whole or not at all."""

    def __init__(self, address: str) -> None:
        """Take a folder by its address; it need not be there yet. Raises as `opened` does."""
        self._system, self._root = opened(address)
        self._shown = without_credentials(address)

    def make(self) -> None:
        """Make it where folders are made: on this machine.

        Raises:
            OutputError: a file stands in its place, or the system refuses.
        """
        if is_local(self._system):
            with telling_refusal(Path(self._root)):
                Path(self._root).mkdir(parents=True, exist_ok=True)

    def names(self, below: str) -> set[str]:
        """Return the names of the files in a folder below."""
        self._system.invalidate_cache()
        with suppress(FileNotFoundError):
            return {PurePosixPath(path).name for path in self._system.ls(f"{self._root}/{below}", detail=False)}
        return set()

    def read(self, name: str) -> bytes:
        """Return what a file holds.

        Raises:
            InputError: it cannot be read.
        """
        try:
            return bytes(self._system.cat_file(f"{self._root}/{name}"))
        except Exception as error:
            raise InputError(f"wanted {name} in {self._shown}, cannot read it: {one_line(error)}") from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file.

        Raises:
            OutputError: it cannot be written.
        """
        path = f"{self._root}/{name}"
        if is_local(self._system):
            with written_beside(Path(path)) as beside:
                beside.write_bytes(content)
            return
        try:
            self._system.pipe_file(path, content)
        except Exception as error:
            raise OutputError(f"wanted to write {name} to {self._shown}, found that it takes nothing: {one_line(error)}") from error

    def remove(self, name: str) -> None:
        """Remove a file that has been replaced by one of another name."""
        with suppress(FileNotFoundError):
            self._system.rm_file(f"{self._root}/{name}")
