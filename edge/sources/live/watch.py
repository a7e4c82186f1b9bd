"""What a live feed is doing: connecting, live, stalled or lost. Pure: times in, states out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["connecting", "live", "stalled", "lost"]

STALLED_NS = 700_000_000
"""Without a frame for so long a feed is stalled; 0.7 s is where PixelPilot asks its camera for an intra frame."""
LOST_NS = 1_700_000_000


@dataclass(frozen=True)
class FeedState:
    """A change in a live feed, and its counters so far.

    Attributes:
        state: "connecting" until the first frame, "live", "stalled" when no frame comes, "lost" when none has come for longer.
        at_ns: `time.monotonic_ns` of the change.
        captured: frames that arrived.
        dropped: those of them that gave way to newer ones.
        damaged: RTP packets that were lost on the way; 0 where nothing counts them.
        reconnects: how often the feed was opened again.
        detail: what is being done or what went wrong, for people; may be "".
    """

    state: State
    at_ns: int
    captured: int
    dropped: int
    damaged: int
    reconnects: int
    detail: str


class FeedWatch:
    """Follows one feed by the times of its frames."""

    def __init__(self) -> None:
        self.state: State = "connecting"
        self._last_ns = 0

    def frame(self, now_ns: int) -> bool:
        """Note a frame; True if the feed is live by it and was not before."""
        changed, self.state, self._last_ns = self.state != "live", "live", now_ns
        return changed

    def tick(self, now_ns: int) -> bool:
        """Look at the clock; True if the state has changed by it."""
        if self.state == "connecting":
            return False
        quiet = now_ns - self._last_ns
        before, self.state = self.state, "lost" if quiet >= LOST_NS else "stalled" if quiet >= STALLED_NS else "live"
        return self.state != before
