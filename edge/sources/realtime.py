"""Plays a recorded source as a camera would: frames arrive when they are due, and only the newest one waits for the runtime."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from edge.frame import Frame, Source

_USUAL_FPS = 30.0


class Mailbox:
    """Holds one frame between the capture thread and the loop; a newer frame takes the place of one that nobody fetched.

    Attributes:
        captured: frames that were put in.
        dropped: those of them that nobody fetched.
    """

    def __init__(self) -> None:
        self.captured = self.dropped = 0
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._closed = False
        self._error: Exception | None = None

    def put(self, frame: Frame) -> None:
        """Leave a frame, in the place of one that still lies there."""
        with self._changed:
            self.captured += 1
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify()

    def take(self, timeout_s: float | None = None) -> Frame | None:
        """Wait for a frame; None when the capture has ended and all is fetched, or when none came within `timeout_s`.

        Raises:
            Exception: what the capture ended with.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._closed, timeout_s)
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame

    def close(self, error: Exception | None = None) -> None:
        """Say that no frame will follow, and why if the capture failed."""
        with self._changed:
            self._closed, self._error = True, error
            self._changed.notify()

    def discard(self) -> None:
        """Count a frame that nobody will fetch any more as dropped."""
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = None


class Realtime:
    """A source that runs in a thread of its own, at its own speed; the loop gets the newest frame."""

    live, feed = False, None

    def __init__(self, source: Source) -> None:
        """Play `source`, at 30 fps if it does not tell its own."""
        self.uri, self.stills = source.uri, source.stills
        self.fps: float | None = source.fps
        self._source, self._speed = source, source.fps or _USUAL_FPS
        self._mailbox = Mailbox()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._capture, name="capture", daemon=True)

    @property
    def captured(self) -> int:
        """Frames that arrived so far."""
        return self._mailbox.captured

    @property
    def dropped(self) -> int:
        """Frames that gave way to newer ones so far."""
        return self._mailbox.dropped

    @property
    def unreadable(self) -> int:
        """Frames that could not be decoded so far."""
        return self._source.unreadable

    def __enter__(self) -> Realtime:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._mailbox.discard()
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
                due_s = frame.index / self._speed
                start_s = time.monotonic() - due_s if start_s is None else start_s
                if self._stopping.wait(max(0.0, start_s + due_s - time.monotonic())):
                    break
                self._mailbox.put(replace(frame, received_ns=time.monotonic_ns()))
        except Exception as found:  # whatever it is, the loop raises it in its own thread
            error = found
        finally:
            self._mailbox.close(error)
