"""Opens what a user names as a source: a folder, an image, a video, the drawn flight, or a camera."""

from __future__ import annotations

from pathlib import Path

from edge.errors import SourceError
from edge.frame import Source
from edge.images import SUFFIXES
from edge.sources.ahead import Ahead
from edge.sources.realtime import Realtime
from edge.sources.recorded import StillSource, find_images
from edge.sources.uri import Uri, exists, parse_uri, source_of
from edge.sources.video import VideoSource


def open_source(uri: str) -> Source:
    """Open a folder, an image, a video, `demo://?seed=0&frames=600&width=960&height=540&fps=30`, or a camera (`edge.sources.live.open` has their URIs).

    demo:// is a drone's flight, with `lens=0` through a pinhole, and with `view=car` a car's view.
    `realtime=1` in the query of a video or of demo:// plays it at its own speed and keeps only the newest frame, as a camera does. `@FILE` stands for the
    source in a file's first line.

    Raises:
        SourceError: nothing there, nothing that can be read as frames, an unknown scheme, or an option that is unknown or out of range.
        InputError: a flight that cannot be drawn.
    """
    parsed = parse_uri(source_of(uri))
    if parsed.scheme == "demo":
        from edge.sources.demo import DemoSource

        return _at_own_speed(parsed, DemoSource(parsed))
    if parsed.scheme:
        from edge.sources.live.open import SCHEMES, open_live

        if parsed.scheme not in SCHEMES:
            raise SourceError(f"wanted a folder, an image, a video, demo://, {'://, '.join(SCHEMES)}://, found {uri}: {parsed.scheme}:// is unknown")
        return open_live(parsed)
    return _open_path(parsed)


def _open_path(uri: Uri) -> Source:
    path = Path(uri.path)
    if not exists(uri.path):
        raise SourceError(f"wanted a folder, an image, a video or demo://, found nothing at {path}: check the path")
    if path.is_dir():
        uri.check_keys()
        return Ahead(StillSource(uri.text, path, find_images(path)))
    if path.suffix.lower() in SUFFIXES:
        uri.check_keys()
        return Ahead(StillSource(uri.text, path.parent, [path]))
    uri.check_keys("realtime")
    return _at_own_speed(uri, VideoSource(uri.text, path))


def _at_own_speed(uri: Uri, source: Source) -> Source:
    return Realtime(source) if uri.flag("realtime") else Ahead(source)
