"""A live source: a thread captures, the newest frame wins, and what breaks is opened again for ever.

The loop never waits for a camera: it waits for the mailbox, and looks at the clock in between. A reader that hangs is left behind in its thread, told, and a
new one takes its place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.errors import SourceError, one_line
from edge.frame import FeedState, Frame
from edge.sources.live.watch import FeedWatch
from edge.sources.mailbox import NewestFrame

_LOG = logging.getLogger(__name__)
TICK_S = 0.05
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
STUCK_S, LONGEST_STUCK_S = 8.0, 60.0
"""Time that opening or reading may take, which is more than any back end's own time-out; twice as much after each that was left behind."""
MOST_LEFT = 8
"""Readers that may hang at once; then it is waited for one of them to come back."""
_MOST_TOLD = 100
"""Reasons that are told of one time without frames."""
LEAVE_S = 1.6
"""Time that a reader gets to come back as the feed is closed: more than FFmpeg waits for a frame."""


class Reading(AbstractContextManager["Reading", None], Protocol):
    """An open camera: gives frames until it gives None."""

    def read(self) -> NDArray[np.uint8] | None:
        """Return the next frame, (height, width, 3) uint8 BGR, or None when none comes any more."""
        ...


class Camera(AbstractContextManager["Camera", None], Protocol):
    """What can be opened again and again."""

    def wait(self, stopping: threading.Event) -> bool:
        """Wait until there is something to open; False if `stopping` was set meanwhile."""
        ...

    def open(self) -> Reading:
        """Open it.

        Raises:
            SourceError: it cannot be opened now.
        """
        ...

    @property
    def sending(self) -> bool:
        """Whether frames should be coming: a reader that waits while nobody sends does not hang, and what it gives then is not new."""
        ...

    @property
    def doing(self) -> str:
        """What is opened and how, for people."""
        ...

    @property
    def why(self) -> str:
        """Why no frames come, as far as that is known, and what cures it; it says the same as long as that is so."""
        ...

    @property
    def opens(self) -> str:
        """What is opened, to the letter, as far as it is known yet: a pipeline, or FFmpeg's options and address; no password."""
        ...

    @property
    def damaged(self) -> int:
        """RTP packets that were lost so far; 0 where nothing counts them."""
        ...

    @property
    def foreign(self) -> int:
        """Packets of others than the camera so far; 0 where nothing counts them."""
        ...


