"""What comes in: a frame, what a live feed is doing, and what a source of both is. Words that all share; nothing here opens anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.geometry.pose import Pose

UNTOLD = "no clock was asked"

State = Literal["connecting", "live", "stalled", "lost"]


@dataclass(frozen=True)
class Frame:
    """A picture on its way through the runtime.

    Attributes:
        index: place in the source, from 0; lost and unreadable frames keep theirs.
        image: (height, width, 3) uint8 BGR.
        received_ns: `time.monotonic_ns` when the decoder of a camera, or a recorded source, handed it over.
        still: path relative to the folder, on one line, if the source is a set of stills, else None.
        time_s: when it was handed over, in seconds since 1970 (UTC); None where no clock tells.
        media_s: its time in a recording, in seconds, else None.
        pose: how the camera stood then, as far as it is known.
        time_unknown: why there is no `time_s`, for people.
    """

    index: int
    image: NDArray[np.uint8]
    received_ns: int
    still: str | None
    time_s: float | None = None
    media_s: float | None = None
    pose: Pose | None = None
    time_unknown: str = UNTOLD


@dataclass(frozen=True)
class FeedState:
    """A change in a live feed, and its counters so far.

    Attributes:
        state: "connecting" until the first frame, "live", "stalled" when no frame comes, "lost" when none has come for longer.
        at_ns: `time.monotonic_ns` of the change.
        captured: frames that arrived.
        dropped: those of them that gave way to newer ones.
        damaged: RTP packets that were lost on the way; 0 where nothing counts them.
        reconnects: how often the feed was opened again, or the camera came back.
        detail: what is being done or what went wrong, for people; may be "".
        foreign: packets of others than the camera, which were not taken; 0 where nothing counts them.
        time_s: when, in seconds since 1970 (UTC); None where no clock tells.
        time_unknown: why there is no `time_s`, for people.
    """

    state: State
    at_ns: int
    captured: int
    dropped: int
    damaged: int
    reconnects: int
    detail: str
    foreign: int = 0
    time_s: float | None = None
    time_unknown: str = UNTOLD


class Source(Protocol):
    """An open source of frames, closed as its context ends; iterated once."""

    @property
    def uri(self) -> str:
        """What the user gave."""
        ...

    @property
    def stills(self) -> bool:
        """Whether the frames are independent images."""
        ...

    @property
    def live(self) -> bool:
        """Whether the frames come from a camera, now."""
        ...

    @property
    def feed(self) -> FeedState | None:
        """What a live source is doing now; None of others."""
        ...

    @property
    def fps(self) -> float | None:
        """Frames a second that it is meant to be shown at; None where nothing tells."""
        ...

    @property
    def dropped(self) -> int:
        """Frames that gave way to newer ones so far."""
        ...

    @property
    def unreadable(self) -> int:
        """Frames that could not be decoded so far."""
        ...

    def __enter__(self) -> Source: ...

    def __exit__(self, *exc: object) -> None: ...

    def __iter__(self) -> Iterator[Frame | FeedState]: ...
