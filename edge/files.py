"""Writing that leaves the old file or the new one, never half of either, and replaces no file that is read, no other output and no device."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import select
import stat
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edge.errors import OutputError, SignwingError

STDOUT = 1
"""The descriptor that `-` stands for, as the name of an output."""
STREAM_S = 2.0
"""Time that who reads a FIFO gets to come, and to go on reading."""

_DESCRIPTOR = re.compile(r"/dev/fd/(\d+)|/proc/(?:self|thread-self)/fd/(\d+)")
_NAMED_DESCRIPTORS = {"-": STDOUT, "/dev/stdout": STDOUT, "/dev/stderr": 2}
_MOST_LINKS = 40
# What is read of a folder of photos, of a data set, of a run or of a bundle: nothing of these kinds is replaced within a folder that is read.
_READ_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".keras", ".npz", ".onnx", ".plan", ".png", ".ppm", ".tif", ".tiff", ".webp", ".zip"))
_READ_NAMES = re.compile(r"(asked|run)\.json|(train|test|meta|gt-.*)\.csv|gt\.txt", re.IGNORECASE)
# A folder with this file is a bundle, whole as it is: nothing is put into it.
_SEAL = "manifest.json"


def check_outputs(outputs: Mapping[str, Path | Sequence[Path]], inputs: Mapping[str, Path | Sequence[Path]]) -> None:
    """Refuse, before anything is opened, an output that would replace what is read or what another output writes.

    Two names are one place where they lead to one file, by links too, and where they differ by case alone, as some disks see no difference there. Within a
    folder that is read no file of a kind that is read there is replaced, and into a bundle that is read nothing is written at all.

    Args:
        outputs: files, and folders that are written anew, by what people call them, such as "--json".
        inputs: files and folders that are read, likewise; what does not exist is passed over.

    Raises:
        OutputError: there is such an output.
    """
    written = [(name, path) for name, each in outputs.items() for path in _paths(each) if not is_stream(path)]
    read = [(name, path) for name, each in inputs.items() for path in _paths(each) if os.path.lexists(path)]
    for name, path in written:
        for place in (path, partial(path)):
            for reader, source in read:
                if _is_same(place, source) or _would_spoil(place, source):
                    raise OutputError(f"wanted to write {name} to {path}, found what is read ({reader} {source}) in its place: choose another name")
            for other, second in written:
                if other != name and _is_same(place, second, fold=True):
                    raise OutputError(f"wanted to write {name} to {path}, found {other} {second} in the same place: choose another name for one of them")


def _paths(given: Path | Sequence[Path]) -> Sequence[Path]:
    return [given] if isinstance(given, Path) else given


def _is_same(one: Path, two: Path, *, fold: bool = False) -> bool:
    try:
        return one.samefile(two)
    except (OSError, ValueError):
        first, second = os.path.realpath(one), os.path.realpath(two)
        return first == second or (fold and _folded(first) == _folded(second))


def _folded(path: str) -> str:
    return unicodedata.normalize("NFKC", path).casefold()


def _would_spoil(place: Path, folder: Path) -> bool:
    """Tell whether a file lies in a folder that is read, and is one that is read there."""
    try:
        inside = folder.is_dir() and Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder))
        return inside and (
            (folder / _SEAL).is_file() or (place.is_file() and (place.suffix.lower() in _READ_SUFFIXES or _READ_NAMES.fullmatch(place.name) is not None))
        )
    except (OSError, ValueError):
        return False


def descriptor(path: Path) -> int | None:
    """Return the number of the open descriptor that a name stands for (`-`, /dev/stdout, /dev/fd/3, a link to one of them); None for any other."""
    name = str(path)
    for _ in range(_MOST_LINKS):
        found = _DESCRIPTOR.fullmatch(name)
        if found is not None or name in _NAMED_DESCRIPTORS:
            return _NAMED_DESCRIPTORS[name] if found is None else int(found[1] or found[2])
        try:
            name = os.path.normpath(os.path.join(os.path.dirname(name), os.readlink(name)))  # noqa: PTH118, PTH120, PTH115 - a link's own text
        except (OSError, ValueError):
            return None
    return None


def is_stream(path: Path) -> bool:
    """Tell whether what stands at `path` takes bytes one after the other and keeps no file: a terminal, /dev/null, a FIFO, an open descriptor.

    Raises:
        OutputError: something stands there that is no place for an output, such as a disk or a socket.
    """
    if descriptor(path) is not None:
        return True
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError):  # nothing is there yet, or what is there says so when it is opened
        return False
    if stat.S_ISBLK(kind) or stat.S_ISSOCK(kind):
        raise OutputError(f"wanted to write {path}, found a {'disk' if stat.S_ISBLK(kind) else 'socket'} of that name: choose another name")
    return stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)


def open_stream(path: Path) -> int:
    """Open what `is_stream`, for writing, and return a descriptor to be closed; the caller writes to it, and may be made to wait.

    A FIFO is opened without a reader: who reads it may come, go and come back.

    Raises:
        OutputError: it cannot be opened.
    """
    number = descriptor(path)
    with telling_refusal(path):
        if number is not None:
            return os.dup(number)
        fifo = stat.S_ISFIFO(path.stat().st_mode)
        # Opened for writing alone, a FIFO that nobody reads would keep us waiting.
        return os.open(path, (os.O_RDWR if fifo else os.O_WRONLY) | os.O_NOCTTY | os.O_CLOEXEC)


def partial(path: Path) -> Path:
    """Return the name beside `path` under which a file stands until it is whole; it keeps the suffix, by which writers choose their format."""
    place = Path(os.path.realpath(path))
    return place.with_name(f".{place.stem}.partial{place.suffix}")


@contextmanager
def written_beside(path: Path, reader_s: float = STREAM_S) -> Iterator[Path]:
    """Give a partial name beside `path` to write to; renamed to `path` on success, removed on any failure.

    A link stays, and what it leads to is written. What is no file, such as a FIFO or /dev/null, is written in place when all is known, and who reads it is
    waited for so long.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    path = Path(path)
    if is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            beside = Path(folder) / f"written{path.suffix}"
            yield beside
            _pour(beside.read_bytes(), path, reader_s)
        return
    beside = partial(path)
    try:
        with telling_refusal(path):
            place = Path(os.path.realpath(path))
            place.parent.mkdir(parents=True, exist_ok=True)
            beside.unlink(missing_ok=True)  # of a run that was killed; it may be a link by now
            yield beside
            _sync(beside)  # else a power cut could leave the name, and nothing in the file
            beside.replace(place)
            with suppress(OSError):  # a disk, or a folder, that lets nobody ask
                _sync(place.parent)
    finally:
        with suppress(OSError):  # renamed by now, or never made
            beside.unlink()


