"""Records an RTP stream as it came, without decoding it: H.264 or H.265 in Annex B, access unit by access unit, in files that play after a power cut.

Raw Annex B needs no muxer, no index and no end: a file is whole after every access unit, and ffplay, mpv and VLC play it. What it lacks is time; players take
the stream's own rate, or 25 a second.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from io import FileIO
from pathlib import Path

from edge.files import check_place
from edge.process.threads import Worker
from edge.sources.live.rtp.access_units import AccessUnit, AccessUnits
from edge.sources.live.rtp.nal import START_CODE, ParameterSets, Unit, is_picture
from edge.sources.live.rtp.packets import Packet

_LOG = logging.getLogger(__name__)
SEGMENT_BYTES, SEGMENT_S = 512 << 20, 600.0
_QUEUED, _QUEUED_BYTES = 8192, 16 << 20
# What a power cut may take: the system itself keeps written data back for up to half a minute.
_SYNC_S = 2.0
_RETRY_S = 1.0


@dataclass(frozen=True)
class Recording:
    """What was recorded so far.

    Attributes:
        path: the file that is written; None before the first and while there is no space.
        pictures: pictures written.
        missed: pictures that were not, for want of space or time.
        size: bytes written.
    """

    path: Path | None
    pictures: int
    missed: int
    size: int


class Recorder:
    """Writes the packets that it is offered to segments beside `path`, in a thread of its own; a full disk is told once, waited out, and costs nothing else.

    A segment is named by the UTC time of its beginning, begins with parameter sets and an intra frame, and ends by size, by time, or where the stream changes.
    """

    def __init__(
        self,
        path: Path,
        told: ParameterSets | None = None,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        segment_s: float = SEGMENT_S,
        wall: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Name segments after `path`, whose suffix gives way to the codec's; `told` are parameter sets of an SDP; `wall` is asked for names alone."""
        self._path, self._told, self._segment_bytes, self._segment_s = path, told, segment_bytes, segment_s
        self._wall, self._monotonic = wall, monotonic
        self._queue: queue.Queue[tuple[Packet, str]] = queue.Queue(_QUEUED)
        self._came = self._done = 0
        self._thread = Worker(self._work, "recorder")
        self._stream: tuple[int, str] | None = None
        self._units: AccessUnits | None = None
        self._sets: ParameterSets | None = None
        self._segment_sets: dict[int, bytes] = {}
        self._file: FileIO | None = None
        self._place: Path | None = None
        self._size = self._pictures = self._missed = self._unqueued = self._written = 0
        self._begun_s = self._synced_s = 0.0
        self._retry_s = -_RETRY_S
        self._broken = self._waiting = False

    def __enter__(self) -> Recorder:
        """Check the place and start.

        Raises:
            OutputError: it cannot be written at all.
        """
        check_place(self._path)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._thread.stop():
            _LOG.warning("the disk of %s hangs: the recording ends before the run", self._path)

    @property
    def recording(self) -> Recording:
        """What was recorded so far."""
        return Recording(self._place, self._pictures, self._missed + self._unqueued, self._written)

    def offer(self, packet: Packet, codec: str) -> None:
        """Leave a packet to be recorded; never waits."""
        try:
            if self._came - self._done + len(packet.payload) > _QUEUED_BYTES:
                raise queue.Full
            self._queue.put_nowait((packet, codec))
            self._came += len(packet.payload)
        except queue.Full:
            self._unqueued += packet.marker

    def _work(self) -> None:
        for packet, codec in self._thread.each(self._queue):
            self._done += len(packet.payload)
            if self._stream != (packet.ssrc, codec) or self._units is None:
                self._end_stream()
                told = self._told.units if self._told is not None and self._told.codec == codec else None
                self._stream, self._units, self._sets = (packet.ssrc, codec), AccessUnits(codec), ParameterSets(codec, told)
            given_up = self._units.given_up
            for unit in self._units.push(packet):
                self._take(unit, codec)
            self._missed += self._units.given_up - given_up
        self._end_stream()

    def _end_stream(self) -> None:
        if self._units is not None and self._stream is not None:
            for unit in self._units.flush():
                self._take(unit, self._stream[1])
        self._close()

    def _take(self, unit: AccessUnit, codec: str) -> None:
        assert self._sets is not None
        self._sets.note([Unit(kind, True, True, data) for kind, data in unit.units])
        if not any(is_picture(kind, codec) for kind, _ in unit.units):
            return
        if self._file is not None and (self._is_gone() or (unit.starts and self._over(self._sets.units))):
            self._close()
        if self._file is None and not (unit.starts and self._sets.complete and self._open(codec, self._sets.units)):
            self._missed += 1
            return
        if self._broken and not unit.starts:
            self._missed += 1
            return
        known = {kind for kind, _ in unit.units}
        sets = [(kind, data) for kind, data in self._sets.units.items() if kind not in known] if unit.starts else []
        self._write(b"".join(START_CODE + data for _, data in (*sets, *unit.units)))

    def _is_gone(self) -> bool:
        """Tell whether somebody removed the file: what is written to it, nobody finds."""
        return self._file is not None and os.fstat(self._file.fileno()).st_nlink == 0

    def _over(self, sets: dict[int, bytes]) -> bool:
        return self._size >= self._segment_bytes or self._monotonic() - self._begun_s >= self._segment_s or sets != self._segment_sets

    def _open(self, codec: str, sets: dict[int, bytes]) -> bool:
        now_s = self._monotonic()
        if now_s - self._retry_s < _RETRY_S:
            return False
        name = f"{self._path.stem}-{self._wall():%Y%m%dT%H%M%SZ}"
        for turn in range(1, 1000):  # a clock that was set back gives names again that are taken
            place = self._path.with_name(f"{name}{f'-{turn}' if turn > 1 else ''}.{codec}")
            try:
                self._file = place.open("xb", buffering=0)
            except FileExistsError:
                continue
            except OSError as error:
                self._tell(error)
                self._retry_s = now_s
                return False
            self._place, self._size, self._broken = place, 0, False
            self._begun_s = self._synced_s = now_s
            self._segment_sets = sets
            return True
        return False

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        now_s = self._monotonic()
        if self._broken and now_s - self._retry_s < _RETRY_S:
            self._missed += 1
            return
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if now_s - self._synced_s >= _SYNC_S:
                self._synced_s = now_s
                os.fdatasync(self._file.fileno())
        except OSError as error:
            self._tell(error)
            self._missed, self._broken, self._retry_s = self._missed + 1, True, now_s
            self._cut()
            return
        if self._waiting:
            _LOG.warning("recording goes on in %s, after %d pictures that were missed", self._place, self._missed)
        self._broken = self._waiting = False
        self._size, self._written, self._pictures = self._size + len(data), self._written + len(data), self._pictures + 1

    def _cut(self) -> None:
        """Leave whole pictures alone in the file."""
        assert self._file is not None
        try:
            self._file.truncate(self._size)
            self._file.seek(self._size)
        except OSError:  # the disk is gone: another file, when it is back
            self._close()

    def _tell(self, error: OSError) -> None:
        if not self._waiting:
            self._waiting = True
            _LOG.warning("recording to %s waits for space: %s", self._place or self._path, error.strerror or error)

    def _close(self) -> None:
        if self._file is None:
            return
        try:
            os.fdatasync(self._file.fileno())
            self._file.close()
            if self._size == 0 and self._place is not None:
                self._place.unlink(missing_ok=True)
        except OSError as error:
            self._tell(error)
        self._file = self._place = None
