"""A recorded source one frame ahead: the next frame is decoded or drawn in a thread of its own while the loop works on the one before. None is lost."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from edge.frame import Frame, Source
from edge.process import signals
from edge.process.threads import END_S

_LOOK_S = 0.05
_HURRY_S = 0.3
"""What a frame that nobody will see any more is waited for where the end is asked for: the outputs need the time."""


class Ahead:
    """A recorded source that works beside the loop."""

    live, feed = False, None
    dropped = 0

    def __init__(self, source: Source) -> None:
        """Take a source over."""
        self.uri, self.stills = source.uri, source.stills
        self.fps: float | None = source.fps
        self._source = source
        # A signal may end the loop within any call of Python's own: queue.Queue could be left with its thread waiting for a word that never comes.
        self._next: queue.SimpleQueue[Frame | Exception | None] = queue.SimpleQueue()
        self._waiting = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="source", daemon=True)

    @property
    def unreadable(self) -> int:
        """Frames that could not be decoded so far."""
        return self._source.unreadable

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        deadline_s = time.monotonic() + (_HURRY_S if signals.came() else END_S)
        while self._thread.is_alive() and time.monotonic() < deadline_s:
            self._fetched()
            self._thread.join(_LOOK_S)
        if not self._thread.is_alive():  # a decoder that does not come back keeps what it works with
            self._source.__exit__(None, None, None)

    def __iter__(self) -> Iterator[Frame]:
        """Start the thread and give one frame after the other, received as it is given: it waited for the loop.

        Raises:
            Exception: what the source ended with.
        """
        self._thread.start()
        while (came := self._next.get()) is not None:
            self._fetched()
            if isinstance(came, Exception):
                raise came
            yield replace(came, received_ns=time.monotonic_ns())

    def _fetched(self) -> None:
        """Let another frame take the place of the one that waited."""
        with suppress(RuntimeError):  # none did
            self._waiting.release()

    def _work(self) -> None:
        end: Exception | None = None
        try:
            for frame in self._source:
                assert isinstance(frame, Frame)  # a recorded source has no feed that could change
                self._waiting.acquire()  # until the frame before is fetched
                if self._stopping.is_set():
                    return
                self._next.put(frame)
        except Exception as found:  # whatever it is, the loop raises it in its own thread
            end = found
        self._next.put(end)
