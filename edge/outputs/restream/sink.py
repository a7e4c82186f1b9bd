"""Sends the annotated picture on as H.264, in a thread of its own with one encoder: frames that it has no time for are left out."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.board.extras import install
from edge.errors import MissingDependency, OutputError, one_line
from edge.frame import FeedState
from edge.outputs.annotate import annotate
from edge.outputs.restream.address import Target
from edge.outputs.restream.sending import DATAGRAM, Way, check_program, open_way
from edge.outputs.video import fitted
from edge.process.threads import Worker
from edge.result import Result
from edge.sources.decoding import pyav

_LOG = logging.getLogger(__name__)

_CLOCK_HZ = 90_000
_PACKET = 1200
"""Bytes of an RTP packet: it fits through a tunnel."""
_QUEUED = 2
_AGAIN_S, _END_S = 1.0, 0.5
_EARLY = 0.25
"""Share of a frame's time by which one may come early: feeds jitter."""


class RestreamSink:
    """Sends while it is open; the size is that of the first frame, made smaller where it is wider than was asked for.

    Attributes:
        missed: frames that were due and that the encoder had no time for, or that could not be sent.
    """

    def __init__(self, target: Target, labels: Sequence[str], *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Send to a target.

        Raises:
            MissingDependency: PyAV, or the program that sends SRT, is not installed.
        """
        if not pyav.is_here():
            raise MissingDependency(f"wanted PyAV for --restream, found none: {install('video')}")
        check_program(target)
        self._target, self._labels, self._clock_s = target, labels, clock_s
        self._queue: queue.Queue[Result] = queue.Queue(_QUEUED)
        self._thread = Worker(self._work, "restream")
        self._stream: _Stream | None = None
        self._begun_s: float | None = None
        self._due_s = self._wait_until_s = float("-inf")
        self._told = ""
        self.missed = 0

    def __enter__(self) -> RestreamSink:
        self._thread.start()
        told = f"{'restream':<14}{self._target.told}, H.264, {self._target.fps} frames a second at most"
        print(f"{told}; as a file for players (.sdp):\n{self._target.sdp}" if self._target.scheme == "rtp" else told, flush=True)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._thread.stop(_END_S):
            return
        stream = self._stream
        if stream is not None:
            stream.way.cut()
        if not self._thread.stop():
            _LOG.warning("the way to %s hangs: it is left behind", self._target.told)

    def feed(self, state: FeedState) -> None:
        """Nothing: a stream holds frames that came, and no others."""

    def write(self, result: Result) -> None:
        """Leave a frame to be sent, where one is due; never waits."""
        now_s, step_s = self._clock_s(), 1 / self._target.fps
        if result.final or now_s < self._due_s - _EARLY * step_s:
            return
        self._due_s = max(self._due_s + step_s, now_s)
        try:
            self._queue.put_nowait(result)
        except queue.Full:
            self.missed += 1

    def _work(self) -> None:
        try:
            for result in self._thread.each(self._queue):
                try:
                    self._take(result)
                except OutputError as error:
                    self.missed += 1
                    self._close()
                    self._wait_until_s = self._clock_s() + _AGAIN_S
                    self._tell(str(error))
        finally:
            self._close()

    def _take(self, result: Result) -> None:
        if self._clock_s() < self._wait_until_s:
            self.missed += 1
            return
        if self._stream is None:
            self._stream = _Stream(self._target, result.frame.image.shape[1::-1])
        now_s = self._clock_s()
        self._begun_s = now_s if self._begun_s is None else self._begun_s
        self._stream.send(annotate(result, self._labels), now_s - self._begun_s)
        if self._stream.way.stands:
            self._tell("")

    def _tell(self, trouble: str) -> None:
        """Say once that nothing can be sent, and once that it goes on."""
        if trouble and not self._told:
            _LOG.warning("wanted to send the picture to %s, %s; tried again each second", self._target.told, trouble)
        elif self._told and not trouble:
            _LOG.warning("the picture is sent to %s again", self._target.told)
        self._told = trouble

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


class _Stream:
    """An encoder of one thread, a muxer, and the `way` out."""

    def __init__(self, target: Target, size_wh: Sequence[int]) -> None:
        """Open all three.

        Raises:
            OutputError: one of them is refused.
        """
        self._av = av = pyav.load()
        share = min(target.width / size_wh[0], 1.0)
        self._size_wh = tuple(max(2 * round(side * share / 2), 2) for side in size_wh)
        self._last_pts = -1
        self.way: Way = open_way(target)
        rtp = target.scheme == "rtp"
        options = {"packetsize": str(_PACKET)} if rtp else {"mpegts_flags": "resend_headers", "flush_packets": "1"}
        # An intra frame a second, with parameter sets before it: who comes late sees a picture at once.
        coding = {"preset": "ultrafast", "tune": "zerolatency", "g": str(target.fps), "x264-params": "repeat-headers=1"}
        rates = {"b": f"{target.kbit_s}k", "maxrate": f"{target.kbit_s}k", "bufsize": f"{target.kbit_s // 2}k"}
        try:
            self._container = av.open(self.way, "w", format="rtp" if rtp else "mpegts", options=options, buffer_size=2 * _PACKET if rtp else DATAGRAM)
            self._stream: Any = self._container.add_stream("libx264", rate=target.fps, options=coding | rates)
            self._stream.width, self._stream.height = self._size_wh
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, _CLOCK_HZ)
            self._stream.codec_context.thread_count = 1
        except (av.FFmpegError, OSError, ValueError) as error:
            self.way.close()
            raise OutputError(f"the encoder refused: {one_line(error)}") from error

    def send(self, image: NDArray[np.uint8], at_s: float) -> None:
        """Send a picture, (height, width, 3) uint8 BGR.

        Raises:
            OutputError: it cannot be encoded or sent.
        """
        try:
            frame = self._av.VideoFrame.from_ndarray(fitted(image, (self._size_wh[0], self._size_wh[1])), format="bgr24")
            self._last_pts = frame.pts = max(round(at_s * _CLOCK_HZ), self._last_pts + 1)
            frame.time_base = Fraction(1, _CLOCK_HZ)
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (self._av.FFmpegError, OSError) as error:
            raise OutputError(one_line(error)) from error

    def close(self) -> None:
        """Close all three; what the way does not take is lost."""
        try:
            self._container.close()
        except (self._av.FFmpegError, OSError, OutputError):
            pass
        finally:
            self.way.close()