class LiveSource(NewestFrame):
    """Obeys `edge.frame.Source`; its iterator gives a `FeedState` at every change, before the first frame that is live again, and for each new reason."""

    stills, live, unreadable = False, True, 0

    def __init__(
        self,
        uri: str,
        camera: Camera,
        fps: float | None,
        change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
        *,
        longest_stuck_s: float = LONGEST_STUCK_S,
    ) -> None:
        """Prepare a feed.

        Args:
            uri: what the user gave.
            camera: opened within the source's context, and closed with it.
            fps: frames a second that are expected, None if unknown.
            change: applied to every frame that is taken, such as a flip.
            longest_stuck_s: time that opening or reading may take, however often it took longer.
        """
        super().__init__()
        self.uri, self.fps = uri, fps
        self._camera, self._change = camera, change
        self._watch = FeedWatch()
        self._stopping = threading.Event()
        self._longest_stuck_s = longest_stuck_s
        self._workers: list[_Worker] = []
        self._opened = 0
        self._index, self._open = 0, False
        self._told: set[str] = set()
        self._came_back = 0
        self.waiting: Callable[[], None] | None = None
        """Called again and again by the loop while no frame comes, so that who watches it knows that it lives."""

    @property
    def opens(self) -> str:
        """What is opened, to the letter; of an RTP stream only as packets come."""
        return self._camera.opens

    @property
    def feed(self) -> FeedState:
        """The present state."""
        detail = self._why() or self._camera.doing
        opened = self._opened + sum(worker.opened for worker in self._workers)
        return FeedState(
            self._watch.state,
            time.monotonic_ns(),
            self.captured,
            self.dropped,
            self._camera.damaged,
            max(opened - 1, self._came_back),  # PyAV goes on with a camera that comes back: nothing is opened for it
            detail,
            self._camera.foreign,
        )

    def _why(self) -> str:
        worker = self._workers[-1] if self._workers else None
        return "" if self._watch.state == "live" else (worker.fault if worker is not None else "") or self._camera.why

    def _news(self) -> FeedState | None:
        """Return the present state if it has a reason that was not told since the feed was live."""
        why = self._why()
        if not why or why in self._told or len(self._told) >= _MOST_TOLD:
            return None
        self._told.add(why)
        return self.feed

    def __enter__(self) -> LiveSource:
        """Take what the camera needs, such as a port; entered again, as by `edge.pipeline.run`, it is open already."""
        if not self._open:
            self._camera.__enter__()
            self._open = True
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._open:
            return
        self._open = False
        self._stopping.set()
        for worker in self._workers:
            worker.leave()
        self._mailbox.discard()
        self._camera.__exit__(None, None, None)

    def __iter__(self) -> Iterator[Frame | FeedState]:
        """Start the capture; gives frames and states until it is closed."""
        self._replace_worker(min(STUCK_S, self._longest_stuck_s))
        yield self._news() or self.feed
        while not self._stopping.is_set():
            frame = self._mailbox.take(TICK_S)
            if frame is not None:
                was_lost = self._watch.state == "lost"
                if self._watch.frame(time.monotonic_ns()):
                    self._came_back += was_lost
                    self._told.clear()
                    yield self.feed
                yield frame
                continue
            changed, news = self._watch.tick(time.monotonic_ns()), self._news()
            if changed or news is not None:
                yield news or self.feed
            if self.waiting is not None:
                self.waiting()
            worker = self._workers[-1]
            if worker.stuck and self._camera.sending and self._may_leave_behind():
                _LOG.warning("%s: %s has hung for %.0f s and is left behind", self.uri, self._camera.doing, worker.patience_s)
                self._replace_worker(min(worker.patience_s * 2, self._longest_stuck_s))

    def _may_leave_behind(self) -> bool:
        """Forget the readers that have come back, and tell whether one more may hang: each holds a thread and memory."""
        gone = [worker for worker in self._workers[:-1] if not worker.alive]
        self._opened += sum(worker.opened for worker in gone)
        self._workers = [worker for worker in self._workers if worker not in gone]
        return len(self._workers) <= MOST_LEFT

    def _replace_worker(self, patience_s: float) -> None:
        if self._workers:
            self._workers[-1].abandon()
        self._workers.append(_Worker(self._camera, self._put, self._stopping, patience_s))
        self._workers[-1].start()

    def _put(self, image: NDArray[np.uint8]) -> None:
        received_ns = time.monotonic_ns()
        self._mailbox.put(Frame(self._index, self._change(image) if self._change else image, received_ns, None))
        self._index += 1


class _Worker:
    """The thread that opens and reads; abandoned, it puts nothing any more, and closes what it holds when the call that it hangs in returns."""

    def __init__(self, camera: Camera, put: Callable[[NDArray[np.uint8]], None], stopping: threading.Event, patience_s: float) -> None:
        self.patience_s, self.opened = patience_s, 0
        self.fault = ""
        self._camera, self._put, self._stopping = camera, put, stopping
        self._gone = threading.Event()
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._work, name="capture", daemon=True)

    @property
    def stuck(self) -> bool:
        """Whether a call has taken longer than it may."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > self.patience_s

    @property
    def alive(self) -> bool:
        """Whether its thread still runs, or hangs."""
        return self._thread.is_alive()

    def start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:  # no thread is to be had now: it counts as one that hangs, and another is tried when its time is over
            self.fault, self._busy_since = str(error), time.monotonic()

    def abandon(self) -> None:
        self._gone.set()

    def leave(self) -> None:
        """Wait for the end of the thread, but not for a call that hangs."""
        if self._thread.ident is not None:
            self._thread.join(0 if self._gone.is_set() else LEAVE_S)

    def _ended(self) -> bool:
        return self._stopping.is_set() or self._gone.is_set()

    def _work(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._ended():
            try:
                got = self._run_once()
            except SourceError as error:
                self.fault, got = str(error), False
            except Exception as error:  # whatever a back end raises, the feed goes on
                self.fault, got = f"{type(error).__name__}: {one_line(error)}", False
            self._busy_since = None
            pause_s = FIRST_PAUSE_S if got else min(pause_s * 2, LONGEST_PAUSE_S)
            self._stopping.wait(pause_s)

    def _run_once(self) -> bool:
        """Open, and read until nothing comes; True if there was any frame."""
        if not self._camera.wait(self._stopping):
            return False
        got = False
        self._busy_since = time.monotonic()
        with self._camera.open() as reading:
            self.opened += 1
            self.fault = ""
            while not self._ended():
                self._busy_since = time.monotonic()
                image = reading.read()
                if image is None or self._ended():
                    break
                if not self._camera.sending:  # a decoder that gives up waiting lets go of a picture that it held
                    continue
                self._put(image)
                got = True
            self._busy_since = None
        return got
