"""Recordings by PyAV: every codec that FFmpeg knows, turned, deinterlaced, at the time that the file tells, in whatever size each frame has."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import SourceError
from edge.outside.picture_size import MOST_PIXELS
from edge.sources.decoding import pyav
from edge.sources.decoding.contract import Picture
from edge.sources.decoding.mp4 import is_unfinished
from edge.sources.decoding.orientation import UPRIGHT, Matrix, turned
from edge.sources.decoding.reasons import check_size, conversion, unopened

_LOG = logging.getLogger(__name__)
_THREADS = 4
"""What four hold between them at the end of a damaged file is lost."""
_BACKWARDS_S = 0.1
"""A clock that goes back further began anew: recordings were joined."""
_SHORT_S = 1.0
_FASTEST = 1000
"""More frames a second are a container's clock, no rate."""


class PyavDecoder:
    """An open file."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            SourceError: it is no recording that FFmpeg knows, or one without video, or in a codec without a decoder.
        """
        self._av, self._path = pyav.load(), path
        try:
            self._container: Any = self._av.open(str(path.resolve()), metadata_errors="replace")
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"wanted a video or an image in {path}, found {unopened(path)}") from error
        try:
            self._stream: Any = self._best()
            self._codec: Any = self._stream.codec_context
            check_size(path, self._codec.width, self._codec.height)
            self._codec.options = {"max_pixels": str(MOST_PIXELS)}  # the size may change on the way
            self._codec.thread_count = _THREADS
            # Threads that each decode a frame of their own tell late which one is broken; where each frame stands alone, that can be had exactly.
            self._codec.thread_type = "SLICE" if self._codec.codec.intra_only else "AUTO"
        except SourceError:
            self._container.close()
            raise
        rate: Fraction | None = self._stream.average_rate or self._stream.guessed_rate
        self.fps: float | None = float(rate) if rate and 0 < rate <= _FASTEST else None
        self._start_s = (self._container.start_time or 0) / self._av.time_base
        self._reformatter: Any = self._av.video.reformatter.VideoReformatter()
        self._deinterlacer: _Deinterlacer | None = None
        self._seen: tuple[int, ...] | None = None
        self._orientation = UPRIGHT
        self._read = self._pending = 0
        self._shift_s = self._ends_s = 0.0
        self._last_s: float | None = None

    @property
    def what(self) -> str:
        """Codec and container."""
        return f"{self._codec.name} in {self._container.format.name.partition(',')[0]}"

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _best(self) -> Any:
        streams = self._container.streams
        videos = [each for each in streams.video if not each.disposition & self._av.stream.Disposition.attached_pic]
        if not videos and is_unfinished(self._path):  # FFmpeg takes some for other kinds of file
            raise SourceError(f"wanted a video or an image in {self._path}, found {unopened(self._path)}")
        if not videos:
            found = f"sound alone ({streams.audio[0].codec_context.name})" if streams.audio else f"no video among its {len(streams)} streams"
            raise SourceError(f"wanted a video or an image in {self._path}, found {found}: choose another file")
        if any(each.disposition & self._av.stream.Disposition.dependent for each in videos):
            raise SourceError(f"wanted a picture in {self._path}, found {len(videos)} tiles that each hold a part of one: convert it by heif-convert")
        best = streams.best("video")
        stream = best if best in videos else videos[0]
        if stream.codec_context is None:
            raise SourceError(f"wanted a video in {self._path}, found a codec that FFmpeg has no decoder for: convert it by {conversion(self._path)}")
        return stream

    def __iter__(self) -> Iterator[Picture | int]:
        """Decode one picture after the other."""
        for packet in self._packets():
            try:
                frames, lost = self._codec.decode(packet), 0
            except self._av.FFmpegError:
                frames, lost = [], 1 if packet.size else max(self._pending, 1)  # an error at the end takes along what the threads held
            self._pending = min(max(self._pending + (packet.size > 0) - len(frames) - lost, 0), _THREADS)
            for frame in frames:
                yield from map(self._picture, self._deinterlaced(frame))
            if lost:
                yield lost
        if self._deinterlacer is not None:
            yield from map(self._picture, self._deinterlacer.rest())
        missing = self._missing()
        if missing > 0:
            yield missing

    def _packets(self) -> Iterator[Any]:
        """Read packets; a file that is broken in its middle ends there. The last one is empty, and asks the decoder for what it still holds."""
        with suppress(self._av.FFmpegError):
            for packet in self._container.demux(self._stream):
                self._read += packet.size > 0
                if packet.size or packet.dts is None:  # AVI has empty ones in its midst
                    yield packet

    def _deinterlaced(self, frame: Any) -> Iterator[Any]:
        if self._deinterlacer is None and not frame.interlaced_frame:
            yield frame
            return
        if self._deinterlacer is None or not self._deinterlacer.fits(frame):
            if self._deinterlacer is not None:
                yield from self._deinterlacer.rest()
            self._deinterlacer = _Deinterlacer(self._av, frame)
        yield from self._deinterlacer.push(frame)

    def _picture(self, frame: Any) -> Picture:
        image: NDArray[np.uint8] = self._reformatter.reformat(frame, format="bgr24").to_ndarray()
        if self._seen != image.shape:  # a frame that is asked for its side data stays until Python's collector comes
            self._seen, self._orientation = image.shape, _matrix(frame)
        return Picture(turned(image, self._orientation), self._media_s(frame))

    def _media_s(self, frame: Any) -> float | None:
        step_s = 1 / self.fps if self.fps is not None else 0.0
        if frame.time is not None:
            at_s = float(frame.time) - self._start_s + self._shift_s
            if self._last_s is not None and at_s < self._last_s - _BACKWARDS_S:
                self._shift_s += self._last_s + step_s - at_s
                at_s = self._last_s + step_s
        elif self.fps is None:
            return None
        else:
            at_s = 0.0 if self._last_s is None else self._last_s + step_s
        self._last_s, self._ends_s = max(at_s, self._last_s or at_s), at_s + step_s
        return round(self._last_s, 6)

    def _missing(self) -> int:
        """Count the frames that the header tells of and the file does not hold."""
        missing = int(self._stream.frames) - self._read
        if missing > 0 and "mov" in self._container.format.name and self._stream.duration is not None:
            # An edit list leaves out some of the frames that the header counts, and the duration is what it leaves.
            told_s = float((self._stream.start_time + self._stream.duration) * self._stream.time_base) - self._start_s
            missing = min(missing, round((told_s - self._ends_s) * (self.fps or 0.0)))
        elif not self._stream.frames and len(self._container.streams) == 1 and (self._container.duration or 0) / self._av.time_base > self._ends_s + _SHORT_S:
            lasts_s = self._container.duration / self._av.time_base
            _LOG.warning("%s tells that it lasts %.1f s, and its pictures end at %.1f s: it may have been cut off", self._path, lasts_s, self._ends_s)
        return missing


class _Deinterlacer:
    """FFmpeg's yadif: makes whole frames of two fields, and lets frames through that are whole."""

    def __init__(self, av: Any, frame: Any) -> None:
        self._av, self._like = av, (frame.width, frame.height, frame.format.name)
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, av.time_base))
        self._graph.link_nodes(source, self._graph.add("yadif", "deint=interlaced"), self._graph.add("buffersink")).configure()

    def fits(self, frame: Any) -> bool:
        return self._like == (frame.width, frame.height, frame.format.name)

    def push(self, frame: Any) -> Iterator[Any]:
        self._graph.push(frame)
        return self._ready()

    def rest(self) -> Iterator[Any]:
        return self.push(None)

    def _ready(self) -> Iterator[Any]:
        with suppress(self._av.FFmpegError):  # wants another, or has ended
            while True:
                yield self._graph.pull()


def _matrix(frame: Any) -> Matrix:
    for each in frame.side_data:
        if each.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(each, np.int32, 5).tolist()
            return a, b, c, d
    return UPRIGHT
