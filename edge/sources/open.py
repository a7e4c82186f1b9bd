"""Opens what a user names as a source: a folder, an image, a video, the drawn flight, or a camera."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from glob import escape, glob
from os.path import commonpath
from pathlib import Path
from urllib.parse import unquote

from edge.board.extras import install
from edge.errors import SourceError
from edge.frame import Source
from edge.images import SUFFIXES
from edge.sources.ahead import Ahead
from edge.sources.decoding import pyav
from edge.sources.realtime import Realtime
from edge.sources.recorded import StillSource, find_images, pictures_among
from edge.sources.sequence import Recordings
from edge.sources.uri import Uri, exists, listed, parse_uri, source_of
from edge.sources.video import VideoSource

_WEBCAM = re.compile(r"(?:(?P<number>[0-9]{1,3})|webcam|camera)(?P<query>\?.*)?", re.IGNORECASE)
_NUMBERED = re.compile(r"%0?[0-9]*d")
_DEVICES = "/dev/video", "/dev/v4l/"
_FILM_FPS = 25.0
"""Of numbered pictures, as FFmpeg takes them."""
_RECORDINGS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
_ASKED, _HEARD = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "http", "https"}), frozenset({"udp", "srt"})
"""Schemes of which a host is asked, and those that may wait for one that sends."""
_ANIMATED, _DESCRIBED = ".gif", ".sdp"


def open_source(uri: str) -> Source:
    """Open a folder, an image, a video, `demo://?seed=0&frames=600&width=960&height=540&fps=30`, or a camera (`edge.sources.live.open` has their URIs).

    demo:// is a drone's flight, with `lens=0` through a pinhole, and with `view=car` a car's view.
    `realtime=1` in the query of a video or of demo:// plays it at its own speed and keeps only the newest frame, as a camera does. `fps=30` behind a folder or
    a pattern (`frames/*.jpg`, `frames/%04d.jpg`) makes its pictures the frames of a film. `0`, `webcam` and `/dev/video0` are USB cameras. `@FILE` stands for
    the source in a file's first line, or for the recordings in its lines, one after another.

    Raises:
        SourceError: nothing there, nothing that can be read as frames, an unknown scheme, or an option that is unknown or out of range.
        InputError: a flight that cannot be drawn.
    """
    if paths := _recordings(uri):
        return Ahead(Recordings(uri, paths))
    text = _meant(source_of(uri))
    parsed = parse_uri(text)
    if parsed.scheme == "demo":
        from edge.sources.demo import DemoSource

        return _at_own_speed(parsed, DemoSource(parsed))
    if parsed.scheme:
        return _open_camera(parsed, text)
    return _open_path(parsed)


def _open_camera(uri: Uri, text: str) -> Source:
    """Open a camera or a stream; `text` is its address with user and password."""
    from edge.sources import network
    from edge.sources.live.open import SCHEMES, open_live

    if uri.scheme in _ASKED | _HEARD:
        uri.check_host(listens=uri.scheme in _HEARD)
    if uri.scheme in SCHEMES:
        return open_live(uri)
    if uri.scheme not in network.SCHEMES:
        known = f"a folder, an image, a video, demo://, {'://, '.join((*SCHEMES, *network.SCHEMES))}://"
        raise SourceError(f"wanted {known}, found {uri.text}, whose scheme is unknown: check how it begins")
    if uri.scheme in ("http", "https") and Path(uri.path).suffix.lower() in SUFFIXES | _RECORDINGS:
        raise SourceError(f"wanted a camera's stream in {uri.text}, found a recording's name: download it first, by curl -LO '{uri.text}'")
    if not pyav.is_here() or not network.receives(uri.scheme):
        first = "" if pyav.is_here() else f"install it by {install('video')}, or "
        relay = f"have ffmpeg hand the stream on to rtp://@:5600 by ffmpeg -i {uri.scheme}://... -an -c copy -bsf:v dump_extra -f rtp rtp://127.0.0.1:5600"
        raise SourceError(f"wanted a PyAV that receives {uri.text}, found none here: {first}{relay}")
    return network.open_stream(uri.scheme + text[len(uri.scheme) :])


def meant(uri: str) -> Uri:
    """Return a source in parts, as `open_source` understands it.

    Raises:
        SourceError: nothing there, or an option that stands twice.
    """
    return parse_uri(_meant(source_of(uri)))


def _recordings(source: str) -> list[Path]:
    """Return the recordings of a list of several, which it may name from where it lies; none where it is no list, or its first is no file.

    Raises:
        SourceError: one of them is not there.
    """
    lines = listed(source)
    if len(lines) == 1 or meant(lines[0]).scheme:
        return []
    beside = Path(source[1:]).parent
    found = [path if (path := Path(meant(line).path)).is_file() else beside / line for line in lines]
    for path in found:
        if not path.is_file():
            raise SourceError(f"wanted recordings in the lines of {source[1:]}, found nothing at {path}: check that line, or begin it with #")
    return found


def named_files(source: str) -> list[Path]:
    """Return the files or the folder that a source names; none of a camera or a flight."""
    if paths := _recordings(source):
        return paths
    uri = meant(source)
    if uri.scheme:
        return []
    return [Path(uri.path)] if exists(uri.path) else _matching(uri.text) or _matching(uri.path)


def _meant(text: str) -> str:
    """Return a source as it is written here: what shells, players and other programs call the same."""
    if not text.strip():
        raise SourceError("wanted a source, found an empty text: give a folder, a photo, a video, webcam, or demo://")
    if re.match("file://", text, re.IGNORECASE):
        path = unquote(re.sub("^(localhost)?(?=/)", "", text[len("file://") :]))
        text = path if exists(path) or "?" not in text else f"{unquote(path.rpartition('?')[0])}?{path.rpartition('?')[2]}"
    if text.startswith("~"):
        with suppress(RuntimeError):  # no such user: a name like any other
            text = str(Path(text).expanduser())
    if text.startswith(_DEVICES):
        return f"v4l2://{text}"
    camera = _WEBCAM.fullmatch(text)
    if camera and not exists(text):
        return f"v4l2:///dev/video{int(camera['number'] or 0)}{camera['query'] or ''}"
    return text


def _open_path(uri: Uri) -> Source:
    if not exists(uri.path):
        return _open_pattern(uri)
    path = Path(uri.path)
    if path.is_dir():
        return _pictures(uri, path, find_images(path), None)
    if not path.is_file():  # a decoder would wait in it, deaf to every signal
        cure = f"give v4l2://{path}" if path.name.startswith("video") else "write it to a file first, or send it to rtp://@:5600"
        raise SourceError(f"wanted a folder, an image or a video, found {'a FIFO' if path.is_fifo() else 'a device'} at {path}: {cure}")
    if path.suffix.lower() in SUFFIXES - {_ANIMATED}:
        uri.check_keys()
        return Ahead(StillSource(uri.text, path.parent, [path]))
    if path.suffix.lower() == _DESCRIBED:
        from edge.sources.live.open import open_described

        return open_described(uri)
    uri.check_keys("realtime")
    return _at_own_speed(uri, VideoSource(uri.text, path))


def _open_pattern(uri: Uri) -> Source:
    found = _matching(uri.text)
    if found:
        uri = Uri(uri.text, "", uri.text, {})  # its ? stands for a character
    else:
        found = _matching(uri.path)
    if not found:
        raise SourceError(f"wanted a folder, an image, a video, webcam or demo://, found nothing at {uri.path}: check the path")
    if len(found) == 1:
        return _open_path(replace(uri, path=str(found[0])))
    folder = Path(commonpath([path.parent for path in found]))
    return _pictures(uri, folder, pictures_among(found, uri.path), _FILM_FPS if _NUMBERED.search(uri.path) else None)


def _pictures(uri: Uri, folder: Path, paths: list[Path], fps: float | None) -> Source:
    fps = uri.rate("fps", fps or _FILM_FPS) if fps or "fps" in uri.query else None
    uri.check_keys("fps", *(["realtime"] if fps else []))
    return _at_own_speed(uri, StillSource(uri.text, folder, paths, fps))


def _matching(text: str) -> list[Path]:
    """Find the files of a pattern, `*.jpg` or `%04d.jpg`."""
    if "\0" in text:
        return []
    numbers = _NUMBERED.search(text)
    if numbers is None:
        return [path for path in map(Path, glob(text, recursive=True)) if path.is_file()]  # noqa: PTH207 # a whole pattern, absolute or not
    before, after = text[: numbers.start()], text[numbers.end() :]
    found = map(Path, glob(f"{escape(before)}*{escape(after)}"))  # noqa: PTH207
    return [path for path in found if str(path)[len(before) : len(str(path)) - len(after)].isdigit() and path.is_file()]


def _at_own_speed(uri: Uri, source: Source) -> Source:
    return Realtime(source) if uri.flag("realtime") else Ahead(source)
