"""A camera's packets to pictures, in this process, by PyAV: no SDP, no second socket, and pictures of whatever size each of them has."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.sources.decoding import pyav
from edge.sources.live.rtp.access_units import AccessUnits
from edge.sources.live.rtp.gate import RtpGate
from edge.sources.live.rtp.nal import START_CODE
from edge.sources.live.rtp.packets import Packet

_LOOK_S = 0.05
_NAMES = {"h264": "h264", "h265": "hevc"}
BLIND_S = 4.0
"""A decoder that is fed for so long and shows nothing is opened anew."""


class PacketDecoder:
    """Reads the packets that a gate passes on; obeys `edge.sources.live.feed.Reading`.

    Attributes:
        pictures: how many it has made.
    """

    def __init__(self, gate: RtpGate, stopping: threading.Event, *, whole: bool) -> None:
        """Hear what passes the gate, until `stopping`.

        Args:
            gate: told of each picture.
            stopping: ends a `read` that waits.
            whole: whether pictures are to be whole; those that are not yet, as where intra refresh never says where it begins, are shown otherwise.
        """
        self._av, self._gate, self._stopping, self._whole = pyav.load(), gate, stopping, whole
        self._hearing = gate.hear()
        self.pictures = 0
        self._stream: tuple[int, str] | None = None
        self._units: AccessUnits | None = None
        self._codec: Any = None
        self._ready: deque[Any] = deque()
        self._reformatter: Any = self._av.video.reformatter.VideoReformatter()

    def read(self) -> NDArray[np.uint8] | None:
        """Return the next picture, (height, width, 3) uint8 BGR; None at the end, or if there was none for long though packets came."""
        fed_s = None
        while not self._ready:
            if self._stopping.is_set() or (fed_s is not None and time.monotonic() - fed_s > BLIND_S):
                return None
            came = self._hearing.get(_LOOK_S)
            if came is not None and came[1] is not None:
                fed_s = fed_s or time.monotonic()
                self._take(came[0], came[1])
        self._gate.note_picture()
        self.pictures += 1
        return np.asarray(self._reformatter.reformat(self._ready.popleft(), format="bgr24").to_ndarray(), np.uint8)

    def _take(self, packet: Packet, codec: str) -> None:
        if self._stream != (packet.ssrc, codec) or self._units is None:
            self._stream, self._units = (packet.ssrc, codec), AccessUnits(codec)
            self._codec = self._av.CodecContext.create(_NAMES[codec], "r")
            self._codec.thread_count = 1  # FFmpeg keeps a frame back for each thread beyond the first
            self._codec.options = {"flags": f"low_delay{'' if self._whole else '+output_corrupt'}"}
            sets = self._gate.sets
            if sets is not None and sets.codec == codec:  # those of an SDP may never be sent
                self._codec.extradata = b"".join(START_CODE + unit for unit in sets.units.values())
        for picture in self._units.push(packet):
            self._decode(b"".join(START_CODE + unit for _, unit in picture.units))

    def _decode(self, data: bytes) -> None:
        try:
            self._ready.extend(self._codec.decode(self._av.Packet(data)))
        except self._av.FFmpegError:  # what was damaged on its way, or has no beginning yet
            return

    def __enter__(self) -> PacketDecoder:
        return self

    def __exit__(self, *exc: object) -> None:
        self._ready.clear()
