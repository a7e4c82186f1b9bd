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
"""For all of it: what hangs in a library is left behind."""

_CLOSING_S = 1.0
_LOOK_AGAIN = "check that it is there, switched on and sends; edge run tells every reason as it changes"


def try_source(uri: str, seconds: float) -> tuple[dict[str, Any], list[Finding]]:
    """Try a source, see `Trial`."""
    return Trial(uri, seconds).outcome()


class Trial:
    """Opens a source in a thread of its own and takes frames, from the moment that it is made."""

    def __init__(self, uri: str, seconds: float) -> None:
        """Begin; opening, reading and closing have so many seconds together."""
        self._uri, self._shown, self._seconds = uri, without_credentials(uri), seconds
        self._end_s = time.monotonic() + seconds
        self._source: Any = None
        self._refusal: Exception | None = None
        self._frames = 0
        self._size_wh: tuple[int, int] | None = None
        self._first_s = self._last_s = 0.0
        self._thread = threading.Thread(target=self._work, name="trial", daemon=True)
        self._thread.start()

    def outcome(self) -> tuple[dict[str, Any], list[Finding]]:
        """Wait for the end, no longer than was meant.

        Returns:
            What is opened, and what came of it (`frames`, `size_wh`, `fps`, `detail`); and a finding if no frame came.
        """
        self._thread.join(max(self._end_s - time.monotonic(), 0.0))
        told: dict[str, Any] = {"source": self._shown}
        refusal, source = self._refusal, self._source
        feed = None if source is None else source.feed
        if isinstance(source, LiveSource):
            told["opens"] = source.opens
        if source is not None:
            told |= {"frames": self._frames, "size_wh": self._size_wh, "fps": self._fps}
        if feed is not None:
            told["detail"] = f"{feed.state}: {feed.detail}"
        if self._frames:
            return told, []
        if refusal is not None:
            return told, [Finding("broken", *parted(str(refusal)))]
        if source is None:
            return told, [Finding("broken", f"{self._shown} has not been opened after {self._seconds:.0f} s", _LOOK_AGAIN)]
        if feed is not None and ": " in feed.detail:
            return told, [Finding("broken", *parted(feed.detail))]
        return told, [Finding("broken", f"no frame came from {self._shown} within {self._seconds:.0f} s", _LOOK_AGAIN)]

    @property
    def _fps(self) -> float | None:
        """Frames a second between the first and the last."""
        took = self._last_s - self._first_s
        return round((self._frames - 1) / took, 1) if self._frames > 1 and took > 0 else None

    def _work(self) -> None:
        try:
            with open_source(self._uri) as source:
                self._source = source
                for came in source:
                    if not isinstance(came, FeedState):
                        self._last_s = time.monotonic()
                        self._first_s = self._first_s or self._last_s
                        self._frames += 1
                        self._size_wh = came.image.shape[1], came.image.shape[0]
                    if time.monotonic() >= self._end_s - _CLOSING_S:
                        break
        except SignwingError as error:
            self._refusal = error
        except Exception as error:  # a fault of ours is told as one; a thread must not tell it by a traceback
            self._refusal = SignwingError(f"a fault of its own, {type(error).__name__}: {error}: please report it with this line")


def parted(message: str) -> tuple[str, str]:
    """Take a message apart into what is wrong and what cures it: at its first colon outside brackets and quotes that stands behind what was found."""
    begins = max((at for word in (", found", ", cannot", ", the system") if (at := message.find(word)) >= 0), default=0)
    depth, quote = 0, ""
    for place, sign in enumerate(message):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'" and not message[place - 1 : place].isalnum():  # no apostrophe
            quote = sign
        elif sign in "()":
            depth += 1 if sign == "(" else -1
        elif place >= begins and depth <= 0 and message[place : place + 2] == ": ":
            return message[:place], message[place + 2 :]
    return message, _LOOK_AGAIN
