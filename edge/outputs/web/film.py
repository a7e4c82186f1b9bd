"""The live picture of the page. A client gets the newest one when it has taken the one before; it is drawn and encoded once for all who wait, or not at all."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from edge.errors import one_line
from edge.outputs.web.state import PageState
from edge.result import Result

_LOG = logging.getLogger(__name__)

PICTURES_A_SECOND, FEW_A_SECOND = 10.0, 1.0
BYTES_A_SECOND = 8 << 20
"""What all clients together get of pictures: where many look, each gets fewer."""

# A picture that is not there by then is answered with 204, so that a client sees that the server lives.
_WAIT_S = 5.0


class Film:
    """Makes pictures of the newest results as long as someone waits for one, each once for all who wait."""

    def __init__(self, state: PageState) -> None:
        """Draw the newest results of `state`."""
        self._state = state
        self.pictures_a_second = PICTURES_A_SECOND
        self._number, self._data = 0, b""
        self._shown: Result | None = None
        self._waiting = 0
        self._wanted, self._fresh = asyncio.Event(), asyncio.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="picture")
        self.stopped = False

    async def next(self, after: int) -> tuple[int, bytes] | None:
        """Wait for a picture with another number than `after`; None if there is none for some seconds."""
        if self._number not in (0, after) and self._shown is self._state.newest:
            return self._number, self._data
        self._waiting += 1
        self._wanted.set()
        try:
            await asyncio.wait_for(self._fresh.wait(), _WAIT_S)
        except asyncio.TimeoutError:
            return None
        finally:
            self._waiting -= 1
        return None if self.stopped else (self._number, self._data)

    async def run(self) -> None:
        """Draw until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            result, looking = self._state.newest, self._waiting
            pause_s = 1 / self.pictures_a_second
            if not looking:
                self._wanted.clear()
                continue
            if result is not None and result is not self._shown:
                try:
                    self._data = await loop.run_in_executor(self._pool, self._state.picture, result)
                except Exception as error:  # the next one may be drawn
                    _LOG.warning("a picture for the page could not be drawn: %s", one_line(error))
                    await asyncio.sleep(_WAIT_S)
                    continue
                self._shown, self._number = result, self._number + 1
                pause_s = max(pause_s, len(self._data) * looking / BYTES_A_SECOND)
                self._release()
            await asyncio.sleep(pause_s)

    def stop(self) -> None:
        """Let all go who wait."""
        self.stopped = True
        self._release()

    def close(self) -> None:
        """End the drawing thread."""
        self._pool.shutdown(wait=True)

    def _release(self) -> None:
        fresh, self._fresh = self._fresh, asyncio.Event()
        fresh.set()
