"""Writing to who may not read: a pipe, a terminal that was stopped, a FIFO, a full disk. Who writes never waits longer than it says it will."""

from __future__ import annotations

import io
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import TextIO

MOST_BYTES = 1 << 20
"""What may wait for a reader."""
DRAIN_S = 2.0
"""Time without progress after which what still waits at the end is given up."""
HURRY_S = 0.2
"""The same where the end is asked for."""

_LOOK_S = 0.05


class Outlet:
    """Writes to a descriptor in a thread of its own, one piece after the other.

    Attributes:
        patience_s: how long `offer` waits for a reader that makes no progress; 0 never, None for ever.
        lost: pieces that were not written.
        broken: whether who read has gone for good.
        fault: why the last piece that was refused was; empty where none was.
    """

    def __init__(self, descriptor: int, *, patience_s: float | None = 0.0) -> None:
        """Write to an open descriptor, which stays the caller's to close, once `close` has told that it may be."""
        self.patience_s = patience_s
        self.lost, self.broken, self.fault = 0, False, ""
        self._descriptor = descriptor
        # Nothing here can be left locked by a signal that ends a call.
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = self._count = 0
        self._moved = threading.Event()
        self._stalled = self._closed = False
        self._thread = threading.Thread(target=self._work, name="outlet", daemon=True)
        self._thread.start()

    def offer(self, piece: bytes) -> bool:
        """Leave a piece to be written, and tell whether it will be, as far as is known; a reader who stands still is waited for once."""
        if not self._has_room(len(piece)):
            with self._lock:
                self.lost += 1
            return False
        with self._lock:
            self._waiting += len(piece)
            self._count += 1
        self._pieces.put(piece)
        return True

    def close(self, timeout_s: float = DRAIN_S) -> bool:
        """Wait until all is written, unless for `timeout_s` nothing moves; then what waits is lost. Called again, it waits for nothing.

        Returns:
            Whether the thread has ended and the descriptor may be closed.
        """
        if self._closed:
            return not self._thread.is_alive()
        self._closed = True
        self._pieces.put(None)
        before, since_s = self._waiting, time.monotonic()
        while self._thread.is_alive() and time.monotonic() - since_s < timeout_s:
            self._thread.join(min(_LOOK_S, timeout_s))
            if self._waiting != before:
                before, since_s = self._waiting, time.monotonic()
        with self._lock:
            self.lost, self._count = self.lost + self._count, 0
        return not self._thread.is_alive()

    def _has_room(self, size: int) -> bool:
        while not self.broken:
            self._moved.clear()  # before the look: what moves after it is not overlooked
            if not self._waiting or self._waiting + size <= MOST_BYTES:
                return True
            if self._stalled or self.patience_s == 0:
                return False
            if not self._moved.wait(self.patience_s):
                self._stalled = True
        return False

    def _work(self) -> None:
        while (piece := self._pieces.get()) is not None:
            try:
                rest = memoryview(piece)
                while rest and not self.broken:
                    rest = rest[self._write(rest[: select.PIPE_BUF]) :]
                refused = bool(rest)
            except OSError as error:  # a full disk may have room again; who has gone does not come back
                self.broken, self.fault = self.broken or isinstance(error, BrokenPipeError), error.strerror or str(error)
                refused = True
            with self._lock:
                self._waiting, self._count = self._waiting - len(piece), max(self._count - 1, 0)
                self.lost += refused
            self._went_on()

    def _write(self, part: memoryview) -> int:
        try:
            written = os.write(self._descriptor, part)
        except BlockingIOError:  # somebody who shares it made it so
            select.select([], [self._descriptor], [], 1.0)
            return 0
        self._went_on()
        return written

    def _went_on(self) -> None:
        self._stalled = False
        self._moved.set()


class TextOutlet(io.TextIOBase):
    """A text stream on an outlet, line by line; what cannot be encoded is escaped, and lines that are lost are told when others get through.

    Attributes:
        outlet: what it writes to.
    """

    def __init__(self, stream: TextIO, *, patience_s: float | None) -> None:
        """Take the place of a stream that has a descriptor."""
        stream.flush()
        self._number = stream.fileno()
        self._encoding = stream.encoding or "utf-8"
        self.outlet = Outlet(self._number, patience_s=patience_s)
        self._text, self._missing = "", 0
        self._lock = threading.RLock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream whose place it took."""
        return self._encoding

    def writable(self) -> bool:
        """It is written to."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._number

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        return os.isatty(self._number)

    def write(self, text: str) -> int:
        """Take text; whole lines go out.

        Raises:
            BrokenPipeError: who read has gone, and the outlet would wait for a reader for ever.
        """
        with self._lock:
            whole, found, self._text = (self._text + text).rpartition("\n")
            if found:
                self._send(whole + found)
        return len(text)

    def flush(self) -> None:
        """Send what is no whole line yet, too; waits for nobody."""
        with self._lock:
            text, self._text = self._text, ""
            if text:
                self._send(text)

    def _send(self, text: str) -> None:
        if self.outlet.broken and self.outlet.patience_s is None:
            raise BrokenPipeError
        note = f"({self._missing} lines before this found no reader)\n" if self._missing else ""
        taken = self.outlet.offer((note + text).encode(self._encoding, "backslashreplace"))
        self._missing = 0 if taken else self._missing + text.count("\n")


@contextmanager
def standard_streams() -> Iterator[list[TextOutlet]]:
    """Put outlets in the place of the standard output and error, logging included, until the block is left; they wait for their readers for ever.

    What is no open descriptor, as in tests, stays what it is. The list is of those that were put in, the standard output first. What was closed before we
    began is `edge.cli.prepare_streams`'s to open.
    """
    before = sys.stdout, sys.stderr
    put = [_outlet(each) for each in before]
    sys.stdout, sys.stderr = (new or old for new, old in zip(put, before, strict=True))
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, logging.StreamHandler) and each.stream is before[1]]
    for handler in handlers:
        handler.setStream(sys.stderr)
    outlets = [each for each in put if each is not None]
    try:
        yield outlets
    finally:
        for handler in handlers:
            handler.setStream(before[1])
        sys.stdout, sys.stderr = before
        for outlet in outlets:
            with suppress(OSError):
                outlet.flush()
            outlet.outlet.close()


def wait_for_readers(patience_s: float) -> None:
    """Let the standard streams wait no longer for their readers from now on, and lose what finds none."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextOutlet):
            stream.outlet.patience_s = patience_s


def _outlet(stream: TextIO | None) -> TextOutlet | None:
    if stream is None:  # it was closed before we began
        return None
    try:
        stream.fileno()
    except (OSError, ValueError):
        return None
    return TextOutlet(stream, patience_s=None)
