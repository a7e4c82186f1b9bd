"""Whether a source gives frames, tried for a while."""

from __future__ import annotations

import threading
import time
from typing import Any

from edge.commands.doctor.findings import Finding
from edge.errors import SignwingError
from edge.frame import FeedState
from edge.outside.text import without_credentials
from edge.sources.live.feed import LiveSource
from edge.sources.open import open_source

TRIED_S = 10.0


def try_source(uri: str, seconds: float) -> tuple[dict[str, Any], list[Finding]]:
    """Open a source and take frames for a while.

    Returns:
        What is opened, and what came of it (`frames`, `size_wh`, `fps`, `detail`); and a finding if no frame came.
    """
    shown = without_credentials(uri)
    told: dict[str, Any] = {"source": shown}
    try:
        with open_source(uri) as source:
            counted = _Counted()
            reading = threading.Thread(target=counted.read, args=(source, seconds), daemon=True)
            reading.start()
            reading.join(seconds + 1)  # a live source that gives nothing never ends
            feed = source.feed
            if isinstance(source, LiveSource):
                told["opens"] = source.opens
        told |= {"frames": counted.frames, "size_wh": counted.size_wh, "fps": counted.fps}
        if feed is not None:
            told["detail"] = f"{feed.state}: {feed.detail}"
    except SignwingError as error:
        text, _, cure = str(error).rpartition(": ")
        return told, [Finding("broken", text, cure)]
    if counted.frames == 0:
        cure = told.get("detail", "choose another source")
        return told, [Finding("broken", f"no frame came from {shown} within {seconds:.0f} s", cure)]
    return told, []


class _Counted:
    """Frames of a source, counted in a thread."""

    def __init__(self) -> None:
        self.frames = 0
        self.size_wh: tuple[int, int] | None = None
        self._first_s = self._last_s = 0.0

    @property
    def fps(self) -> float | None:
        """Frames a second between the first and the last."""
        took = self._last_s - self._first_s
        return round((self.frames - 1) / took, 1) if self.frames > 1 and took > 0 else None

    def read(self, source: Any, seconds: float) -> None:
        end = time.monotonic() + seconds
        for came in source:
            if not isinstance(came, FeedState):
                self._last_s = time.monotonic()
                self._first_s = self._first_s or self._last_s
                self.frames += 1
                self.size_wh = came.image.shape[1], came.image.shape[0]
            if time.monotonic() >= end:
                return
