"""One frame between the thread that captures and the loop: a newer frame takes the place of one that nobody fetched."""

from __future__ import annotations

import threading

from edge.frame import Frame


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


class NewestFrame:
    """A source that gives the newest frame out of a mailbox."""

    def __init__(self) -> None:
        self._mailbox = Mailbox()

    @property
    def captured(self) -> int:
        """Frames that arrived so far."""
        return self._mailbox.captured

    @property
    def dropped(self) -> int:
        """Frames that gave way to newer ones so far."""
        return self._mailbox.dropped
