"""What the options of `edge run` ask for, made and not yet opened: what is wrong with them shows here, where a run begins and where a service is set up."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.api.recognizer import Recognizer
from edge.bundle.manifest import Manifest
from edge.commands import camera_option, level_option, watching
from edge.errors import OutputError
from edge.files import check_outputs, refuse_folder
from edge.frame import Source
from edge.outputs.console import ConsoleSink
from edge.outputs.events import EVENT_FILES, LIVE_BYTES, EventSink, numbered
from edge.outputs.keep.sink import KeepSink
from edge.outputs.keep.store import refuse_foreign
from edge.outputs.notify import ServiceSink
from edge.outputs.pictures import PictureSink
from edge.outputs.segments import SegmentedVideoSink
from edge.outputs.video import VideoSink
from edge.outside.text import without_credentials
from edge.result import Sink
from edge.sources.live.feed import LiveSource
from edge.sources.open import meant, named_files
from edge.sources.uri import parse_uri
from edge.vehicle.utc import UtcClock

if TYPE_CHECKING:
    from edge.board.telemetry import Monitor
    from edge.mapping.surveyor import Surveyor
    from edge.outputs.passes import PassSink
    from edge.vehicle.levelling import Leveller

READER_S = 1.0
"""What a recorded source waits for a reader that stands still, once; a live one never does."""
WRITER_S = 10.0
"""The same for a disk that pictures are written to."""
_FOLDERS = frozenset(("--pictures", "--keep"))


@dataclass(frozen=True)
class Wiring:
    """What a run works with, beside its source and its models.

    Attributes:
        sinks: all of its outputs.
        leveller: turns frames level; None where nothing tells how.
        surveyor: places signs; None where nothing tells where the camera is.
        passes: keeps the score of a drawn flight; one of the sinks.
        monitor: is to be opened before the sinks; None where nobody asks for telemetry.
        utc: the time of day, as the vehicle tells it where there is one.
    """

    sinks: Sequence[Sink]
    leveller: Leveller | None
    surveyor: Surveyor | None
    passes: PassSink | None
    monitor: Monitor | None
    utc: UtcClock


def recognizer_of(arguments: argparse.Namespace) -> Recognizer:
    """Open the models that the options choose; raises as `Recognizer` does."""
    return Recognizer(arguments.bundle, **{key: getattr(arguments, key) for key in ("engine", "precision", "provider", "spotter")})


def wired(arguments: argparse.Namespace, source: Source, manifest: Manifest, facts: Mapping[str, str]) -> Wiring:
    """Make what the options ask for; nothing is opened, bound or written.

    Args:
        arguments: of the command line.
        source: what the frames come from; it need not be opened.
        manifest: of the bundle, whose classes are named.
        facts: of the engine, for the page.

    Raises:
        SignwingError: an option that no run could heed, or that does not go with the others.
    """
    leveller = level_option.open_leveller(arguments.level, source, linked=arguments.mavlink is not None)
    surveyor, labels = camera_option.open_surveyor(arguments, source, manifest, leveller), manifest.labels
    passes = _pass_sink(arguments.source, manifest)
    utc = UtcClock()
    written = _written(arguments, source, labels)
    if arguments.keep is not None:
        about = {"bundle": manifest.name, "source": without_credentials(arguments.source)}
        patience_s = 0.0 if source.live else WRITER_S
        kept_in = arguments.keep.path, arguments.keep.most_bytes, labels, manifest.thresholds.confidence
        written.append(KeepSink(*kept_in, stills=source.stills, about=about, patience_s=patience_s))
    watched, monitor = watching.watching_sinks(arguments, source, facts, labels, written, leveller, surveyor, utc)
    watched += watching.restreamed(arguments, labels)
    return Wiring([*written, *_service_sink(source), *watched, *([passes] if passes else [])], leveller, surveyor, passes, monitor, utc)


def check_places(arguments: argparse.Namespace) -> None:
    """Refuse what `edge.cli.check_places` cannot see: names that outputs make of theirs, and what stands in a source's own options.

    Raises:
        OutputError: an output would replace something.
        SourceError: the source cannot be read as one.
    """
    uri = meant(arguments.source)
    outputs = {f"--{name}": [path] for name in ("events", "video", "json", "pictures") if (path := getattr(arguments, name)) is not None}
    outputs |= {} if arguments.keep is None else {"--keep": [arguments.keep.path]}
    if arguments.events is not None:
        outputs["--events"] += [numbered(arguments.events, number) for number in range(1, EVENT_FILES)]
    if uri.query.get("record"):
        outputs["record="] = [Path(uri.query["record"])]
    inputs = {"source": named_files(arguments.source), "bundle": [arguments.bundle]}
    if arguments.web_token_file is not None:
        inputs["--web-token-file"] = [arguments.web_token_file]
    check_outputs(outputs, inputs)
    if arguments.keep is not None:
        refuse_foreign(arguments.keep.path)
    for name, paths in outputs.items():
        if name not in _FOLDERS:
            refuse_folder(paths[0])
    for folder in filter(Path.is_dir, inputs["source"]):
        for name in outputs.keys() & _FOLDERS:
            if outputs[name][0].resolve().is_relative_to(folder.resolve()):
                told = f"wanted to write {name} to {outputs[name][0]}, found it within the photos that are read ({folder})"
                raise OutputError(f"{told}: the next run would read them, choose another folder")


def _service_sink(source: Source) -> list[Sink]:
    """Return the sink that tells systemd, where it started this process; a source that waits for a camera tells it too."""
    sink = ServiceSink()
    if not sink.wanted:
        return []
    if isinstance(source, LiveSource):
        source.waiting = sink.alive
    return [sink]


def _pass_sink(source: str, manifest: Manifest) -> PassSink | None:
    """Return what keeps the score of a drawn flight; None of another source, and where the bundle knows other signs than the flight shows."""
    if not source.lower().startswith("demo://"):
        return None
    from edge.outputs.passes import PassSink
    from edge.sources.demo import shown_by

    shown = shown_by(parse_uri(source)).names
    return PassSink(source) if shown == manifest.labels[: len(shown)] else None


def _written(arguments: argparse.Namespace, source: Source, labels: Sequence[str]) -> list[Sink]:
    sinks: list[Sink] = []
    pictures = None
    if arguments.pictures is not None:
        pictures = PictureSink(arguments.pictures, labels, stills=source.stills, patience_s=0.0 if source.live else WRITER_S)
    if arguments.events is not None:
        # A live source goes on where it was: a service that is started anew must not lose what was seen before.
        bound = arguments.events_max or (LIVE_BYTES if source.live else None)
        pictured = None if pictures is None else pictures.place
        sinks.append(EventSink(arguments.events, labels, max_bytes=bound, patience_s=0.0 if source.live else READER_S, pictured=pictured))
    if not arguments.quiet:
        sinks.append(ConsoleSink(labels))
    if arguments.video and source.live:
        sinks.append(SegmentedVideoSink(arguments.video, source.fps, labels))
    elif arguments.video:
        sinks.append(VideoSink(arguments.video, source.fps, labels))
    return sinks if pictures is None else [*sinks, pictures]
