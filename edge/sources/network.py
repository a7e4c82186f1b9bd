"""Streams that FFmpeg receives by itself, through PyAV: MPEG-TS and raw H.264 on UDP, SRT, RTMP, and HTTP's MJPEG and HLS. RTP and RTSP are elsewhere."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from edge.errors import SourceError
from edge.outside.text import printable
from edge.sources.decoding import pyav
from edge.sources.live.feed import LiveSource
from edge.sources.live.rtp.kinds import kind_of
from edge.sources.live.rtp.sockets import open_udp
from edge.sources.uri import without_credentials

SCHEMES = ("udp", "srt", "rtmp", "rtmps", "http", "https")
OPEN_S, SHORTEST_S, LONGEST_S = 5.0, 1.5, 15.0
"""How long opening may take, and the bounds of how long a frame may."""
_OPTIONS = {"fflags": "nobuffer", "flags": "low_delay", "probesize": "500000", "analyzeduration": "1000000"}
_RTSP = {"rtsp_transport": "tcp+udp", "rtsp_flags": "prefer_tcp"}, {"rtsp_transport": "udp"}
"""Tried in turns: some cameras that have UDP alone say so, others only fail."""
_SNIFFED_S = 0.4
_SURELY = 0.9
_CURES = {
    401: "401 Unauthorized: write USER:PASSWORD@ before the host, in a file (@camera.txt)",
    403: "403 Forbidden: ask the camera's owner for the right to look",
    404: "404 Not Found: check the path behind the host, it is the camera's own",
    errno.ECONNREFUSED: "Connection refused: nothing listens on that port, check host and port",
    errno.EHOSTUNREACH: "no route to the host: check its address, and that it is switched on",
    errno.ENETUNREACH: "no network: check this machine's own connection",
    errno.ETIMEDOUT: "no answer: check its address, and that it is switched on",
}


def open_stream(address: str) -> LiveSource:
    """Prepare a live feed of an address as FFmpeg has it, its options included; nothing is opened before its context is entered."""
    return LiveSource(without_credentials(address), Stream(address, without_credentials(address)), None)


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


class Stream:
    """An address that can be opened again and again; obeys `edge.sources.live.feed.Camera`."""

    damaged, foreign, sending, why = 0, 0, True, ""

    def __init__(self, address: str, shown: str) -> None:
        """Take an address as FFmpeg has it, and as people may see it."""
        self._address, self._shown = address, shown
        self._tried = 0
        self._reading: _Reading | None = None
        self._patience_s = SHORTEST_S
        pyav.load()  # not only when it is opened

    @property
    def _options(self) -> dict[str, str]:
        if not self._address.lower().startswith("rtsp"):
            return _OPTIONS
        return _OPTIONS | _RTSP[self._tried % len(_RTSP)]

    @property
    def doing(self) -> str:
        """What is opened, for people."""
        return f"FFmpeg, {self._shown}"

    @property
    def opens(self) -> str:
        """The command line that would open the same."""
        return f"FFmpeg by PyAV, {' '.join(f'-{key} {value}' for key, value in self._options.items())} -i {self._shown}"

    def wait(self, stopping: threading.Event) -> bool:
        """Nothing is to be waited for."""
        return not stopping.is_set()

    def open(self) -> _Reading:
        """Open it; raises as `_Reading` does."""
        if self._reading is not None:  # a camera may give a frame in some seconds, and is not to be opened anew for each
            self._patience_s = min(max(SHORTEST_S, 2 * max(self._reading.longest_s, self._patience_s * self._reading.came)), LONGEST_S)
        try:
            self._reading = _Reading(self._address, self._shown, self._options, self._patience_s)
        except SourceError:
            self._reading, self._tried = None, self._tried + 1
            raise
        return self._reading

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class _Reading:
    """An open stream.

    Attributes:
        came: whether it gave a frame.
        longest_s: the longest time between two of its frames.
    """

    def __init__(self, address: str, shown: str, options: dict[str, str], patience_s: float) -> None:
        """Open it.

        Raises:
            SourceError: it cannot be opened in time, or has no video.
        """
        self._av = pyav.load()
        self.came, self.longest_s, self._last_s = False, 0.0, 0.0
        began_s = time.monotonic()
        try:
            self._container: Any = self._av.open(address, options=options, timeout=(OPEN_S, patience_s))
        except (self._av.FFmpegError, OSError, ValueError) as error:
            silent = time.monotonic() - began_s >= _SURELY * OPEN_S and isinstance(error, self._av.InvalidDataError)  # as RTSP tells that its time is over
            raise SourceError(f"wanted video from {shown}, {_reason(self._av, TimeoutError(errno.ETIMEDOUT, '') if silent else error, address)}") from error
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None:
            self._container.close()
            raise SourceError(f"wanted video from {shown}, found none in its {len(self._container.streams)} streams: check what it sends")
        stream.codec_context.thread_count = 1  # FFmpeg keeps a frame back for each thread beyond the first
        self._coming = self._frames(stream)
        self._reformatter: Any = self._av.video.reformatter.VideoReformatter()

    def read(self) -> NDArray[np.uint8] | None:
        """Return the next frame, (height, width, 3) uint8 BGR; None if none came in time, or the stream has ended."""
        frame, now_s = next(self._coming, None), time.monotonic()
        if frame is not None:
            self.longest_s, self._last_s = max(self.longest_s, now_s - self._last_s if self.came else 0.0), now_s
            self.came = True
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


def _reason(av: Any, error: Exception, address: str) -> str:
    """Say what was found at an address that cannot be opened, and what cures it."""
    try:
        place = urlsplit(address)
        host, port = place.hostname or "", place.port
    except ValueError:
        return "no address that can be read: check it"
    if place.scheme == "udp" and port:
        return _heard(host, port)
    if host and not _is_known(host):
        return f"no such host, {printable(host)}: check its name, and that this machine's name server knows it"
    if place.scheme in ("rtsp", "rtsps") and isinstance(error, av.InvalidDataError):  # FFmpeg says this for whatever kept it from asking
        fault = _unreached(host, port or 554)
        if fault is None:
            return "found something at that port that does not answer as a camera: check host and port"
        error = fault
    status = {av.error.HTTPUnauthorizedError: 401, av.error.HTTPForbiddenError: 403, av.error.HTTPNotFoundError: 404, av.error.ExitError: errno.ETIMEDOUT}
    cure = _CURES.get(status.get(type(error)) or getattr(error, "errno", None) or 0)
    return f"found {cure or (getattr(error, 'strerror', None) or 'no stream that FFmpeg knows') + ': check that it is there and sends'}"


def _is_known(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return False


def _unreached(host: str, port: int) -> OSError | None:
    """Return why nothing can be reached at a TCP port; None where something can."""
    try:
        socket.create_connection((host, port), _SNIFFED_S).close()
    except TimeoutError:
        return TimeoutError(errno.ETIMEDOUT, "")
    except OSError as error:
        return error
    return None


def _heard(host: str, port: int) -> str:
    """Listen ourselves for a moment, where FFmpeg could make nothing of what comes to a port."""
    try:
        with open_udp(host, port) as listening:
            listening.settimeout(_SNIFFED_S)
            kind = kind_of(listening.recv(1 << 16))
    except TimeoutError:
        return f"found nothing that comes to UDP {port}: check that the sender sends to this machine's address and this port, and the firewall"
    except SourceError as error:
        return f"found that the port cannot be had ({error})"
    except OSError as error:
        return f"found {error.strerror or error}: check the address"
    cure = f"give rtp://@:{port}" if kind.startswith("RTP") else "send MPEG-TS, or H.264 with its parameter sets before each intra frame"
    return f"found {kind} on UDP {port}: {cure}"
