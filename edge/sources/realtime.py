"""Plays a recorded source as a camera would: frames arrive when they are due, and only the newest one waits for the runtime."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from edge.frame import Frame, Source
from edge.process.threads import Worker
from edge.sources.mailbox import NewestFrame

_USUAL_FPS = 30.0


class Realtime(NewestFrame):
    """A source that runs in a thread of its own, at its own speed; the loop gets the newest frame."""

    live, feed = False, None

    def __init__(self, source: Source) -> None:
        """Play `source`, at 30 fps if it does not tell its own."""
        super().__init__()
        self.uri, self.stills = source.uri, source.stills
        self.fps: float | None = source.fps
        self._source, self._speed = source, source.fps or _USUAL_FPS
        self._thread = Worker(self._capture, "capture")

    @property
    def unreadable(self) -> int:
        """Frames that could not be decoded so far."""
        return self._source.unreadable

    def __enter__(self) -> Realtime:
        return self

    def __exit__(self, *exc: object) -> None:
        ended = self._thread.stop()
        self._mailbox.discard()
        if ended:  # a decoder that does not come back keeps what it works with
            self._source.__exit__(None, None, None)

    def __iter__(self) -> Iterator[Frame]:
        """Start the capture and give the newest frame each time."""
        self._thread.start()
        while (frame := self._mailbox.take()) is not None:
            yield frame

    def _capture(self) -> None:
        error: Exception | None = None
        start_s: float | None = None
        try:
            for frame in self._source:
                assert isinstance(frame, Frame)  # a recorded source has no feed that could change
                due_s = frame.index / self._speed if frame.media_s is None else frame.media_s  # a phone's rate varies
                start_s = time.monotonic() - due_s if start_s is None else start_s
                if self._thread.stopping.wait(max(0.0, start_s + due_s - time.monotonic())):
                    break
                self._mailbox.put(replace(frame, received_ns=time.monotonic_ns()))
        except Exception as found:  # whatever it is, the loop raises it in its own thread
            error = found
        finally:
            self._mailbox.close(error)
