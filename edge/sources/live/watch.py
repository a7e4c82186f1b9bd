"""Whether a live feed is connecting, live, stalled or lost. Pure: times in, states out."""

from __future__ import annotations

from edge.frame import State

STALLED_NS = 700_000_000
"""Without a frame for so long a feed is stalled; 0.7 s is where PixelPilot asks its camera for an intra frame."""
LOST_NS = 1_700_000_000


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
