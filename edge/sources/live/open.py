"""The URIs of live sources, as Jetson users write them, to feeds: csi://0, v4l2:///dev/video0, rtsp://HOST/PATH, rtp://@:5600.

GStreamer where OpenCV has it, FFmpeg by PyAV otherwise; `backend=` chooses. Options: `codec=h264|h265` (rtp, and rtsp by GStreamer), `forward=HOST:PORT,...`,
`record=FILE` and `from=HOST[:PORT]` (rtp), `width`, `height`, `fps` (csi, v4l2), `flip=180|horizontal|vertical` (all).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.board.extras import install
from edge.errors import SourceError
from edge.sources.capture import Reader, gstreamer_elements, has_gstreamer, open_gstreamer, open_v4l2
from edge.sources.decoding import pyav
from edge.sources.live import pipelines
from edge.sources.live.feed import LiveSource
from edge.sources.live.rtp.decoding import PacketDecoder
from edge.sources.live.rtp.gate import RtpGate
from edge.sources.live.rtp.nal import CODECS, ParameterSets
from edge.sources.live.rtp.packets import Renumbering
from edge.sources.live.rtp.sdp import read_sdp
from edge.sources.network import Stream
from edge.sources.uri import Uri, without_credentials

SCHEMES = ("csi", "v4l2", "rtsp", "rtsps", "rtp")
GSTREAMER, FFMPEG = "gstreamer", "ffmpeg"
_FLIPS = {"180": -1, "horizontal": 1, "vertical": 0}
_NVIDIA = ("nvarguscamerasrc", "nvv4l2decoder", "nvvidconv")
_CSI_SIZE_WH, _CSI_FPS = (1280, 720), 30
_POLL_S = 0.01
_FRESH_NS = 500_000_000
"""A decoder is opened while packets come, not for those of long ago."""
_ANYWAY_S = 4.0
"""A stream that says nowhere that decoding can begin is begun anyway."""

Image = NDArray[np.uint8]


def open_live(uri: Uri) -> LiveSource:
    """Prepare a live feed; nothing is opened before its context is entered.

    Raises:
        SourceError: an option that is unknown or out of range, or a back end that is not here.
    """
    maker: dict[str, Callable[[Uri], tuple[Any, float | None]]] = {"csi": _csi, "v4l2": _v4l2, "rtsp": _rtsp, "rtsps": _rtsp, "rtp": _rtp}
    camera, fps = maker[uri.scheme](uri)
    return LiveSource(uri.text, camera, fps, _flip(uri))


def open_described(uri: Uri) -> LiveSource:
    """Prepare a live feed of the RTP stream that an SDP file tells of; nothing is opened before its context is entered.

    Raises:
        SourceError: an option that is unknown, a file that tells of no such stream, or no PyAV.
    """
    uri.check_keys("forward", "record", "from", "flip")
    if not pyav.is_here():
        raise SourceError(f"wanted PyAV for {uri.text}, found none: {install('video')}")
    told = read_sdp(Path(uri.path))
    return LiveSource(uri.text, _RtpCamera(uri, told.host, told.port, FFMPEG, told.sets), None, _flip(uri))


class _Plain:
    """A camera that one call opens."""

    damaged, foreign, sending, why = 0, 0, True, ""

    def __init__(self, doing: str, opens: str, open_it: Callable[[], Reader]) -> None:
        self.doing, self.opens, self._open = doing, opens, open_it

    def wait(self, stopping: threading.Event) -> bool:
        return not stopping.is_set()

    def open(self) -> Reader:
        return self._open()

    def __enter__(self) -> _Plain:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class _Decoded:
    """GStreamer's decoder behind the gate, which is told of each picture: a sender is believed when it can be seen."""

    def __init__(self, reader: Reader, gate: RtpGate) -> None:
        self._reader, self._gate, self._sequence_set = reader, gate, gate.sequence_set

    def read(self) -> Image | None:
        image = self._reader.read()
        if self._gate.sequence_set != self._sequence_set:  # OpenCV may go on with the size that it began with
            return None
        if image is not None:
            self._gate.note_picture()
        return image

    def __enter__(self) -> _Decoded:
        return self

    def __exit__(self, *exc: object) -> None:
        self._reader.close()


