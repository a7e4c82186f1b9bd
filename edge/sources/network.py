"""Streams that FFmpeg receives by itself, through PyAV: MPEG-TS and raw H.264 on UDP, SRT, RTMP, and HTTP's MJPEG and HLS. RTP and RTSP are elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import SourceError
from edge.sources.capture import OPEN_TIMEOUT_MS, READ_TIMEOUT_MS
from edge.sources.decoding import pyav
from edge.sources.live.feed import LiveSource
from edge.sources.uri import without_credentials

SCHEMES = ("udp", "srt", "rtmp", "rtmps", "http", "https")
_OPTIONS = {"fflags": "nobuffer", "flags": "low_delay", "probesize": "500000", "analyzeduration": "1000000"}


def open_stream(address: str) -> LiveSource:
    """Prepare a live feed of an address as FFmpeg has it, its options included; nothing is opened before its context is entered."""
    return LiveSource(without_credentials(address), _Stream(address), None)


def receives(scheme: str) -> bool:
    """Tell whether this PyAV was built with what one of `SCHEMES` needs: not every wheel has SRT."""
    av = pyav.load()
    if scheme == "srt":
        try:
            av.open("srt://")  # no address: it cannot be opened, and the error tells why
        except av.error.ProtocolNotFoundError:
            return False
        except (av.FFmpegError, OSError, ValueError):
            pass
    return True


class _Stream:
    """What can be opened again and again."""

    damaged, foreign, sending = 0, 0, True

    def __init__(self, address: str) -> None:
        self._address, self._shown = address, without_credentials(address)

    @property
    def doing(self) -> str:
        return f"FFmpeg, {self._shown}"

    @property
    def opens(self) -> str:
        return f"FFmpeg by PyAV, {' '.join(f'-{key} {value}' for key, value in _OPTIONS.items())} -i {self._shown}"

    def wait(self, stopping: threading.Event) -> bool:
        return not stopping.is_set()

    def open(self) -> _Reading:
        return _Reading(self._address, self._shown)

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class _Reading:
    """An open stream."""

    def __init__(self, address: str, shown: str) -> None:
        """Open it.

        Raises:
            SourceError: it cannot be opened in time, or has no video.
        """
        self._av = pyav.load()
        try:
            self._container: Any = self._av.open(address, options=_OPTIONS, timeout=(OPEN_TIMEOUT_MS / 1000, READ_TIMEOUT_MS / 1000))
        except (self._av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no stream that FFmpeg knows"
            raise SourceError(f"wanted video from {shown}, {reason}: check that it is there and sends") from error
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None:
            self._container.close()
            raise SourceError(f"wanted video from {shown}, found none in its {len(self._container.streams)} streams: check what it sends")
        stream.codec_context.thread_count = 1  # FFmpeg keeps a frame back for each thread beyond the first
        self._coming = self._frames(stream)
        self._reformatter: Any = self._av.video.reformatter.VideoReformatter()

    def read(self) -> NDArray[np.uint8] | None:
        """Return the next frame, (height, width, 3) uint8 BGR; None if none came in time, or the stream has ended."""
        frame = next(self._coming, None)
        return None if frame is None else np.asarray(self._reformatter.reformat(frame, format="bgr24").to_ndarray(), np.uint8)

    def _frames(self, stream: Any) -> Iterator[Any]:
        try:
            for packet in self._container.demux(stream):
                try:
                    yield from packet.decode()
                except self._av.InvalidDataError:  # a packet that was damaged on its way
                    continue
        except self._av.FFmpegError:  # it stays silent, or has ended
            return

    def __enter__(self) -> _Reading:
        return self

    def __exit__(self, *exc: object) -> None:
        self._container.close()
