"""A thread that works until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker(threading.Thread):
    """Runs `work`, which looks at `stopping` again and again.

    Attributes:
        stopping: set when the work is to end.
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        """Take the work; `start` begins it."""
        super().__init__(target=work, name=name, daemon=True)
        self.stopping = threading.Event()

    def stop(self, timeout_s: float | None = None) -> None:
        """End the work and wait for it, no longer than `timeout_s`; nothing is to be waited for where it never began."""
        self.stopping.set()
        if self.ident is not None:
            self.join(timeout_s)
