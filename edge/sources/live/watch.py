"""Whether a live feed is connecting, live, stalled or lost. Pure: times in, states out."""

from __future__ import annotations

from collections import deque

from edge.frame import State

STALLED_NS = 700_000_000
"""Without a frame for so long a feed is stalled; 0.7 s is where PixelPilot asks its camera for an intra frame."""
LOST_NS = 1_700_000_000
_MISSED, _GONE = 1.6, 3
"""Of the interval at which a slow camera's frames come: without a frame for so long it is stalled, or lost."""
_LONGEST_NS = 60_000_000_000
_MEASURED = 5


class FeedWatch:
    """Follows one feed by the times of its frames."""

    def __init__(self) -> None:
        self.state: State = "connecting"
        self._last_ns = 0
        self._intervals: deque[int] = deque(maxlen=_MEASURED)

    def frame(self, now_ns: int) -> bool:
        """Note a frame; True if the feed is live by it and was not before."""
        if self._last_ns and now_ns - self._last_ns < _LONGEST_NS:
            self._intervals.append(now_ns - self._last_ns)
        changed, self.state, self._last_ns = self.state != "live", "live", now_ns
        return changed

    def tick(self, now_ns: int) -> bool:
        """Look at the clock; True if the state has changed by it."""
        if self.state == "connecting":
            return False
        quiet = now_ns - self._last_ns
        usual = sorted(self._intervals)[(len(self._intervals) - 1) // 2] if self._intervals else 0
        stalled, lost = max(STALLED_NS, _MISSED * usual), max(LOST_NS, _GONE * usual)
        before, self.state = self.state, "lost" if quiet >= lost else "stalled" if quiet >= stalled else "live"
        return self.state != before