class _RtpCamera:
    """The RTP stream of a port, through the gate that owns it; a decoder is opened when the gate has seen what it needs."""

    def __init__(self, uri: Uri, host: str, port: int, backend: str, told: ParameterSets | None = None) -> None:
        codec = uri.query.get("codec") if told is None else told.codec
        forward = [_address(uri, each) for each in uri.query.get("forward", "").split(",") if each]
        record = Path(uri.query["record"]) if uri.query.get("record") else None
        self._gate = RtpGate(host, port, forward=forward, record=record, codec=codec, sender=_sender(uri), told=told)
        self._backend, self._port, self._text, self._codec = backend, port, uri.text, codec or "h265"
        self._stopping = threading.Event()
        self._decoder: PacketDecoder | None = None
        if backend == FFMPEG:
            pyav.load()  # not only when the first packets are there

    @property
    def opens(self) -> str:
        counters = self._gate.counters
        stream = (self._gate.port, counters.codec or self._codec, Renumbering.PAYLOAD_TYPE)
        if self._backend == GSTREAMER:
            return pipelines.gstreamer_rtp(*stream, gstreamer_elements(*_NVIDIA))
        return f"FFmpeg by PyAV, flags low_delay, of the {stream[1]} in the packets on UDP {self._port}"

    @property
    def why(self) -> str:
        return self._gate.why

    @property
    def doing(self) -> str:
        counters = self._gate.counters
        foreign = f", {counters.foreign} of others" if counters.foreign else ""
        if not counters.packets:
            return f"{self._backend}, no packets on UDP {self._port} yet{foreign}"
        by = pipelines.decoder(counters.codec or "h265", gstreamer_elements(*_NVIDIA)) if self._backend == GSTREAMER else self._backend
        return f"{by}, {counters.codec or 'unknown codec'} on UDP {self._port}, {counters.packets} packets, {counters.lost} lost{foreign}"

    @property
    def damaged(self) -> int:
        return self._gate.counters.lost

    @property
    def foreign(self) -> int:
        return self._gate.counters.foreign

    @property
    def sending(self) -> bool:
        return time.monotonic_ns() - self._gate.counters.last_ns < _FRESH_NS

    def wait(self, stopping: threading.Event) -> bool:
        """Wait for packets, parameter sets and a picture that decoding can begin with: the gate gives it to the decoder again. Some streams never say so."""
        self._stopping = stopping
        since_s = None
        while not stopping.wait(_POLL_S):
            if not self.sending or not self._gate.parameters:
                since_s = None
                continue
            since_s = since_s or time.monotonic()
            if self._gate.counters.intra_ns or time.monotonic() - since_s > _ANYWAY_S:
                return True
        return False

    def open(self) -> _Decoded | PacketDecoder:
        counters = self._gate.counters
        codec = counters.codec
        if codec is None or not self._gate.parameters:
            raise SourceError(f"wanted parameter sets on UDP {self._port}, another sender took the place of the one that had them: wait for its own")
        if self._backend == FFMPEG:
            blind = self._decoder is not None and not self._decoder.pictures
            self._decoder = PacketDecoder(self._gate, self._stopping, whole=counters.intra_ns > 0 and not blind)
            return self._decoder
        self._gate.expect_decoder()
        pipeline = pipelines.gstreamer_rtp(self._gate.port, codec, Renumbering.PAYLOAD_TYPE, gstreamer_elements(*_NVIDIA))
        return _Decoded(open_gstreamer(pipeline, self._text), self._gate)

    def __enter__(self) -> _RtpCamera:
        self._gate.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._gate.__exit__(None, None, None)


def _rtp(uri: Uri) -> tuple[_RtpCamera, None]:
    uri.check_keys("codec", "forward", "record", "from", "flip", "backend")
    host, port = _address(uri, uri.path.removeprefix("@"))
    return _RtpCamera(uri, host, port, _backend(uri)), None


def _sender(uri: Uri) -> tuple[str, int | None] | None:
    text = uri.query.get("from")
    if text is None:
        return None
    return _address(uri, text) if ":" in text else (text, None)


