"""What is said to a pilot in words, and how often: short lines, one a second at most, the fresh ones first to count."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edge.board.extras import install
from edge.errors import MissingDependency

MOST_CHARACTERS = 50
"""What a STATUSTEXT holds."""
PERIOD_S = 1.0
KEPT, FRESH_S = 4, 4.0


@dataclass(frozen=True)
class Notice:
    """A confirmed sign: its class, name in ASCII (`plain`), confidence (0 to 1), and when it was confirmed, in seconds of a monotonic clock."""

    class_id: int
    label: str
    confidence: float
    at_s: float


class Notices:
    """Signs that wait to be told; of a storm the newest few are, and the others are counted in what is told."""

    def __init__(self, period_s: float = PERIOD_S) -> None:
        """Let one go each `period_s`."""
        self._period_s = period_s
        self._waiting: deque[Notice] = deque()
        self._told_s = float("-inf")
        self._passed_over = 0

    def add(self, notice: Notice) -> None:
        """Take a sign."""
        self._waiting.append(notice)
        if len(self._waiting) > KEPT:
            self._waiting.popleft()
            self._passed_over += 1

    def due(self, now_s: float) -> tuple[Notice, str] | None:
        """Return the sign to tell now and its text; None if there is none, or the last was told less than a period ago."""
        while self._waiting and now_s - self._waiting[0].at_s > FRESH_S:
            self._waiting.popleft()
            self._passed_over += 1
        if not self._waiting or now_s - self._told_s < self._period_s:
            return None
        notice, others = self._waiting.popleft(), self._passed_over
        self._told_s, self._passed_over = now_s, 0
        return notice, text_of(notice, others)


def text_of(notice: Notice, others: int = 0) -> str:
    """Return at most 50 ASCII characters, such as "SIGN 14 Stop 98%"; `others` is how many signs before it were not told."""
    end = f" {notice.confidence:.0%}" + (f" +{min(others, 999)}" if others else "")
    start = f"SIGN {notice.class_id} {notice.label}"
    return start[: MOST_CHARACTERS - len(end)].rstrip() + end


def plain(text: str) -> str:
    """Return a text in ASCII, as STATUSTEXT is shown everywhere: letters without their accents, other scripts as they sound, anything else as "?".

    Raises:
        MissingDependency: anyascii, which knows other scripts, is not installed, and the text is not in ASCII.
    """
    if not text.isascii():
        try:
            from anyascii import anyascii
        except ImportError as error:
            raise MissingDependency(f"wanted anyascii to tell {text!r} by --mavlink, found none: {install('mavlink')}") from error
        text = anyascii(text)
    return "".join(each if " " <= each <= "~" else "?" for each in text)
