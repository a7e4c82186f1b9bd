"""The live picture of the page. A client gets the newest one when it has taken the one before; it is drawn once for all who wait, or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple


class Picture(NamedTuple):
    """A picture: its number, its JPEG, and as JSON what is to be drawn on it where that is left to who shows it."""

    number: int
    jpeg: bytes
    drawing: str = ""


Asked = Callable[[int], Awaitable[tuple[Picture, float]]]


class Film:
    """Asks for pictures as long as someone waits for one, each once for all who wait."""

    def __init__(self, ask: Asked, wait_s: float) -> None:
        """Take pictures of `ask`: given the number of the last one, the newest, and how long not to ask again.

        Args:
            ask: gives the number that it is given, and no bytes, where there is no newer one.
            wait_s: until a client is told that there is none.
        """
        self._ask, self._wait_s = ask, wait_s
        self._newest = Picture(0, b"")
        self._waiting = 0
        self._wanted, self._looked = asyncio.Event(), asyncio.Event()

    async def next(self, after: int) -> Picture | None:
        """Wait for a picture with another number than `after`; None if there is none for some seconds."""
        end = time.monotonic() + self._wait_s
        self._waiting += 1
        self._wanted.set()
        try:
            while (left := end - time.monotonic()) > 0:
                await asyncio.wait_for(self._looked.wait(), left)
                if self._newest.number not in (0, after):
                    return self._newest
        except asyncio.TimeoutError:
            pass
        finally:
            self._waiting -= 1
        return None

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self._wanted.wait()
            if not self._waiting:
                self._wanted.clear()
                continue
            picture, pause_s = await self._ask(self._newest.number)
            if picture.jpeg:
                self._newest = picture
            looked, self._looked = self._looked, asyncio.Event()
            looked.set()
            await asyncio.sleep(pause_s)