def _rtsp(uri: Uri) -> tuple[_Plain | Stream, None]:
    # What else stands in the query is the camera's own.
    url = f"{uri.scheme}://{uri.without('codec', 'flip', 'backend')}"
    shown = without_credentials(f"{uri.scheme}://{uri.path}")
    if _backend(uri) == FFMPEG:
        return Stream(url, shown), None
    codec = uri.query.get("codec", "h264")
    if codec not in CODECS:
        raise SourceError(f"wanted codec {' or '.join(CODECS)}, found {codec!r}")
    if set('"\\') & set(url):  # they would end the quotation in the pipeline
        raise SourceError(f"wanted an address without quotation marks and backslashes, found {shown}: write %22 and %5C")
    elements = gstreamer_elements(*_NVIDIA)
    pipeline, told = (pipelines.gstreamer_rtsp(each, codec, elements) for each in (url, shown))
    return _Plain(f"{pipelines.decoder(codec, elements)}, {shown}", told, lambda: open_gstreamer(pipeline, shown)), None


def _v4l2(uri: Uri) -> tuple[_Plain, float | None]:
    uri.check_keys("width", "height", "fps", "flip")
    device, size_wh, fps = uri.path, _size_wh(uri, None), uri.rate("fps", 30.0) if "fps" in uri.query else None
    if not device.startswith("/dev/"):
        raise SourceError(f"wanted a camera's device such as v4l2:///dev/video0, found {uri.text}: list them with v4l2-ctl --list-devices")
    asked = f"{', {}x{}'.format(*size_wh) if size_wh else ''}{f', {fps:g} frames a second' if fps else ''}"
    return _Plain(f"V4L2, {device}", f"V4L2, {device}, MJPG{asked}", lambda: open_v4l2(device, size_wh, fps)), fps


def _csi(uri: Uri) -> tuple[_Plain, float]:
    uri.check_keys("width", "height", "fps", "flip")
    if not uri.path.isdecimal():
        raise SourceError(f"wanted the number of a CSI camera such as csi://0, found {uri.text}")
    if not has_gstreamer() or "nvarguscamerasrc" not in gstreamer_elements(*_NVIDIA):
        raise SourceError(f"wanted GStreamer with nvarguscamerasrc for {uri.text}, found none: it comes with JetPack and its own OpenCV, on a Jetson alone")
    size_wh, fps = _size_wh(uri, _CSI_SIZE_WH) or _CSI_SIZE_WH, uri.whole("fps", _CSI_FPS, least=1, most=240)
    pipeline = pipelines.gstreamer_csi(int(uri.path), size_wh, fps)
    return _Plain(f"nvarguscamerasrc, camera {uri.path}", pipeline, lambda: open_gstreamer(pipeline, uri.text, size_wh)), float(fps)


def _backend(uri: Uri) -> str:
    named = uri.query.get("backend", "auto")
    if named not in ("auto", GSTREAMER, FFMPEG):
        raise SourceError(f"wanted backend auto, {GSTREAMER} or {FFMPEG} in {uri.text}, found {named!r}")
    if named == GSTREAMER and not has_gstreamer():
        raise SourceError(f"wanted GStreamer for {uri.text}, this OpenCV has none: take the system's (python3-opencv) in a venv with system site packages")
    chosen = (GSTREAMER if has_gstreamer() else FFMPEG) if named == "auto" else named
    if chosen == FFMPEG and not pyav.is_here():
        raise SourceError(f"wanted PyAV or an OpenCV with GStreamer for {uri.text}, found neither: {install('video')}")
    return chosen


def _size_wh(uri: Uri, default: tuple[int, int] | None) -> tuple[int, int] | None:
    if default is None and not {"width", "height"} & set(uri.query):
        return None
    width, height = default or (1280, 720)
    return uri.whole("width", width, least=1, most=7680), uri.whole("height", height, least=1, most=4320)


def _flip(uri: Uri) -> Callable[[Image], Image] | None:
    named = uri.query.get("flip")
    if named is None:
        return None
    if named not in _FLIPS:
        raise SourceError(f"wanted flip {', '.join(_FLIPS)} in {uri.text}, found {named!r}")
    return lambda image: np.asarray(cv2.flip(image, _FLIPS[named]), np.uint8)


def _address(uri: Uri, text: str) -> tuple[str, int]:
    host, found, port = text.rpartition(":")
    if not found or not port.isdecimal() or not 0 < int(port) < 65536:
        raise SourceError(f"wanted HOST:PORT, found {text!r} in {uri.text}: write it as in rtp://@:5600?codec=h265")
    return host, int(port)
