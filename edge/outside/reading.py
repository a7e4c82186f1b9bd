"""Files that another has made: read within bounds, and handed to libraries under names that they can take."""

from __future__ import annotations

import errno
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOG = logging.getLogger(__name__)


def read_bounded(path: Path, most: int) -> bytes:
    """Read a file that another has made; one that is too long, or no plain file, is refused before anything of it is read.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        OSError: it cannot be read, is longer, or is a pipe, a device or a folder, which might never end.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a pipe would wait for who writes to it
    with os.fdopen(handle, "rb") as file:
        held = os.fstat(handle)
        if stat.S_ISDIR(held.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(held.st_mode):
            kind = "a FIFO" if stat.S_ISFIFO(held.st_mode) else "a device or a socket"
            raise OSError(errno.EINVAL, f"it is {kind}, something else than a plain file")
        content = file.read(most + 1) if held.st_size <= most else b""
    if max(held.st_size, len(content)) > most:
        raise OSError(errno.EFBIG, f"it is longer than {most >> 20} MiB" if most >> 20 else f"it is longer than {most} bytes")
    return content


def warn_of_readers(path: Path) -> None:
    """Warn of a file with a secret that others than its owner can read."""
    with suppress(OSError):
        found = Path(path).stat()
        if stat.S_ISREG(found.st_mode) and found.st_mode & (stat.S_IRGRP | stat.S_IROTH):
            _LOG.warning("%s holds a secret, and others can read it: chmod 600 %s", path, path)


@contextmanager
def named_for_libraries(path: Path) -> Iterator[str]:
    """Give a name of a file, there or not yet, that a C++ library can open within the block: OpenCV crashes on one that is not UTF-8.

    Such a file gets a link in a folder of its own, which is gone after the block; what was opened stays open.

    Raises:
        OSError: no link can be made.
    """
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="signwing-") as folder:
            link = Path(folder) / f"file{path.suffix if path.suffix.isascii() else ''}"
            link.symlink_to(path.absolute())
            yield str(link)
    else:
        yield name