def _sync(place: Path) -> None:
    """Wait until the disk has a file's bytes, or the names in a folder."""
    number = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _pour(content: bytes, path: Path, reader_s: float) -> None:
    """Write to a stream, and wait for who reads it no longer than so long at a time."""
    number = descriptor(path)
    with telling_refusal(path):
        stream = os.dup(number) if number is not None else _opened(path, reader_s)
        try:
            rest = memoryview(content)
            while rest:
                if not select.select([], [stream], [], reader_s)[1]:
                    raise OutputError(f"wanted to write {path}, found nobody who reads on: read it, or write to a file")
                rest = rest[os.write(stream, rest[: select.PIPE_BUF]) :]  # so much goes without waiting, once there is room at all
        finally:
            os.close(stream)


def _opened(path: Path, reader_s: float) -> int:
    deadline = time.monotonic() + reader_s
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > deadline:
                raise OutputError(f"wanted to write {path}, found nobody who reads it: read it, or write to a file") from None
        time.sleep(0.05)


@contextmanager
def alone_in(lock: Path, told: str) -> Iterator[None]:
    """Hold a file that no other process holds as long; the kernel lets go of it with its holder.

    Raises:
        OutputError: another holds it, with what is `told` then; or it cannot be made.
    """
    with telling_refusal(lock):
        number = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(number)
        raise OutputError(told) from error
    try:
        yield
    finally:
        os.close(number)


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
    if is_stream(path):
        if not path.is_fifo():
            os.close(open_stream(path))
        elif not os.access(path, os.W_OK):  # opened and closed, it would tell who reads it that all is written
            raise refused(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
        return
    with telling_refusal(path):
        folder = Path(os.path.realpath(path)).parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    refuse_folder(path)


def refuse_folder(path: Path) -> None:
    """Refuse a folder where a file is to be written.

    Raises:
        OutputError: there is one.
    """
    if path.is_dir():
        raise OutputError(f"wanted to write {path}, found a folder of that name: choose another name")


def refused(path: Path, error: OSError) -> OutputError:
    """Return the error that tells of a file that the system does not let us write."""
    return OutputError(f"wanted to write {path}, the system refused: {error.strerror or error}: choose another place or free it")


def write_text(path: Path, text: str, reader_s: float = STREAM_S) -> None:
    """Write UTF-8 text by way of a partial file; who reads what is no file is waited for so long.

    Raises:
        OutputError: the file cannot be written.
    """
    with written_beside(path, reader_s) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: dict[str, Any], reader_s: float = STREAM_S) -> None:
    """Write one JSON document, indented, as `write_text` does.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n", reader_s)


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


def state_folder() -> Path:
    """Return the folder for what a later run needs: the service's own, or the user's; it need not exist yet."""
    service = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(service) if service else Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "signwing"
